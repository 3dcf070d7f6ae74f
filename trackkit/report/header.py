"""The header of a report: what it is about, how far the data goes, and what its figures cannot say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from markupsafe import Markup

from trackkit.analysis.subscriptions import services
from trackkit.definition_sets import QUESTION_LABELS, QUESTIONS, definition_set
from trackkit.engine.deliveries import is_hit, is_set_aside, launches, planned_launch, still_there
from trackkit.engine.plausible import plausible
from trackkit.engine.scope import PERIOD, PLATFORM, Part, Scope, group
from trackkit.engine.selection import ALL
from trackkit.engine.snapshot import Snapshot
from trackkit.language import say, several, translatable
from trackkit.metrics import ADOBE
from trackkit.quality.finding import verdict
from trackkit.report import notes
from trackkit.schema import INSTANT, MESSAGE_TYPES, STATES
from trackkit.show.wording import clipped, instant, moment, number, plain

# The names of facts, translated where the header is made.
translatable(
    ("Delivery", "State", "Channel", "First message", "Last message", "Planned contact", "Messages to deliver")
)
translatable(("Recipient", "Messages prepared", "Deliveries", "First launch", "Last launch", "Hits", "Last hit"))
translatable(("Services", "Acts", "First act", "Last act"))
translatable(("Scope",))
COUNTED_ONCE = translatable(
    "Counted over all of these deliveries together: people count once, messages and recipients once per delivery. "
    "Times after the launch are counted from the launch of each delivery."
)
PART_WORDS = translatable(
    {
        "campaign": "campaign {id}",
        "programme": "programme {id}",
        "folder": "folder {id}, with those in it",
        "only-folder": "folder {id} alone",
    }
)
PEOPLE_ALONE = translatable(
    "Only hits of people count here: also of proxies that fetch when a message is read, but neither of scanners nor of "
    "machines that fetch whether anybody reads or not."
)
UNTOLD_WHO = translatable(  # tables of acts that nobody is told apart in
    {
        "page_hit": "Nothing tells who displayed these pages: the figures are of people and machines.",
        "subscription": "Nothing tells who subscribed or left: the figures are of people and machines.",
    }
)
MIME = "application/vnd.trackkit.header+json"


@dataclass(frozen=True)
class Header:
    """The header of a report; it shows itself in JupyterLab, and travels to the page as data.

    `line` says in a few words what and when, `verdict` what the logs are worth ("" if unknown). `facts` are for the
    foot: how the figures were made. `notes` affect how the figures must be read; `remarks` are background information.
    `about` says what a scope counts, and `members` are its deliveries (id, name, day); `within` is the campaign of a
    delivery: its scope, and what it is called.
    """

    heading: str
    subtitle: str = ""
    line: list[str] = field(default_factory=list)
    verdict: str = ""
    about: str = ""
    members: list[tuple[str, str, str]] = field(default_factory=list)
    within: tuple[str, str] | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    data_through: str = ""
    loads: list[str] = field(default_factory=list)
    version: tuple[int, str] | None = None  # of the store: number and id of its last load
    figures: dict[str, float | None] = field(default_factory=dict)  # those that conditions of paragraphs ask about

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        rows = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*fact) for fact in self.facts)
        items = Markup("").join(Markup("<li>{}</li>").format(note) for note in [*self.notes, *self.remarks])
        html = Markup("<p>{}</p><h1>{}</h1><p>{}</p><dl>{}</dl><ul>{}</ul>").format(
            " · ".join(self.line), self.heading, self.subtitle, rows, items
        )
        return {MIME: asdict(self), "text/html": str(html), "text/plain": self.heading}


def subject_header(
    tables: Snapshot, scope: Scope | None, delivery: str, recipient: str, timezone: str, lang: str
) -> Header:
    """Describe what a report is about: a scope, else a recipient, else a delivery, else the platform."""
    if scope:
        return scope_header(tables, scope, timezone, lang)
    if recipient:
        return recipient_header(tables, recipient, timezone, lang)
    return delivery_header(tables, delivery, timezone, lang) if delivery else platform_header(tables, timezone, lang)


def delivery_header(tables: Snapshot, delivery: str, timezone: str, lang: str = "en") -> Header:
    """Describe a delivery: label, subject, state, dates and size."""
    rows = tables.scan("delivery").filter(pl.col("delivery_id") == delivery).head(1).collect()
    row = rows.row(0, named=True) if rows.height else {}
    label = row.get("label") or row.get("internal_name") or say("Delivery {id}", lang, id=delivery)
    facts = [
        ("Delivery", delivery),
        ("State", _code(row.get("state"), STATES, lang)),
        ("Channel", _code(row.get("message_type"), MESSAGE_TYPES, lang)),
        ("First message", instant(row.get("started_at"), timezone, lang=lang)),
        ("Last message", instant(row.get("ended_at"), timezone, lang=lang)),
        ("Planned contact", "" if row.get("started_at") else instant(row.get("contact_at"), timezone, lang=lang)),
        ("Messages to deliver", "" if row.get("to_deliver") is None else number(row["to_deliver"], lang=lang)),
    ]
    hits = tables.scan("event").filter(pl.col("delivery_id") == delivery)
    line = [
        *_launch(row, timezone, lang),
        _code(row.get("message_type"), MESSAGE_TYPES, lang),
        _code(row.get("state"), STATES, lang).lower(),
        say("delivery {id}", lang, id=delivery),
    ]
    header = _header(tables, label, row.get("subject") or "", line, facts, hits, timezone, lang)
    return replace(header, within=_campaign_of(tables, row.get("campaign_id"), lang))


def _campaign_of(tables: Snapshot, campaign: str | None, lang: str) -> tuple[str, str] | None:
    """The campaign of a delivery: its scope, and what it is called."""
    if not campaign:
        return None
    part = group(tables, "campaign", campaign)
    label = part.label if part.label != campaign else say(PART_WORDS["campaign"], lang, id=campaign)
    return part.text, clipped(label, 120)


def _launch(row: Mapping[str, Any], timezone: str, lang: str) -> list[str]:
    """When a delivery was launched, or is to be."""
    planned = moment(row.get("contact_at"), timezone, lang)
    if row.get("started_at") or not planned:
        return [moment(row.get("started_at"), timezone, lang)]
    return [say("planned for {moment}", lang, moment=planned)]


def recipient_header(tables: Snapshot, recipient: str, timezone: str, lang: str = "en") -> Header:
    """Describe a recipient by id alone: a report carries no address."""
    is_recipient = pl.col("recipient_id") == recipient
    messages, hits = (still_there(tables, tables.scan(name)).filter(is_recipient) for name in ("message", "event"))
    count = messages.select(pl.len()).collect().item()
    facts = [("Recipient", recipient), ("Messages prepared", number(count, lang=lang))]
    line = [several("{count} message prepared", "{count} messages prepared", count, lang)]
    return _header(tables, say("Recipient {id}", lang, id=recipient), "", line, facts, hits, timezone, lang)


def platform_header(tables: Snapshot, timezone: str, lang: str = "en") -> Header:
    """Describe everything in the tables: how many deliveries, and their first and last launch."""
    launched, until = planned_launch(), plausible(tables).last
    is_past = launched <= pl.lit(until, INSTANT) if until else pl.lit(True)  # a planned contact is not a launch
    count, first, last = (
        tables.scan("delivery")
        .filter(~is_set_aside())
        .select(pl.len(), first=launched.filter(is_past).min(), last=launched.filter(is_past).max())
        .collect()
        .row(0)
    )
    facts = [("Deliveries", number(count, lang=lang)), *_launches(first, last, timezone, lang)]
    hits = still_there(tables, tables.scan("event"))
    line = [_period(first, last, timezone, lang)]
    heading = several("{count} delivery", "{count} deliveries", count, lang)
    return _header(tables, heading, "", line, facts, hits, timezone, lang)


def selection_header(tables: Snapshot, chosen: pl.DataFrame, timezone: str, lang: str = "en") -> Header:
    """Describe the deliveries of `several.chosen_deliveries`: how many, and their first and last launch."""
    heading = several("{count} delivery", "{count} deliveries", chosen.height, lang)
    launched = chosen["launched_at"]
    hits = tables.scan("event").filter(pl.col("delivery_id").is_in(chosen["delivery_id"].to_list()))
    facts = _launches(launched.min(), launched.max(), timezone, lang)  # type: ignore[arg-type]
    line = [_period(launched.min(), launched.max(), timezone, lang)]  # type: ignore[arg-type]
    return _header(tables, heading, "", line, facts, hits, timezone, lang)


def scope_header(tables: Snapshot, scope: Scope, timezone: str, lang: str = "en") -> Header:
    """Describe a scope: what it is called, how many deliveries it has and when they were launched, and which ones."""
    chosen = _launched(tables, scope.deliveries)
    first, last = chosen["launched_at"].min(), chosen["launched_at"].max()
    launched = _period(first, last, timezone, lang)  # type: ignore[arg-type]
    heading, line = scope_words(scope, lang)
    line = [words for words in (*line, launched) if words != heading]
    hits = tables.scan("event").filter(pl.col("delivery_id").is_in(list(scope.deliveries)))
    facts = [("Scope", scope.text), *_launches(first, last, timezone, lang)]  # type: ignore[arg-type]
    header = _header(tables, heading, "", line, facts, hits, timezone, lang)
    days = ZoneInfo(timezone)
    members = [
        (name, clipped(label, 120), instant(at.astimezone(days).date(), lang=lang) if at else "")
        for name, label, at in chosen.select("delivery_id", "delivery", "launched_at").iter_rows()
    ]
    return replace(header, about=say(COUNTED_ONCE, lang) if chosen.height > 1 else "", members=members)


def scope_words(scope: Scope, lang: str = "en") -> tuple[str, list[str]]:
    """Return what people call a scope, and in a few words what that is: by its ids, and how many deliveries."""
    count = several("{count} delivery", "{count} deliveries", len(scope.deliveries), lang)
    parts = [words for part in scope.parts if (words := _part_words(part, lang))]
    heading = " · ".join(_part_heading(part, lang) or count for part in scope.parts)
    return heading, [words for words in (*parts, count) if words != heading]


def _launched(tables: Snapshot, deliveries: Sequence[str]) -> pl.DataFrame:
    """Each of some deliveries in their order: `delivery_id`, `delivery` (its name) and `launched_at`."""
    named = pl.coalesce("label", "internal_name", "delivery_id")
    order = pl.LazyFrame({"delivery_id": list(deliveries)}, {"delivery_id": pl.String})
    declared = tables.scan("delivery").unique("delivery_id").select("delivery_id", "label", "internal_name")
    rows = order.join(declared, on="delivery_id", how="left", maintain_order="left")
    dated = rows.join(launches(tables, deliveries).lazy(), on="delivery_id", how="left", maintain_order="left")
    return dated.select("delivery_id", "launched_at", delivery=named).collect()


def _part_words(part: Part, lang: str) -> str:
    """What a part of a scope is by its ids, as in "campaign 12"; nothing where the heading says it."""
    if not part.ids or part.kind not in PART_WORDS:
        return ""
    return say(PART_WORDS[part.kind], lang, id=clipped(", ".join(part.ids), 60))


def _part_heading(part: Part, lang: str) -> str:
    """What people call a part of a scope; nothing for deliveries by their own ids."""
    if part.kind == PLATFORM:
        return say("All deliveries", lang)
    if part.kind != PERIOD:
        return clipped(part.label, 120)
    first, last = (instant(day, lang=lang) if day else "" for day in part.days)
    if first and last:
        return first if first == last else f"{first} – {last}"
    return say("since {day}", lang, day=first) if first else say("until {day}", lang, day=last)


def service_header(tables: Snapshot, service: str, timezone: str, lang: str = "en") -> Header:
    """Describe an information service, or all of them: how many (un)subscriptions, and the first and last."""
    chosen = services(tables, service)
    acts = tables.scan("subscription").filter(pl.col("service_id").is_in(chosen["service_id"].to_list()))
    at = pl.col("occurred_at").filter(plausible(tables, "subscription").holds())
    count, first, last = acts.select(pl.len(), first=at.min(), last=at.max()).collect().row(0)
    shown = [
        ("Services", number(chosen.height, lang=lang)),
        ("Acts", number(count, lang=lang)),
        ("First act", instant(first, timezone, lang=lang)),
        ("Last act", instant(last, timezone, lang=lang)),
    ]
    heading = chosen["service"].item() if service else say("All services", lang)
    facts = [(say(name, lang), value) for name, value in shown if value]
    line = [
        several("history of {count} act", "history of {count} acts", count, lang),
        _period(first, last, timezone, lang),
    ]
    return Header(
        clipped(heading, 300),
        line=[words for words in line if words],
        facts=facts,
        data_through=instant(last, timezone, lang=lang),
        loads=_loads(tables),
        version=_version(tables),
    )


def titled(header: Header, title: str) -> Header:
    """Head a report on many by its own name, as all of them are about the same; what it is about goes into the line."""
    return replace(header, heading=title, line=[header.heading, *header.line])


def with_definitions(header: Header, definitions: str, lang: str) -> Header:
    """Say whose definitions the rates follow, and what these do not define; nothing of the platform's own."""
    if definitions == ADOBE:
        return header
    chosen = definition_set(definitions)
    undefined = [
        say("{question}: {why}.", lang, question=say(QUESTION_LABELS[name], lang), why=say(word.why, lang))
        for name in QUESTIONS
        if (word := chosen.words.get(name)) and word.why
    ]
    first = say("Rates follow the definitions of {sender}, not the platform's.", lang, sender=plain(chosen.label))
    note = " ".join([first, *([say(chosen.about, lang)] if chosen.about else []), *undefined])
    line = [*header.line, say("definitions: {sender}", lang, sender=plain(chosen.label))]
    return replace(header, line=line, notes=[note, *header.notes])


def with_activity(header: Header, activity: str, needs: Collection[str], lang: str) -> Header:
    """Say whose hits count, unless all do, or that nothing tells people apart in what a report counts instead of hits.

    In: the tables that the report reads (`notes.needs`). Others than hits may only say which of these count.
    """
    if activity == ALL:
        return header
    if "event" in needs:
        line = [*header.line, say("people only", lang)]
        return replace(header, line=line, notes=[say(PEOPLE_ALONE, lang), *header.notes])
    untold = [say(UNTOLD_WHO[table], lang) for table in UNTOLD_WHO if table in needs]
    line = [*header.line, say("people and machines", lang)] if untold else header.line
    return replace(header, line=line, notes=[*untold, *header.notes])


def with_limits(
    header: Header, limits: pl.DataFrame, timezone: str, lang: str, quality: pl.DataFrame | None = None
) -> Header:
    """Add the verdict on the logs, what the figures cannot say, and how far the data goes."""
    warnings, remarks = notes.sentences(limits, timezone, lang, quality)
    newest = limits.filter(pl.col("limit") == "age")["at"]
    through = instant(newest.item(), timezone, lang=lang) if newest.len() else ""
    through = through or header.data_through
    found = "" if quality is None else verdict(quality)
    return replace(header, verdict=found, notes=[*header.notes, *warnings], remarks=remarks, data_through=through)


def _header(
    tables: Snapshot,
    heading: str,
    subtitle: str,
    line: list[str],
    facts: list[tuple[str, str]],
    hits: pl.LazyFrame,
    timezone: str,
    lang: str,
) -> Header:
    dated = pl.col("occurred_at").filter(plausible(tables).holds())
    count, last = hits.filter(is_hit()).select(pl.len(), dated.max()).collect().row(0)
    facts = [*facts, ("Hits", number(count, lang=lang)), ("Last hit", instant(last, timezone, lang=lang))]
    return Header(
        heading=clipped(heading, 300),
        subtitle=clipped(subtitle, 500),
        line=[clipped(words, 120) for words in line if words],
        facts=[(say(name, lang), clipped(value, 120)) for name, value in facts if value],
        loads=_loads(tables),
        version=_version(tables),
    )


def _version(tables: Snapshot) -> tuple[int, str] | None:
    last = tables.loads[-1] if len(tables.loads) else {}
    return (last["number"], last["load_id"]) if "number" in last else None


def _loads(tables: Snapshot) -> list[str]:
    return [plain(load.get("load_id", "")) for load in tables.loads if load.get("load_id")][:50]


def _period(first: datetime | None, last: datetime | None, timezone: str, lang: str) -> str:
    """The days from the first to the last of several instants; empty if unknown."""
    days = dict.fromkeys(instant(at.astimezone(ZoneInfo(timezone)).date(), lang=lang) for at in (first, last) if at)
    return " – ".join(days)


def _launches(first: datetime | None, last: datetime | None, timezone: str, lang: str) -> list[tuple[str, str]]:
    return [
        ("First launch", instant(first, timezone, lang=lang)),
        ("Last launch", instant(last, timezone, lang=lang)),
    ]


def _code(code: int | None, words: Mapping[int, str], lang: str) -> str:
    if code is None:
        return ""
    return say(words[code], lang) if code in words else say("code {code}", lang, code=code)
