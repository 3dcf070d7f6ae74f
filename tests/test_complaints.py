"""Complaints by whether the mail domain tells them: worked out by hand."""

from pathlib import Path

import polars as pl
import pytest

import trackkit as tk
from trackkit import schema
from trackkit.analysis.complaints import NOT_SEEN, feedback_loops
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError

# domain, delivered, complaints
SENT = [
    ("gmail.com", 40, 0),
    ("googlemail.com", 10, 0),
    ("yahoo.com", 20, 1),
    ("news.outlook.com", 20, 3),
    ("shop.example", 8, 0),
    (None, 2, 0),
]


def _tables(sent: list[tuple[str | None, int, int]]) -> Snapshot:
    rows = [
        {"delivery_id": "7", "domain": domain, "status": "delivered" if n < delivered else "failed"}
        | {"is_complaint": n >= delivered, "failure_reason": None if n < delivered else 8}
        for domain, delivered, complaints in sent
        for n in range(delivered + complaints)
    ]
    for number, row in enumerate(rows):
        row["message_id"] = str(number)
    return Snapshot({"message": pl.LazyFrame(rows, schema=schema.MESSAGE.schema)})


def test_rates_by_hand() -> None:
    assert tk.complaints.rates(_tables(SENT), "7").rows() == [
        ("group", "told", ["news.outlook.com", "yahoo.com"], 40, 4, 0.1, None),
        ("group", "untold", ["gmail.com", "googlemail.com"], 50, None, None, NOT_SEEN),
        ("group", "unknown", ["shop.example"], 10, 0, 0.0, None),
        ("total", None, None, 100, 4, 0.04, None),
    ]


def test_a_complaint_that_came_all_the_same_counts() -> None:
    rows = tk.complaints.rates(_tables([("gmail.com", 50, 1)]), "7")
    assert rows.filter(feedback="untold").select("delivered", "complaints", "complaint_rate").row(0) == (50, 1, 0.02)


def test_the_table_by_domain_says_what_cannot_be_seen() -> None:
    """A class cannot tell if none of its domains can; a class that is named otherwise is left as it is."""
    tables = _tables([*SENT, ("icloud.com", 5, 1)])
    classed = tk.domains.by_class(tables, "7", 10)
    by_domain = tk.measure(classed, ["complaint_rate"], by="domain", delivery="7")
    found = tk.complaints.seen(by_domain)
    rates = dict(found.select(pl.col("domain").cast(pl.String), "complaint_rate").rows())
    assert rates["Gmail"] is None and rates["iCloud"] == 0.2 and rates["Yahoo!"] == 0.05 and rates["shop.example"] == 0
    assert dict(found.select(pl.col("domain").cast(pl.String), "why complaint_rate").rows())["Gmail"] == NOT_SEEN
    shown = tk.tables.breakdown_table(found, "domain", ["complaint_rate"])._repr_html_()
    assert shown.count(NOT_SEEN) == 1


def test_the_table_of_rates_and_when_there_is_none() -> None:
    shown = tk.tables.sending.complaint_table(tk.complaints.rates(_tables(SENT), "7"))
    assert shown is not None and NOT_SEEN in shown._repr_html_() and "4 of 40" in shown._repr_html_()
    unlisted = tk.complaints.rates(_tables([("shop.example", 8, 1)]), "7")
    assert unlisted["complaint_rate"].to_list() == [0.125, 0.125]
    assert tk.tables.sending.complaint_table(unlisted) is None


def test_where_nothing_is_known_of_complaints() -> None:
    tables = _tables([("yahoo.com", 3, 0)])
    failed = tables.scan("message").with_columns(status=pl.lit("failed"), failure_reason=None)
    both = Snapshot({"message": pl.concat([tables.scan("message"), failed.cast(schema.MESSAGE.schema)])})
    rows = tk.complaints.rates(both, "7")
    assert rows["complaints"].to_list() == [None, None]
    assert set(rows["why complaint_rate"]) == {"why messages failed is not in the data loaded"}
    assert tk.complaints.rates(Snapshot({"delivery": pl.LazyFrame({"delivery_id": ["7"]})}), "7").height == 1


def test_analysts_may_change_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    path = tmp_path / "reports_templates/feedback_loops.toml"
    path.parent.mkdir()
    head = "as_of = 2026-12-01\nsources = []\n"
    path.write_text(f'{head}told = ["shop.example"]\nuntold = ["yahoo.com"]\n')
    assert tk.complaints.rates(_tables(SENT), "7")["feedback"].to_list() == ["told", "untold", "unknown", None]
    path.write_text(f'{head}told = ["shop.example"]\nuntold = ["shop.example"]\n')
    with pytest.raises(RequestError, match=r"'shop.example' is in 'told' and in 'untold'"):
        feedback_loops()
