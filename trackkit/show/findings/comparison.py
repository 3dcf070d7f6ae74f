"""Of several deliveries: which was opened or clicked most, and what differs from the one before."""

from collections.abc import Mapping, Sequence

import polars as pl

from trackkit.language import say, several, translatable
from trackkit.show.cells import label_of, require
from trackkit.show.findings.finding import LEAST, LONGEST, Finding
from trackkit.show.wording import clipped, number, percent

# Which delivery has most and least, by the rate, whether two share the first place, and whether some are not finished.
_MOST_AND_LEAST: Mapping[str, str] = translatable(
    {
        "open_rate": "Opened most: “{first}”, {most}; least: “{last}”, {least}",
        "open_rate, two": "Opened most: “{first}” and “{second}”, {most}; least: “{last}”, {least}",
        "open_rate, finished": "Of what is finished, opened most: “{first}”, {most}; least: “{last}”, {least}",
        "open_rate, two, finished": "Of what is finished, opened most: “{first}” and “{second}”, {most}; "
        "least: “{last}”, {least}",
        "recipient_click_rate": "Clicked most: “{first}”, {most}; least: “{last}”, {least}",
        "recipient_click_rate, two": "Clicked most: “{first}” and “{second}”, {most}; least: “{last}”, {least}",
        "recipient_click_rate, finished": "Of what is finished, clicked most: “{first}”, {most}; "
        "least: “{last}”, {least}",
        "recipient_click_rate, two, finished": "Of what is finished, clicked most: “{first}” and “{second}”, {most}; "
        "least: “{last}”, {least}",
    }
)


def together(
    rows: pl.DataFrame,
    total: pl.DataFrame,
    lang: str = "en",
    unfinished: Sequence[str] = (),
    opened: str = "open_rate",
    clicked: str = "recipient_click_rate",
) -> Finding | None:
    """Say which delivery was opened most and which least; of fewer than three, how many people opened and clicked.

    In: the two frames of `several.side_by_side`, with the rates `opened` and `clicked` and `delivered`. Deliveries of
    fewer than 30, those of unknown opens and the `unfinished` (by id) are not compared. None if nothing is known, or
    where the page's definitions have no such rate ("").

    >>> both = tk.several.side_by_side(store, ["open_rate", "recipient_click_rate"])
    >>> together(both.rows, both.total).text
    'Opened most: “Weekly letter: first frost ❄️”, 31.7%; least: “Autumn offer −20 %”, 26.3%'
    """
    require([*filter(None, [opened, clicked]), "delivered"], total.columns)
    found = _most_and_least(rows, opened, "open_rate", lang, unfinished)
    return found or (_opened_together(rows, total, opened, clicked, lang) if opened and clicked else None)


def clicked_most(
    rows: pl.DataFrame, lang: str = "en", unfinished: Sequence[str] = (), clicked: str = "recipient_click_rate"
) -> Finding | None:
    """Say which delivery was clicked most and which least, as `together` does of opens; None of fewer than three.

    >>> rows = tk.several.side_by_side(store, ["recipient_click_rate"]).rows.drop("delivery")
    >>> clicked_most(rows.with_columns(delivery="delivery_id")).text
    'Clicked most: “7471196”, 10.5%; least: “7471122”, 3.7%'
    """
    return _most_and_least(rows, clicked, "recipient_click_rate", lang, unfinished)


def sold_most(rows: pl.DataFrame, total: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which of several deliveries sold most, and how much of all; None below 30 sales, or if two sold as much.

    In: the two frames of `several.side_by_side`, with `sales` and `sales_amount`.

    >>> rows = pl.DataFrame({"delivery": ["A", "B"], "sales": [20, 20], "sales_amount": [75.0, 25.0]})
    >>> sold_most(rows, rows.select(pl.col("sales", "sales_amount").sum())).text
    '“A” sold most: 75.00 of 100.00 (75.0%)'
    """
    require(["sales", "sales_amount"], total.columns)
    sales, whole = total.select("sales", "sales_amount").row(0)
    ranked = rows.drop_nulls("sales_amount").sort("sales_amount", descending=True)
    amounts = ranked["sales_amount"].to_list()
    if (sales or 0) < LEAST or not whole or len(amounts) < 2 or amounts[0] == amounts[1]:
        return None
    words = {
        "name": clipped(ranked["delivery"][0], LONGEST),
        "amount": number(amounts[0], 2, lang),
        "whole": number(whole, 2, lang),
        "share": percent(amounts[0] / whole, lang=lang, of=sales),
    }
    return Finding(say("“{name}” sold most: {amount} of {whole} ({share})", lang, **words))


def unlike_before(compared: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which rate differs most surely from the delivery before, or that none does beyond chance.

    In: the frame of `overview.beside_previous`; None if it is empty.

    >>> compared = tk.overview.beside_previous(store, "7471122", ["recipient_click_rate"])
    >>> unlike_before(compared).text
    'As in “Weekly letter: first frost ❄️” before it: no rate differs beyond chance'
    """
    if compared.is_empty():
        return None
    name = clipped(compared["name"][0], LONGEST)
    surely = compared.filter(pl.col("is_different").fill_null(False)).sort("p_adjusted", maintain_order=True)
    if surely.is_empty():
        return Finding(say("As in “{name}” before it: no rate differs beyond chance", lang, name=name))
    row = surely.row(0, named=True)
    words = {
        "label": label_of(row["metric"], lang),
        "rate": percent(row["rate_b"], lang=lang, of=row["whole_b"]),
        "before": percent(row["rate_a"], lang=lang, of=row["whole_a"]),
    }
    return Finding(say("{label}: {rate}, after {before} in “{name}”", lang, name=name, **words))


def _most_and_least(
    rows: pl.DataFrame, metric: str, meaning: str, lang: str, unfinished: Sequence[str]
) -> Finding | None:
    if not metric:
        return None
    over = rows.filter(~pl.col("delivery_id").is_in(list(unfinished))) if unfinished else rows
    known = over.filter(pl.col("delivered") >= LEAST, pl.col(metric).is_not_null())
    ranked = known.sort(metric, descending=True)
    if ranked.height < 3 or ranked[metric][0] == ranked[metric][-1]:
        return None
    rates = [percent(rate, lang=lang, of=of) for rate, of in ranked.select(metric, "delivered").rows()]
    names = [clipped(name, LONGEST) for name in ranked["delivery"]]
    words = {"first": names[0], "last": names[-1], "most": rates[0], "least": rates[-1]}
    is_shared = rates[0] == rates[1] != rates[2]  # as they are shown
    kind = [meaning, *(["two"] if is_shared else []), *(["finished"] if unfinished else [])]
    return Finding(say(_MOST_AND_LEAST[", ".join(kind)], lang, **words, second=names[1]))


def _opened_together(rows: pl.DataFrame, total: pl.DataFrame, opened: str, clicked: str, lang: str) -> Finding | None:
    values = total.select(opened=opened, clicked=clicked).row(0, named=True)
    if None in values.values():
        return None
    delivered = total["delivered"].item()
    rates = {name: percent(value, lang=lang, of=delivered) for name, value in values.items()}
    return Finding(
        several(
            "{count} delivery: {opened} opened, {clicked} clicked",
            "{count} deliveries: {opened} opened, {clicked} clicked",
            rows.height,
            lang,
            **rates,
        )
    )
