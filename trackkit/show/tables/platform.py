"""Tables beyond one delivery: shares by network and over time, subscriptions to services, deliveries side by side."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, several, translatable
from trackkit.metrics import METRICS
from trackkit.show.cells import (
    NOT_LOADED,
    TOTAL,
    Cell,
    Labels,
    OneOf,
    bold,
    fraction,
    headings,
    headline,
    label_of,
    only_row,
    over,
    presented,
    require,
    unavailable,
    value_cell,
    why_unseen,
)
from trackkit.show.charts.platform import CalendarPeriod, period_name
from trackkit.show.wording import NOT_AVAILABLE, instant, number, percent, short

NETWORK_WORDS = translatable({
    "network": "Network", "shares": "Sharing activities", "share_breakdown": "Breakdown of sharing activities",
    "sharing_rate": "Sharing rate", "targeted_rate": "Sharing rate of the initial population",
    "opens": "Opens of shared pages", "open_breakdown": "Breakdown of opens of shared pages",
    "open_rate": "Rate of opens of shared pages", "added_open_rates": "Sum of the rates",
})  # fmt: skip
ACTIVITY_WORDS = translatable({
    "starts_on": "Period", "new_contacts": "New contacts", "shared_opens": "Opens of shared pages",
    "opens": "Sum of opens", "shares": "Sharing activities",
})  # fmt: skip
SERVICE_WORDS = translatable({
    "service": "Service", "period": "Period", "subscribers": "Subscribers to date", "registered": "Registered",
    "subscriptions": "Subscriptions", "unsubscriptions": "Unsubscriptions", "evolution": "Evolution",
    "evolution_rate": "Evolution rate", "loyalty": "Loyalty", "delivery": "Delivery",
    "share": "Share of unsubscriptions", "at_start": "At start", "joined": "People who joined",
    "left": "People who left", "change": "Change", "loss_rate": "Loss",
})  # fmt: skip
PERIODS = translatable({
    "24H": "24 hours", "48H": "48 hours", "1 week": "1 week", "2 weeks": "2 weeks", "1 month": "1 month",
    "6 months": "6 months",
})  # fmt: skip
NO_PAGE, NOTHING = translatable(("no shared page is tracked", "nothing to divide by"))
NOBODY, NONE_LEFT = translatable(("nobody was registered", "nobody left"))
NO_SUBSCRIBER = translatable("nobody was subscribed")
NO_DATE, NO_DELIVERY = translatable(("Without a date", "(no delivery known)"))
# Each rate with its numerator and denominator, and why there may be none.
RATES = {
    "share_breakdown": ("shares", "total_shares", NOTHING), "sharing_rate": ("shares", "to_deliver", NOTHING),
    "targeted_rate": ("shares", "targeted", NOTHING), "open_breakdown": ("opens", "total_opens", NOTHING),
    "open_rate": ("opens", "shares", NOTHING), "evolution_rate": ("evolution", "registered", NOBODY),
    "loyalty": ("kept", "remaining", NOBODY), "loss_rate": ("left", "everybody", NO_SUBSCRIBER),
    "share": ("unsubscriptions", "total", NONE_LEFT),
}  # fmt: skip
COUNTS = ("shares", "opens", "shared_opens", "new_contacts")
TEXTS = ("network", "starts_on", "service", "period", "delivery")


def network_table(
    sharing: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(NETWORK_WORDS)],
    networks: Labels,
    labels: Annotated[Labels | None, OneOf(NETWORK_WORDS)] = None,
    lang: str = "en",
) -> GT:
    """Show the shares of each network and what came of them, each rate over its numerator / denominator.

    In: the frame of `sharing.social_sharing`. `columns` are among its own; `networks` maps each network to words. What
    cannot be known says why in the total. Raises RequestError for a column that is not there.
    """
    require(columns, sharing.columns)
    rows = [
        {name: _network(row, networks, lang) if name == "network" else _share(row, name, lang) for name in columns}
        for row in sharing.iter_rows(named=True)
    ]
    return _table(rows, columns, NETWORK_WORDS, labels, lang)


def activity_table(
    activity: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(ACTIVITY_WORDS)],
    every: CalendarPeriod = "month",
    labels: Annotated[Labels | None, OneOf(ACTIVITY_WORDS)] = None,
    lang: str = "en",
) -> GT:
    """Show what sharing brought, one row per period, then the total, which counts each contact once.

    In: the frame of `sharing.sharing_activity`. Raises RequestError for a column that is not there.
    """
    require(columns, activity.columns)
    rows = [
        {name: _period(row, every, lang) if name == "starts_on" else _share(row, name, lang) for name in columns}
        for row in activity.iter_rows(named=True)
    ]
    return _table(rows, columns, ACTIVITY_WORDS, labels, lang)


def progress_table(
    progress: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(SERVICE_WORDS)],
    labels: Annotated[Labels | None, OneOf(SERVICE_WORDS)] = None,
    timezone: str = "UTC",
    lang: str = "en",
) -> GT:
    """Show each service, with its subscribers at the instant looked back from, and one row per period.

    In: the frame of `subscriptions.subscription_progress`. `columns` are among its own. Raises RequestError for a
    column that is not there.
    """
    require(columns, progress.columns)
    first = pl.col("service_id").is_first_distinct()
    rows = [
        {name: _act(row, name, lang) for name in columns}
        | {"service": _service(row, timezone, lang) if row["is_first"] else ""}
        for row in progress.with_columns(is_first=first).iter_rows(named=True)
    ]
    return _table(rows, columns, SERVICE_WORDS, labels, lang)


def departures_table(
    by_delivery: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(SERVICE_WORDS)],
    top: int = 20,
    labels: Annotated[Labels | None, OneOf(SERVICE_WORDS)] = None,
    lang: str = "en",
) -> GT:
    """Show the `top` deliveries that most people left from. In: the frame of `subscriptions.acts_by_delivery`."""
    require(columns, by_delivery.columns)
    rows = [{name: _act(row, name, lang) for name in columns} for row in by_delivery.head(top).iter_rows(named=True)]
    return _table(rows, columns, SERVICE_WORDS, labels, lang)


def comparison_table(
    rows: pl.DataFrame,
    total: pl.DataFrame,
    metrics: Annotated[Sequence[str], OneOf(METRICS)],
    labels: Annotated[Labels | None, OneOf(["delivery"], METRICS)] = None,
    timezone: str = "UTC",
    lang: str = "en",
) -> GT:
    """Show metrics of several deliveries, one row each under the day of its launch, then all of them together.

    In: the two frames of `several.side_by_side`. Each rate stands over its numerator / denominator; what is unknown of
    all says why in the total. Raises RequestError for a metric that is not there.
    """
    words = (
        {"delivery": headline("delivery", lang)} | {name: label_of(name, lang) for name in metrics} | dict(labels or {})
    )
    together = only_row(total, metrics)
    known = [name for name in metrics if together[name] is not None]
    cells: list[dict[str, Cell]] = [
        {"delivery": _delivery(row["delivery"], instant(row["launched_at"], timezone, lang=lang))}
        | {name: value_cell(row, name, lang) if name in known else _not_available(lang) for name in metrics}
        for row in rows.iter_rows(named=True)
    ]
    name = bold(say(TOTAL, lang))
    cells.append({"delivery": name} | {metric: value_cell(together, metric, lang) for metric in metrics})
    return presented(cells, {name: words[name] for name in ("delivery", *metrics)}, right=metrics)


def signed(value: int, lang: str = "en") -> str:
    """Return a difference with its sign; none before 0.

    >>> signed(1200), signed(-3), signed(0)
    ('+1,200', '-3', '0')
    """
    return f"{'+' if value > 0 else ''}{number(value, lang=lang)}"


def _table(rows: list[dict[str, Cell]], columns: Sequence[str], words: Labels, labels: Labels | None, lang: str) -> GT:
    right = [name for name in columns if name not in TEXTS]
    return presented(rows, headings(columns, words, labels, lang), right)


def _network(row: Mapping[str, Any], networks: Labels, lang: str) -> Cell:
    if row["row"] == "total":
        return bold(say(TOTAL, lang))
    return str(networks.get(row["network"], row["network"]))


def _period(row: Mapping[str, Any], every: CalendarPeriod, lang: str) -> Cell:
    if row["row"] == "period":
        return period_name(row["starts_on"], every, lang)
    return say(NO_DATE, lang) if row["row"] == "undated" else bold(say(TOTAL, lang))


def _share(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    """A count of sharing, or a rate over its parts; where there is none, the total says why once."""
    if row[name] is not None and name != "added_open_rates":
        return _rate(row, name, lang) if name in RATES else number(row[name], lang=lang)
    if row[name] is not None:
        return percent(row[name], lang=lang)
    nothing = name in RATES and all(row[part] is not None for part in RATES[name][:2])
    if name == "added_open_rates" and row["row"] != "total":
        return ""
    if row["row"] != "total" or (name not in COUNTS and not nothing):
        return _not_available(lang)
    if nothing:
        return unavailable(NOTHING, lang)
    if why := why_unseen(row, name):
        return unavailable(why, lang)
    of_pages = name in ("new_contacts", "shared_opens") or (name == "opens" and "network" in row)
    return unavailable(NO_PAGE if of_pages and row["shares"] is not None else NOT_LOADED, lang)


def _not_available(lang: str) -> Cell:
    return Markup('<span class="tk-na">{}</span>').format(say(NOT_AVAILABLE, lang))


def _act(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    """One column of a service or a delivery: its words, a count, a signed difference, or a rate over its parts."""
    value = row[name]
    if name == "delivery":
        return say(NO_DELIVERY, lang) if value is None else short(value)
    if name in TEXTS:
        return say(PERIODS[value], lang) if name == "period" else short(value)
    if name in RATES:
        return _rate(row, name, lang)
    if value is None:
        return unavailable(NOT_LOADED, lang)
    return signed(value, lang) if name in ("evolution", "change") else number(value, lang=lang)


def _service(row: Mapping[str, Any], timezone: str, lang: str) -> Cell:
    if row["subscribers"] is None:
        return short(row["service"])
    at = instant(row["as_of"], timezone, lang=lang)
    many = several("{count} subscriber", "{count} subscribers", row["subscribers"], lang)
    to_date = many if not at else several(
        "{count} subscriber on {at}", "{count} subscribers on {at}", row["subscribers"], lang, at=at
    )  # fmt: skip
    return over(bold(short(row["service"])), to_date)


def _rate(row: Mapping[str, Any], name: str, lang: str) -> Cell:
    top, bottom, nothing = RATES[name]
    if row[name] is None:
        return unavailable(NOT_LOADED if row[top] is None else nothing, lang)
    sign = "+" if name == "evolution_rate" and row[name] > 0 else ""
    shown = f"{sign}{percent(row[name], lang=lang)}"
    return over(shown, fraction(row[top], row[bottom], lang))


def _delivery(name: str, launched: str) -> Markup:
    wide = Markup('<span style="display:inline-block;min-width:15em">{}</span><span class="tk-of">{}</span>')
    return wide.format(short(name, 60), launched)
