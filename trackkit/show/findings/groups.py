"""Of groups, such as mail domains: which has the highest or lowest rate, is beyond what is advised, is the largest."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import polars as pl

from trackkit.language import say, translatable
from trackkit.metrics import METRICS, beyond_chance, part_of
from trackkit.show.cells import OTHERS, RATES, Labels, label_of, require, spoken
from trackkit.show.findings.finding import CASES, LEAST, LONGEST, Finding
from trackkit.show.wording import clipped, number, percent, round_percent

ADDED_ROWS = ("others", "total", "seven")  # rows that are no groups, in frames with a column `row`
NO_GROUPS = ("others", "total", "seven", "detail", "unlisted")
Side = Literal["highest", "lowest"]
# What a group does most and least of all, by metric.
_MOST: Mapping[str, str] = translatable(
    {
        "open_rate": "{name} opens most: {rate} ({part} of {whole})",
        "recipient_click_rate": "{name} clicks most: {rate} ({part} of {whole})",
        "click_rate": "{name} clicks most: {rate} ({part} of {whole})",
        "click_to_open_rate": "{name} clicks most of those who opened: {rate} ({part} of {whole})",
        "failure_rate": "{name} fails most: {rate} ({part} of {whole})",
        "hard_bounce_rate": "{name} has most hard bounces: {rate} ({part} of {whole})",
        "soft_bounce_rate": "{name} has most soft bounces: {rate} ({part} of {whole})",
        "unsubscribe_rate": "{name} has most opt-out clicks: {rate} ({part} of {whole})",
        "recipient_unsubscribe_rate": "{name} opts out most: {rate} ({part} of {whole})",
        "": "{label}: highest at {name}, {rate} ({part} of {whole})",
    }
)
_LEAST: Mapping[str, str] = translatable(
    {
        "open_rate": "{name} opens least: {rate} ({part} of {whole})",
        "recipient_click_rate": "{name} clicks least: {rate} ({part} of {whole})",
        "click_rate": "{name} clicks least: {rate} ({part} of {whole})",
        "click_to_open_rate": "{name} clicks least of those who opened: {rate} ({part} of {whole})",
        "delivery_rate": "{name} receives least: {rate} ({part} of {whole})",
        "acceptance_rate": "{name} receives least: {rate} ({part} of {whole})",
        "": "{label}: lowest at {name}, {rate} ({part} of {whole})",
    }
)
# The largest part of a whole, by what is counted.
_LARGEST: Mapping[str, str] = translatable(
    {
        "recipients": "{name}: {part} of {whole} left out ({rate})",
        "errors": "{name}: {part} of {whole} errors ({rate})",
        "messages": "“{name}”: {part} of {whole} errors ({rate})",
        "opens": "{name}: {part} of {whole} opens ({rate})",
    }
)
# Where the unnamed are more than the largest part.
_LARGEST_KNOWN: Mapping[str, str] = translatable(
    {"opens": "{name}: {part} of the {whole} opens where it is known ({rate})"}
)

_ABOVE: Mapping[str, str] = translatable(
    {
        "none": "{label}: nowhere above the advised {limit}",
        "one": "{label}: {rate} at {name}, advised at most {limit}",
        "more": "{label}: {rate} at {name} and {others} more above the advised {limit}",
    }
)
_BELOW: Mapping[str, str] = translatable(
    {
        "none": "{label}: nowhere below {limit}",
        "one": "{label}: {rate} at {name}, wanted at least {limit}",
        "more": "{label}: {rate} at {name} and {others} more below {limit}",
    }
)


def lowest(
    rows: pl.DataFrame, column: str, metric: str, lang: str = "en", labels: Labels | None = None
) -> Finding | None:
    """Say which group has the lowest rate; None if none is lower than the others beyond chance.

    In: a frame of `measure` by `column`, with the rate and its two parts. Groups of fewer than 30, the unnamed one and
    "Others" are left out. A group differs if its rate is three standard errors or more from the median of the groups'
    rates. `labels` are the words for rates, by default their own. None for the metric "". Raises RequestError for a
    column that the frame does not have.

    >>> names, opens = ["x.example", "y.example", "z.example"], [40, 41, 5]
    >>> rows = pl.DataFrame({"domain": names, "unique_opens": opens, "delivered": [100] * 3})
    >>> rows = rows.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> lowest(rows, "domain", "open_rate").text
    'z.example opens least: 5.0% (5 of 100)'
    """
    return _extreme(rows, column, metric, "lowest", lang, labels)


def highest(
    rows: pl.DataFrame, column: str, metric: str, lang: str = "en", labels: Labels | None = None
) -> Finding | None:
    """Say which group has the highest rate, as `lowest` does.

    >>> rows = pl.DataFrame({"domain": ["x.example", "y.example", "z.example"], "unique_opens": [10, 11, 50]})
    >>> rows = rows.with_columns(delivered=100, open_rate=pl.col("unique_opens") / 100)
    >>> highest(rows, "domain", "open_rate").text
    'z.example opens most: 50.0% (50 of 100)'
    """
    return _extreme(rows, column, metric, "highest", lang, labels)


def stands_out(
    rows: pl.DataFrame, column: str, metric: str, lang: str = "en", labels: Labels | None = None
) -> Finding | None:
    """Say which group is lowest, or else highest, as `lowest` does; or else that none stands out.

    None if fewer than three groups have 30 cases, or all rates are 0.

    >>> rows = pl.DataFrame({"domain": ["x.example", "y.example", "z.example"], "unique_opens": [10, 11, 50]})
    >>> rows = rows.with_columns(delivered=100, open_rate=pl.col("unique_opens") / 100)
    >>> stands_out(rows, "domain", "open_rate").text
    'z.example opens most: 50.0% (50 of 100)'
    """
    found = lowest(rows, column, metric, lang, labels) or highest(rows, column, metric, lang, labels)
    groups = _groups(rows, column, metric)
    if found or groups.height < 3 or not groups["rate"][0]:
        return found
    label = label_of(metric, lang, labels)
    shown = [percent(groups["rate"][at], lang=lang, of=groups["whole"][at]) for at in (-1, 0)]
    words = {"label": label, "lowest": shown[0], "highest": shown[1]}
    if column == "domain":
        return Finding(say("No domain stands out: {label} {lowest} to {highest}, within chance", lang, **words))
    return Finding(say("None stands out: {label} {lowest} to {highest}, within chance", lang, **words))


def outlier(
    rows: pl.DataFrame,
    column: str,
    metrics: Annotated[Sequence[str] | None, RATES],
    lang: str = "en",
    labels: Labels | None = None,
) -> Finding | None:
    """Say which group has a rate that is lower, or else higher, than the others beyond chance: the first such rate.

    Else that none of the first rate has, as `stands_out` does. In: a frame as for `lowest`, with all the metrics.

    >>> names, opens = ["x.example", "y.example", "z.example"], [40, 41, 5]
    >>> rows = pl.DataFrame({"domain": names, "unique_opens": opens, "delivered": [100] * 3})
    >>> rows = rows.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> outlier(rows, "domain", ["open_rate"]).text
    'z.example opens least: 5.0% (5 of 100)'
    """
    each = (side(rows, column, metric, lang, labels) for metric in metrics or [] for side in (lowest, highest))
    return next(filter(None, each), None) or (stands_out(rows, column, metrics[0], lang, labels) if metrics else None)


def above(
    rows: pl.DataFrame, column: str, metric: str, ceiling: float, lang: str = "en", labels: Labels | None = None
) -> Finding | None:
    """Say which groups have a rate above what is advised, the highest first; or that none has.

    In: a frame as for `lowest`. Groups of fewer than 30 are left out; None if no other is there. Fewer than 3 cases are
    not above.

    >>> names, opens = ["x.example", "y.example", "z.example"], [40, 41, 5]
    >>> rows = pl.DataFrame({"domain": names, "unique_opens": opens, "delivered": [100] * 3})
    >>> rows = rows.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> above(rows, "domain", "open_rate", ceiling=0.2).text
    'Open rate (recipients): 41.0% at y.example and 1 more above the advised 20%'
    """
    groups = _groups(rows, column, metric)
    over = groups.filter(pl.col("rate") > ceiling, pl.col("part") >= CASES)
    label = label_of(metric, lang, labels)
    return _beyond(groups, over, _ABOVE, label, ceiling, lang)


def below(
    rows: pl.DataFrame, column: str, metric: str, floor: float, lang: str = "en", labels: Labels | None = None
) -> Finding | None:
    """Say which groups have a rate below what is wanted, the lowest first; or that none has.

    In: a frame as for `lowest`. Groups of fewer than 30 are left out; None if no other is there.

    >>> names, opens = ["x.example", "y.example", "z.example"], [40, 41, 5]
    >>> rows = pl.DataFrame({"domain": names, "unique_opens": opens, "delivered": [100] * 3})
    >>> rows = rows.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> below(rows, "domain", "open_rate", floor=0.2).text
    'Open rate (recipients): 5.0% at z.example, wanted at least 20%'
    """
    groups = _groups(rows, column, metric)
    under = groups.filter(pl.col("rate") < floor).sort("rate")
    return _beyond(groups, under, _BELOW, label_of(metric, lang, labels), floor, lang)


def _beyond(
    groups: pl.DataFrame, beyond: pl.DataFrame, sentences: Mapping[str, str], label: str, limit: float, lang: str
) -> Finding | None:
    """Say which groups are beyond a limit, the furthest first, or that none is; None if there is no group."""
    if groups.is_empty():
        return None
    words = {"label": label, "limit": round_percent(limit, lang)}
    if beyond.is_empty():
        return Finding(say(sentences["none"], lang, **words))
    words |= _words(beyond.row(0, named=True), lang)
    if beyond.height == 1:
        return Finding(say(sentences["one"], lang, **words))
    return Finding(say(sentences["more"], lang, **words, others=number(beyond.height - 1, lang=lang)))


def limits_kept(
    rows: pl.DataFrame,
    column: str,
    ceilings: Annotated[Mapping[str, float] | None, RATES],
    lang: str = "en",
    floors: Annotated[Mapping[str, float] | None, RATES] = None,
    labels: Labels | None = None,
) -> Finding | None:
    """Say which groups have a rate above its ceiling or below its floor, for the first such rate; or that none has.

    In: a frame as for `above`, with the rates of `ceilings` and `floors`.

    >>> names, opens = ["x.example", "y.example", "z.example"], [40, 41, 5]
    >>> rows = pl.DataFrame({"domain": names, "unique_opens": opens, "delivered": [100] * 3})
    >>> rows = rows.with_columns(open_rate=pl.col("unique_opens") / pl.col("delivered"))
    >>> limits_kept(rows, "domain", None, floors={"open_rate": 0.2}).text
    'Open rate (recipients): 5.0% at z.example, wanted at least 20%'
    """
    limits, least = dict(ceilings or {}), dict(floors or {})
    is_over = [metric for metric, at in limits.items() if (_groups(rows, column, metric)["rate"] > at).any()]
    if is_over:
        return above(rows, column, is_over[0], limits[is_over[0]], lang, labels)
    is_under = [metric for metric, at in least.items() if (_groups(rows, column, metric)["rate"] < at).any()]
    if is_under:
        return below(rows, column, is_under[0], least[is_under[0]], lang, labels)
    checked = [metric for metric in [*limits, *least] if _groups(rows, column, metric).height]
    if not checked or column != "domain":
        return None
    return Finding(say("No domain is beyond what is advised" if least else "No domain is above what is advised", lang))


def unlike_others(anomalies: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which group has a rate unlike the others', the least likely by chance; None if there is none.

    In: the frame of `intervals.anomalies`. What is added up as Others is left out.

    >>> row = {"name": "x.example", "metric": "open_rate", "part": 5, "whole": 100, "rate": 0.05, "usual": 0.4}
    >>> unlike_others(pl.DataFrame([row | {"is_unusual": True}])).text
    'x.example: Open rate (recipients) 5.0% (5 of 100), where 40.0% is usual'
    """
    unusual = anomalies.filter("is_unusual")
    if unusual.is_empty():
        return None
    row = unusual.row(0, named=True)
    words = {
        "name": clipped(row["name"], LONGEST),
        "label": label_of(row["metric"], lang),
        "rate": percent(row["rate"], lang=lang, of=row["whole"]),
        "usual": percent(row["usual"], lang=lang, of=row["whole"]),
        "part": number(row["part"], lang=lang),
        "whole": number(row["whole"], lang=lang),
    }
    return Finding(say("{name}: {label} {rate} ({part} of {whole}), where {usual} is usual", lang, **words))


def largest(rows: pl.DataFrame, column: str, part: str, whole: str, lang: str = "en") -> Finding | None:
    """Say which group is the largest part of a whole; None below 30 cases, or if the first place is shared.

    In: a frame with a name in `column` and the counts `part` and `whole`, as of `sending.exclusions`,
    `bounces.bounces`, `bounces.failures` or `audience.opens_by`. Further rows, such as the total, and the unnamed are
    left out; opens are out of the named ones where the unnamed are more than the largest part.

    >>> rows = pl.DataFrame({"rule": ["Denylisted", "Double"], "recipients": [30, 10], "rejected": 40})
    >>> largest(rows, "rule", "recipients", "rejected").text
    'Denylisted: 30 of 40 left out (75.0%)'
    """
    require([column, part, whole], rows.columns)
    is_group = ~pl.col("row").cast(pl.String).is_in(NO_GROUPS) if "row" in rows.columns else pl.lit(True)
    groups = rows.filter(is_group, pl.col(whole) >= LEAST).sort(part, descending=True, nulls_last=True)
    groups = groups.filter(pl.col(column).cast(pl.String) != OTHERS, pl.col(part) > 0)
    if groups.is_empty() or (groups.height > 1 and groups[part][0] == groups[part][1]):
        return None
    name, counted, of = groups.select(pl.col(column).cast(pl.String), part, whole).row(0)
    unnamed = rows.filter(is_group, pl.col(column).is_null())[part].sum() or 0
    sentences = _LARGEST_KNOWN if part in _LARGEST_KNOWN and unnamed > counted else _LARGEST
    of -= unnamed if sentences is _LARGEST_KNOWN else 0
    shown = {"part": number(counted, lang=lang), "whole": number(of, lang=lang)}
    shown |= {"rate": percent(counted / of, lang=lang, of=of)}
    return Finding(say(sentences[part], lang, name=clipped(spoken(name, lang), LONGEST), **shown))


def _extreme(
    rows: pl.DataFrame, column: str, metric: str, side: Side, lang: str, labels: Labels | None
) -> Finding | None:
    if not metric:
        return None
    groups = _groups(rows, column, metric)
    groups = groups.reverse() if side == "lowest" else groups
    if groups.height < 3 or groups["rate"][0] == groups["rate"][1]:
        return None
    first, middle = groups.row(0, named=True), groups["rate"].median()
    if not isinstance(middle, float) or not beyond_chance(first["rate"], middle, first["whole"]):
        return None
    sentences = _MOST if side == "highest" else _LEAST
    has_verb = metric in sentences and metric not in (labels or {})  # a label of the analyst's is kept to
    words = {} if has_verb else {"label": label_of(metric, lang, labels)}
    return Finding(say(sentences[metric if has_verb else ""], lang, **words, **_words(first, lang)))


def _groups(rows: pl.DataFrame, column: str, metric: str) -> pl.DataFrame:
    """The groups that are large enough, by falling rate: `name`, `rate`, `part`, `whole`."""
    part, whole = (part_of(rows.columns, metric, each) for each in METRICS[metric].parents)
    require([column, metric, part, whole], rows.columns)
    name = pl.col(column).cast(pl.String)
    is_added = pl.col("row").cast(pl.String).is_in(ADDED_ROWS) if "row" in rows.columns else pl.lit(False)
    return (
        rows.filter(~is_added, name != OTHERS, pl.col(whole) >= LEAST, pl.col(metric).is_not_null())
        .select(name=name, rate=metric, part=part, whole=whole)
        .sort("rate", "name", descending=[True, False])
    )


def _words(row: Mapping[str, Any], lang: str) -> dict[str, str]:
    shown = {"rate": percent(row["rate"], lang=lang, of=row["whole"]), "name": clipped(row["name"], LONGEST)}
    return shown | {part: number(row[part], lang=lang) for part in ("part", "whole")}
