"""Of the indicators of a delivery: what recipients did, out of how many, and by which definition."""

from collections.abc import Mapping

import polars as pl

from trackkit.definition_sets import QUESTION_LABELS
from trackkit.language import say, several, translatable
from trackkit.metrics import part_of
from trackkit.show.cells import require
from trackkit.show.findings.finding import LEAST, Finding, share_of
from trackkit.show.wording import number, percent

_REACHED: Mapping[str, str] = translatable(
    {
        "unique_opens": "Of {messages} messages, {count} were opened",
        "unique_clicks": "Of {messages} messages, {count} were clicked",
        "buyers": "Of {messages} messages, {count} had a buyer",
    }
)
APART = 1.05  # one rate is so many times another: worth a sentence
# What differs between the lowest and the highest rate, by whether they have the numerator, and the denominator, alike.
_DIFFERS: Mapping[tuple[bool, bool], str] = translatable(
    {
        (True, False): "{question}: between {low} and {high}, by definition: what differs is the denominator",
        (False, True): "{question}: between {low} and {high}, by definition: what differs is what is counted",
        (False, False): "{question}: between {low} and {high}, by definition: what is counted differs, and out of what",
    }
)


def furthest(steps: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many messages came to the last step that any came to; None if none was opened.

    In: the frame of `overview.funnel`.

    >>> furthest(tk.overview.funnel(store)).text
    'Of 316 messages, 3 had a buyer'
    """
    require(["step", "count"], steps.columns)
    reached = steps.filter(pl.col("count") > 0, pl.col("step").is_in(list(_REACHED)))
    first = steps["count"][0] if steps.height else None
    if reached.is_empty() or not first:
        return None
    step, count = reached.select("step", "count").row(-1)
    words = {"messages": number(first, lang=lang), "count": number(count, lang=lang)}
    return Finding(say(_REACHED[step], lang, **words))


def reacted(breakdown: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the recipients reached reacted at all; None if that is unknown.

    In: the frame of `reactions.breakdown`.

    >>> reacted(tk.reactions.breakdown(store)).text
    '56 of 260 recipients reacted (21.5%)'
    """
    silent, whole = breakdown.row(-2, named=True)["recipients"], breakdown.row(-1, named=True)["recipients"]
    part = None if silent is None else whole - silent
    return share_of(say("{part} of {whole} recipients reacted ({rate})", lang), part, whole, lang)


def clicked_of_reacted(kinds: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of those who reacted at all clicked; None if nobody reacted, or that is unknown.

    In: the frame of `reactions.kinds`.

    >>> clicked_of_reacted(tk.reactions.kinds(store)).text
    '19 of 56 who reacted clicked (33.9%)'
    """
    whole, part = kinds["recipients"][:2]
    return share_of(say("{part} of {whole} who reacted clicked ({rate})", lang), part, whole, lang)


def clicked_times(measured: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many recipients clicked how often; None if that is unknown, or nobody did.

    In: a frame of `measure` with one row, and `unique_clicks` and `total_clicks`.

    >>> clicked_times(tk.measure(store, ["total_clicks", "unique_clicks", "unique_people_clicks"], by=[])).text
    '19 recipients clicked 56 times'
    """
    people, clicks = measured.select("unique_clicks", "total_clicks").row(0)
    if not people or not clicks:
        return None
    recipients = number(people, lang=lang)
    return Finding(
        several(
            "{recipients} recipients clicked {count} time",
            "{recipients} recipients clicked {count} times",
            clicks,
            lang,
            recipients=recipients,
        )
    )


def above_average(figures: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of those who opened clicked, beside the platform average; None if that is unknown.

    In: the frame of `links.click_figures`.

    >>> above_average(tk.links.click_figures(store, delivery)).text
    '6 of the estimated 29 who opened clicked (20.7%)'
    """
    row = figures.row(0, named=True)
    if row["platform_average"] is None:
        return share_of(
            say("{part} of the estimated {whole} who opened clicked ({rate})", lang),
            row["numerator"],
            row["denominator"],
            lang,
        )
    average = percent(row["platform_average"], lang=lang, of=row["denominator"])
    sentence = say(
        "{part} of the estimated {whole} who opened clicked ({rate}); the platform average is {average}", lang
    )
    return share_of(sentence, row["numerator"], row["denominator"], lang, average=average)


def opted_out(measured: pl.DataFrame, lang: str = "en", opt_outs: pl.DataFrame | None = None) -> Finding | None:
    """Say how many recipients opted out, and how many of their clicks are people's; None if unknown.

    In: a frame of `measure` with one row, and `unsubscribed_recipients` and `delivered`; the frame of
    `machines.opt_outs_together`. Without a click by a scanner the clicks are not told apart.

    >>> opted_out(tk.measure(store, ["unsubscribe_clicks", "unsubscribed_recipients", "delivered"], by=[])).text
    '2 of 260 recipients opted out (0.8%)'
    """
    delivered = part_of(measured.columns, "unsubscribed_recipients", "delivered")
    part, whole = measured.select("unsubscribed_recipients", delivered).row(0)
    if opt_outs is not None and not opt_outs.is_empty() and opt_outs["scanner_clicks"][0]:
        counts = {name: number(opt_outs[f"{name}_clicks"][0], lang=lang) for name in ("people", "scanner")}
        sentence = say(
            "{part} of {whole} recipients opted out ({rate}) · clicks by people: {people}, by scanners: {scanner}", lang
        )
        return share_of(sentence, part, whole, lang, **counts)
    return share_of(say("{part} of {whole} recipients opted out ({rate})", lang), part, whole, lang)


def definitions_apart(compared: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say between what a rate lies under several definitions, and what differs; None if none differs by a twentieth.

    In: the frame of `definitions.side_by_side`. Of the questions whose answers differ that much, it is the first.

    >>> definitions_apart(tk.definitions.side_by_side(store)).text
    'Open rate: between 19.0% and 21.5%, by definition: what is counted differs, and out of what'
    """
    require(["question", "rate", "numerator_metric", "denominator_metric"], compared.columns)
    known = compared.filter(pl.col("rate").is_not_null(), pl.col("denominator") >= LEAST)
    for _, rows in known.group_by("question", maintain_order=True):
        ends = rows.sort("rate")
        low, high = ends.row(0, named=True), ends.row(-1, named=True)
        if high["rate"] > low["rate"] * APART:
            alike = tuple(low[part] == high[part] for part in ("numerator_metric", "denominator_metric"))
            rates = {
                name: percent(end["rate"], lang=lang, of=end["denominator"])
                for name, end in (("low", low), ("high", high))
            }
            return Finding(say(_DIFFERS[alike], lang, question=say(QUESTION_LABELS[low["question"]], lang), **rates))
    return None
