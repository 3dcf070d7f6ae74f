"""Large figures and first sentences: what a delivery came to, whether that is usual, and what is worth a look.

Words and choices are those of the page's template (`[lead]`, `[[tile]]`, `[[look]]`); the figures are those of
`page.headline`, in the columns of `analysis.usual`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
from markupsafe import Markup

from trackkit.language import said, say, several, translatable
from trackkit.metrics import BETTER, CURRENCY, METRICS, WORSE, part_of, usual_spread
from trackkit.show import cells
from trackkit.show.cells import BOUNDS, Block
from trackkit.show.data import DataField, Kind, table_data
from trackkit.show.definitions import marked
from trackkit.show.findings.finding import CASES, LEAST
from trackkit.show.wording import NOT_AVAILABLE, clipped, elapsed, figure, instant, number, percent, round_percent

__all__ = ["Headed", "Large", "large", "lead", "look", "row"]

Row = Mapping[str, Any]
MOST_FACTS = 3
HIGHER, LOWER = "higher", "lower"
GOOD = {BETTER: HIGHER, WORSE: LOWER}
# The count behind an amount.
WHOLE_FROM = 1_000
_NONE = Markup(' class="tk-na"')
COUNT_OF = {"sales_amount": "sales", "refunded_amount": "refunds", "transaction_amount": "transactions"}
WIDTH, HEIGHT, EDGE = 120, 26, 3  # of a sparkline
# What is said of a figure that is different, by whether it is higher, and whether that is good (None: neither).
DIFFERENT: Mapping[tuple[bool, bool | None], str] = translatable(
    {
        (True, True): "▲ {difference} better than usual (median of {count})",
        (True, False): "▲ {difference} worse than usual (median of {count})",
        (True, None): "▲ {difference} above usual (median of {count})",
        (False, True): "▼ {difference} better than usual (median of {count})",
        (False, False): "▼ {difference} worse than usual (median of {count})",
        (False, None): "▼ {difference} below usual (median of {count})",
    }
)
NOT_YET = translatable("Compared when it is over")


FIELDS: Mapping[str, str] = translatable(
    {
        **{"metric": "Indicator", "rate": "Rate", "value": "Value", "part": "Numerator", "whole": "Denominator"},
        **{"n": "Comparable deliveries", "median": "Their median", "lower": "Their lower quartile"},
        **{"upper": "Their upper quartile", "difference": "Difference"},
    }
)
KINDS: dict[str, Kind] = {"metric": "text", "rate": "share", "part": "count", "whole": "count", "n": "count"}


class Headed(Protocol):
    """A report's page, as `open_page` returns it."""

    @property
    def template(self) -> Any:
        """Its template."""

    @property
    def lang(self) -> str:
        """Its language."""

    @property
    def delivery(self) -> str | None:
        """The delivery that it is about; None for several."""

    @property
    def timezone(self) -> str:
        """Its time zone."""

    @property
    def currency(self) -> str:
        """The currency of its amounts; empty without one."""

    def headline(self, metrics: Sequence[str]) -> pl.DataFrame:
        """Return metrics in the columns of `analysis.usual`, one row each."""

    def meant(self, metric: str) -> str:
        """Return the metric that its definitions mean by a rate of the platform; "" if they define none."""


@dataclass(frozen=True)
class Large:
    """A large figure that is no metric: its name, the figure, and what it is made of."""

    name: str
    value: cells.Cell
    beneath: str = ""


def large(figures: Sequence[Large], data: dict[str, Any] | None = None) -> Block:
    """Show large figures in a row; `data` is that of `data.table_data`.

    >>> large([Large("Read", "1.0%", "29 of 3,014")]).html.striptags()
    'Read1.0%29 of 3,014'
    """
    tile = '<li class="tk-tile"><span class="tk-name">{}</span><strong>{}</strong><span class="tk-of">{}</span></li>'
    shown = [Markup(tile).format(each.name, each.value, each.beneath) for each in figures]
    return Block(Markup('<ul class="tk-tiles">{}</ul>').format(Markup("").join(shown)), data)


def row(page: Headed, metrics: Sequence[str] | None = None) -> Block:
    """Show large figures: those of the template's `[[tile]]`, or of `metrics`.

    Each with its parts, its distance from what is usual, and a line of the last twelve of its kind; in a report about
    several deliveries, their totals alone.

    >>> page = tk.open_page("overview", store.snapshot(), delivery)
    >>> row(page, ["open_rate"]).html.striptags()
    'Opened ?31.7%26 of 82 (22.6–42.4%)'
    """
    tiles = {tile.metric: tile for tile in page.template.tile}
    names = list(tiles if metrics is None else metrics)
    asked = [*names, *(COUNT_OF[name] for name in names if name in COUNT_OF and COUNT_OF[name] not in names)]
    rows = {each["metric"]: each for each in page.headline(asked).iter_rows(named=True)}
    labels = {name: _label(tiles.get(name), name, page.lang) for name in names}
    silent = _few(page) is not None  # the first sentences have said it
    shown = [_tile(rows, name, labels[name], tiles.get(name), page, silent) for name in names]
    data = table_data("headline", _fields(rows, page.lang), (_raw(rows[name], labels[name]) for name in names))
    return Block(Markup('<ul class="tk-tiles">{}</ul>').format(Markup("").join(shown)), data)


def lead(page: Headed, pace: pl.DataFrame, reached: pl.DataFrame, reach: pl.DataFrame | None = None) -> Block:
    """Say in a few sentences what a delivery came to: its state, opens and clicks beside what is usual, how fast.

    In: the frames of `sending.pace` and of `curves.time_to_reach` with the share 0.5; of several deliveries that of
    `several.reach`, so that it is said first how many people they reached. What the template's `[lead]` has
    no sentence for is not said.

    >>> page = tk.open_page("overview", store.snapshot(), delivery)
    >>> reached = tk.curves.time_to_reach(store, delivery, [0.5])
    >>> lead(page, tk.sending.pace(store, delivery), reached).html.striptags()[:63]
    '26 of 82 opened and 6 clicked. Half of the opens came within 3 '
    """
    state = pace.row(0, named=True)
    rates = [page.meant("open_rate"), page.meant("recipient_click_rate")]
    opened, clicked = page.headline(rates).to_dicts() if all(rates) else ({"whole": None}, {})
    sentences = list(_state(page, state))
    if state["phase"] != "not started" and (opened["whole"] or 0) > 0:
        read = [*_reading(page, opened, clicked), *_speed(page, state, reached), *_compared(page)]
        sentences = [*read, *sentences] if state["outlook"] == "overdue" else [*sentences, *read]
    people = [] if reach is None else _people(page, reach.row(0, named=True))
    return Block(Markup('<p class="tk-lead">{}</p>').format(" ".join([*people, *sentences])))


def look(page: Headed, by_domain: pl.DataFrame) -> Block | None:
    """List what is worth a look, three facts at most: above what is advised in a mail domain, then not as usual.

    In: a frame of `measure` by `domain`, with the metrics that have a ceiling or a floor in the template's `[[look]]`.
    Domains of fewer than 30 messages are left out, and above a ceiling those of fewer than 3 cases. Each fact names, in
    `data-report`, the report that shows more: `run` makes it a link. None if there is none.

    >>> page = tk.open_page("overview", store.snapshot(), delivery)
    >>> by_domain = tk.measure(store, ["hard_bounce_rate", "complaint_rate"], by="domain", delivery=delivery)
    >>> look(page, by_domain) is None  # nothing is above what is advised
    True
    """
    rows = {each["metric"]: each for each in page.headline([each.metric for each in page.template.look]).to_dicts()}
    facts = [*_above(page, by_domain), *_unusual(page, rows)]
    if not facts:
        return None
    listed = [
        Markup('<li><a data-report="{}">{}</a></li>').format(report, sentence)
        for _, report, sentence in sorted(facts, key=lambda fact: -fact[0])[:MOST_FACTS]
    ]
    words = page.template.lead.look_at or ""
    return Block(Markup('<div class="tk-look"><h3>{}</h3><ul>{}</ul></div>').format(words, Markup("").join(listed)))


# ---- tiles ----


def _raw(values: Row, label: str) -> Row:
    """A figure as data: a rate apart from counts and amounts."""
    kind = "rate" if METRICS[values["metric"]].is_rate else "value"
    return {**values, "metric": label, "rate": None, "value": None, kind: values["value"]}


def _label(tile: Any, name: str, lang: str) -> str:
    return tile.label if tile and tile.label else cells.label_of(name, lang)


def _is_good(tile: Any, name: str, is_higher: bool) -> bool | None:
    """Whether a value on one side of the usual one is good; None if neither side is."""
    good = tile.good if tile and tile.good else GOOD.get(METRICS[name].higher_is)
    return (good == HIGHER) is is_higher if good in (HIGHER, LOWER) else None


def _tile(rows: Mapping[str, Row], name: str, label: str, tile: Any, page: Headed, silent: bool) -> Markup:
    values, lang = rows[name], page.lang
    if values["value"] is None:
        value, beneath = say(NOT_AVAILABLE, lang), say(_why(values, rows), lang, **_named(values, lang))
    else:
        value, beneath = (
            _value(values, lang, tile.decimals if tile else None),
            _beneath(rows, name, page),
        )
    kind, words = ("", "") if silent and values["median"] is None else _against_usual(values, tile, lang)
    words = words or _of_some(values, lang)
    return Markup(
        '<li class="tk-tile"><span class="tk-name">{}</span><strong{}>{}</strong><span class="tk-of">{}{}</span>'
        '<span class="tk-usual{}">{}</span>{}</li>'
    ).format(
        marked(label, name, lang),
        _NONE if values["value"] is None else "",
        value,
        beneath,
        cells.bracketed(name, values["value"], values.get("low"), values.get("high"), values["whole"], lang),
        kind,
        words,
        _sparkline(values, lang),
    )


def _beneath(rows: Mapping[str, Row], name: str, page: Headed) -> str:
    """What stands below a figure: the currency of an amount, and its parts."""
    parts = _parts(rows[name], rows.get(COUNT_OF.get(name, "")), page.lang)
    return " · ".join(filter(None, [_currency_of(name, page), parts]))


def _currency_of(name: str, page: Headed) -> str:
    """The currency of a metric; empty unless it is an amount."""
    return page.currency if METRICS[name].unit == CURRENCY else ""


def _with_currency(values: Row, page: Headed) -> str:
    """A figure in a sentence: an amount is followed by its currency."""
    return f"{_value(values, page.lang)} {_currency_of(values['metric'], page)}".rstrip()


def _value(values: Row, lang: str, decimals: int | None = None) -> str:
    """A figure; a sum of money is whole from a thousand on, since a tile is narrow, unless `decimals` are chosen."""
    metric = METRICS[values["metric"]]
    if decimals is None and metric.unit == CURRENCY and not metric.denominator and abs(values["value"]) >= WHOLE_FROM:
        return number(values["value"], lang=lang)
    return figure(values["metric"], values["value"], lang, values["whole"], decimals)


def _parts(values: Row, count: Row | None, lang: str) -> str:
    metric = METRICS[values["metric"]]
    if metric.denominator:
        money = METRICS[str(metric.numerator)].unit == CURRENCY
        return cells.fraction(values["part"], values["whole"], lang, money=money, is_share=metric.is_rate)
    if count is None or count["value"] is None:
        return ""
    many = int(count["value"])
    match count["metric"]:
        case "sales":
            return several("{count} sale", "{count} sales", many, lang)
        case "refunds":
            return several("{count} refund", "{count} refunds", many, lang)
    return several("{count} transaction", "{count} transactions", many, lang)


def _why(values: Row, rows: Mapping[str, Row]) -> str:
    """Why a figure is unknown, in English."""
    if values["why"] or values["whole"] == 0:
        return str(values["why"] or "{denominator} is 0")
    sold = rows.get(COUNT_OF.get(values["metric"], ""), {}).get("value")
    return cells.SEVERAL_CURRENCIES if sold else cells.NOT_LOADED


def _named(values: Row, lang: str) -> dict[str, str]:
    bottom = METRICS[values["metric"]].denominator
    return {"denominator": cells.label_of(bottom, lang)} if bottom else {}


def _against_usual(values: Row, tile: Any, lang: str) -> tuple[str, str]:
    """How a figure compares with what is usual: a class of the style, and words."""
    if values["value"] is None or values["n"] is None:
        return "", ""
    count = number(values["n"], lang=lang)
    if values["median"] is None:
        return "", say("Too few to compare: {count}", lang, count=count)
    if values["reason"]:
        return "", say(NOT_YET, lang)
    if values["difference"] is None:
        return "", say("None is usual (median of {count})", lang, count=count)
    is_higher, difference = values["difference"] > 0, _difference(values, lang)
    if not values["is_different"]:
        return "", say(
            "As usual: {difference} (median of {count})", lang, difference=_signed(values, lang), count=count
        )
    good = _is_good(tile, values["metric"], is_higher)
    kind = "" if good is None else " tk-good" if good else " tk-bad"
    return kind, say(DIFFERENT[is_higher, good], lang, difference=difference, count=count)


def _of_some(values: Row, lang: str) -> str:
    """Of how many deliveries a total is, where it cannot be known of all."""
    if not values.get("unknown") or values["value"] is None:
        return ""
    counts = {"count": values["deliveries"], "unknown": values["unknown"]}
    counts["known"] = counts["count"] - counts["unknown"]
    shown = {name: number(count, lang=lang) for name, count in counts.items()}
    return say("{known} of {count} deliveries; unknown in {unknown}", lang, **shown)


def _difference(values: Row, lang: str) -> str:
    """A difference without its sign: in points for a rate, else as a share of what is usual."""
    size = abs(values["difference"])
    if not METRICS[values["metric"]].is_rate:
        return percent(size, 0, lang)
    return say("{points} points", lang, points=number(100 * size, 1 if size >= 0.0005 or not size else 2, lang))


def _signed(values: Row, lang: str) -> str:
    return f"{'+' if values['difference'] > 0 else '−' if values['difference'] < 0 else '±'}{_difference(values, lang)}"


def _sparkline(values: Row, lang: str) -> Markup:
    """The last figures of its kind as a line, its own as a dot, over a band of what is as usual.

    None where too few compare, as said beneath the figure.
    """
    recent = values["recent"]
    if values["value"] is None or recent is None or len(recent) < 3 or values["median"] is None:
        return Markup("")
    words = say(
        "The last {count} of its kind: from {lowest} to {highest}; this one: {value}.",
        lang,
        count=len(recent),
        lowest=_value({**values, "value": min(recent)}, lang),
        highest=_value({**values, "value": max(recent)}, lang),
        value=_value(values, lang),
    )
    heights = [*recent, *(values[side] for side in ("lower", "upper") if values[side] is not None)]
    least, span = min(heights), (max(heights) - min(heights)) or 1
    points = [
        (EDGE + round(place * (WIDTH - 2 * EDGE) / (len(recent) - 1)), _y(value, least, span))
        for place, value in enumerate(recent)
    ]
    line, (x, y) = " ".join(f"{across},{down}" for across, down in points), points[-1]
    return Markup(
        '<svg class="tk-spark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}<polyline points="{}"/>'
        '<circle cx="{}" cy="{}" r="3"/></svg>'
    ).format(WIDTH, HEIGHT, words, _band(values, least, span), line, x, y)


def _band(values: Row, least: float, span: float) -> Markup:
    """The very spread that the verdict uses, as far as it is in the picture: what is as usual stands in it."""
    if values["lower"] is None:
        return Markup("")
    cases = values["whole"] if METRICS[values["metric"]].is_rate else None
    low, high = usual_spread(values["median"], values["lower"], values["upper"], cases)
    edges = min(high, least + span), max(low, least)
    top, bottom = (_y(edge, least, span) for edge in edges)
    top, bottom = 0 if high >= least + span else top, HEIGHT if low <= least else bottom
    return Markup('<rect x="0" y="{}" width="{}" height="{}"/>').format(top, WIDTH, max(1, bottom - top))


def _y(value: float, least: float, span: float) -> int:
    return HEIGHT - EDGE - round((value - least) / span * (HEIGHT - 2 * EDGE))


def _fields(rows: Mapping[str, Row], lang: str) -> list[DataField]:
    fields = [DataField(name, label, KINDS.get(name, "average")) for name, label in said(FIELDS, lang).items()]
    return fields + cells.bound_fields(BOUNDS, list(next(iter(rows.values()), {})), say("Rate", lang), lang)


# ---- the first sentences ----


def _people(page: Headed, reach: Row) -> Iterator[str]:
    """How many people several deliveries reached, each counted once."""
    if reach["people"]:
        counts = {name: number(reach[name], lang=page.lang) for name in ("messages", "people")}
        yield from _said(page.template.lead.several, **counts)


def _state(page: Headed, state: Row) -> Iterator[str]:
    """What is said of a delivery that is not over."""
    words, lang = page.template.lead, page.lang
    if state["phase"] == "not started":
        yield from _said(words.not_sent)
    if state["phase"] not in ("running", "paused") or state["processed"] is None or not state["to_deliver"]:
        return
    if page.delivery is None:  # a warning says which of several are not over
        return
    whole = state["to_deliver"]
    values = {
        "processed": number(state["processed"], lang=lang),
        "to_deliver": number(whole, lang=lang),
        "share": percent(state["processed"] / whole, lang=lang, of=whole),
        "end": instant(state["ends_at"], page.timezone, lang=lang, weekday=True),
        "last": instant(state["last_at"], page.timezone, lang=lang, weekday=True),
        "deadline": instant(state["validity_at"], page.timezone, lang=lang, weekday=True),
        "pending": number(state["pending"], lang=lang) if state["pending"] else "",
    }
    if state["outlook"] == "overdue" and state["last_at"] and words.overdue:
        yield from _said(words.overdue, **values)
        return
    running = words.running_until if state["ends_at"] else words.running
    yield from _said(words.paused if state["phase"] == "paused" else running, **values)


def _said(sentence: str | None, **values: str) -> Iterator[str]:
    if sentence:
        yield sentence.format(**values)


def _reading(page: Headed, opened: Row, clicked: Row) -> Iterator[str]:
    """What is said of opens and clicks, together where both compare alike."""
    words, lang = page.template.lead, page.lang
    if opened["part"] == 0 and not clicked["part"]:
        yield from _said(words.nobody, count=number(opened["whole"], lang=lang))
        return
    if opened["value"] is clicked["value"] is None and opened["why"] == clicked["why"] and words.unseen:
        yield from _said(words.unseen, why=say(opened["why"] or cells.NOT_LOADED, lang))
        return
    levels = _level(opened), _level(clicked)
    (part, base), (clicks, of_clicks) = _of_hundred(opened), _of_hundred(clicked)
    if opened["value"] is None:
        yield from _said(words.opens_unseen, why=say(opened["why"] or cells.NOT_LOADED, lang))
    elif levels[0] == levels[1] and clicked["part"]:
        shown = number(clicks, lang=lang) if base == of_clicks else _of(clicks, of_clicks, lang)
        yield from _said(getattr(words.both, levels[0]), opened=_of(part, base, lang), clicked=shown)
        return
    else:
        yield from _said(getattr(words.opened, levels[0]), part=_of(part, base, lang))
    if clicked["value"] is None:
        yield from _said(words.clicks_unseen, why=say(clicked["why"] or cells.NOT_LOADED, lang))
    elif clicked["part"]:
        yield from _said(getattr(words.clicked, levels[1]), part=_of(clicks, of_clicks, lang))
    else:
        yield from _said(words.not_clicked)


def _level(values: Row) -> str:
    """How a figure compares with what is usual."""
    if values["value"] is None or values["reason"] or values["upper"] is None:
        return "alone"
    if values["is_different"]:
        return "more" if values["difference"] > 0 else "less"
    return "usual"


def _of_hundred(values: Row) -> tuple[int, int]:
    """A rate as so many of a hundred; of a thousand if it is small; of all there are if they are few."""
    rate, whole = values["value"] or 0, int(values["whole"] or 0)
    if whole < 100:
        return int(values["part"] or 0), whole
    base = 100 if rate >= 0.015 or not rate else 1_000 if rate >= 0.0015 else 10_000
    return int(rate * base + 0.5), base


def _of(part: int, whole: int, lang: str) -> str:
    return say(cells.PARTS, lang, part=number(part, lang=lang), whole=number(whole, lang=lang))


def _speed(page: Headed, state: Row, reached: pl.DataFrame) -> Iterator[str]:
    """Within which time half of the clicks came, or else of the opens."""
    words = page.template.lead
    half = {each["series"]: each for each in reached.filter(pl.col("share") == 0.5).to_dicts()}
    for series, sentence in (("clicks", words.half_of_clicks), ("opens", words.half_of_opens)):
        values = half.get(series, {})
        if values.get("after") is not None and values["total"] >= LEAST and state["phase"] != "running":
            yield from _said(sentence, time=elapsed(values["after"], page.lang).replace(" ", "\u00a0"))
            return


def _few(page: Headed) -> int | None:
    """How many deliveries compare, if they are too few and the first sentences say so."""
    delivered = page.headline(["delivery_rate"]).row(0, named=True) if page.template.lead.few else {}
    return delivered["n"] if delivered and delivered["median"] is None else None


def _compared(page: Headed) -> Iterator[str]:
    """That too few deliveries compare."""
    if (count := _few(page)) is not None:
        yield from _said(page.template.lead.few, count=number(count, lang=page.lang))


# ---- what to look at ----

Fact = tuple[float, str, str]  # its weight, the report that shows more, a sentence


def _above(page: Headed, by_domain: pl.DataFrame) -> Iterator[Fact]:
    """Yield the domain that is furthest above its ceiling or below its floor, for each metric that has one."""
    for each in page.template.look:
        if not (METRICS[each.metric].denominator and each.metric in by_domain.columns):
            continue
        part, whole = (part_of(by_domain.columns, each.metric, name) for name in METRICS[each.metric].parents)
        rate, rows = pl.col(each.metric), by_domain.filter(pl.col(whole) >= LEAST, pl.col("domain").is_not_null())
        if each.ceiling and each.above:
            over = rows.filter(pl.col(part) >= CASES, rate > each.ceiling).sort(rate, descending=True).head(1)
            for values in over.iter_rows(named=True):
                words = _of_domain(values, each.metric, each.ceiling, page.lang)
                yield 100 + values[each.metric] / each.ceiling, each.report, each.above.format(**words)
        if each.floor and each.below:
            for values in rows.filter(rate < each.floor).sort(rate).head(1).iter_rows(named=True):
                words = _of_domain(values, each.metric, each.floor, page.lang)
                yield 101 + (1 - values[each.metric] / each.floor), each.report, each.below.format(**words)


def _of_domain(values: Row, metric: str, limit: float, lang: str) -> dict[str, str]:
    part, whole = (part_of(values, metric, name) for name in METRICS[metric].parents)
    return {
        "name": clipped(values["domain"], 60),
        "rate": percent(values[metric], lang=lang, of=values[whole]),
        "parts": cells.fraction(values[part], values[whole], lang),
        "limit": round_percent(limit, lang),
    }


def _unusual(page: Headed, rows: Mapping[str, Row]) -> Iterator[Fact]:
    """Yield the metrics that are not as usual, what is worse before what is better."""
    for each in page.template.look:
        values = rows[each.metric]
        is_higher = (values["difference"] or 0) > 0
        sentence = each.higher if is_higher else each.lower
        if not values["is_different"] or not sentence:
            continue
        words = {
            "rate": _with_currency(values, page),
            "parts": _parts(values, None, page.lang),
            "median": _with_currency({**values, "value": values["median"]}, page),
        }
        is_good = (GOOD.get(METRICS[each.metric].higher_is) == HIGHER) is is_higher
        yield (0 if is_good else 50), each.report, sentence.format(**words)
