"""Retention and forgetting: the periods of a file, counts that are kept, pages to delete.

The store removes the rows; this module adds what it does not know: figures, and the reports made from them.
"""

import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from html import unescape
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import Field, StringConstraints

from trackkit import toml
from trackkit.clock import Asked, day, moment
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.metrics import METRICS, PURCHASES, Ratio, money_of
from trackkit.report import slug
from trackkit.runs.due import withdraw
from trackkit.store import open_store
from trackkit.store.forget import ForgetReport
from trackkit.store.pseudonyms import Pseudonyms
from trackkit.toml import Strict

FOR_EVER = "keep"
_UNITS = {"day": "d", "week": "w", "month": "mo", "year": "y"}
Period = Annotated[
    str,
    StringConstraints(pattern=r"^(keep|[1-9]\d{0,4} (day|week|month|year)s?)$"),
    Field(description="a period; say '6 months', '30 days', '1 year' or 'keep'"),
]
NAMING = ("recipient_tracking", "delivery_tracking", "message_list")  # reports that show recipients' ids
COMING_BACK = (
    "Files that were loaded are not read again, but a new export or a database that still holds them would bring them "
    "back: remove them there first, or repeat this after the next load."
)


class _Periods(Strict):
    """How long the rows of each table are kept."""

    message: Period | None = None
    exclusion: Period | None = None
    event: Period | None = None
    page_hit: Period | None = None
    quarantine: Period | None = None
    subscription: Period | None = None
    delivery: Period | None = None


class _Retention(Strict):
    """A file of retention periods."""

    periods: _Periods = Field(_Periods(), description="a section: [periods], and below it a line event = '1 year'")


# A page, or a failed notebook, about several deliveries; and each of those in its header.
_SCOPE = re.compile(r'<meta name="trackkit:scope" content="[^"]|^ *"scope = \\"[^\\]', re.MULTILINE)
_MEMBER = re.compile(r'<a data-report="overview" data-delivery="([^"]*)"')
PERIODS = tuple(_Periods.model_fields)


def forget(
    store: str | os.PathLike[str],
    before: Asked | None = None,
    recipient: str | None = None,
    address: str | None = None,
    retention: str | os.PathLike[str] | None = None,
    as_of: Asked | None = None,
    keep_counts: bool = False,
    out: Sequence[str | os.PathLike[str]] = (),
    dry_run: bool = False,
    pseudonyms: Pseudonyms | None = None,
) -> ForgetReport:
    """Remove rows before a date or an instant, rows older than the periods of a file, or one person; return a report.

    Give one of `before`, `retention`, or `recipient` and/or `address`. `as_of` is the day that periods are counted back
    from, by default today; days are the platform's. `keep_counts` keeps the counts of finished deliveries that lose
    rows, for `measure`. `out` are folders of reports: pages of deliveries that lose rows by date, and those that name
    the person, are deleted, so that a run renders them again. In a store of pseudonyms, `pseudonyms` finds an address.
    A dry run removes nothing. Raises RequestError for an unreadable date, file or period, or a missing store or folder.
    """
    is_person = bool(recipient or address)
    if [before is not None, retention is not None, is_person].count(True) != 1:
        raise RequestError("Say what to forget: a date, a file of retention periods, or a recipient (id or address).")
    if keep_counts and is_person:
        raise RequestError("Counts are kept where rows go by date; without one person, what is left is counted.")
    if as_of is not None and retention is None:
        raise RequestError("--as-of is the day that periods are counted back from: it goes with --retention.")
    cuts, zone = None, open_store(store).timezone
    if retention is not None:
        cuts = cuts_of(retention, day(datetime.now(UTC) if as_of is None else as_of, zone, "--as-of"), zone)
    elif before is not None:
        cuts = dict.fromkeys(PERIODS[:-1], moment(before, zone, "--before").astimezone(UTC))
    folders = [_folder(place) for place in out]
    stored_address = pseudonyms.of(address) if pseudonyms and address else address
    report = open_store(store).forget(cuts, recipient, stored_address, counts if keep_counts else None, dry_run)
    for folder in folders:
        report.pages += withdraw(store, folder, lambda path, text: _is_concerned(report, path, text), dry_run)
    if is_person:
        report.notes.append(COMING_BACK)
    return report


def cuts_of(path: str | os.PathLike[str], as_of: Asked, timezone: str = "UTC") -> dict[str, datetime]:
    """Return, by table, the instant before which a file of periods removes rows; tables kept for ever are left out.

    Raises RequestError naming file, section, key and the nearest valid word.
    """
    periods = toml.read(Path(path), _Retention).periods
    today = day(as_of, timezone, "--as-of")
    limited = {table: period for table, period in periods if period not in (None, FOR_EVER)}
    return {table: _cut(f"{path}, key 'periods.{table}'", period, today, timezone) for table, period in limited.items()}


def check(folder: Path | None = None) -> list[toml.Problem]:
    """Return the problems of `retention.toml` in a folder (by default the working folder), if it exists."""
    path = Path(folder or "", "retention.toml")
    return toml.parse(path, _Retention)[1] if path.exists() else []


def counts(tables: Snapshot, deliveries: list[str]) -> pl.DataFrame:
    """Measure every count of some deliveries: (delivery_id, metric, value, currency), without unknown ones."""
    names = [name for name, metric in METRICS.items() if not isinstance(metric.formula, Ratio)]
    measured = measure(tables, names, delivery=deliveries)
    columns = measured.select("delivery_id", pl.col(names).cast(pl.Float64))
    values = columns.unpivot(index="delivery_id", variable_name="metric").drop_nulls("value")
    amounts = measure(tables, PURCHASES, ["delivery_id", "currency"], deliveries).drop_nulls("currency")
    paid = amounts.filter(pl.sum_horizontal(PURCHASES) > 0)
    currencies = paid.group_by("delivery_id").agg(pl.col("currency").first())
    is_money = pl.col("metric").is_in(money_of(names))
    return values.join(currencies, on="delivery_id", how="left").with_columns(pl.when(is_money).then("currency"))


def _cut(place: str, period: str, as_of: date, timezone: str) -> datetime:
    number, unit = period.removesuffix("s").split()
    try:
        cut = pl.select(pl.lit(as_of).dt.offset_by(f"-{number}{_UNITS[unit]}")).item()
    except (ValueError, pl.exceptions.PolarsError):  # before the year 1
        raise RequestError(f"{place}: {period!r} leads before all dates; say 'keep'.") from None
    return moment(cut, timezone, "--as-of").astimezone(UTC)


def _folder(place: str | os.PathLike[str]) -> Path:
    folder = Path(place)
    if not folder.is_dir():
        raise RequestError(f"There is no folder of reports {str(place)!r}.")
    return folder


def _is_concerned(report: ForgetReport, path: Path, text: str) -> bool:
    """Whether a page shows removed data: it names the person, or is about a delivery that lost rows by date."""
    if report.person is None:
        if _SCOPE.search(text):
            named = {unescape(name) for name in _MEMBER.findall(text)}
            return path.suffix != ".html" or not named.isdisjoint(report.deliveries)
        match = re.fullmatch(r"[^-]+-(.+)-[0-9a-f]{8}(?:\.failed)?", path.stem)
        parts = match[1].split("-") if match else []
        slugs = {"-".join(parts[:end]) for end in range(1, len(parts) + 1)}
        return not slugs.isdisjoint(map(slug, report.deliveries))
    shown = text + unescape(text)
    names_people = path.suffix != ".html" or path.name.startswith(NAMING)
    return report.person.names_address(shown) or (names_people and report.person.names_id(shown))
