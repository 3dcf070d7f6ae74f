"""Tables beyond one delivery: sharing by network and over time, subscriptions to services, deliveries compared."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import say, several, translatable
from trackkit.metrics import METRICS, bounds_of
from trackkit.show import cells
from trackkit.show.cells import Block, Cell, Labels, OneOf
from trackkit.show.columns import (
    UNKNOWN_TEXT,
    TableColumn,
    bare,
    column_cells,
    column_data,
    column_headings,
    column_table,
)
from trackkit.show.data import DataField, table_data
from trackkit.show.definitions import marked
from trackkit.show.naming import PERIODS, CalendarPeriod, period_name
from trackkit.show.tiles import Large, large
from trackkit.show.wording import NOT_AVAILABLE, instant, number, percent, short

__all__ = [
    "activity_table",
    "comparison_table",
    "departures_table",
    "network_table",
    "progress_table",
    "sharing_figures",
    "subscription_figures",
]

NOT_SHARED = translatable("Nothing was shared.")
NO_PAGE, NOTHING = translatable(("no shared page is tracked", "nothing to divide by"))
NOBODY, NONE_LEFT = translatable(("nobody was registered", "nobody left"))
NO_SUBSCRIBER = translatable("nobody was subscribed")
NO_DATE, NO_DELIVERY = translatable(("Without a date", "(no delivery known)"))
LARGE = translatable(
    {
        "subscribers": "Subscriptions now",
        "change": "Net growth in {period}",
        "joined": "Joined in {period}",
        "left": "Left in {period}",
    }
)


def _count(heading: str) -> TableColumn:
    return TableColumn(heading, why_unknown=cells.NOT_LOADED)


def _shared(heading: str, top: str, bottom: str) -> TableColumn:
    return TableColumn(heading, "share", (top, bottom), NOTHING, NOT_AVAILABLE)


def _of_people(heading: str, top: str, bottom: str, why_empty: str) -> TableColumn:
    return TableColumn(heading, "share", (top, bottom), why_empty, cells.NOT_LOADED)


NETWORKS = {
    "network": TableColumn("Network", "group"),
    "shares": _count(translatable("Sharing activities")),
    "share_breakdown": _shared(translatable("Breakdown of sharing activities"), "shares", "total_shares"),
    "sharing_rate": _shared(translatable("Sharing rate"), "shares", "to_deliver"),
    "targeted_rate": _shared(translatable("Sharing rate of the initial population"), "shares", "targeted"),
    "opens": _count(translatable("Opens of shared pages")),
    "open_breakdown": _shared(translatable("Breakdown of opens of shared pages"), "opens", "total_opens"),
    "open_rate": _shared(translatable("Rate of opens of shared pages"), "opens", "shares"),
    "added_open_rates": TableColumn("Sum of the rates", "share", why_unknown=NOT_AVAILABLE),
}
ACTIVITIES = {
    "starts_on": TableColumn("Period", "group"),
    "new_contacts": _count(translatable("New contacts")),
    "shared_opens": _count(translatable("Opens of shared pages")),
    "opens": _count(translatable("Sum of opens")),
    "shares": _count(translatable("Sharing activities")),
}
SERVICES = {
    "service": TableColumn("Service", "text", why_unknown=UNKNOWN_TEXT),
    "period": TableColumn("Period", "word", words=PERIODS),
    "subscribers": _count(translatable("Subscribers to date")),
    "registered": _count(translatable("Registered")),
    "subscriptions": _count(translatable("Subscriptions")),
    "unsubscriptions": _count(translatable("Unsubscriptions")),
    "evolution": TableColumn("Evolution", "change", why_unknown=cells.NOT_LOADED),
    "evolution_rate": TableColumn("Evolution rate", "growth", ("evolution", "registered"), NOBODY, cells.NOT_LOADED),
    "loyalty": _of_people(translatable("Loyalty"), "kept", "remaining", NOBODY),
    "delivery": TableColumn("Delivery", "text"),
    "bar": TableColumn("", "bar"),
    "share": _of_people(translatable("Share of unsubscriptions"), "unsubscriptions", "total", NONE_LEFT),
    "at_start": _count(translatable("At start")),
    "joined": _count(translatable("People who joined")),
    "left": _count(translatable("People who left")),
    "change": TableColumn("Change", "change", why_unknown=cells.NOT_LOADED),
    "loss_rate": _of_people(translatable("Loss"), "left", "everybody", NO_SUBSCRIBER),
}


def network_table(
    sharing: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(NETWORKS)],
    networks: Labels,
    labels: Annotated[Labels | None, OneOf(NETWORKS)] = None,
    lang: str = "en",
) -> GT | Block:
    """Show the sharing activities on each network and their results, each rate over its numerator / denominator.

    In: the frame of `sharing.social_sharing`. `columns` are among its own; `networks` maps each network to words. The
    total says why a figure is unknown; a sentence if nothing was shared. Raises RequestError for a column that is not
    there.

    >>> sharing = tk.sharing.social_sharing(store)
    >>> table = network_table(sharing, ["network", "shares"], {"email": "E-mail", "facebook": "Facebook"})
    >>> [each["label"] for each in table.data["columns"]]
    ['Network', 'Sharing activities']
    """

    def network(row: Mapping[str, Any]) -> Cell:
        return (
            cells.bold(say(cells.TOTAL, lang))
            if row["row"] == "total"
            else str(networks.get(row["network"], row["network"]))
        )

    rows = _with_reasons(sharing, ["opens"])
    table = column_table(rows, NETWORKS, columns, labels, lang, {"network": network}, brief=True)
    is_shared = sharing.select(pl.any_horizontal(pl.col("shares", "opens").fill_null(1) > 0).any()).item()
    return table if is_shared else cells.nothing(NOT_SHARED, lang)


def sharing_figures(
    sharing: pl.DataFrame, labels: Annotated[Labels | None, OneOf(NETWORKS)] = None, lang: str = "en"
) -> Block:
    """Show in large type how much was shared, how often for each message, and how often that was opened.

    In: the frame of `sharing.social_sharing`, of which the total is shown.

    >>> "9 of 316" in sharing_figures(tk.sharing.social_sharing(store)).html
    True
    """
    chosen = ["shares", "sharing_rate", "opens"]
    networks = sharing.filter(pl.col("row").cast(pl.String) == "network", pl.col("shares") > 0).height
    total = _with_reasons(sharing, ["opens"]).filter(pl.col("row").cast(pl.String) == "total")
    words = column_headings(NETWORKS, chosen, labels, lang)
    (shown,) = column_cells(total, NETWORKS, chosen, words, lang)
    row = total.row(0, named=True)
    beneath = {"shares": several("on {count} network", "on {count} networks", networks, lang) if networks else ""}
    if row["sharing_rate"] is not None:
        shown["sharing_rate"] = percent(row["sharing_rate"], lang=lang, of=row["to_deliver"])
        beneath["sharing_rate"] = cells.fraction(row["shares"], row["to_deliver"], lang)
    if row["open_rate"] is not None:
        beneath["opens"] = say("{rate} per sharing activity", lang, rate=number(row["open_rate"], 2, lang))
    figures = [Large(words[name], shown[name], beneath.get(name, "")) for name in chosen]
    return large(figures, column_data(total, NETWORKS, chosen, words, lang, [shown]))


def subscription_figures(totals: pl.DataFrame, period: Annotated[str, OneOf(PERIODS)], lang: str = "en") -> Block:
    """Show in large type how many subscriptions there are, and how many began and ended in a period.

    In: the frame of `subscriptions.subscription_totals`; nothing without that period.

    >>> totals = tk.subscriptions.subscription_totals(tk.subscriptions.subscription_progress(store))
    >>> "18 joined, 0 left" in subscription_figures(totals, "1 month").html
    True
    """
    rows = totals.filter(pl.col("period").cast(pl.String) == period)
    if rows.is_empty():
        return Block(Markup(""))
    chosen = ["subscribers", "change", "joined", "left"]
    spoken = {name: say(words, lang, period=say(PERIODS[period], lang)) for name, words in LARGE.items()}
    (shown,) = column_cells(rows, SERVICES, chosen, spoken, lang)
    row = rows.row(0, named=True)
    known = row | {name: number(row[name] or 0, lang=lang) for name in ("joined", "left", "at_start")}
    beneath = {
        "subscribers": several("to {count} service", "to {count} services", row["services"], lang),
        "change": say("{joined} joined, {left} left", lang, joined=known["joined"], left=known["left"]),
        "joined": say("at the start: {count}", lang, count=known["at_start"]),
        "left": f"{percent(row['loss_rate'] or 0, lang=lang, of=row['everybody'])}: "
        f"{cells.fraction(row['left'], row['everybody'], lang)}",
    }
    figures = [Large(spoken[name], shown[name], beneath[name] if row["subscribers"] else "") for name in chosen]
    fields = ["period", *chosen, "at_start", "loss_rate"]
    words = column_headings(SERVICES, fields, None, lang)
    return large(figures, column_data(rows, SERVICES, fields, words, lang, [dict.fromkeys(fields, "")]))


def activity_table(
    activity: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(ACTIVITIES)],
    every: CalendarPeriod = "month",
    labels: Annotated[Labels | None, OneOf(ACTIVITIES)] = None,
    lang: str = "en",
) -> GT:
    """Show the results of sharing: one row per period, then the total, which counts each contact once.

    In: the frame of `sharing.sharing_activity`. Raises RequestError for a column that is not there.

    >>> by_day = tk.sharing.sharing_activity(store, every="day")
    >>> table = activity_table(by_day, ["starts_on", "shares", "opens"], "day")
    >>> [each["label"] for each in table.data["columns"]]
    ['Period', 'Sharing activities', 'Sum of opens']
    """

    def period(row: Mapping[str, Any]) -> Cell:
        if row["row"] == "period":
            return period_name(row["starts_on"], every, lang)
        return say(NO_DATE, lang) if row["row"] == "undated" else cells.bold(say(cells.TOTAL, lang))

    rows = _with_reasons(activity, ["new_contacts", "shared_opens"])
    return column_table(rows, ACTIVITIES, columns, labels, lang, {"starts_on": period}, brief=True)


def _with_reasons(sharing: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Add why counts of shared pages are unknown although sharing is known, unless another reason is given."""
    reasons = {
        f"why {name}": pl.coalesce(
            pl.col(f"^why {name}$"),
            pl.when(pl.col(name).is_null(), pl.col("shares").is_not_null()).then(pl.lit(NO_PAGE)),
        )
        for name in columns
    }
    return sharing.with_columns(**reasons)


def progress_table(
    progress: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(SERVICES)],
    labels: Annotated[Labels | None, OneOf(SERVICES)] = None,
    timezone: str = "UTC",
    lang: str = "en",
) -> GT:
    """Show each service, with its subscribers at the end of all periods, and one row per period.

    In: the frame of `subscriptions.subscription_progress`. `columns` are among its own. Raises RequestError for a
    column that is not there.

    >>> progress = tk.subscriptions.subscription_progress(store)
    >>> table = progress_table(progress, ["service", "period", "joined", "left"])
    >>> [each["label"] for each in table.data["columns"]]
    ['Service', 'Period', 'People who joined', 'People who left']
    """
    rows = progress.with_columns(is_first=pl.col("service_id").is_first_distinct())
    own = {"service": lambda row: _service(row, timezone, lang) if row["is_first"] else ""}
    return column_table(rows, SERVICES, columns, labels, lang, own)


def _service(row: Mapping[str, Any], timezone: str, lang: str) -> Cell:
    if row["subscribers"] is None:
        return short(row["service"])
    at = instant(row["as_of"], timezone, lang=lang)
    count = row["subscribers"]
    if at:
        to_date = several("{count} subscriber on {at}", "{count} subscribers on {at}", count, lang, at=at)
    else:
        to_date = several("{count} subscriber", "{count} subscribers", count, lang)
    return cells.over(cells.bold(short(row["service"])), to_date)


def departures_table(
    by_delivery: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(SERVICES)],
    top: int = 20,
    labels: Annotated[Labels | None, OneOf(SERVICES)] = None,
    lang: str = "en",
) -> GT:
    """Show the `top` deliveries by unsubscriptions, and last the acts that name none.

    In: the frame of `subscriptions.acts_by_delivery`. Subscriptions have no column if none names a delivery.

    >>> table = departures_table(tk.subscriptions.acts_by_delivery(store), ["delivery", "unsubscriptions", "share"])
    >>> [each["label"] for each in table.data["columns"]]
    ['Delivery', 'Unsubscriptions', 'Share of unsubscriptions', 'Total']
    """
    is_known = pl.col("delivery").is_not_null()
    rows = pl.concat([by_delivery.filter(is_known).head(top), by_delivery.filter(~is_known)])
    empty = [] if rows.filter(is_known)["subscriptions"].sum() else ["subscriptions"]
    shown = [name for name in columns if name not in empty]
    named = rows.with_columns(pl.col("delivery").fill_null(say(NO_DELIVERY, lang)))
    own = {"bar": lambda row: cells.bar(row, "share", "others" if row["delivery_id"] is None else "1")}
    return column_table(named, SERVICES, shown, labels, lang, own)


def comparison_table(
    rows: pl.DataFrame,
    total: pl.DataFrame,
    metrics: Annotated[Sequence[str], OneOf(METRICS)],
    labels: Annotated[Labels | None, OneOf(["delivery"], METRICS)] = None,
    timezone: str = "UTC",
    lang: str = "en",
) -> GT:
    """Show metrics of several deliveries, one row each with its launch date, then all of them together.

    In: the two frames of `several.side_by_side`, or some of its rows and the metrics of all. Each rate stands over its
    numerator / denominator; the total says why a metric is unknown everywhere. Raises RequestError for a metric that is
    not there.

    >>> both = tk.several.side_by_side(store, ["delivered", "open_rate"])
    >>> table = comparison_table(both.rows, both.total, ["delivered", "open_rate"])
    >>> [each["label"] for each in table.data["columns"]][:4]
    ['Delivery', 'Launched', 'Success (without control addresses)', 'Open rate (recipients)']
    """
    words = {name: cells.label_of(name, lang) for name in metrics} | {"delivery": cells.headline("delivery", lang)}
    words |= dict(labels or {})
    bounds = [bound for name in metrics for bound in bounds_of(name) if bound not in rows.columns]
    total_row = cells.only_row(total.drop(bounds, strict=False), metrics)
    known = [name for name in metrics if total_row[name] is not None]
    shown: list[dict[str, Cell]] = [
        {"delivery": _delivery(row, instant(row["launched_at"], timezone, lang=lang))}
        | _figures_of(row, metrics, known, lang)
        for row in rows.iter_rows(named=True)
    ]
    name = cells.bold(say(cells.TOTAL, lang))
    shown.append({"delivery": name} | {metric: cells.value_cell(total_row, metric, lang) for metric in metrics})
    data = _comparison_data(rows, total_row, metrics, words, lang)
    headings = {name: marked(words[name], name, lang) for name in metrics}
    return cells.presented(shown, {"delivery": words["delivery"], **headings}, metrics, data)


def _figures_of(row: Mapping[str, Any], metrics: Sequence[str], known: Sequence[str], lang: str) -> dict[str, Cell]:
    """The figures of one delivery; why some are unknown is written once, and shows on hover where it is repeated."""
    reasons = {name: cells.why_unseen(row, name) for name in metrics}
    first = {why: name for name, why in reversed(reasons.items()) if why}
    return {
        name: bare(NOT_AVAILABLE, lang)
        if name not in known
        else cells.briefly(why, lang)
        if why and first[why] != name
        else cells.value_cell(row, name, lang)
        for name, why in reasons.items()
    }


def _comparison_data(
    rows: pl.DataFrame, total: Mapping[str, Any], metrics: Sequence[str], words: Labels, lang: str
) -> dict[str, Any]:
    fields = [
        DataField("delivery", words["delivery"], "text"),
        DataField("launched_at", cells.headline("launched_at", lang), "instant"),
        *cells.metric_fields(metrics, list(total), words, lang),
    ]
    own = {field.name: field.name.partition(" of ")[0] for field in fields if field.name not in rows.columns}
    rows = rows.with_columns(pl.col(part).alias(name) for name, part in own.items())  # of one delivery they are alike
    last = dict(total) | {"delivery": say(cells.TOTAL, lang), "launched_at": None}
    return table_data("deliveries", fields, [*rows.iter_rows(named=True), last])


def _delivery(row: Mapping[str, Any], launched: str) -> Markup:
    """The name of a delivery, which a run lets lead to its Overview, and its launch."""
    link = Markup('<a data-report="overview" data-delivery="{}">{}</a>')
    name = link.format(row["delivery_id"], short(row["delivery"], 60))
    style = "display:inline-block;min-width:13em;overflow-wrap:anywhere"
    wide = Markup('<span style="{}">{}</span><span class="tk-of">{}</span>')
    return wide.format(style, name, launched)
