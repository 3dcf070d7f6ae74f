"""Tables of sending: who was left out, what failed and why, and whether the rest will be sent in time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import said, say, several, translatable
from trackkit.schema import FAILURE_REASONS, FAILURE_TYPES
from trackkit.show import cells
from trackkit.show.cells import Block, Cell, Labels, OneOf
from trackkit.show.columns import UNKNOWN_TEXT, TableColumn, column_cells, column_data, column_headings, column_table
from trackkit.show.data import DataField, table_data
from trackkit.show.naming import LAST
from trackkit.show.wording import NOT_AVAILABLE, elapsed, instant, number, percent, precisely, short

__all__ = [
    "ErrorGroup",
    "axes_table",
    "bounce_details",
    "bounce_table",
    "complaint_table",
    "counter_table",
    "exclusion_table",
    "failure_table",
    "pace_figures",
    "status_table",
]

ErrorGroup = Literal["type", "domain"]
NOTHING_FAILED, NONE_PROCESSED, NO_FAILURE = translatable(("nothing failed", "no message processed", "Nothing failed."))
DETAILED = translatable({"type": "Each type, by domain", "domain": "Each domain, by type"})
NO_ONE_REJECTED, NO_TARGET = translatable(("no one rejected", "the initial population is not in the data loaded"))


def _errors(heading: str, parts: tuple[str, str], why_empty: str) -> TableColumn:
    return TableColumn(heading, "share", parts, why_empty, cells.NOT_LOADED)


EXCLUSIONS = {
    "rule": TableColumn("Rule", "group", words=cells.VOCABULARY),
    "recipients": TableColumn("Recipients left out", why_unknown=cells.NOT_LOADED),
    "contribution": _errors(translatable("Of the rejected"), ("recipients", "rejected"), NO_ONE_REJECTED),
    "share": _errors(translatable("Of the target"), ("recipients", "targeted"), NO_TARGET),
}
STATUSES = {
    "status": TableColumn("Status", "group", words=cells.VOCABULARY),
    "messages": TableColumn("Messages", why_unknown=cells.NOT_LOADED),
    "share": _errors(translatable("Of all messages"), ("messages", "of"), translatable("no message")),
}
BOUNCES = {
    "type": TableColumn("Type of error", "group", words=cells.VOCABULARY),
    "domain": TableColumn("Domain", "group", words=cells.VOCABULARY),
    "errors": TableColumn("Errors", why_unknown=cells.NOT_LOADED),
    "contribution": _errors(translatable("Share of errors"), ("errors", "contribution_of"), NOTHING_FAILED),
    "breakdown": _errors(translatable("Share of processed"), ("errors", "breakdown_of"), NONE_PROCESSED),
}
FAILURES = {
    "reason": TableColumn("Reason", "word", words=cells.VOCABULARY, why_unknown=UNKNOWN_TEXT),
    "failure_type": TableColumn("Type in the log", "word", words=cells.VOCABULARY),
    "first_text": TableColumn("First text received", "text", why_unknown=UNKNOWN_TEXT, longest=160),
    "messages": TableColumn("Messages", why_unknown=NOT_AVAILABLE),
    "share": _errors(translatable("Share of errors"), ("messages", "failed"), NOTHING_FAILED),
}
AXES = {
    "cause": TableColumn(
        "Cause",
        "word",
        words=translatable(
            {
                "address": "Address",
                "mailbox": "Mailbox",
                "system": "Receiving system",
                "network": "Network",
                "protocol": "Protocol",
                "content": "Content",
                "policy": "Policy or reputation",
                "unclassified": "Unclassified",
            }
        ),
    ),
    "permanent": TableColumn("Permanent"),
    "persistent_transient": TableColumn("May pass"),
    "unknown": TableColumn("Not told"),
    "share": _errors(translatable("Share of errors"), ("messages", "failed"), NOTHING_FAILED),
    "codes": TableColumn("Codes", "text"),
    "otherwise": TableColumn("The platform says otherwise", "text"),
}
COMPLAINTS = {
    "feedback": TableColumn(
        "Feedback loop",
        "group",
        words=translatable(
            {"told": "The domain has one", "untold": "The domain has none", "unknown": "It is not known"}
        ),
    ),
    "domains": TableColumn("Mail domains", "text"),
    "delivered": TableColumn("Delivered", why_unknown=cells.NOT_LOADED),
    "complaints": TableColumn("Complaints", why_unknown=NOT_AVAILABLE),
    "complaint_rate": _errors(translatable("Complaint rate"), ("complaints", "delivered"), NONE_PROCESSED),
}
COUNTERS = {
    "counter": TableColumn("Counter", "text"),
    "stored": TableColumn("The platform"),
    "ours": TableColumn("Ours", why_unknown=cells.NOT_LOADED),
    "difference": TableColumn("Difference", "change"),
    "relative": TableColumn("Of the platform's", "growth"),
    "why": TableColumn("Likely cause", "text", longest=120),
}
PERMANENCES = ("permanent", "persistent_transient", "unknown")
HOTTEST = 45  # percent of colour, on which text stays legible
MASKED = r":?\s+(\*{3}|#x+#)(\s+(\*{3}|#x+#))*\s*$"  # what a platform has hidden at the end of a text
FIGURES_OF_ERRORS = ("errors", "contribution", "breakdown")
FIGURES = translatable(
    {
        "progress": "Progress",
        "speed": "Average pace, messages per hour",
        "per_day": "Average pace, messages per day",
        "per_month": "Average pace, messages per month",
        "per_year": "Average pace, messages per year",
        "busiest": "Busiest hour, messages",
        "pending": "Messages pending",
        "ends": "Projected end",
    }
)
SLOWER = {"per_day": 24, "per_month": 730.5, "per_year": 8_766}  # hours
OUTLOOKS = translatable(
    {
        "not started": "The sending has not started.",
        "over": "The sending is over.",
        "stopped": "The sending is over; {pending} messages are still pending.",
        "paused": "The delivery is paused: nothing is projected. At the pace so far the rest would need {needed}.",
        "in time": "At the pace so far the last message goes out {margin} before the deadline of {deadline}.",
        "late": "At the pace so far the last message goes out {margin} after the deadline of {deadline}.",
        "overdue": "Nothing is projected: the deadline of {deadline} had passed when the data was loaded.",
        "behind": "At the pace so far the last message would have gone out before the data was loaded, and {pending} "
        "are still pending: the sending has slowed down, or what is known of it is old.",
        "no deadline": "At the pace so far the rest needs {needed}; the deadline is not in the data loaded.",
        "no pace": "{pending} messages are pending; none was dated as sent yet, so that there is no pace to project.",
        "done": "No message is pending.",
        "unknown": "What became of the messages is not in the data loaded.",
    }
)
UNKNOWN = OUTLOOKS["unknown"]
TEN = 10  # a pace below has decimals
NO_PACE, NONE_TO_DELIVER = translatable(("too few messages are dated", "no message to deliver"))


def exclusion_table(
    exclusions: pl.DataFrame, labels: Annotated[Labels | None, OneOf(EXCLUSIONS)] = None, lang: str = "en"
) -> GT:
    """Show who was left out at analysis, by rule, with the shares of the rejected and of the target.

    In: the frame of `sending.exclusions`.

    >>> table = exclusion_table(tk.sending.exclusions(store, delivery))
    >>> [each["label"] for each in table.data["columns"]]
    ['Rule', 'Recipients left out', 'Of the rejected', 'Rejected', 'Of the target', 'Targeted']
    """
    no_target = pl.when(pl.col("recipients").is_not_null(), pl.col("targeted").is_null()).then(pl.lit(NO_TARGET))
    return column_table(
        exclusions.with_columns(no_target.alias("why share")), EXCLUSIONS, list(EXCLUSIONS), labels, lang
    )


def status_table(
    statuses: pl.DataFrame, labels: Annotated[Labels | None, OneOf(STATUSES)] = None, lang: str = "en"
) -> GT:
    """Show how many messages have each status, and the total that they add up to.

    In: the frame of `messages.statuses`.

    >>> table = status_table(tk.messages.statuses(store, delivery))
    >>> [each["label"] for each in table.data["columns"]]
    ['Status', 'Messages', 'Of all messages', 'Of']
    """
    return column_table(statuses, STATUSES, list(STATUSES), labels, lang)


def bounce_table(
    bounces: pl.DataFrame,
    by: ErrorGroup = "type",
    labels: Annotated[Labels | None, OneOf(BOUNCES)] = None,
    lang: str = "en",
) -> GT:
    """Show failed messages by type or by domain: errors, their share of all errors and of the messages processed.

    In: the frame of `bounces.bounces(..., by)`; its details are for `bounce_details`.

    >>> table = bounce_table(tk.bounces.bounces(store))
    >>> [each["label"] for each in table.data["columns"]]
    ['Type of error', 'Errors', 'Share of errors', 'Contribution of', 'Share of processed', 'Breakdown of']
    """
    rows = in_order(bounces.filter(pl.col("row") != "detail"), by)
    return column_table(rows, BOUNCES, [by, *FIGURES_OF_ERRORS], labels, lang)


def in_order(bounces: pl.DataFrame, by: ErrorGroup) -> pl.DataFrame:
    """Return the groups as they are drawn: types by their share of the errors, domains by their rate, "Other" last."""
    is_group = pl.col("row").cast(pl.String) == "group"
    is_rest = pl.col(by).cast(pl.String).is_in(LAST).fill_null(False)
    share = pl.when(is_group).then("breakdown" if by == "domain" else "contribution")
    return bounces.sort(
        ~is_group, is_rest, share, descending=[False, False, True], nulls_last=True, maintain_order=True
    )


def bounce_details(
    bounces: pl.DataFrame,
    by: ErrorGroup = "type",
    labels: Annotated[Labels | None, OneOf(BOUNCES)] = None,
    lang: str = "en",
) -> Block:
    """Show each type by domain, or each domain by type: a list that unfolds, of groups with failures that do too.

    In: the frame of `bounces.bounces(..., by)`.

    >>> "User unknown" in bounce_details(tk.bounces.bounces(store)).html
    True
    """
    inner = "domain" if by == "type" else "type"
    named = bounces.filter(pl.col("row") == "detail")
    groups = in_order(bounces.filter(pl.col("row") != "detail"), by)[by].to_list()
    place = pl.col(by).map_elements(lambda name: groups.index(name) if name in groups else len(groups), pl.Int64)
    details = named.sort(place, maintain_order=True, nulls_last=True).partition_by(by, maintain_order=True)
    parts = [_detail(rows, by, inner, labels, lang) for rows in details]
    data = _detail_data(bounces.filter(pl.col("row") == "detail"), (by, inner), labels, lang)
    is_known = bounces.filter(pl.col("row") == "total")["errors"].null_count() == 0
    if not parts:
        return cells.nothing(NO_FAILURE if is_known else UNKNOWN, lang)
    folded = Markup('<details class="tk-details"><summary>{}</summary>{}</details>')
    return Block(folded.format(say(DETAILED[by], lang), Markup("").join(parts)), data)


def _detail_data(rows: pl.DataFrame, groups: Sequence[str], labels: Labels | None, lang: str) -> dict[str, Any]:
    chosen = [*groups, *FIGURES_OF_ERRORS]
    words = column_headings(BOUNCES, chosen, labels, lang)
    return column_data(rows, BOUNCES, chosen, words, lang, column_cells(rows, BOUNCES, chosen, words, lang))


def _detail(rows: pl.DataFrame, by: str, inner: str, labels: Labels | None, lang: str) -> Markup:
    """One group that unfolds; its table has no style of its own, since a page holds many."""
    name = short(cells.spoken(rows[by][0], lang))
    count = several("{count} error", "{count} errors", int(rows["errors"].sum()), lang)
    chosen = [inner, *FIGURES_OF_ERRORS]
    words = column_headings(BOUNCES, chosen, labels, lang)
    table = _behind(column_cells(rows, BOUNCES, chosen, words, lang), chosen, words)
    return Markup("<details><summary><span>{}</span> {}</summary>{}</details>").format(name, count, table)


def _behind(rows: Sequence[Mapping[str, Cell]], chosen: Sequence[str], words: Labels) -> Markup:
    """A table of cells behind a fold."""
    head = Markup("").join(
        Markup('<th scope="col" class="{}">{}</th>').format(column, words[column]) for column in chosen
    )
    cell = Markup('<td class="{}">{}</td>')
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(cell.format(column, row[column]) for column in chosen))
        for row in rows
    )
    return Markup('<table class="behind"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(head, body)


def failure_table(
    failures: pl.DataFrame, labels: Annotated[Labels | None, OneOf(FAILURES)] = None, lang: str = "en"
) -> GT | Block:
    """Show the mail servers' texts of the failures, the most frequent first, without what was masked at their ends.

    In: the frame of `bounces.failures`.

    >>> table = failure_table(tk.bounces.failures(store))
    >>> [each["label"] for each in table.data["columns"]]
    ['Reason', 'Type in the log', 'First text received', 'Messages', 'Share of errors', 'Failed']
    """
    if not failures["messages"].count():
        return cells.nothing(UNKNOWN if failures.height else NO_FAILURE, lang)
    text = pl.col("first_text").cast(pl.String).str.replace(MASKED, " …")
    types = pl.col("failure_type").replace_strict(FAILURE_TYPES, default=None, return_dtype=pl.String)
    return column_table(failures.with_columns(types, text), FAILURES, list(FAILURES), labels, lang)


def complaint_table(
    rates: pl.DataFrame, labels: Annotated[Labels | None, OneOf(COMPLAINTS)] = None, lang: str = "en"
) -> GT | None:
    """Show complaints by whether the mail domain tells them; None if it is unknown of all domains.

    In: the frame of `complaints.rates`.

    >>> complaint_table(tk.complaints.rates(store)) is None  # nothing was complained about, or told
    True
    """
    if not rates["feedback"].cast(pl.String).is_in(["told", "untold"]).any():
        return None
    rows = rates.with_columns(pl.col("row", "feedback").cast(pl.String), domains=pl.col("domains").list.join(", "))
    return column_table(rows, COMPLAINTS, list(COMPLAINTS), labels, lang)


def counter_table(
    compared: pl.DataFrame, labels: Annotated[Labels | None, OneOf(COUNTERS)] = None, lang: str = "en"
) -> Block | None:
    """Show the platform's counters beside ours, those that differ first, behind a fold; None without any.

    In: the frame of `counters.compare`.

    >>> counter_table(tk.counters.compare(store)) is None  # the demo brings no counters
    True
    """
    if compared.is_empty():
        return None
    chosen = list(COUNTERS)
    words = column_headings(COUNTERS, chosen, labels, lang)
    why = [say(text, lang) if text else None for text in compared["why"]]
    rows = compared.with_columns(pl.Series("why", why, pl.String)).sort("differs", descending=True, maintain_order=True)
    own = {name: partial(_counted, name=name, lang=lang) for name in ("stored", "ours", "difference", "relative")}
    figures = column_cells(rows, COUNTERS, chosen, words, lang, own | {"counter": partial(_counter, lang=lang)})
    data = column_data(rows, COUNTERS, chosen, words, lang, figures)
    fold = Markup("<details><summary>{}</summary>{}</details>")
    head = several("{count} counter", "{count} counters", rows.height, lang)
    return Block(fold.format(head, _behind(figures, chosen, words)), data)


def _counter(row: Mapping[str, Any], lang: str) -> Cell:
    """What is counted, and the platform's name for it."""
    reason = FAILURE_REASONS.get(row["reason"])
    counted = cells.label_of(row["metric"], lang) if reason is None else say(reason, lang)
    return cells.over(counted, row["column"])


def _counted(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    if row[name] is None:
        return cells.unavailable(cells.NOT_LOADED, lang) if name == "ours" else ""
    if name == "relative":
        shown = percent(row[name], lang=lang, of=row["stored"])
    else:
        shown = number(row[name], 2 if row["counter"] == "amount" else 0, lang)
    return f"+{shown}" if name in ("difference", "relative") and row[name] > 0 else shown


def axes_table(
    axes: pl.DataFrame, labels: Annotated[Labels | None, OneOf(AXES)] = None, lang: str = "en"
) -> GT | Block:
    """Show failed messages by cause and permanence, the warmer the more, with their codes and the platform's reasons.

    In: the frame of `bounces.axes`. The causes with most messages come first, those unclassified last.

    >>> table = axes_table(tk.bounces.axes(store))
    >>> [each["label"] for each in table.data["columns"]]
    ['Cause', 'Permanent', 'May pass', 'Not told', 'Share of errors', 'Messages', 'Failed', 'Codes']
    """
    if not axes["messages"].count():
        return cells.nothing(UNKNOWN if axes.height else NO_FAILURE, lang)
    rows = _by_cause(axes, lang)
    most = rows.select(pl.max_horizontal(pl.col(PERMANENCES).max())).item()
    own = {name: partial(_heated, name=name, most=most, lang=lang) for name in PERMANENCES}
    chosen = [name for name in AXES if name != "otherwise" or rows["otherwise"].count()]
    return column_table(rows, AXES, chosen, labels, lang, own=own)


def _by_cause(axes: pl.DataFrame, lang: str) -> pl.DataFrame:
    """One row per cause: messages of each permanence, their codes, and what the platform says otherwise."""
    messages = pl.col("messages")
    counts = {name: messages.filter(pl.col("permanence") == name).sum() for name in PERMANENCES}
    words = pl.col("platform").explode(empty_as_null=False).unique(maintain_order=True)
    rows = axes.group_by("cause", maintain_order=True).agg(
        messages.sum(),
        pl.col("failed").first(),
        pl.col("disagree").sum(),
        pl.col("codes").explode(empty_as_null=False),
        words.alias("platform"),
        **counts,
    )
    otherwise = [
        f"{number(count, lang=lang)}: {', '.join(say(name, lang) for name in names)}" if count else None
        for count, names in rows.select("disagree", "platform").rows()
    ]
    is_last = pl.col("cause") == "unclassified"
    return rows.with_columns(
        pl.col("codes").list.join(", "),
        pl.Series("otherwise", otherwise, pl.String),
        share=pl.col("messages") / pl.col("failed"),
        cause=pl.col("cause").cast(pl.String),
    ).sort(is_last, "messages", descending=[False, True], maintain_order=True)


def _heated(row: Mapping[str, Any], name: str, most: int, lang: str) -> Cell:
    if not row[name]:
        return ""
    heat = round(HOTTEST * row[name] / most)
    return Markup('<span class="tk-heat" style="--heat:{}%">{}</span>').format(heat, number(row[name], lang=lang))


def pace_figures(
    pace: pl.DataFrame,
    timezone: str = "UTC",
    labels: Annotated[Labels | None, OneOf(FIGURES)] = None,
    lang: str = "en",
    without: Annotated[Sequence[str], OneOf(FIGURES)] = (),
) -> Block:
    """Show the progress and pace of a delivery, its projected end, and in a sentence whether that is in time.

    In: the frame of `sending.pace`. Figures named in `without` are left out.

    >>> pace_figures(tk.sending.pace(store, delivery)).html.striptags()[:20]
    'The sending is over.'
    """
    row = pace.row(0, named=True)
    words = said(FIGURES, lang) | dict(labels or {})
    figures = _figures(row, timezone, lang)
    tiles = [_tile(words[name], value, beneath) for name, (value, beneath) in figures.items() if name not in without]
    sentence = Markup('<p class="{}">{}</p>').format(_css_class(row), _outlook(row, timezone, lang))
    data = _pace_data(row, words, lang)
    return Block(sentence + Markup('<div class="tk-figures">{}</div>').format(Markup("").join(tiles)), data)


def _pace_data(row: Mapping[str, Any], words: Labels, lang: str) -> dict[str, Any]:
    """One row: how much is processed of how much, the pace, what is pending and when it ends."""
    fields = [
        DataField("processed", say("Processed", lang), "count"),
        DataField("to_deliver", cells.label_of("to_deliver", lang), "count"),
        DataField("messages_per_hour", words["speed"], "average"),
        DataField("busiest_hour", words["busiest"], "count"),
        DataField("pending", words["pending"], "count"),
        DataField("ends_at", words["ends"], "instant"),
    ]
    return table_data("pace", fields, [row])


def _figures(row: Mapping[str, Any], timezone: str, lang: str) -> dict[str, tuple[Cell, str]]:
    """The figures and the text beneath each, by name: only those that exist in this phase."""
    share = row["processed"] / row["to_deliver"] if row["processed"] is not None and row["to_deliver"] else None
    since = row["last_at"] - row["started_at"] if row["last_at"] and row["started_at"] else None
    pace_basis = "" if since is None else _pace_basis(row["sent"] or 0, since, lang)
    needed = _time_needed(row, timezone, lang)
    parts = cells.fraction(row["processed"], row["to_deliver"], lang)
    why_no_share = NONE_TO_DELIVER if row["to_deliver"] == 0 else cells.NOT_LOADED
    why_no_pace = cells.NOT_LOADED if row["sent"] is None else NO_PACE
    pace, speed = _pace(row["messages_per_hour"], lang)
    figures: dict[str, tuple[Cell, str]] = {
        "progress": (
            percent(share, lang=lang, of=row["to_deliver"]),
            say(why_no_share, lang) if share is None else parts,
        ),
        pace: (speed, pace_basis if row["messages_per_hour"] else say(why_no_pace, lang)),
        "busiest": (number(row["busiest_hour"], lang=lang), "" if row["busiest_hour"] else say(why_no_pace, lang)),
        "pending": (
            number(row["pending"], lang=lang),
            say(cells.NOT_LOADED, lang) if row["pending"] is None else needed,
        ),
    }
    if since is not None and since < timedelta(hours=1):
        del figures["busiest"]  # it is all that went out
    if row["ends_at"] is not None:
        deadline = instant(row["validity_at"], timezone, lang=lang)
        beneath = say("deadline {deadline}", lang, deadline=deadline) if deadline else ""
        when = Markup('<span class="tk-when">{}</span>').format(instant(row["ends_at"], timezone, lang=lang))
        figures["ends"] = (when, beneath)
    return figures


def _pace(an_hour: float | None, lang: str) -> tuple[str, str]:
    """The name and value of a pace: per hour, or per longer period if less than one message an hour goes out."""
    if not an_hour or an_hour >= 1:
        return "speed", number(an_hour, lang=lang)
    name = next((name for name, hours in SLOWER.items() if an_hour * hours >= 1), "per_year")
    value = an_hour * SLOWER[name]
    return name, number(value, 0 if value >= TEN else 1 if value >= 1 else 2, lang)


def _pace_basis(messages: int, since: timedelta, lang: str) -> str:
    spent = precisely(since, lang)
    return several("{count} message in {spent}", "{count} messages in {spent}", messages, lang, spent=spent)


def _time_needed(row: Mapping[str, Any], timezone: str, lang: str) -> str:
    """How long the rest takes; when nothing has gone out for long, since when."""
    if row["hours_needed"] is None:
        return ""
    if row["outlook"] in ("overdue", "behind"):
        return say("none went out since {when}", lang, when=instant(row["last_at"], timezone, lang=lang))
    return say("{needed} at this pace", lang, needed=_duration(row["hours_needed"], lang))


def _tile(name: str, value: Cell, beneath: str) -> Markup:
    tile = (
        '<div class="tk-figure"><span class="tk-name">{}</span><strong>{}</strong><span class="tk-of">{}</span></div>'
    )
    return Markup(tile).format(name, value, beneath)


def _duration(hours: float, lang: str) -> str:
    return elapsed(timedelta(hours=min(hours, 1e8)), lang)


def _outlook_key(row: Mapping[str, Any]) -> str:
    """The key of OUTLOOKS for the state of the delivery."""
    phase: str = row["phase"]
    if phase in ("over", "not started"):
        return "stopped" if phase == "over" and row["pending"] else phase
    if row["pending"] is None:
        return "unknown"
    if not row["pending"]:
        return "done"
    outlook: str = row["outlook"] or "no deadline"
    if outlook in ("overdue", "behind"):
        return outlook
    if row["hours_needed"] is None:
        return "no pace"
    return "paused" if phase == "paused" else outlook


def _outlook(row: Mapping[str, Any], timezone: str, lang: str) -> str:
    ends, deadline = row["ends_at"], row["validity_at"]
    margin: Sequence[datetime] = sorted([ends, deadline]) if ends and deadline else ()
    return say(
        OUTLOOKS[_outlook_key(row)],
        lang,
        pending=number(row["pending"], lang=lang),
        needed="" if row["hours_needed"] is None else _duration(row["hours_needed"], lang),
        deadline=instant(deadline, timezone, lang=lang),
        margin=elapsed(margin[1] - margin[0], lang) if margin else "",
    )


def _css_class(row: Mapping[str, Any]) -> str:
    return "note" if _outlook_key(row) in ("late", "overdue", "behind", "stopped") else "words"
