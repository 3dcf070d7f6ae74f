"""Of links: which took most clicks, where in the message, and whether in time."""

import polars as pl

from trackkit.language import say
from trackkit.show.cells import require
from trackkit.show.findings.finding import LEAST, LONGEST, Finding, first_place, share_of
from trackkit.show.wording import clipped, number, percent


def strongest_link(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which link took most of the clicks; None below 30 clicks, or if the first place is shared by more than two.

    In: the frame of `links.link_clicks` or `clickmap.clicked_links`.

    >>> clicks = {"row": ["link", "link", "total"], "link": ["Shop", "Help", "Total"], "clicks": [30, 10, 40]}
    >>> strongest_link(pl.DataFrame(clicks).with_columns(total=40)).text
    '“Shop” took 75.0% of the clicks (30 of 40)'
    """
    require(["row", "link", "clicks", "total"], links.columns)
    ranked = links.filter(pl.col("row").cast(pl.String) == "link")
    first = ranked.filter(pl.col("clicks") == pl.col("clicks").max())
    if first.is_empty() or first["total"][0] < LEAST or first.height > 2:
        return None
    names = [clipped(name, LONGEST) for name in first["link"]]
    clicks, total = first["clicks"][0], first["total"][0]
    words = {
        "share": percent(clicks / total, lang=lang, of=total),
        "clicks": number(clicks, lang=lang),
        "total": number(total, lang=lang),
    }
    if len(names) == 2:
        both = {"first": names[0], "second": names[1]}
        return Finding(say("“{first}” and “{second}” took {share} of the clicks each", lang, **both, **words))
    return Finding(say("“{name}” took {share} of the clicks ({clicks} of {total})", lang, name=names[0], **words))


def strongest_in_message(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which link took most of the clicks in the message; None below 30 clicks, or if two took as many.

    In: the frame of `clickmap.message_links`.

    >>> links = pl.DataFrame({"text": ["Read on", "Contact"], "clicks": [30, 12], "message_clicks": 60})
    >>> strongest_in_message(links).text
    '“Read on” took 50.0% of the clicks in the message (30 of 60)'
    """
    first = first_place(links, "clicks", "message_clicks", "text")
    if first is None:
        return None
    return Finding(say("“{name}” took {share} of the clicks in the message ({part} of {whole})", lang, **first(lang)))


def most_clicked(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which tracked link took most of all clicks; None below 30, or if two took as many.

    In: the frame of `links.tracked_links`, or of `links.link_clicks`.

    >>> links = tk.clickmap.named_links(store, delivery).with_columns(pl.col("clicks", "total") * 30)
    >>> most_clicked(links).text
    '“Shop home” took 25.9% of all clicks (210 of 810)'
    """
    if "link" in links.columns:
        named = links.filter(pl.col("row").cast(pl.String) == "link").with_columns(name="link")
    else:
        named = links.with_columns(name=pl.coalesce("label", "url"))
    first = first_place(named, "clicks", "total", "name")
    return first and Finding(say("“{name}” took {share} of all clicks ({part} of {whole})", lang, **first(lang)))


def in_message(placement: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of all clicks were on links of the message; None without clicks. In: `clickmap.placement`.

    >>> in_message(tk.clickmap.placement(store, delivery)).text
    '12 of 27 clicks were on links of the message (44.4%)'
    """
    row = placement.row(0, named=True)
    sentence = say("{part} of {whole} clicks were on links of the message ({rate})", lang)
    return share_of(sentence, row["placed_clicks"], row["total"], lang)


def of_all_links(in_message: pl.DataFrame, every: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the clicks on all tracked links were on links of the message; None without clicks.

    In: two frames of `links.link_clicks`, the first of them with `in_message`.

    >>> of_all_links(tk.links.link_clicks(store, in_message=True), tk.links.link_clicks(store)).text
    '56 of 92 clicks were on links of the message (60.9%)'
    """
    sentence = say("{part} of {whole} clicks were on links of the message ({rate})", lang)
    return share_of(sentence, in_message["total"][0], every["total"][0], lang)


def outside_message(placement: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of all clicks were on other links; None without clicks. In: `clickmap.placement`.

    >>> outside_message(tk.clickmap.placement(store, delivery)).text
    '15 of 27 clicks were elsewhere (55.6%)'
    """
    row = placement.row(0, named=True)
    sentence = say("{part} of {whole} clicks were elsewhere ({rate})", lang)
    return share_of(sentence, row["total"] - row["placed_clicks"], row["total"], lang)


def on_offers(offers: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say what share of all clicks was on offers; None without a click. In: the frame of `clickmap.offer_links`.

    >>> on_offers(tk.clickmap.offer_links(store, delivery)) is None  # no link is one of an offer
    True
    """
    whole = offers["total"].max() if offers.height else None
    sentence = say("{rate} of all clicks were on offers ({part} of {whole})", lang)
    return share_of(sentence, int(offers["clicks"].sum()), whole, lang)  # type: ignore[arg-type]


def after_validity(late: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many clicks came after the validity of their link; None without one. In: `links.late_clicks`.

    >>> after_validity(tk.links.late_clicks(store, delivery)) is None  # no link says until when it holds
    True
    """
    row = late.row(-1, named=True)
    if not row["late"] and row["clicks"]:
        return Finding(say("No click came after the validity of its link", lang))
    sentence = say("{part} of {whole} clicks came after the validity of their link ({rate})", lang)
    return share_of(sentence, row["late"], row["clicks"], lang)
