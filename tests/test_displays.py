"""What a user sees who shows an object of ours: short, the verdict first, searchable; completion knows only ours."""

from types import ModuleType

import pytest
from IPython.core.completer import IPCompleter

import trackkit as tk
from trackkit.errors import RequestError
from trackkit.metrics import METRICS
from trackkit.sources.report import LoadReport, SourceReport


def _loaded() -> LoadReport:
    return LoadReport(
        [
            SourceReport("a.log", "adobe_redirection_log", "event", read=1_203, kept=1_200, duplicate=2, quarantined=1),
            SourceReport("<b>.csv", "adobe_export", "message", read=5, kept=5),
        ],
        {"opened": 1_100, "clicked": 100},
        {"x.txt": "no known format"},
        {"verdict": "warn", "reasons": [{"reason": "server 51 is silent"}]},
    )


def test_a_load_begins_with_its_verdict_and_its_total():
    assert repr(_loaded()).splitlines() == [
        "quality: warn",
        "    server 51 is silent",
        "2 files: 1,208 read = 1,205 kept + 2 duplicate + 0 collapsed + 1 quarantined",
        "events: 1,100 opened, 100 clicked",
        "print() lists every file.",
    ]


def test_so_it_does_in_a_notebook_above_the_files():
    shown = _loaded()._repr_html_()
    places = [shown.index(words) for words in ("quality: warn", "1,208 read", "x.txt: no known format", "a.log")]
    assert places == sorted(places) and "<details>" not in shown and "<b>" not in shown and "&lt;b&gt;.csv" in shown


def test_many_files_are_folded():
    many = LoadReport([SourceReport(f"{place}.log", "adobe_redirection_log", "event") for place in range(11)])
    before, _, folded = many._repr_html_().partition("<details>")
    assert "11 files: 0 read" in before and "10.log" in folded and "10.log" not in before


def test_the_loads_of_a_store_are_a_table_newest_first(tmp_path, demo_raw):
    store = tk.open_store(tmp_path / "store")
    report = store.ingest(demo_raw)
    store.set("timezone", "Europe/Paris")
    head, columns, newest, first = repr(store.loads).splitlines()
    assert (head, columns.split()[0], newest.split()[0]) == ("2 loads, newest first", "load", "2")
    cells = first.split()
    assert cells[3:5] == [report.quality["verdict"], str(len(report.sources))]
    assert [int(cell.replace(",", "")) for cell in cells[5:]] == [
        report.total(name) for name in ("read", "kept", "duplicate", "collapsed", "quarantined")
    ]
    assert f'<td style="text-align:right">{report.total("read"):,}</td>' in store.loads._repr_html_()


def test_metrics_are_a_short_table_that_can_be_searched():
    shown = repr(METRICS)
    assert len(shown) < 6_000 and shown.startswith(f"{len(METRICS)} metrics\n") and "open_rate" in shown
    assert 'METRICS.search("bounce")' in shown and 'METRICS["open_rate"]' in shown
    found = METRICS.search("opens reached")
    assert list(found) == ["estimated_unique_opens", "estimated_total_opens"]
    assert repr(found).splitlines()[0] == "2 metrics" and "population reached" in repr(found)
    assert len(METRICS.search("no such words")) == 0 and "0 metrics" in repr(METRICS.search("no such words"))


def test_a_metric_says_what_it_means():
    shown = repr(METRICS["open_rate"])
    assert shown.startswith("open_rate: Open rate (recipients)\nRecipients who opened out of delivered messages.")
    assert "unique_opens / delivered" in shown and "delivery_id, campaign, campaign_label" in shown
    assert "<td" in METRICS["open_rate"]._repr_html_()


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(RequestError) as refused:
        METRICS["open_r"]
    assert str(refused.value) == "There is no metric 'open_r'. Did you mean 'open_rate'?"
    assert METRICS.get("open_r") is None and "open_r" not in METRICS
    with pytest.raises(TypeError):
        METRICS["open_rate"] = METRICS["click_rate"]  # type: ignore[index]


def _completed(text: str, **names: object) -> list[str]:
    """What a prompt offers, without jedi, as in a kernel."""
    completer = IPCompleter(namespace={"tk": tk} | names, use_jedi=False)
    return [word.text.rpartition(".")[2] for word in completer.completions(text, len(text))]


@pytest.mark.filterwarnings("ignore::IPython.core.completer.ProvisionalCompleterWarning")
def test_completion_knows_only_what_is_ours(demo_store):
    store = tk.open_store(demo_store)
    assert {"open_rate", "delivered"} <= {word.strip("'\"]") for word in _completed('tk.METRICS["')}
    assert {"event", "message"} <= {word.strip("'\"]") for word in _completed('store["', store=store)}
    for name in ("charts", "tables", "curves", "findings"):
        offered = {word.lstrip(".") for word in _completed(f"tk.{name}.")}
        assert offered == set(getattr(tk, name).__all__)
    assert {word.lstrip(".") for word in _completed("tk.charts.audience.")} == set(tk.charts.audience.__all__)


@pytest.mark.parametrize("name", [name for name in tk.__all__ if isinstance(getattr(tk, name), ModuleType)])
def test_every_module_of_the_front_door_shows_what_is_public(name):
    assert dir(getattr(tk, name)) == sorted(getattr(tk, name).__all__)
