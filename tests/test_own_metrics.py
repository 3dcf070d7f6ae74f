"""Metrics of one's own: made at the prompt, declared in a project; figures worked out by hand on `tests.test_joins`."""

import json
from pathlib import Path

import pytest

import trackkit as tk
from tests.test_joins import CRM, _tables
from tests.test_project import trackkit
from trackkit.cli import app
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.metrics import METRICS
from trackkit.own_metrics import check

DECLARED = """
[metric.eight_clicks]
label = "Clicks of the eighth"
definition = "Messages clicked on at x.example."
counts = "recipients"
where = {event_type = ["clicked"], domain = ["x.example"]}

[metric.eight_rate]
label = "Rate of the eighth"
definition = "Messages clicked on at x.example out of those delivered."
numerator = "eight_clicks"
denominator = "delivered"
"""


def test_metrics_at_the_prompt_are_measured_beside_ours() -> None:
    rate = tk.metric("opens_processed", label="Opens of processed", numerator="unique_opens", denominator="processed")
    clicks = tk.metric("people_clicks", counts="people", where={"event_type": ["clicked"]})
    per = tk.metric("clicks_per_message", numerator=clicks, denominator="delivered")
    measured = measure(_tables(), [rate, "open_rate", clicks, per], by="delivery_id")
    assert measured.drop("unique_opens", "processed", "delivered").rows() == [("7", 0.8, 0.8, 1, 0.2),
                                                                              ("8", 1.0, 1.0, 1, 0.5)]  # fmt: skip
    assert measured.columns[:5] == [
        "delivery_id",
        "opens_processed",
        "open_rate",
        "people_clicks",
        "clicks_per_message",
    ]
    assert "people_clicks" not in METRICS and "people_clicks" not in list(METRICS), "nothing is registered"
    sent = tk.metric("sent_seven", counts="messages", where={"status": ["delivered"], "domain": ["x.example", "y"]})
    assert measure(_tables(), sent, by=[]).rows() == [(7,)]
    by_segment = measure(_tables(), [clicks, per], by="segment", join={"recipient_id": CRM}, interval=0.9)
    assert by_segment.select("segment", "people_clicks", "delivered").rows() == [
        ("new", 1, 2), ("vip", 1, 3), (None, 0, 2)
    ]  # fmt: skip


def test_a_rate_brings_the_counts_it_is_made_of_and_is_drawn_and_shown_without_a_name() -> None:
    clicks = tk.metric("people_clicks", label="Clicked", counts="people", where={"event_type": ["clicked"]})
    per = tk.metric("clicks_per_message", label="Clicked of delivered", numerator=clicks, denominator="delivered")
    measured = measure(_tables(), per, by="delivery_id")
    assert measured.rows() == [("7", 0.2, 1, 5), ("8", 0.5, 1, 2)]
    drawn = tk.charts.rate_bars(measured, "delivery_id", [per]).to_dict()
    assert "Clicked of delivered" in drawn["description"]
    dots = tk.charts.dots(measured, x="delivered", y=per, by="delivery_id")
    assert [tip["title"] for tip in dots.to_dict()["encoding"]["tooltip"]][-2:] == ["Clicked of delivered", "Clicked"]
    assert "Clicked of delivered" in tk.tables.breakdown_table(measured, "delivery_id", [per]).as_raw_html()
    compared = tk.compare(_tables(), "7", "8", metrics=per).row(0, named=True)
    assert [compared[name] for name in ("part_a", "whole_a", "part_b", "whole_b")] == [1, 5, 1, 2]
    assert compared["metric"] == "clicks_per_message" and abs(compared["difference"] - 0.3) < 1e-12
    assert "clicks_per_message" not in METRICS, "nothing is registered"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("open_rate", {"numerator": "unique_opens", "denominator": "delivered"}, "is a metric of trackkit already"),
        ("domain", {"numerator": "unique_opens", "denominator": "delivered"}, "is a column already"),
        ("Mine", {"numerator": "unique_opens", "denominator": "delivered"}, "Metric Mine"),
        ("mine", {"numerator": "unique_open", "denominator": "delivered"}, "Did you mean 'unique_opens'"),
        ("mine", {"numerator": "open_rate", "denominator": "delivered"}, "which is a rate itself"),
        ("mine", {"numerator": "unique_opens"}, "a numerator and a denominator, or it counts"),
        ("mine", {"counts": "events", "where": {"devise": ["x"]}}, "Did you mean 'device'"),
        ("mine", {"counts": "events", "where": {"event_type": ["click"]}}, "Did you mean 'clicked'"),
        ("mine", {"counts": "messages", "where": {"event_type": ["clicked"]}}, "rows of message have no 'event_type'"),
        ("mine", {"counts": "events", "where": {"is_seed": ["yes"]}}, "'is_seed' is true or false, not 'yes'"),
        ("mine", {"counts": "hits"}, "mine.counts"),
    ],
)
def test_what_is_no_metric(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        tk.metric(name, **options)


def _project(folder: Path, text: str = DECLARED) -> Path:
    (folder / "metrics").mkdir(parents=True)
    (folder / "trackkit.toml").write_text("")
    (folder / "metrics" / "vip.toml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("label =", "labl =", "key 'metric.eight_clicks.labl': there is no such key. Did you mean 'label'"),
        ('"clicked"', '"click"', "'event_type' is never 'click'. Did you mean 'clicked'"),
        ("eight_rate", "open_rate", "'open_rate' is a metric of trackkit already"),
        ('"delivered"', '"deliverd"', "there is no such metric. Did you mean 'delivered'"),
        ("[metric.eight_clicks]", "[metric.eight_clicks", "it is not TOML"),
    ],
)
def test_check_names_file_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder = _project(tmp_path, DECLARED.replace(old, new, 1))
    problems = [str(problem) for problem in check(folder)]
    assert any(says in problem and "vip.toml" in problem for problem in problems), problems


def test_a_name_is_declared_once(tmp_path: Path) -> None:
    folder = _project(tmp_path)
    (folder / "metrics" / "web.toml").write_text(DECLARED)
    assert "vip.toml declares it already" in str(check(folder)[0])


def test_a_notebook_in_a_project_knows_its_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(_project(tmp_path))
    assert tk.measure(_tables(), "eight_rate", by="delivery_id").rows() == [("7", 0.2, 1, 5), ("8", 0.5, 1, 2)]
    assert tk.METRICS["eight_rate"].reference == "metrics/vip.toml of the project"
    (tmp_path / "metrics" / "vip.toml").write_text("[metric.eight]")
    with pytest.raises(RequestError, match=r"vip\.toml"):
        tk.measure(_tables(), "open_rate")
    monkeypatch.chdir("/")
    assert "eight_rate" not in tk.METRICS


def test_a_projects_metric_is_shown_in_a_table(tmp_path: Path, demo_store: Path, delivery: str) -> None:
    project = _project(tmp_path / "mine", DECLARED.replace(', domain = ["x.example"]', ""))
    trackkit(tmp_path, "init", "mine", "--only", "tracking_indicators")
    template = project / "reports_templates" / "tracking_indicators.toml"
    for listed in ('["delivery_rate", "open_rate",', '["delivered", "complaint_rate", "open_rate",'):
        text = template.read_text("utf-8")
        assert listed in text
        template.write_text(text.replace(listed, f'{listed} "eight_rate",'), "utf-8")
    command = ["render", "tracking_indicators", "--store", demo_store, "--delivery", delivery, "--out", "out"]
    made = trackkit(tmp_path, "--project", project, *command)
    page = (tmp_path / made.stdout.strip()).read_text("utf-8")
    assert "Rate of the eighth" in page and "Messages clicked on at x.example out of those delivered." in page
    trackkit(project, "check")


def test_a_projects_metrics_on_the_command_line(
    tmp_path: Path, demo_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--project", str(_project(tmp_path / "mine"))]
    app.main([*folder, "metrics", "--json"], standalone_mode=False)
    own = [record for record in json.loads(capsys.readouterr().out) if record["of"]]
    assert [(record["name"], record["of"]) for record in own] == [
        (name, "metrics/vip.toml of the project") for name in ("eight_clicks", "eight_rate")
    ]
    command = ["measure", "--store", str(demo_store), "--metrics", "eight_rate", "--by", "", "--output", "json"]
    app.main([*folder, *command], standalone_mode=False)
    (row,) = json.loads(capsys.readouterr().out)
    assert row["eight_rate"] == row["eight_clicks"] / row["delivered"]
    assert "eight_rate" not in METRICS, "they are those of a project, while it works"
    with pytest.raises(RequestError, match="no metric 'eight_rate'"):
        app.main(command, standalone_mode=False)
