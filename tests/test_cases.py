"""Every report, on deliveries that are hard to tell of: it renders, calmly, and says what it cannot know."""

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.notebooks import run, texts
from trackkit.engine.snapshot import Snapshot
from trackkit.report import REPORTS, render
from trackkit.report.header import Header
from trackkit.report.page import Page
from trackkit.store import open_store

CASES = ("everything", "nothing", "all_text", "missing_tables", "no_tracking")
SAID = {
    "everything": "The newest hit known is of",
    "nothing": "The delivery has not been sent",
    "all_text": "All messages are text",
    "missing_tables": "was loaded",
    "no_tracking": "Tracking is missing",
}
# Words of a computer in a page for people.
ODD = re.compile(r"\b(None|nan|NaN|inf|Infinity|datetime|dtype|Traceback)\b")
Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def raw_logs_store(demo_raw: Path, once: Once) -> Path:
    """A store of the raw redirection logs alone."""
    return once("raw_logs_store", lambda folder: open_store(folder).ingest(str(demo_raw / "redir")) and None)


@pytest.fixture(scope="module")
def busiest(demo_store: Path) -> str:
    counts = open_store(demo_store).scan("event").drop_nulls("delivery_id").group_by("delivery_id").len()
    return counts.sort("len", "delivery_id").collect()["delivery_id"][-1]


@pytest.fixture(scope="module")
def cases(demo_store: Path, raw_logs_store: Path, busiest: str) -> dict[str, Snapshot]:
    """The delivery with everything, and what it would be with nothing, in text alone, without tables, without hits."""
    whole = open_store(demo_store).snapshot()
    frames = {name: whole.scan(name).collect().lazy() for name in whole.frames}
    kept = Snapshot(frames, whole.as_of, tuple(whole.loads))
    here = pl.col("delivery_id") == busiest
    own = [name for name in frames if name != "delivery" and "delivery_id" in frames[name].collect_schema()]
    without = {name: frames[name].filter(~here.fill_null(False)) for name in own}
    empty = dict.fromkeys(("targeted", "rejected", "to_deliver", "text_messages", "new_quarantines"), 0)
    unsent = dict.fromkeys(("started_at", "ended_at")) | {"state": 0} | empty
    text = {"text_messages": pl.col("to_deliver")}
    hits = {name: without[name] for name in ("event", "collapsed")}
    opens = frames["event"].filter((here & (pl.col("event_type").cast(pl.String) == "opened")).fill_null(False).not_())
    return {
        "everything": kept,
        "nothing": _with(kept, delivery=_changed(frames["delivery"], here, unsent), **without),
        "all_text": _with(kept, delivery=_changed(frames["delivery"], here, text), event=opens),
        "missing_tables": open_store(raw_logs_store).snapshot(),
        "no_tracking": _with(kept, **hits),
    }


def _with(tables: Snapshot, **frames: pl.LazyFrame) -> Snapshot:
    return Snapshot({**tables.frames, **frames}, tables.as_of, tables.loads)


def _changed(rows: pl.LazyFrame, here: pl.Expr, values: dict[str, object]) -> pl.LazyFrame:
    schema = rows.collect_schema()
    new = {
        name: (value if isinstance(value, pl.Expr) else pl.lit(value)).cast(schema[name])
        for name, value in values.items()
    }
    return rows.with_columns(
        pl.when(here).then(value).otherwise(pl.col(name)).alias(name) for name, value in new.items()
    )


@pytest.mark.parametrize("lang", ["en", "pt_BR"])
@pytest.mark.parametrize("report", sorted(REPORTS))
def test_every_report_tells_calmly_of_every_delivery(
    report: str, lang: str, cases: dict[str, Snapshot], busiest: str
) -> None:
    about = REPORTS[report].scope
    for case in CASES:
        shown = run(report, store=cases[case], delivery=busiest, lang=lang)
        page = next(value for _, value in shown if isinstance(value, Page | Header))
        assert [section for section, _ in shown if section], (case, "no section shows anything")
        for section, value in shown:
            words = re.sub(r"(?s)<style.*?</style>", "", texts(value))
            if value is not page and not hasattr(value, "to_dict"):
                assert not ODD.search(words), (case, section, ODD.search(words))
        header = page.header if isinstance(page, Page) else page
        if lang == "en" and about == "delivery":
            assert SAID[case] in " ".join([*header.notes, *header.remarks]), case


@pytest.mark.parametrize("report", sorted(name for name in REPORTS if REPORTS[name].scope == "platform"))
def test_a_report_on_all_deliveries_renders_on_no_tables_at_all(report: str) -> None:
    assert run(report, store=Snapshot({}))


def test_the_page_of_an_unread_store_is_whole(raw_logs_store: Path, busiest: str, tmp_path: Path) -> None:
    page = render("tracking_indicators", raw_logs_store, tmp_path, delivery=busiest).read_text("utf-8")
    assert "No delivery log was loaded" in page and "Concerned: Figures, Open and click-through rate" in page
    assert page.count("not in the data loaded") > 3
