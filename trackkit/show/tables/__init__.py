"""Tidy frame in, presentation table out. Every rate shows its numerator and denominator; unknown values say why.

Here are the general tables; each subject has a module, as in `tables.audience.name_table`. Tables are `great_tables`
objects, which callers can restyle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.language import said, say, several, translatable
from trackkit.metrics import BREAKDOWNS, CURRENCY, METRICS, PEOPLE, bounds_of, part_of
from trackkit.show import cells
from trackkit.show import data as page_data
from trackkit.show.cells import BOUNDS, RATES, Block, Cell, Labels, OneOf
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.data import DataField, table_data
from trackkit.show.definitions import marked
from trackkit.show.findings.finding import CASES
from trackkit.show.naming import SERIES
from trackkit.show.tables import anomalies, audience, definitions, machines, overview, platform, sending, web
from trackkit.show.tables.interactive import interactive
from trackkit.show.tables.message import link_mark, message
from trackkit.show.wording import clipped, figure, percent, plain, round_percent, short

__all__ = [
    "anomalies",
    "audience",
    "breakdown_table",
    "definitions",
    "figures",
    "interactive",
    "largest",
    "link_table",
    "log_table",
    "machines",
    "message",
    "metric_table",
    "overview",
    "platform",
    "sending",
    "share_table",
    "validity_table",
    "web",
]
NO_EVENT, NOTHING_COMPARES, NO_LINK, NO_CLICK = translatable(
    ("no event", "no comparable delivery", "Nothing to list.", "no click")
)
LINKS = {
    "rank": TableColumn("#"),
    "number": TableColumn("No."),
    "link": TableColumn("Link", "group"),
    "bar": TableColumn("", "bar"),
    "share": TableColumn("Share of clicks", "share", ("clicks", "total"), NO_CLICK, NO_CLICK),
    "url": TableColumn("URL", "text"),
    "link_id": TableColumn("Link id", "text"),
    "clicks": TableColumn("Link clicks"),
    "text": TableColumn("Words in the message", "text"),
    "reason": TableColumn("Why", "word", words=cells.VOCABULARY),
    "position": TableColumn("Place"),
    "places": TableColumn("Places"),
    "label": TableColumn(kind="text"),
    "category": TableColumn(kind="text"),
    "type": TableColumn(kind="word", words=cells.VOCABULARY),
    "occurrence": TableColumn(),
    "recipients": TableColumn(),
    "matched_by": TableColumn(kind="text"),
    "percent": TableColumn(),
    "message_share": TableColumn("Share of message clicks", "share", ("clicks", "message_clicks"), NO_CLICK, NO_CLICK),
}
LABEL = "label"  # the column of labels
VALIDITY = {
    "link": TableColumn("Link", "group"),
    "valid_until": TableColumn("Valid until", "text"),
    "clicks": TableColumn("Link clicks"),
    "late": TableColumn("After it"),
    "share": TableColumn("Share of its clicks", "share", ("late", "clicks"), NO_CLICK, NO_CLICK),
}
METRIC_WORDS = translatable({"label": "Indicator", "value": "Value", "rate": "Rate"})
FIGURE_WORDS = translatable(
    {
        "metric": "Indicator",
        "rate": "Rate",
        "numerator": "Numerator",
        "denominator": "Denominator",
        "platform_average": "Platform average",
        "average_numerator": "Numerator of the average",
        "average_denominator": "Denominator of the average",
        "deliveries": "Deliveries",
    }
)
METRIC_PARTS = translatable(
    {"label": "Indicator", "value": "Value", "rate": "Rate", "numerator": "Numerator", "denominator": "Denominator"}
)


def metric_table(
    measured: pl.DataFrame,
    metrics: Annotated[Sequence[str], OneOf(METRICS)],
    over: str | None = None,
    labels: Annotated[Labels | None, OneOf(METRICS, [LABEL])] = None,
    lang: str = "en",
    decimals: int | None = None,
    currency: str = "",
) -> GT:
    """Show metrics one below the other: label, value, rate beside its numerator / denominator.

    In: a frame of `measure` with one row that holds `metrics` and, if given, `over`: every count is also shown as a
    share of that metric, as the platform does ("every rate / Success"). The label "label" is the heading of the
    labels. `decimals`, if given, are those of rates, amounts and averages; `currency`, if given, stands behind the
    names of amounts. Raises RequestError for another frame.

    >>> measured = tk.measure(store, ["delivered", "open_rate"], by=[], delivery=delivery)
    >>> table = metric_table(measured, ["delivered", "open_rate"])
    >>> [each["label"] for each in table.data["columns"]]
    ['Indicator', 'Value', 'Rate', 'Numerator', 'Denominator']
    """
    labels = _with_currency(metrics, labels or {}, currency, lang)
    row = cells.only_row(measured, [*metrics, *([over] if over else [])])
    rows = [_metric_cells(row, name, over, labels, lang, decimals) for name in metrics]
    words = said(METRIC_WORDS, lang)
    words[LABEL] = labels.get(LABEL, words[LABEL])
    shown = {name: heading for name, heading in words.items() if any(row[name] for row in rows)}
    return cells.presented(rows, shown, ("value", "rate"), _metric_data(row, metrics, over, labels, lang))


def _with_currency(metrics: Sequence[str], labels: Labels, currency: str, lang: str) -> Labels:
    """The labels, those of amounts with their currency."""
    money = [name for name in metrics if currency and METRICS[name].unit == CURRENCY]
    return {**labels, **{name: f"{labels.get(name, cells.label_of(name, lang))} ({currency})" for name in money}}


def _metric_data(
    row: Mapping[str, Any], metrics: Sequence[str], over: str | None, labels: Labels, lang: str
) -> dict[str, Any]:
    """One row per metric: its value or rate, and the two parts of the rate."""
    words = said(METRIC_PARTS, lang)
    words[LABEL] = labels.get(LABEL, words[LABEL])
    kinds: tuple[page_data.Kind, ...] = ("text", "count", "share", "count", "count")
    fields = [DataField(name, words[name], kind) for name, kind in zip(METRIC_PARTS, kinds, strict=True)]
    bounded = {name: dict(zip(BOUNDS, map(row.get, bounds_of(name)), strict=True)) for name in metrics}
    has_bounds = any(bounds_of(name)[0] in row for name in metrics)
    fields += cells.bound_fields(BOUNDS, BOUNDS if has_bounds else (), words["rate"], lang)
    rows = []
    for name in metrics:
        metric = METRICS[name]
        top, bottom = metric.numerator or name, metric.denominator or over
        own = [row.get(part_of(row, name, each)) for each in (top, bottom) if each]
        parts = tuple(own) if bottom and bottom != name else (None, None)
        share = row[name] if metric.is_rate else cells.ratio(*parts) if not metric.denominator else None
        values = (labels.get(name, cells.label_of(name, lang)), None if metric.is_rate else row[name], share, *parts)
        rows.append(dict(zip(METRIC_PARTS, values, strict=True)) | bounded[name])
    return table_data("metrics", fields, rows)


def _metric_cells(
    row: Mapping[str, Any], name: str, over: str | None, labels: Labels, lang: str, decimals: int | None
) -> dict[str, Cell]:
    metric = METRICS[name]
    label = marked(labels.get(name, cells.label_of(name, lang)), name, lang)
    if metric.is_rate:
        rate = cells.rate_cell(row, metric.numerator or name, metric.denominator or name, lang, name, decimals)
        return {"label": label, "value": "", "rate": rate}
    shared = over is not None and name != over and not metric.denominator and not row.get(f"why {name}")
    rate = cells.rate_cell(row, name, over or name, lang, None, decimals) if shared else ""
    return {"label": label, "value": cells.value_cell(row, name, lang, decimals), "rate": rate}


def breakdown_table(
    measured: pl.DataFrame,
    by: str,
    metrics: Annotated[Sequence[str], OneOf(METRICS)],
    total: pl.DataFrame | None = None,
    labels: Annotated[Labels | None, OneOf(METRICS, BREAKDOWNS)] = None,
    lang: str = "en",
    ceilings: Annotated[Mapping[str, float] | None, RATES] = None,
    floors: Annotated[Mapping[str, float] | None, RATES] = None,
    decimals: int | None = None,
) -> GT:
    """Show metrics side by side, one row per group; each rate above its numerator / denominator.

    In: a frame of `measure` with the column `by`; `total`, the same metrics in one row, measured separately since
    distinct counts do not add up; it also says once why a metric cannot be observed. A rate above its ceiling in
    `ceilings`, or below its floor in `floors`, is marked, in words and not by colour alone. `decimals`, if given, are
    those of rates, amounts and averages.

    >>> by_domain = tk.measure(store, ["delivered", "open_rate"], by="domain", delivery=delivery)
    >>> table = breakdown_table(by_domain, "domain", ["delivered", "open_rate"])
    >>> [each["label"] for each in table.data["columns"]]
    ['Domain', 'Success (without control addresses)', 'Open rate (recipients)', 'Opens (recipients)']
    """
    limits = Limits(ceilings or {}, floors or {})
    words = {by: cells.headline(by, lang)} | {name: cells.label_of(name, lang) for name in metrics} | dict(labels or {})
    rows = [
        {by: short(group(row[by], lang)), **_group_cells(row, metrics, limits, lang, decimals, brief=total is not None)}
        for row in measured.iter_rows(named=True)
    ]
    if total is not None:
        total_cells = _group_cells(cells.only_row(total, metrics), metrics, limits, lang, decimals)
        rows.append({by: cells.bold(say(cells.TOTAL, lang)), **total_cells})
    fields = [DataField(by, words[by], "text"), *cells.metric_fields(metrics, measured.columns, words, lang)]
    raw = [row | {by: group(row[by], lang)} for row in measured.iter_rows(named=True)]
    raw += [] if total is None else [{**total.row(0, named=True), by: say(cells.TOTAL, lang)}]
    data = table_data("groups", fields, raw)
    shown = {by: words[by]} | {name: marked(words[name], name, lang) for name in metrics}
    return cells.presented(rows, shown, metrics, data)


@dataclass(frozen=True)
class Limits:
    """What rates should not be above, and what not below, by metric."""

    ceilings: Mapping[str, float]
    floors: Mapping[str, float]

    def broken(self, name: str, row: Mapping[str, Any], lang: str) -> str:
        """Say which limit a rate breaks; "" if it keeps to both, is unknown, or is above by less than three cases."""
        rate, ceiling, floor = row[name], self.ceilings.get(name), self.floors.get(name)
        if rate is not None and ceiling is not None and rate > ceiling and row[METRICS[name].parents[0]] >= CASES:
            return "▲ " + say("above {ceiling}", lang, ceiling=round_percent(ceiling, lang))
        if rate is not None and floor is not None and rate < floor:
            return "▼ " + say("below {floor}", lang, floor=round_percent(floor, lang))
        return ""


def group(name: str | None, lang: str = "en") -> str:
    """Return the name of a group: our words for the others and the unknown are translated, any other is kept."""
    return say(cells.UNKNOWN if name is None else cells.OTHERS, lang) if name in (None, cells.OTHERS) else str(name)


def _group_cells(
    row: Mapping[str, Any],
    metrics: Sequence[str],
    limits: Limits,
    lang: str,
    decimals: int | None,
    brief: bool = False,
) -> dict[str, Cell]:
    shown = {
        name: cells.briefly(why, lang)
        if brief and (why := cells.why_unseen(row, name))
        else cells.value_cell(row, name, lang, decimals)
        for name in metrics
    }
    beyond = {name: words for name in metrics if (words := limits.broken(name, row, lang))}
    return shown | {name: _marked(shown[name], words) for name, words in beyond.items()}


def _marked(cell: Cell, words: str) -> Cell:
    return Markup('{}<span class="tk-over">{}</span>').format(cell, words)


def largest(measured: pl.DataFrame, by: str, top: int) -> pl.DataFrame:
    """Keep the `top` groups with the largest first count, and add the others up in one row.

    In and out: a frame of `measure`. Rates of the others are computed from their summed parts; counts of people, who
    may belong to several groups, do not add up and are null.

    >>> by_domain = tk.measure(store, "delivered", by="domain", delivery=delivery)
    >>> largest(by_domain, "domain", 2).rows()
    [('mail.example', 21), ('inbox.example', 10), ('Others', 51)]
    """
    counted = {name: name.partition(" of ")[0] for name in measured.columns}  # "delivered of open_rate" is a part
    counts = [name for name, count in counted.items() if count in METRICS and not METRICS[count].denominator]
    ranked = measured.sort(counts[0], descending=True, nulls_last=True, maintain_order=True)
    if ranked.height <= top + 1:
        return ranked
    sums = ranked.slice(top).select(pl.lit(cells.OTHERS).alias(by), *(_sum(name, counted[name]) for name in counts))
    rates = [name for name in measured.columns if name in METRICS and name not in counts]
    others = sums.with_columns(_quotient(name, counts) for name in rates)
    return pl.concat([ranked.head(top), others.select(measured.columns)], how="vertical_relaxed")


def _sum(name: str, count: str) -> pl.Expr:
    values = pl.col(name)
    is_known = (values.count() > 0) if METRICS[count].unit != PEOPLE else pl.lit(False)
    return pl.when(is_known).then(values.sum()).alias(name)


def _quotient(name: str, columns: Sequence[str]) -> pl.Expr:
    top, bottom = (pl.col(part_of(columns, name, part)) for part in METRICS[name].parents)
    return pl.when(bottom > 0).then(top / bottom).alias(name)


def share_table(
    rows: pl.DataFrame, labels: Annotated[Labels | None, OneOf(["share"], SERIES)] = None, lang: str = "en"
) -> GT:
    """Show when each share of the total was reached: one row per share, one column per series.

    In: the frame of `curves.pareto`: `share`, then words such as "1 h 10 min", null where a series is empty.

    >>> table = share_table(tk.curves.pareto(store, delivery, shares=[0.5, 0.9]))
    >>> [each["label"] for each in table.data["columns"]]
    ['Share', 'Sum of opens', 'Cumulated clicks', 'Transactions']
    """
    series = [name for name in rows.columns[1:] if not name.startswith("why ")]
    words = cells.headings(["share", *series], SERIES, labels, lang)
    reached = [
        {"share": percent(row["share"], 0, lang)} | {name: _reached(row, name, place, lang) for name in series}
        for place, row in enumerate(rows.iter_rows(named=True))
    ]
    fields = [DataField("share", words["share"], "share"), *(DataField(name, words[name], "text") for name in series)]
    data = table_data("shares", fields, rows.iter_rows(named=True))
    return cells.presented(reached, words, series, data)


def _reached(row: Mapping[str, Any], name: str, place: int, lang: str) -> Cell:
    """A time; if the series cannot be observed, the first row says why."""
    if why := cells.why_unseen(row, name):
        return cells.briefly(why, lang) if place else cells.unavailable(why, lang)
    none = Markup('<span class="tk-na">{}</span>').format(say(NO_EVENT, lang))
    return none if row[name] is None else plain(row[name])


_FILLED_IN = r"<%.*?%>|\{\{.*?\}\}|\{%.*?%\}"  # by a sender's template


def link_table(
    links: pl.DataFrame,
    columns: Annotated[Sequence[str], OneOf(LINKS)],
    labels: Annotated[Labels | None, OneOf(LINKS)] = None,
    lang: str = "en",
) -> GT | Block:
    """Show links with their clicks, a bar, and each one's share over its numerator / denominator.

    In: the frame of `links.link_clicks` or `links.tracked_links`, or of `clickmap.placed_clicks` or `message_links`.
    `columns` are among theirs; `bar` is drawn from `message_share`, else `share`; `number` is the badge of the message.
    Others without clicks have no row, and without links the table is a sentence. What a sender's template fills into a
    URL is left out of it. Raises RequestError for an unknown column.

    >>> table = link_table(tk.links.link_clicks(store, delivery), ["rank", "link", "clicks", "share"])
    >>> [each["label"] for each in table.data["columns"]]
    ['#', 'Link', 'Link clicks', 'Share of clicks', 'Total']
    """
    if {"row", "clicks"} <= set(links.columns):
        links = links.filter((pl.col("row").cast(pl.String) != "others") | (pl.col("clicks") != 0))
    if {"row", "share"} <= set(links.columns):  # on the scale of the longest, all others included
        longest = pl.col("share").filter(pl.col("row").cast(pl.String) != "total").max()
        is_bar = pl.col("row").cast(pl.String) != "total"
        links = links.with_columns(bar=pl.when(is_bar, longest > 0).then(pl.col("share") / longest))
    if "url" in links.columns:
        links = links.with_columns(pl.col("url").cast(pl.String).str.replace_all(_FILLED_IN, "…"))
    table = column_table(links, LINKS, columns, labels, lang, {"bar": _link_bar, "number": link_mark})
    is_empty = not (links["row"].cast(pl.String) == "link").any() if "row" in links.columns else links.is_empty()
    return cells.nothing(NO_LINK, lang) if is_empty else table


def validity_table(
    late: pl.DataFrame,
    labels: Annotated[Labels | None, OneOf(VALIDITY)] = None,
    timezone: str = "UTC",
    lang: str = "en",
) -> GT | None:
    """Show when each link ended, and how many of its clicks came after that; None where no end is known.

    In: the frame of `links.late_clicks`.

    >>> validity_table(tk.links.late_clicks(store, delivery)) is None  # no link says until when it holds
    True
    """
    if late.row(-1, named=True)["clicks"] is None:
        return None
    own = {"valid_until": lambda row: cells.log_cell(row["valid_until"], timezone, lang)}
    return column_table(late, VALIDITY, list(VALIDITY), labels, lang, own)


LETTERS_OF_ID = 8
COLOURED = 4  # links with a colour of their own in the chart of days


def _link_bar(row: Mapping[str, Any]) -> Markup:
    """A bar on the scale of the longest, in the link's colour in the chart of days."""
    if "message_share" in row:
        return cells.bar(row, "message_share", "1")
    rank = row.get("rank") or 1
    return cells.bar(
        row,
        "bar" if "bar" in row else "share",
        "others" if row.get("row") == "others" or rank > COLOURED else str(rank),
    )


def log_table(
    log: pl.DataFrame,
    columns: Sequence[str] | None = None,
    labels: Labels | None = None,
    timezone: str = "UTC",
    lang: str = "en",
    by: str = "",
) -> GT:
    """Show log rows as they are: instants by the clock of a zone, text shortened, without totals.

    In: any frame, such as that of `logs.tracking_log`. With `by`, one of the columns, rows of one value stand together
    under it, the first one first; not if all have the same. A label that only repeats the type is blank, and ids of
    browsers are shortened. Raises RequestError for a column that is not there.

    >>> table = log_table(tk.logs.tracking_log(store, delivery, limit=5))
    >>> [each["label"] for each in table.data["columns"]]
    ['Occurred', 'Label', 'Type', 'Recipient id', 'Person id']
    """
    chosen = list(columns or log.columns)
    cells.require(chosen, log.columns)
    log, whole = _brief(log), log
    is_grouped = by in chosen and log[by].n_unique() > 1
    numeric = [name for name in chosen if log.schema[name].is_numeric()]
    heads = [name for name in chosen if name not in numeric][:1]
    rows = [
        {name: cells.log_cell(row[name], timezone, lang, name in cells.OURS) for name in chosen}
        # a blank heading of a row would be read as that of the row above
        | {name: say(cells.UNKNOWN, lang) for name in heads if raw[name] is None}
        # great_tables itself escapes the headings of groups
        | ({by: Markup(clipped(row[by] or say(cells.UNKNOWN, lang), 80))} if is_grouped else {})
        for row, raw in zip(log.iter_rows(named=True), whole.iter_rows(named=True), strict=True)
    ]
    words = cells.headings(chosen, {}, labels, lang)
    data = table_data(
        "log", [_log_field(name, words[name], log.schema[name]) for name in chosen], _log_rows(whole, lang)
    )
    table = cells.presented(rows, words, numeric, data)
    return table.tab_stub(groupname_col=by) if is_grouped else table


def _brief(log: pl.DataFrame) -> pl.DataFrame:
    """A log as it is shown: no label that only repeats the type, the first letters of a browser's id."""
    shown = log
    if {"type", "label"} <= set(log.columns):
        label, kind = pl.col("label").cast(pl.String), pl.col("type").cast(pl.String)
        shown = shown.with_columns(label=pl.when(label != kind).then(label).when(kind.is_null()).then(label))
    if "person_id" in log.columns:
        person = pl.col("person_id").cast(pl.String)
        is_long = person.str.len_chars() > 2 * LETTERS_OF_ID
        shown = shown.with_columns(
            person_id=pl.when(is_long).then(pl.format("{}…", person.str.head(LETTERS_OF_ID))).otherwise(person)
        )
    return shown


def _log_field(name: str, label: str, dtype: pl.DataType) -> DataField:
    kind: page_data.Kind = "count" if dtype.is_integer() else "average" if dtype.is_float() else "text"
    return DataField(name, label, "instant" if dtype.is_temporal() else kind)


def _log_rows(log: pl.DataFrame, lang: str) -> list[dict[str, Any]]:
    """The rows of a log, with our own vocabulary in words."""
    ours = [name for name in cells.OURS if name in log.columns]
    return [row | {name: cells.spoken(row[name], lang) for name in ours} for row in log.iter_rows(named=True)]


def figures(rows: pl.DataFrame, labels: Annotated[Labels | None, RATES] = None, lang: str = "en") -> Block:
    """Show a few rates in large type, each with its parts, above the platform average with its parts.

    In: the frame of `links.click_figures`.

    >>> "6 of 29" in figures(tk.links.click_figures(store, delivery)).html
    True
    """
    tiles = [_tile(row, labels or {}, lang) for row in rows.iter_rows(named=True)]
    data = table_data("figures", _figure_fields(lang), _figure_rows(rows, labels or {}, lang))
    return Block(Markup('<div class="tk-figures">{}</div>').format(Markup("").join(tiles)), data)


def _figure_fields(lang: str) -> list[DataField]:
    kinds: dict[str, page_data.Kind] = {"metric": "text", "rate": "share", "platform_average": "share"}
    return [DataField(name, label, kinds.get(name, "count")) for name, label in said(FIGURE_WORDS, lang).items()]


def _figure_rows(rows: pl.DataFrame, labels: Labels, lang: str) -> list[dict[str, Any]]:
    return [
        row | {"metric": labels.get(row["metric"], cells.label_of(row["metric"], lang))}
        for row in rows.iter_rows(named=True)
    ]


def _tile(row: Mapping[str, Any], labels: Labels, lang: str) -> Markup:
    average = figure(row["metric"], row["platform_average"], lang, row["denominator"])  # as many decimals as the rate
    parts = cells.fraction(row["average_numerator"], row["average_denominator"], lang)
    words = several("{parts}, {count} delivery", "{parts}, {count} deliveries", row["deliveries"], lang, parts=parts)
    basis = words if row["platform_average"] is not None else say(NOTHING_COMPARES, lang)
    return Markup(
        '<div class="tk-figure"><span class="tk-name">{}</span><strong>{}</strong><span class="tk-of">{}</span>'
        '<span class="tk-average">{} <b>{}</b></span><span class="tk-of">{}</span></div>'
    ).format(
        marked(labels.get(row["metric"], cells.label_of(row["metric"], lang)), row["metric"], lang),
        figure(row["metric"], row["rate"], lang, row["denominator"]),
        say(row["why"], lang) if row["why"] else cells.fraction(row["numerator"], row["denominator"], lang),
        say("Platform average", lang),
        average,
        basis,
    )
