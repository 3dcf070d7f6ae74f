"""What a report notebook opens first: the tables, the analyst's template, and the header of the report.

The header says what the report is about, how far the data goes, and what its figures cannot say.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, TypeGuard
from zoneinfo import ZoneInfo

import polars as pl
from markupsafe import Markup

from trackkit import resources
from trackkit.analysis import caveats
from trackkit.analysis.provenance import Provenance, provenance
from trackkit.analysis.several import chosen_deliveries, not_chosen
from trackkit.analysis.subscriptions import services
from trackkit.analysis.unseen import Kinds, observed, unseen
from trackkit.definition_sets import QUESTION_LABELS, QUESTIONS, SETS, definition_set
from trackkit.engine.deliveries import (
    is_hit,
    is_set_aside,
    number_hint,
    of_deliveries,
    require_delivery,
    still_there,
    zone_of,
)
from trackkit.engine.measure import measure
from trackkit.engine.plausible import EARLIEST, plausible
from trackkit.engine.scope import PERIOD, PLATFORM, Part, Scope, group, resolve
from trackkit.engine.snapshot import Measurable, Snapshot
from trackkit.errors import RequestError
from trackkit.language import say, several, translatable
from trackkit.metrics import ADOBE, METRICS, bounds_of
from trackkit.own_metrics import of_project
from trackkit.quality.finding import verdict
from trackkit.report import notebook, notes
from trackkit.report.common import common, headline
from trackkit.report.template import Section, Template, by_definitions, template
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
MIME = "application/vnd.trackkit.header+json"
LONGEST_CURRENCY = 12  # letters: a code, or what an amount says instead


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


@dataclass(frozen=True)
class Page:
    """An opened report: its tables, and `page["links"]`, a section of the template; it shows itself as the header."""

    tables: Snapshot
    template: Template
    header: Header
    delivery: str | None
    recipient: str | None
    timezone: str  # the requested one, else the platform's
    deliveries: tuple[str, ...] = ()  # those of a report on several
    lang: str = "en"
    usual: pl.DataFrame | None = None  # the headline figures, if they were handed to this process
    scope: Scope | None = None  # of a report on several
    currency: str = ""  # that of all amounts; empty without amounts, and where they are in several

    def __getitem__(self, name: str) -> Section:
        """Return what the analyst chose for a section; RequestError when the template does not list it."""
        return self.template[name]

    def varying(self, columns: Sequence[str]) -> list[str]:
        """Return the columns of a log without those that the page has in its header: its recipient, its delivery."""
        known = {"recipient_id": self.recipient, "document": self.delivery}
        return [name for name in columns if not known.get(name)] or list(columns)

    @property
    def chosen(self) -> str | list[str] | None:
        """What questions of the page are asked about: its delivery, several by their ids, None for the platform."""
        if self.delivery or self.scope is None:
            return self.delivery or list(self.deliveries) or None
        return self.scope.chosen

    @cached_property
    def unseen(self) -> dict[str, Kinds]:
        """What cannot be observed of each delivery of the page, and why: `analysis.unseen`."""
        chosen = self.chosen
        if chosen is None and self.scope is None:  # of a recipient, or of all by their own choice
            return {}
        return unseen(self.tables, [chosen] if isinstance(chosen, str) else chosen)

    def observed(self, figures: pl.DataFrame) -> pl.DataFrame:
        """Return figures of the page; those that cannot be observed are null, with the reason beside them."""
        return observed(figures, self.unseen)

    def measure(self, metrics: Sequence[str], by: str = "", tables: Measurable | None = None) -> pl.DataFrame:
        """Return metrics of the page, `observed` and with the template's intervals: one row, or one for each of `by`.

        Those of all its deliveries are measured together; `tables` are its own, or others, such as `domains.by_class`.
        """
        groups = [by] if by else ["delivery_id"] if self.delivery else []
        read = self.tables if tables is None else tables
        return self.observed(measure(read, metrics, groups, self.chosen, interval=self.interval))

    @property
    def interval(self) -> float | None:
        """The confidence of the intervals that the analyst wants shown, for `measure`; None for no intervals."""
        return self.template.interval

    def headline(self, metrics: Sequence[str]) -> pl.DataFrame:
        """Return metrics of the delivery beside the usual ones, or the totals of several, as `analysis.usual` does.

        With the template's `interval`, also `low` and `high`, the bounds of the rates that have some.
        """
        rates = [name for name in metrics if METRICS[name].interval] if self.interval else []
        figures = self._headline(metrics)
        if not rates:
            return figures
        bounded = figures.join(self._bounds(rates), on="metric", how="left", maintain_order="left")
        return bounded.with_columns(pl.when(pl.col("value").is_not_null()).then(pl.col("low", "high")))

    def _bounds(self, rates: Sequence[str]) -> pl.DataFrame:
        row = measure(self.tables, rates, by=[], delivery=self.chosen, interval=self.interval).row(0, named=True)
        bounds = [[row[name] for name in bounds_of(rate)] for rate in rates]
        columns = {"metric": pl.String(), "low": pl.Float64(), "high": pl.Float64()}
        return pl.DataFrame([(rate, *pair) for rate, pair in zip(rates, bounds, strict=True)], columns, orient="row")

    def _headline(self, metrics: Sequence[str]) -> pl.DataFrame:
        if self.usual is not None and set(metrics) <= set(self.usual["metric"]):
            place = pl.col("metric").cast(pl.Enum(list(metrics)))
            return self.usual.filter(pl.col("metric").is_in(list(metrics))).sort(place)
        return headline(self.tables, metrics, self.chosen)

    def provenance(self, metrics: str | Sequence[str]) -> Provenance:
        """Return where figures of the page come from: `trackkit.provenance`, of its delivery or its deliveries."""
        chosen = [self.delivery] if self.delivery else self.chosen
        return provenance(self.tables, metrics, chosen, timezone=self.timezone)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return self.header._repr_mimebundle_()


def open_page(
    report: str = "",
    store: str | os.PathLike[str] | Snapshot = "store",
    delivery: str = "",
    recipient: str = "",
    timezone: str = "",
    lang: str = "en",
    deliveries: str | None = None,
    service: str | None = None,
    definitions: Annotated[str, SETS] = ADOBE,
    scope: str = "",
) -> Page:
    """Open a report on a store (a folder or a URL), or on tables in memory, for a delivery, a recipient, both, or all.

    Without a name it is that of the notebook, so that a copy under another name opens its own template. Its template is
    the project's, else the shipped one.
    `scope` names several deliveries instead of one, as `engine.scope` says: "campaign:12", or "platform". `deliveries`,
    if given, holds several ids separated by commas, or "" for those of the last months. What questions are to be
    asked with is `page.chosen`. `service`, if given, is the id of an information service, or "" for all. `definitions`
    is a definition set: the template's rates are then the sender's, under its labels, and the header says so. Raises
    RequestError for an unknown report, delivery, recipient, service, time zone, language or set, for a scope as
    `engine.scope.resolve`, and if a report about one delivery or recipient gets no id.
    """
    report = report or notebook.own_name()
    METRICS.adopt(of_project())
    tables = store if isinstance(store, Snapshot) else _snapshot(store)
    zone = zone_of(tables, timezone)
    over = asked_scope(tables, str(delivery or ""), scope)
    # An id may be a number here: papermill reads one from `-p delivery 701`.
    delivery = require_delivery(tables, delivery) if delivery else over.deliveries[0] if is_one(over) else ""
    over = None if delivery else over
    recipient = require_recipient(tables, recipient) if recipient else ""
    words = by_definitions(of_delivery(template(report, lang), tables, delivery), definitions)
    if not (delivery or recipient or over or _is_platform_wide(report)):
        raise RequestError(f"{report} needs the id of a delivery or of a recipient, or a scope.")
    if service is not None:
        return _on_services(report, tables, words, str(service), zone, lang)
    if deliveries is not None and not over:
        return _on_last_months(report, tables, words, deliveries, zone, lang)
    ids = over.deliveries if over else ()
    shared = common(tables, store, delivery or (over.chosen if over else None), recipient)
    limits = caveats.as_frame(tables, shared.limits, notes.needs(report, words))
    header = _subject_header(tables, over, delivery, recipient, zone, lang)
    header = _with_definitions(header, definitions, lang)
    header = header if delivery or recipient or over else _titled(header, words.title)
    header = _with_limits(header, limits, zone, lang, shared.quality)
    page = Page(tables, words, header, delivery or None, recipient or None, zone, ids, lang, shared.usual, over)
    return _with_figures(replace(page, currency=_currency(shared.limits)))


def of_delivery(words: Template, tables: Snapshot, delivery: str) -> Template:
    """Return a template with what its variants say of the kind of a delivery; "" for none."""
    if not (words.variant and delivery):
        return words
    kind = of_deliveries(tables, "delivery", [delivery]).select("typology_id", "message_type").first().collect()
    return words.of_kind(*kind.row(0)) if kind.height else words


def _with_figures(page: Page) -> Page:
    """Measure what conditions of paragraphs ask about; nothing without any."""
    if not page.template.asked:
        return page
    figures = page.headline(page.template.asked).select("metric", "value").rows()
    return replace(page, header=replace(page.header, figures=dict(figures)))


def _currency(limits: Iterable[caveats.Caveat]) -> str:
    """The one currency that the caveats name, as it can be shown, or an empty text."""
    names = [each.concerns[0] for each in limits if each.limit in ("currency", "currency_taken")]
    return clipped(names[0], LONGEST_CURRENCY) if names else ""


def asked_scope(tables: Snapshot, delivery: str, scope: str) -> Scope | None:
    """Return the scope that a report is asked about, or None without one; RequestError if a delivery is named too."""
    if scope and delivery:
        raise RequestError(f"A report is about a delivery or a scope: got delivery {delivery!r} and scope {scope!r}.")
    return resolve(tables, scope) if scope else None


def is_one(scope: Scope | None) -> TypeGuard[Scope]:
    """Whether a scope is one delivery, named by its id: a report on it is that on the delivery."""
    return scope is not None and scope.kind == "delivery"


def _on_services(report: str, tables: Snapshot, words: Template, service: str, zone: str, lang: str) -> Page:
    limits = caveats.as_frame(tables, caveats.of_data(tables, None, None), notes.needs(report, words))
    header = service_header(tables, service, zone, lang)
    header = header if service else _titled(header, words.title)
    return Page(tables, words, _with_limits(header, _of_service(limits), zone, lang), None, None, zone, (), lang)


def _on_last_months(report: str, tables: Snapshot, words: Template, asked: str, zone: str, lang: str) -> Page:
    """A report on several deliveries named by their ids, or on those of the last months."""
    chosen = chosen_deliveries(tables, asked)
    shared = common(tables, "", None, "")
    limits = caveats.as_frame(tables, shared.limits, notes.needs(report, words))
    limits = limits if asked else pl.concat([limits, _earlier_limits(tables, chosen)])
    header = _titled(selection_header(tables, chosen, zone, lang), words.title)
    header = _with_limits(header, limits, zone, lang, shared.quality)
    return _with_figures(Page(tables, words, header, None, None, zone, tuple(chosen["delivery_id"]), lang))


def _of_service(limits: pl.DataFrame) -> pl.DataFrame:
    """The limits of a report on services: what was not loaded, acts above all."""
    is_of_acts = pl.col("table") == "subscription"
    weight = pl.when(is_of_acts).then(pl.lit("warning", caveats.WEIGHTS)).otherwise("weight")
    return limits.filter(pl.col("limit").is_in(["missing", "quarantined"])).with_columns(weight=weight)


def _with_definitions(header: Header, definitions: str, lang: str) -> Header:
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


def _titled(header: Header, title: str) -> Header:
    """Head a report on many by its own name, as all of them are about the same; what it is about goes into the line."""
    return replace(header, heading=title, line=[header.heading, *header.line])


def _earlier_limits(tables: Snapshot, chosen: pl.DataFrame) -> pl.DataFrame:
    return caveats.as_frame(tables, caveats.of_last_months(not_chosen(tables, chosen), chosen.height), {})


def _is_platform_wide(report: str) -> bool:
    path = resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb")
    book = notebook.read(path)
    return notebook.scope(book, [each.name for each in notebook.parameters(book, path)]) == "platform"


def _with_limits(
    header: Header, limits: pl.DataFrame, timezone: str, lang: str, quality: pl.DataFrame | None = None
) -> Header:
    """Add the verdict on the logs, what the figures cannot say, and how far the data goes."""
    warnings, remarks = notes.sentences(limits, timezone, lang, quality)
    newest = limits.filter(pl.col("limit") == "age")["at"]
    through = instant(newest.item(), timezone, lang=lang) if newest.len() else ""
    through = through or header.data_through
    found = "" if quality is None else verdict(quality)
    return replace(header, verdict=found, notes=[*header.notes, *warnings], remarks=remarks, data_through=through)


def _subject_header(
    tables: Snapshot, scope: Scope | None, delivery: str, recipient: str, timezone: str, lang: str
) -> Header:
    if scope:
        return scope_header(tables, scope, timezone, lang)
    if recipient:
        return recipient_header(tables, recipient, timezone, lang)
    return delivery_header(tables, delivery, timezone, lang) if delivery else platform_header(tables, timezone, lang)


def require_recipient(tables: Snapshot, recipient: str) -> str:
    """Return the id of a recipient as text, or refuse one that no table mentions."""
    raw, recipient = recipient, str(recipient)
    for table in ("recipient", "message", "event"):
        rows = tables.scan(table).filter(pl.col("recipient_id") == recipient).select("recipient_id").head(1)
        if rows.collect().height:
            return recipient
    raise RequestError(f"There is no recipient {recipient!r} in these tables.{number_hint(raw)}")


def _snapshot(store: str | os.PathLike[str]) -> Snapshot:
    from trackkit.store import open_store

    return open_store(store).snapshot()


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
    launched, until = pl.coalesce("started_at", "contact_at"), plausible(tables).last
    is_past = launched <= pl.lit(until, INSTANT) if until else pl.lit(True)  # a planned contact is not a launch
    count, first, last = (
        tables.scan("delivery")
        .filter(~is_set_aside())
        .select(
            pl.len(), first=launched.filter(is_past, launched >= EARLIEST).min(), last=launched.filter(is_past).max()
        )
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
    declared = tables.scan("delivery").unique("delivery_id")
    rows = order.join(declared, on="delivery_id", how="left", maintain_order="left")
    return rows.select("delivery_id", delivery=named, launched_at=pl.coalesce("started_at", "contact_at")).collect()


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


def _code(code: int | None, words: Mapping[int, str], lang: str) -> str:
    if code is None:
        return ""
    return say(words[code], lang) if code in words else say("code {code}", lang, code=code)
