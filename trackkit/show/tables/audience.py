"""Tables of the audience: names in order of use, each rate over its parts; what happened in each slot of a clock."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, translatable
from trackkit.schema import MAIL_PROXY
from trackkit.show.cells import (
    OTHERS,
    TOTAL,
    UNKNOWN,
    Block,
    Cell,
    Labels,
    OneOf,
    bold,
    fraction,
    headings,
    nothing,
    over,
    presented,
    require,
    unavailable,
)
from trackkit.show.charts.audience import Slot, slots_named
from trackkit.show.charts.canvas import SERIES
from trackkit.show.wording import number, percent, short

WORDS = translatable({
    "rank": "#", "name": "Name", "version": "Version", "bar": "", "opens": "Sum of opens", "share": "Share of opens",
    "mobile": "Opens on mobiles", "mobile_share": "Share of opens on mobiles", "visitors": "Visitors",
    "pages": "Pages viewed", "usage_rate": "Usage rate", "visitors_per_day": "Visitors per day",
    "pages_per_day": "Pages viewed per day", "relative_rate": "Relative rate", "global_rate": "Global rate",
    "computer": "Opens on computers", "unknown": "Opens on unknown devices", "when": "When",
})  # fmt: skip
# Each rate with its numerator and denominator.
RATES = {
    "share": ("opens", "total"), "mobile_share": ("mobile", "mobile_total"), "usage_rate": ("visitors", "total"),
    "relative_rate": ("visitors", "name_visitors"), "global_rate": ("visitors", "total"),
}  # fmt: skip
AVERAGES = {"visitors_per_day": ("visitors", "days"), "pages_per_day": ("pages", "days")}
NOTHING, NO_DAY = translatable(("nothing to divide by", "no day with a hit"))
DATED = translatable("Total with a date")
NO_HIT = translatable("There is no such hit in this period.")


def name_table(
    rows: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(WORDS)],
    labels: Annotated[Labels | None, OneOf(WORDS)] = None,
    lang: str = "en",
) -> GT | Block:
    """Show names, versions, or both, in order of use; each rate and average over its numerator / denominator.

    In: the frame of `audience.opens_by`, `usage` or `versions`. `columns` are among theirs; `bar` is drawn from the
    first rate among them; a frame without rows is a sentence. Raises RequestError for a column that is not there.
    """
    require(columns, [*rows.columns, "bar"])
    if rows.is_empty():
        return nothing(NO_HIT, lang)
    drawn = next((name for name in columns if name in RATES), None)
    cells = [
        {name: _bar(row, drawn) if name == "bar" else _cell(row, name, lang) for name in columns}
        for row in rows.iter_rows(named=True)
    ]
    texts = ("name", "version", "bar")
    right = [name for name in columns if name not in texts]
    return presented(cells, headings(columns, WORDS, labels, lang), right)


def folded_table(
    folded: pl.DataFrame,
    every: Slot,
    labels: Annotated[Labels | None, OneOf(["when"], SERIES)] = None,
    lang: str = "en",
) -> GT:
    """Show what happened in each slot of a clock: one row per slot, one column per series, then the totals.

    In: the frame of `activities.folded_activity`; what cannot be observed says why in the totals.
    """
    series = folded["series"].cast(pl.String).unique(maintain_order=True).to_list()
    names = slots_named(folded, every, lang)
    rows: list[dict[str, Cell]] = [
        {"when": names[slot]} | {str(row["series"]): _counted(row, lang) for row in of_slot.iter_rows(named=True)}
        for (slot,), of_slot in folded.group_by("slot", maintain_order=True)
    ]
    totals = {row["series"]: row for row in folded.unique("series").iter_rows(named=True)}
    rows.append({"when": bold(say(DATED, lang))} | {name: _total(totals[name], lang) for name in series})
    return presented(rows, headings(("when", *series), WORDS | SERIES, labels, lang), right=series)


def _cell(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    if name in RATES or name in AVERAGES:
        return _rate(row, name, lang)
    if name in ("name", "version"):
        return _name(row, name, lang)
    return "" if row[name] is None else number(row[name], lang=lang)


def _rate(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    top, bottom = (RATES | AVERAGES)[name]
    if row[name] is None:
        return unavailable(NO_DAY if bottom == "days" else NOTHING, lang)
    value = percent(row[name], lang=lang) if name in RATES else number(row[name], 2, lang)
    return over(value, fraction(row[top], row[bottom], lang))


def _total(row: Mapping[str, Any], lang: str) -> Cell:
    why = row.get("why series")
    return unavailable(why, lang) if why else number(row["total"], lang=lang)


def _counted(row: Mapping[str, Any], lang: str) -> Cell:
    count = number(row["count"], lang=lang)
    if row["share"] is None:
        return count
    return over(count, f"{percent(row['share'], lang=lang)} ({fraction(row['count'], row['total'], lang)})")


def _name(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    ours = {"others": OTHERS, "total": TOTAL}.get(row["row"])
    if ours and (name == "version" or "version" not in row):  # the others of a name, or of all names
        return bold(say(ours, lang))
    if row[name] is None:
        return say(UNKNOWN, lang)
    return short(say(MAIL_PROXY, lang) if row[name] == MAIL_PROXY else row[name], lang=lang)


def _bar(row: Mapping[str, Any], rate: str | None) -> Markup:
    """A bar of the first rate, as wide as the rate; the total needs none."""
    if rate is None or row[rate] is None or row["row"] == "total":
        return Markup("")
    kind = "others" if row["row"] == "others" else "1"
    width = f"{100 * min(row[rate], 1):.1f}"
    return Markup('<span class="tk-bar"><span class="tk-bar-{}" style="width:{}%"></span></span>').format(kind, width)
