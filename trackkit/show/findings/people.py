"""Of people and machines: what is counted of people alone."""

from collections.abc import Mapping

import polars as pl

from trackkit.language import say, several, translatable
from trackkit.show.findings.finding import CASES, Finding, part_words, share_of
from trackkit.show.wording import number, percent

_MACHINES: Mapping[str, str] = translatable(
    {
        "open_rate": "{rate} of those who opened are machines alone: {part} of {whole}",
        "recipient_click_rate": "{rate} of those who clicked are machines alone: {part} of {whole}",
        "unsubscribe_rate": "Scanners made {part} of the {whole} clicks on opt-out links ({rate})",
    }
)


def machines(people: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which figure owes most to machines; None below three cases. In: the frame of `machines.people`.

    >>> machines(tk.machines.people(store)).text
    '16.1% of those who opened are machines alone: 9 of 56'
    """
    rows = people.filter(pl.col("machines") >= CASES).sort("machine_share", descending=True, maintain_order=True)
    if rows.is_empty():
        return None
    row = rows.row(0, named=True)
    words = part_words("", row["machines"], row["counted"], lang)
    return Finding(say(_MACHINES[row["metric"]], lang, rate=words["share"], part=words["part"], whole=words["whole"]))


def scanned(domains: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which part of the clicks scanners made; None below three. In: the frame of `machines.by_domain`, whole.

    >>> scanned(tk.machines.by_domain(store)).text
    'Scanners made 46.4% of the clicks: 26 of 56, at 2 domains'
    """
    part, whole = (int(domains[name].sum()) for name in ("scanner_clicks", "clicks"))
    if part < CASES:
        return None
    words = part_words("", part, whole, lang)
    shown = {name: words[name] for name in ("share", "part", "whole")}
    at = domains.filter(pl.col("scanner_clicks") > 0).height
    return Finding(
        several(
            "Scanners made {share} of the clicks: {part} of {whole}, at {count} domain",
            "Scanners made {share} of the clicks: {part} of {whole}, at {count} domains",
            at,
            lang,
            **shown,
        )
    )


def by_people(people: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say what was opened and clicked by people alone, beside what is counted; None if a figure is unknown.

    In: the frame of `machines.people`. Where no machine is among them, that is what is said.

    >>> by_people(tk.machines.people(store)).text
    '18.1% opened and 6.5% clicked by people alone; with machines 21.5% and 7.3%'
    """
    rows = {row["metric"]: row for row in people.iter_rows(named=True)}
    opened, clicked = rows["open_rate"], rows["recipient_click_rate"]
    names = {"opened": (opened, "people_rate"), "clicked": (clicked, "people_rate")}
    names |= {"opened_in_all": (opened, "rate"), "clicked_in_all": (clicked, "rate")}
    if any(row[column] is None for row, column in names.values()):
        return None
    words = {name: percent(row[column], lang=lang, of=row["delivered"]) for name, (row, column) in names.items()}
    if not opened["machines"] + clicked["machines"]:
        return Finding(say("{opened} opened and {clicked} clicked; no machine is among them", lang, **words))
    return Finding(
        say(
            "{opened} opened and {clicked} clicked by people alone; with machines {opened_in_all} and {clicked_in_all}",
            lang,
            **words,
        )
    )


def opened_between(band: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say between what the open rate lies under mail privacy; None if unknown. In: the frame of `machines.band`.

    >>> opened_between(tk.machines.band(store)).text
    'Between 18.1% and 20.8% opened, machines aside'
    """
    bounds = band.filter(pl.col("assumption") == "bounds").row(0, named=True)
    if bounds["rate_low"] is None or bounds["rate_high"] is None:
        return None
    low, high = (percent(bounds[name], lang=lang, of=bounds["delivered"]) for name in ("rate_low", "rate_high"))
    if low == high:
        return Finding(say("{rate} opened, machines aside", lang, rate=low))
    return Finding(say("Between {low} and {high} opened, machines aside", lang, low=low, high=high))


def opted_out_by_people(opt_outs: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many clicks on opt-out links are people's; None without any. In: `machines.opt_outs` of a delivery.

    >>> opted_out_by_people(tk.machines.opt_outs_together(store)).text
    'People made 0 of 2 clicks on opt-out links (0.0%)'
    """
    if opt_outs.is_empty():
        return None
    row = opt_outs.row(0, named=True)
    sentence = say("People made {part} of {whole} clicks on opt-out links ({rate})", lang)
    return share_of(sentence, row["people_clicks"], row["clicks"], lang)


def left_by_rules(funnel: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of those who opened and clicked are left by all rules; None if unknown. In: `machines.funnel`.

    >>> left_by_rules(tk.machines.funnel(store)).text
    'The rules leave 47 of 56 who opened, and 17 of 19 who clicked'
    """
    counts = {
        "openers": funnel["openers"][-1],
        "clickers": funnel["clickers"][-1],
        "all_openers": funnel["openers"][0],
        "all_clickers": funnel["clickers"][0],
    }
    if None in counts.values() or not counts["all_openers"]:
        return None
    words = {name: number(count, lang=lang) for name, count in counts.items()}
    return Finding(
        say(
            "The rules leave {openers} of {all_openers} who opened, and {clickers} of {all_clickers} who clicked",
            lang,
            **words,
        )
    )
