"""What a report notebook opens first: the tables, the analyst's template, and the header of the report."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal, TypeGuard

import polars as pl

from trackkit import resources
from trackkit.analysis import caveats
from trackkit.analysis.provenance import Provenance, provenance
from trackkit.analysis.several import chosen_deliveries, not_chosen
from trackkit.analysis.unseen import Kinds, measure_observed, observed, partly_seen, unseen
from trackkit.definition_sets import SETS, definition_set
from trackkit.engine.deliveries import number_hint, of_deliveries, require_delivery, zone_of
from trackkit.engine.scope import Scope
from trackkit.engine.selection import ALL
from trackkit.engine.snapshot import Measurable, Snapshot, with_all_hits
from trackkit.errors import RequestError
from trackkit.metrics import ADOBE, METRICS, bounds_of
from trackkit.own_metrics import of_project
from trackkit.report import notebook, notes
from trackkit.report.common import common, headline, scope_of, tables_of
from trackkit.report.header import (
    Header,
    selection_header,
    service_header,
    subject_header,
    titled,
    with_activity,
    with_definitions,
    with_limits,
)
from trackkit.report.template import Section, Template, by_definitions, template
from trackkit.show.wording import clipped

LONGEST_CURRENCY = 12  # letters: a code, or what an amount says instead


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
    definitions: str = ADOBE
    activity: str = ALL
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

    def known(self, metric: str) -> str | list[str] | None:
        """What questions are asked about that need a metric: those deliveries of the page in which it can be observed.

        All of them where that is all, or none.
        """
        partly = partly_seen(self.unseen, [metric])
        hidden = partly["unknown"].item() if partly.height else []
        return [each for each in self.unseen if each not in hidden] if len(hidden) else self.chosen

    def measure(self, metrics: Sequence[str], by: str = "", tables: Measurable | None = None) -> pl.DataFrame:
        """Return metrics of the page with the template's intervals: one row, or one for each of `by`.

        Those of all its deliveries are measured together, each over those in which it can be observed
        (`unseen.measure_observed`); `tables` are its own, or others, such as `domains.by_class`.
        """
        groups = [by] if by else ["delivery_id"] if self.delivery else []
        read = self.tables if tables is None else tables
        return measure_observed(read, metrics, self.unseen, groups, self.chosen, self.interval)

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
        row = measure_observed(self.tables, rates, self.unseen, [], self.chosen, self.interval).row(0, named=True)
        bounds = [[row[name] for name in bounds_of(rate)] for rate in rates]
        columns = {"metric": pl.String(), "low": pl.Float64(), "high": pl.Float64()}
        return pl.DataFrame([(rate, *pair) for rate, pair in zip(rates, bounds, strict=True)], columns, orient="row")

    def _headline(self, metrics: Sequence[str]) -> pl.DataFrame:
        if self.usual is not None and set(metrics) <= set(self.usual["metric"]):
            place = pl.col("metric").cast(pl.Enum(list(metrics)))
            return self.usual.filter(pl.col("metric").is_in(list(metrics))).sort(place)
        return headline(self.tables, metrics, self.chosen)

    def meant(self, metric: str) -> str:
        """Return the metric that the page's definitions mean by a rate of the platform; "" if they define none."""
        word = None if self.definitions == ADOBE else definition_set(self.definitions).in_place_of(metric)
        return metric if word is None else word.metric or ""

    def provenance(self, metrics: str | Sequence[str]) -> Provenance:
        """Return where figures of the page come from: `trackkit.provenance`, of its delivery or its deliveries."""
        chosen = [self.delivery] if self.delivery else self.chosen
        whole = with_all_hits(self.tables)
        return provenance(whole, metrics, chosen, timezone=self.timezone, activity=self.activity)

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
    activity: Literal["all", "human"] = "all",
) -> Page:
    """Open a report on a store (a folder or a URL), or on tables in memory, for a delivery, a recipient, both, or all.

    Without a name it is that of the notebook, so that a copy under another name opens its own template. Its template is
    the project's, else the shipped one.
    `scope` names several deliveries instead of one, as `engine.scope` says: "campaign:12", or "platform". `deliveries`,
    if given, holds several ids separated by commas, or "" for those of the last months. What questions are to be
    asked with is `page.chosen`. `service`, if given, is the id of an information service, or "" for all. `definitions`
    is a definition set: the template's rates are then the sender's, under its labels, and the header says so. With the
    `activity` "human" the page's tables hold the hits of people alone, so that every figure follows, and the header
    says so, or why some do not. Raises RequestError for an unknown report, delivery, recipient, service, time zone,
    language, set or activity, for a scope as `engine.scope.resolve`, if a report about one delivery or recipient gets
    no id, and by activity where hits were loaded before it was marked.

    >>> page = open_page("overview", store.snapshot(), delivery)
    >>> page.chosen, page.timezone
    ('7471048', 'UTC')
    """
    report = report or notebook.own_name()
    METRICS.adopt(of_project())
    whole = store if isinstance(store, Snapshot) else _snapshot(store)
    tables = tables_of(whole, activity)
    zone = zone_of(tables, timezone)
    over = asked_scope(tables, store, str(delivery or ""), scope)
    # An id may be a number here: papermill reads one from `-p delivery 701`.
    delivery = require_delivery(tables, delivery) if delivery else over.deliveries[0] if is_one(over) else ""
    over = None if delivery else over
    recipient = require_recipient(whole, recipient) if recipient else ""
    words = by_definitions(of_delivery(template(report, lang), tables, delivery), definitions)
    if not (delivery or recipient or over or _is_platform_wide(report)):
        raise RequestError(f"{report} needs the id of a delivery or of a recipient, or a scope.")
    if service is not None:
        return _on_services(report, tables, words, str(service), zone, lang, activity)
    if deliveries is not None and not over:
        return _on_last_months(report, tables, words, deliveries, zone, lang, definitions, activity)
    ids = over.deliveries if over else ()
    shared = common(whole, store, delivery or (over.chosen if over else None), recipient, activity)
    limits = caveats.as_frame(whole, shared.limits, notes.needs(report, words))
    header = subject_header(tables, over, delivery, recipient, zone, lang)
    header = with_activity(with_definitions(header, definitions, lang), activity, notes.needs(report, words), lang)
    header = header if delivery or recipient or over else titled(header, words.title)
    header = with_limits(header, limits, zone, lang, shared.quality)
    subject = delivery or None, recipient or None
    page = Page(tables, words, header, *subject, zone, ids, lang, shared.usual, over, definitions, activity)
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


def asked_scope(tables: Snapshot, store: Any, delivery: str, scope: str) -> Scope | None:
    """Return the scope that a report is asked about, or None without one; RequestError if a delivery is named too."""
    if scope and delivery:
        raise RequestError(f"A report is about a delivery or a scope: got delivery {delivery!r} and scope {scope!r}.")
    return scope_of(tables, store, scope) if scope else None


def is_one(scope: Scope | None) -> TypeGuard[Scope]:
    """Whether a scope is one delivery, named by its id: a report on it is that on the delivery."""
    return scope is not None and scope.kind == "delivery"


def _on_services(
    report: str, tables: Snapshot, words: Template, service: str, zone: str, lang: str, activity: str
) -> Page:
    whole = with_all_hits(tables)
    limits = caveats.as_frame(whole, caveats.of_data(whole, None, None), notes.needs(report, words))
    header = service_header(tables, service, zone, lang)
    header = header if service else titled(header, words.title)
    header = with_activity(header, activity, notes.needs(report, words), lang)
    header = with_limits(header, _of_service(limits), zone, lang)
    return Page(tables, words, header, None, None, zone, (), lang, activity=activity)


def _on_last_months(
    report: str,
    tables: Snapshot,
    words: Template,
    asked: str,
    zone: str,
    lang: str,
    definitions: str,
    activity: str,
) -> Page:
    """A report on several deliveries named by their ids, or on those of the last months."""
    chosen = chosen_deliveries(tables, asked)
    shared = common(with_all_hits(tables), "", None, "")
    limits = caveats.as_frame(with_all_hits(tables), shared.limits, notes.needs(report, words))
    limits = limits if asked else pl.concat([limits, _earlier_limits(tables, chosen)])
    header = titled(selection_header(tables, chosen, zone, lang), words.title)
    header = with_activity(with_definitions(header, definitions, lang), activity, notes.needs(report, words), lang)
    header = with_limits(header, limits, zone, lang, shared.quality)
    by, ids = {"definitions": definitions, "activity": activity}, tuple(chosen["delivery_id"])
    return _with_figures(Page(tables, words, header, None, None, zone, ids, lang, **by))  # type: ignore[arg-type]


def _of_service(limits: pl.DataFrame) -> pl.DataFrame:
    """The limits of a report on services: what was not loaded, acts above all."""
    is_of_acts = pl.col("table") == "subscription"
    weight = pl.when(is_of_acts).then(pl.lit("warning", caveats.WEIGHTS)).otherwise("weight")
    return limits.filter(pl.col("limit").is_in(["missing", "quarantined"])).with_columns(weight=weight)


def _earlier_limits(tables: Snapshot, chosen: pl.DataFrame) -> pl.DataFrame:
    return caveats.as_frame(tables, caveats.of_last_months(not_chosen(tables, chosen), chosen.height), {})


def _is_platform_wide(report: str) -> bool:
    path = resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb")
    book = notebook.read(path)
    return notebook.scope(book, [each.name for each in notebook.parameters(book, path)]) == "platform"


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
