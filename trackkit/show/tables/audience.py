"""Tables of the audience: names in order of use, each rate over its parts; activity in each slot of a week or day."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, translatable
from trackkit.schema import MAIL_PROXY
from trackkit.show import cells
from trackkit.show.cells import Block, Cell, Labels, OneOf
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.data import DataField, table_data
from trackkit.show.naming import FROZEN, SERIES, Slot, slots_named
from trackkit.show.wording import number, percent, short

__all__ = ["folded_table", "name_table", "reaction_table", "too_short", "undelivered"]

NOTHING, NO_DAY, DATED, NO_HIT = translatable(
    ("nothing to divide by", "no day with a hit", "Total with a date", "There is no such hit in this period.")
)
UNDELIVERED = translatable(
    "Reacted to a message not known as delivered: {count}. Counts of opens and clicks have them, the breakdown has not."
)
TOO_SHORT = translatable("Less than a day is known: hours and weekdays are compared after that.")
PROGRAM, OR_LATER = translatable(("a program, not a person", "or later: browsers do not tell"))
# Software that follows links by itself, by the name that it gives.
_PROGRAM = re.compile(r"(?i)headless|python|requests|curl|wget|bot\b|spider|crawl|okhttp|go-http|java/|apache-http")


def _rate(heading: str, top: str, bottom: str) -> TableColumn:
    return TableColumn(heading, "share", (top, bottom), NOTHING, NOTHING)


def _per_day(heading: str, counted: str) -> TableColumn:
    return TableColumn(heading, "average", (counted, "days"), NO_DAY, NO_DAY)


COLUMNS = {
    "rank": TableColumn("#"),
    "name": TableColumn("Name", "group"),
    "version": TableColumn("Version", "group"),
    "bar": TableColumn("", "bar"),
    "opens": TableColumn("Sum of opens"),
    "share": _rate(translatable("Share of opens"), "opens", "total"),
    "mobile": TableColumn("Opens on mobiles"),
    "mobile_share": _rate(translatable("Share of opens on mobiles"), "mobile", "mobile_total"),
    "computer": TableColumn("Opens on computers"),
    "unknown": TableColumn("Opens on unknown devices"),
    "visitors": TableColumn("Visitors"),
    "pages": TableColumn("Pages viewed"),
    "usage_rate": _rate(translatable("Usage rate"), "visitors", "total"),
    "visitors_per_day": _per_day(translatable("Visitors per day"), "visitors"),
    "pages_per_day": _per_day(translatable("Pages viewed per day"), "pages"),
    "relative_rate": _rate(translatable("Relative rate"), "visitors", "name_visitors"),
    "global_rate": _rate(translatable("Global rate"), "visitors", "total"),
}
REACTIONS = {
    "reaction": TableColumn("Reaction", "group", words=cells.VOCABULARY),
    "recipients": TableColumn("Recipients", why_unknown=cells.NOT_LOADED),
    "hits": TableColumn("Hits"),
    "share": TableColumn("Of those reached", "share", ("recipients", "delivered"), NOTHING, cells.NOT_LOADED),
}
# What a bar is drawn of, by its rate.
BARS = translatable(
    {
        "share": "Of all opens",
        "mobile_share": "Of opens on mobiles",
        "usage_rate": "Of all visitors",
        "relative_rate": "Of the same name",
        "global_rate": "Of all visitors",
    }
)


def reaction_table(
    rows: pl.DataFrame, labels: Annotated[Labels | None, OneOf(REACTIONS)] = None, lang: str = "en"
) -> GT:
    """Show how many recipients reacted in each way, out of those reached.

    In: the frame of `reactions.breakdown` or `reactions.kinds`.

    >>> table = reaction_table(tk.reactions.breakdown(store, delivery))
    >>> [each["label"] for each in table.data["columns"]]
    ['Reaction', 'Recipients', 'Of those reached', 'Delivered']
    """
    return column_table(rows, REACTIONS, [name for name in REACTIONS if name in rows.columns], labels, lang)


def undelivered(kinds: pl.DataFrame, breakdown: pl.DataFrame, lang: str = "en") -> Block | None:
    """Say how many who reacted have a message that is not known as delivered; None if all have one, or it is unknown.

    In: the frames of `reactions.kinds`, which counts them, and of `reactions.breakdown`, which does not.

    >>> undelivered(tk.reactions.kinds(store), tk.reactions.breakdown(store)) is None
    True
    """
    silent, reached = breakdown["recipients"][-2:]
    if silent is None or reached is None or kinds["recipients"][0] == reached - silent:
        return None
    words = {"count": number(kinds["recipients"][0] - reached + silent, lang=lang)}
    return Block(Markup('<p class="tk-after">{}</p>').format(say(UNDELIVERED, lang, **words)))


def name_table(
    rows: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(COLUMNS)],
    labels: Annotated[Labels | None, OneOf(COLUMNS)] = None,
    lang: str = "en",
) -> GT | Block:
    """Show names, versions, or both, in order of use; each rate and average over its numerator / denominator.

    In: the frame of `audience.opens_by`, `usage` or `versions`. `columns` are among theirs; `bar` is drawn from the
    first rate among them; a frame without rows is a sentence. Raises RequestError for a column that is not there.

    >>> table = name_table(tk.audience.usage(store, "browser"), ["rank", "name", "visitors", "usage_rate"])
    >>> [each["label"] for each in table.data["columns"]]
    ['#', 'Name', 'Visitors', 'Usage rate', 'Total']
    """
    drawn = next((name for name in columns if name in COLUMNS and COLUMNS[name].kind == "share"), None)
    words = ({"bar": say(BARS[drawn], lang)} if drawn else {}) | dict(labels or {})
    own = {
        "bar": lambda row: cells.bar(row, drawn, "others" if row["row"] == "others" else "1"),
        "name": lambda row: _name_cell(row, "name", lang),
        "version": lambda row: _version_cell(row, lang),
    }
    table = column_table(rows, COLUMNS, columns, words, lang, own)
    return cells.nothing(NO_HIT, lang) if rows.is_empty() else table


def _name_cell(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    our_word = {"others": cells.OTHERS, "total": cells.TOTAL}.get(row["row"])
    if our_word and (name == "version" or "version" not in row):  # the others of a name's versions, or of all names
        return cells.bold(say(our_word, lang))
    if row[name] is None:
        return say(cells.UNKNOWN, lang)
    shown = short(say(MAIL_PROXY, lang) if row[name] == MAIL_PROXY else row[name], lang=lang)
    return cells.over(shown, say(PROGRAM, lang)) if name == "name" and _PROGRAM.search(row[name]) else shown


def _version_cell(row: Mapping[str, Any], lang: str) -> Cell:
    shown = _name_cell(row, "version", lang)
    is_frozen = row["version"] is not None and FROZEN.get(row["name"]) == row["version"]
    return cells.over(str(shown), say(OR_LATER, lang)) if is_frozen else shown


def too_short(activity: pl.DataFrame, lang: str = "en") -> Block | None:
    """Say that less than a day is known, so that no day can be laid over another; None from a day on, or of nothing.

    In: the frame of `activities.activity_over_time`.

    >>> hours = tk.activities.activity_over_time(store, delivery, "hour")
    >>> too_short(hours) is None  # it lasted more than two days
    True
    """
    first, last = activity.select(first=pl.col("starts_at").min(), last=pl.col("starts_at").max()).row(0)
    if first is None or last - first >= timedelta(days=1):
        return None
    return cells.nothing(TOO_SHORT, lang)


def folded_table(
    folded: pl.DataFrame,
    every: Slot,
    labels: Annotated[Labels | None, OneOf(["when"], SERIES)] = None,
    lang: str = "en",
) -> GT:
    """Show the activity in each slot of a week or a day: one row per slot, one column per series, then the totals.

    In: the frame of `activities.folded_activity`; the totals say why a series cannot be observed.

    >>> table = folded_table(tk.activities.folded_activity(store, delivery, "hour"), "hour")
    >>> [each["label"] for each in table.data["columns"]]
    ['When', 'Sum of opens', 'Cumulated clicks', 'Transactions']
    """
    series = folded["series"].cast(pl.String).unique(maintain_order=True).to_list()
    names = slots_named(folded, every, lang)
    rows: list[dict[str, Cell]] = [
        {"when": names[slot]} | {str(row["series"]): _count_cell(row, lang) for row in of_slot.iter_rows(named=True)}
        for (slot,), of_slot in folded.group_by("slot", maintain_order=True)
    ]
    totals = {row["series"]: row for row in folded.unique("series").iter_rows(named=True)}
    rows.append({"when": cells.bold(say(DATED, lang))} | {name: _total_cell(totals[name], lang) for name in series})
    words = cells.headings(("when", *series), SERIES, labels, lang)
    fields = [DataField("when", words["when"], "text"), *(DataField(name, words[name], "count") for name in series)]
    raw = [
        {"when": names[slot]} | {str(row["series"]): row["count"] for row in of_slot.iter_rows(named=True)}
        for (slot,), of_slot in folded.group_by("slot", maintain_order=True)
    ]
    raw.append({"when": say(DATED, lang)} | {name: totals[name]["total"] for name in series})
    return cells.presented(rows, words, series, table_data("activity", fields, raw))


def _count_cell(row: Mapping[str, Any], lang: str) -> Cell:
    count = number(row["count"], lang=lang)
    if row["share"] is None:
        return count
    share = percent(row["share"], lang=lang, of=row["total"])
    return cells.over(count, f"{share} ({cells.fraction(row['count'], row['total'], lang)})")


def _total_cell(row: Mapping[str, Any], lang: str) -> Cell:
    why = row.get("why series")
    return cells.unavailable(why, lang) if why else number(row["total"], lang=lang)
