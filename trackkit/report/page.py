"""What a report notebook opens first: the tables, the analyst's template, and the header of the report.

The header says what the report is about, how far the data goes, and what its figures cannot say.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import polars as pl
from markupsafe import Markup

from trackkit import resources
from trackkit.analysis import caveats
from trackkit.analysis.provenance import Provenance, provenance
from trackkit.analysis.several import chosen_deliveries, not_chosen
from trackkit.analysis.subscriptions import services
from trackkit.analysis.unseen import Kinds, observed, unseen
from trackkit.analysis.usual import totals, usual
from trackkit.definition_sets import QUESTION_LABELS, QUESTIONS, SETS, definition_set
from trackkit.engine.deliveries import is_hit, is_set_aside, number_hint, require_delivery, still_there, zone_of
from trackkit.engine.measure import measure
from trackkit.engine.plausible import EARLIEST, plausible
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.language import say, several, translatable
from trackkit.metrics import ADOBE, METRICS, bounds_of
from trackkit.quality.finding import verdict
from trackkit.report import notebook, notes
from trackkit.report.common import Common, common
from trackkit.report.template import Section, Template, by_definitions, template
from trackkit.schema import INSTANT, MESSAGE_TYPES, STATES
from trackkit.show.wording import clipped, instant, moment, number, plain

# The names of facts, translated where the header is made.
translatable(
    ("Delivery", "State", "Channel", "First message", "Last message", "Planned contact", "Messages to deliver")
)
translatable(("Recipient", "Messages prepared", "Deliveries", "First launch", "Last launch", "Hits", "Last hit"))
translatable(("Services", "Acts", "First act", "Last act"))
MIME = "application/vnd.trackkit.header+json"


@dataclass(frozen=True)
class Header:
    """The header of a report; it shows itself in JupyterLab, and travels to the page as data.

    `line` says in a few words what and when, `verdict` what the logs are worth ("" if unknown). `facts` are for the
    foot: how the figures were made. `notes` affect how the figures must be read; `remarks` are background information.
    """

    heading: str
    subtitle: str = ""
    line: list[str] = field(default_factory=list)
    verdict: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    data_through: str = ""
    loads: list[str] = field(default_factory=list)
    version: tuple[int, str] | None = None  # of the store: number and id of its last load

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
    deliveries: tuple[str, ...] = ()  # the chosen ones, in a report on several
    lang: str = "en"
    usual: pl.DataFrame | None = None  # of this delivery, if it was handed to this process

    def __getitem__(self, name: str) -> Section:
        """Return what the analyst chose for a section; RequestError when the template does not list it."""
        return self.template[name]

    def varying(self, columns: Sequence[str]) -> list[str]:
        """Return the columns of a log without those that the page has in its header: its recipient, its delivery."""
        known = {"recipient_id": self.recipient, "document": self.delivery}
        return [name for name in columns if not known.get(name)] or list(columns)

    @cached_property
    def unseen(self) -> dict[str, Kinds]:
        """What cannot be observed of the delivery, and why: `analysis.unseen`."""
        return unseen(self.tables, [self.delivery] if self.delivery else [])

    def observed(self, figures: pl.DataFrame) -> pl.DataFrame:
        """Return figures of the delivery; those that cannot be observed are null, with the reason beside them."""
        return observed(figures, self.unseen)

    @property
    def interval(self) -> float | None:
        """The confidence of the intervals that the analyst wants shown, for `measure`; None for no intervals."""
        return self.template.interval

    def headline(self, metrics: Sequence[str]) -> pl.DataFrame:
        """Return metrics of the delivery beside the usual ones, or their totals, in the columns of `analysis.usual`.

        With the template's `interval`, also `low` and `high`, the bounds of the rates that have some.
        """
        rates = [name for name in metrics if METRICS[name].interval] if self.interval else []
        figures = self._headline(metrics)
        if not rates:
            return figures
        bounded = figures.join(self._bounds(rates), on="metric", how="left", maintain_order="left")
        return bounded.with_columns(pl.when(pl.col("value").is_not_null()).then(pl.col("low", "high")))

    def _bounds(self, rates: Sequence[str]) -> pl.DataFrame:
        chosen = [self.delivery] if self.delivery else list(self.deliveries) or None
        row = measure(self.tables, rates, by=[], delivery=chosen, interval=self.interval).row(0, named=True)
        bounds = [[row[name] for name in bounds_of(rate)] for rate in rates]
        columns = {"metric": pl.String(), "low": pl.Float64(), "high": pl.Float64()}
        return pl.DataFrame([(rate, *pair) for rate, pair in zip(rates, bounds, strict=True)], columns, orient="row")

    def _headline(self, metrics: Sequence[str]) -> pl.DataFrame:
        if not self.delivery:
            return totals(self.tables, metrics, list(self.deliveries) or None)
        if self.usual is not None and set(metrics) <= set(self.usual["metric"]):
            place = pl.col("metric").cast(pl.Enum(list(metrics)))
            return self.usual.filter(pl.col("metric").is_in(list(metrics))).sort(place)
        return usual(self.tables, metrics, self.delivery)

    def provenance(self, metrics: str | Sequence[str]) -> Provenance:
        """Return where figures of the page come from: `trackkit.provenance`, of its delivery or its deliveries."""
        chosen = [self.delivery] if self.delivery else list(self.deliveries) or None
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
) -> Page:
    """Open a report on a store (a folder or a URL), or on tables in memory, for a delivery, a recipient, both, or all.

    Without a name it is that of the notebook, so that a copy under another name opens its own template. Its template is
    the project's, else the shipped one.
    `deliveries`, if given, holds several ids separated by commas, or "" for those of the last months; the chosen ones
    are `page.deliveries`. `service`, if given, is the id of an information service, or "" for all. `definitions` is a
    definition set: the template's rates are then the sender's, under its labels, and the header says so. Raises
    RequestError for an unknown report, delivery, recipient, service, time zone, language or set, and if a report about
    one delivery or recipient gets no id.
    """
    report = report or notebook.own_name()
    tables = store if isinstance(store, Snapshot) else _snapshot(store)
    zone = zone_of(tables, timezone)
    # An id may be a number here: papermill reads one from `-p delivery 701`.
    delivery = require_delivery(tables, delivery) if delivery else ""
    recipient = require_recipient(tables, recipient) if recipient else ""
    service = None if service is None else str(service)
    words = by_definitions(template(report, lang), definitions)
    if not (delivery or recipient or _is_platform_wide(report)):
        raise RequestError(f"{report} needs the id of a delivery or of a recipient.")
    shared = (
        common(tables, store, delivery, recipient)
        if service is None
        else Common(list(caveats.of_data(tables, None, None)), None)
    )
    limits = caveats.as_frame(tables, shared.limits, notes.needs(report, words))
    selected: tuple[str, ...] = ()
    if service is not None or deliveries is not None:
        delivery = recipient = ""  # the page is about neither
    if service is not None:
        header, limits = service_header(tables, service, zone, lang), _of_service(limits)
    elif deliveries is not None:
        chosen = chosen_deliveries(tables, deliveries)
        limits = limits if deliveries else pl.concat([limits, _earlier_limits(tables, chosen)])
        header, selected = selection_header(tables, chosen, zone, lang), tuple(chosen["delivery_id"])
    else:
        header = _with_definitions(_subject_header(tables, delivery, recipient, zone, lang), definitions, lang)
    header = header if delivery or recipient or service else _titled(header, words.title)
    header = _with_limits(header, limits, zone, lang, shared.quality)
    return Page(tables, words, header, delivery or None, recipient or None, zone, selected, lang, shared.usual)


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


def _subject_header(tables: Snapshot, delivery: str, recipient: str, timezone: str, lang: str) -> Header:
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
    return _header(tables, label, row.get("subject") or "", line, facts, hits, timezone, lang)


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
