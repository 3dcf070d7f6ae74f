"""`explore`, without a browser: what its controls ask, what it shows and hands over; and tables to sort and search."""

import json
import sys
from datetime import date
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import trackkit as tk
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.panel import Panel

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def store(demo_store: Path) -> Any:
    return tk.open_store(demo_store)


@pytest.fixture(scope="module")
def opened(store: Any) -> Panel:
    return tk.explore(store)


@pytest.fixture
def panel(opened: Panel) -> Panel:
    """The panel as it opens; one for all tests."""
    opened.metrics.value = []  # refused at once: nothing is measured until there is one
    opened.where.value = opened.scope.value = ""
    opened.since.value = opened.until.value = None
    opened.activity.value = "all"
    _choose(opened, ["open_rate", "click_rate"], ["domain"])
    return opened


def _choose(panel: Panel, metrics: list[str], by: list[str]) -> None:
    panel.metrics.value = []
    panel.by.value = by
    panel.metrics.value = metrics


def _ran(panel: Panel, store: Any) -> tuple[pl.DataFrame, Any]:
    """What a cell gives that holds the Python handed over: the frame, and what it shows."""
    names = {"tk": tk, "store": store}
    first, last = unescape(panel._python.value).split(">", 1)[1].removesuffix("</pre>").splitlines()
    exec(first.replace(f"tk.open_store({store.location!r})", "store"), names)
    return names["frame"], eval(last, names)


def _drawn(panel: Panel) -> dict[str, Any] | None:
    outputs = panel._chart.outputs
    return outputs[0]["data"]["application/vnd.vegalite.v5+json"] if outputs else None


def _cells(table: Any) -> list[list[Any]]:
    return json.loads(table._dt_args["data_json"])


# The chart that is drawn, what is chosen, and the values of other controls.
QUESTIONS: list[tuple[str, dict[str, list[str]], dict[str, Any]]] = [
    ("rate_bars", {"metrics": ["open_rate", "delivered", "click_rate"], "by": ["domain"]}, {}),
    ("bars", {"metrics": ["total_clicks", "unique_clicks"], "by": ["device"]}, {"where": "country = 'BR'"}),
    ("lines", {"metrics": ["total_clicks"], "by": ["day"]}, {"activity": "human"}),
    ("lines", {"metrics": ["total_clicks"], "by": ["message_format", "hour_of_day"]}, {"scope": "campaign:301"}),
    ("heatmap", {"metrics": ["open_rate"], "by": ["domain", "country"]}, {"since": date(2026, 9, 1)}),
    ("heatmap", {"metrics": ["total_opens"], "by": ["weekday", "hour_of_day"]}, {"until": date(2026, 12, 31)}),
    ("", {"metrics": ["open_rate", "transaction_amount"], "by": []}, {"scope": "platform"}),
    ("", {"metrics": ["total_opens"], "by": ["device", "country", "domain"]}, {}),
]


@pytest.mark.parametrize(("chart", "chosen", "others"), QUESTIONS, ids=[", ".join(each[1]["by"]) for each in QUESTIONS])
def test_what_is_handed_over_gives_the_same_frame_and_chart(
    chart: str, chosen: dict[str, list[str]], others: dict[str, Any], panel: Panel, store: Any
) -> None:
    _choose(panel, **chosen)
    for name, value in others.items():
        getattr(panel, name).value = value
    frame, shown = _ran(panel, store)
    assert_frame_equal(frame, panel.frame)
    assert frame.columns[: len(chosen["by"] + chosen["metrics"])] == chosen["by"] + chosen["metrics"]
    if chart:
        assert f"tk.charts.{chart}(" in panel.code and shown.to_dict() == _drawn(panel)
    else:
        assert shown is frame and _drawn(panel) is None
    assert len(_cells(panel._table)) == frame.height


def test_a_condition_a_scope_a_period_and_whose_hits_are_what_measure_is_asked(panel: Panel, store: Any) -> None:
    _choose(panel, ["total_opens"], ["domain"])
    panel.where.value = "country = 'FR'"
    panel.since.value, panel.until.value = date(2026, 9, 1), date(2026, 12, 31)
    panel.scope.value = next(option for option in panel.scope.options if option.startswith("campaign:"))
    panel.activity.value = "human"
    text = panel.scope.value.split(" · ")[0]
    chosen = tk.scope(store, f"{text} period:2026-09-01..2026-12-31").chosen
    asked = tk.measure(store, "total_opens", "domain", chosen, "country = 'FR'", activity="human")
    assert_frame_equal(panel.frame, asked)
    assert asked.height


def test_one_delivery_is_named_by_its_id(panel: Panel, delivery: str) -> None:
    panel.scope.value = next(option for option in panel.scope.options if option.startswith(delivery))
    assert f"delivery='{delivery}'" in panel.code


def test_what_is_as_by_default_is_not_in_the_line(panel: Panel, store: Any) -> None:
    expected = f"frame = tk.measure(tk.open_store({store.location!r}), ['open_rate', 'click_rate'], by='domain')"
    assert panel.code.splitlines()[0] == expected


def test_where_no_widget_can_be_shown_the_python_stands(panel: Panel) -> None:
    shown = panel._repr_mimebundle_()
    assert shown["text/plain"] == panel.code and "application/vnd.jupyter.widget-view+json" in shown


def test_the_line_calls_the_store_as_its_user_does(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "ours", store, raising=False)
    assert tk.explore(store).code.startswith("frame = tk.measure(ours, [")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("domian = 'a'", "Did you mean 'domain'?"),
        ("domain == ", "is no SQL"),
        (f"domain = {HOSTILE}", "is not understood"),
        ("day > '2026-01-01'", "open_rate is measured on message rows, which have no day"),
    ],
)
def test_a_wrong_condition_is_a_sentence_and_nothing_is_shown(where: str, says: str, panel: Panel) -> None:
    panel.where.value = where
    assert says in unescape(panel._words.value) and "Traceback" not in panel._words.value
    assert "<img" not in panel._words.value
    assert panel.frame.is_empty() and panel.code == panel._python.value == ""
    assert _drawn(panel) is None and panel._table.layout.display == "none"
    panel.where.value = ""
    assert "alert" not in panel._words.value and panel.frame.height and panel._table.layout.display == ""


def test_other_refusals_are_sentences_too(panel: Panel) -> None:
    panel.scope.value = "campain:7"
    assert "campaign" in panel._words.value and panel.frame.is_empty()
    panel.scope.value, panel.metrics.value = "", []
    assert "Add a metric" in panel._words.value


def test_a_name_that_is_typed_is_added_and_an_unknown_one_named(panel: Panel) -> None:
    panel.add_metric.value = "unique_clicks"
    assert panel.metrics.value[-1] == "unique_clicks · Recipient clicks" and panel.add_metric.value == ""
    assert "unique_clicks" in panel.frame.columns
    panel.add_metric.value = offered = next(each for each in panel.add_metric.options if each.startswith("sales "))
    assert panel.metrics.value[-1] == offered
    panel.add_by.value = "contry"
    assert "Did you mean 'country'?" in unescape(panel._words.value) and panel.by.value == ["domain"]
    panel.add_by.value = "country"
    assert panel.by.value == ["domain", "country"] and panel.frame.columns[:2] == ["domain", "country"]


def test_it_offers_each_metric_with_its_label_and_the_breakdowns_of_all_those_chosen(panel: Panel) -> None:
    offered = dict(option.split(" · ", 1) for option in panel.add_metric.options)
    assert offered == {name: metric.label for name, metric in tk.METRICS.items()}
    assert "domain" in panel.add_by.options and "day" not in panel.add_by.options
    panel.metrics.value = ["total_clicks"]
    assert "day" in panel.add_by.options


@pytest.mark.parametrize("by", ["device", "hour", "weekday", "launch_week", "campaign_label"])
def test_a_condition_that_is_offered_holds_for_the_rows_of_its_value(by: str, panel: Panel, store: Any) -> None:
    _choose(panel, ["total_opens"], [by])
    panel.where.value = "domain LIKE '%e%' OR domain = 'x'"
    counts = panel.frame["total_opens"]
    place = 0 if panel.frame[by].null_count() == 0 else panel.frame[by].is_null().arg_max()
    offered = panel.where.options[place or 0]
    assert offered.startswith("(domain LIKE '%e%' OR domain = 'x') AND ")
    assert tk.measure(store, "total_opens", by=[], where=offered)["total_opens"][0] == counts[place or 0]


def test_a_chart_of_many_groups_says_what_it_leaves_out() -> None:
    domains = [f"{number}.example" for number in range(21) for _ in range(number + 1)]
    sent = pl.LazyFrame({"domain": domains}).with_columns(
        pl.int_range(pl.len()).cast(pl.String).alias("message_id"),
        delivery_id=pl.lit("7"),
        is_seed=False,
        status=pl.lit("delivered"),
    )
    many = tk.explore(Snapshot({"message": sent}))
    _choose(many, ["delivered"], ["domain"])
    drawn = _drawn(many)
    assert drawn and [row["domain"] for row in next(iter(drawn["datasets"].values()))][-1] == "1.example"
    assert many._words.value == "The chart has the 20 largest of 21 groups, the table all."
    assert len(_cells(many._table)) == 21
    _choose(many, ["hard_bounces"], ["domain"])
    assert "ColumnNotFoundError: unable to find column" in many._words.value and _drawn(many) is None
    _choose(many, ["failed"], ["domain"])
    assert many._words.value == "Nothing to draw: each is 0 or unknown." and _drawn(many) is None
    many.where.value = "domain = 'nowhere.example'"
    assert many._words.value == "No rows meet this." and _drawn(many) is None


def test_names_of_a_log_are_text(panel: Panel) -> None:
    events = {"delivery_id": ["7"] * 2, "message_id": ["a", "b"], "device": [HOSTILE, None], "is_seed": [False] * 2}
    rows = pl.LazyFrame(events | {"event_type": ["opened"] * 2})
    own = tk.explore(Snapshot({"event": rows}))
    _choose(own, ["total_opens"], ["device"])
    assert _cells(own._table) == [["&lt;img src=x onerror=alert(1)&gt;", "1"], ["(unknown)", "1"]]
    own.where.value = f"device = '{HOSTILE}'"
    assert own.frame["total_opens"].to_list() == [1] and "<img" not in own._python.value


FIGURES = pl.DataFrame(
    {
        "domain": ["a.example", HOSTILE, None],
        "open_rate": [0.0912, None, 0.5],
        "unique_opens": [1_140, None, 2],
        "delivered": [12_500, 0, 4],
        "hour": pl.Series(["2026-05-01T08:00"] * 3).str.to_datetime(time_unit="us", time_zone="UTC"),
        "note": ["x" * 200, "jane.doe@mail.example", None],
    }
).with_columns(pl.col("hour").dt.convert_time_zone("Europe/Paris"))


@pytest.mark.parametrize("of", [pl.DataFrame.clone, pl.DataFrame.to_pandas], ids=["polars", "pandas"])
def test_a_table_to_sort_shows_units_and_sorts_figures_as_numbers(of: Any) -> None:
    table = tk.tables.interactive(of(FIGURES))
    assert _cells(table) == [
        ["a.example", "9.12%", "1,140", "12,500", "2026-05-01 10:00", "x" * 79 + "…"],
        ["&lt;img src=x onerror=alert(1)&gt;", "", "", "0", "2026-05-01 10:00", "j***@mail.example"],
        ["(unknown)", "50.0%", "2", "4", "2026-05-01 10:00", ""],
    ]
    labels = [tk.METRICS[name].label for name in FIGURES.columns[1:4]]
    assert table.df.columns == ["Domain", *labels, "Hour", "note"]
    assert table._dt_args["columnDefs"] == [{"targets": [1, 2, 3], "type": "num-fmt"}]


def test_a_table_to_sort_takes_any_frame_but_not_a_long_one() -> None:
    same = pl.DataFrame(
        {"launch_day": [date(2026, 5, 1)], "Launch day": ["x"], "share": [0.5], "open_rate_low": [0.25]}
    )
    table = tk.tables.interactive(same)
    assert table.df.columns == ["launch_day", "Launch day", "share", "Open rate (recipients), lower bound"]
    assert _cells(table) == [["2026-05-01", "x", "0.50", "25.00%"]]
    with pytest.raises(RequestError, match="20,001 rows cannot be read"):
        tk.tables.interactive(pl.DataFrame({"a": range(20_001)}))


@pytest.mark.parametrize("missing", ["ipywidgets", "itables.widget"])
def test_without_the_extra_a_sentence_says_what_to_install(
    missing: str, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RequestError, match=r"is not installed here; `pip install 'trackkit\[lab\]'` brings it"):
        tk.explore(store)
