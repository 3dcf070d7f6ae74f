"""Of the site and its web applications: pages, sales, visitors, the steps at which they leave."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from trackkit.language import say, several
from trackkit.show.findings.finding import LEAST, LONGEST, Finding, first_place, is_ahead, part_words, share_of
from trackkit.show.wording import clipped, number


def most_visited(pages: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which page was displayed most; None below 30 pages, or if two were as often.

    In: the frame of `links.link_clicks` of the site's pages.

    >>> pages = pl.DataFrame({"row": "link", "link": ["Shop home", "Basket"], "clicks": [30, 12], "total": 60})
    >>> most_visited(pages).text
    '“Shop home” is 50.0% of the pages displayed (30 of 60)'
    """
    first = first_place(pages.filter(pl.col("row").cast(pl.String) == "link"), "clicks", "total", "link")
    return first and Finding(say("“{name}” is {share} of the pages displayed ({part} of {whole})", lang, **first(lang)))


def most_tagged(links: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which tag was seen most; None below 30, or if two were as often. In: `links.link_clicks` by tag.

    >>> tags = pl.DataFrame({"row": "link", "link": ["home", "basket"], "clicks": [30, 12], "total": 60})
    >>> most_tagged(tags).text
    'Tag “home”: 50.0% of the pages (30 of 60)'
    """
    first = first_place(links.filter(pl.col("row").cast(pl.String) == "link"), "clicks", "total", "link")
    return first and Finding(say("Tag “{name}”: {share} of the pages ({part} of {whole})", lang, **first(lang)))


def pages_and_sales(measured: pl.DataFrame, lang: str = "en", currency: str = "") -> Finding | None:
    """Say how many pages were displayed and what was sold; None if a figure is unknown or nothing was displayed.

    In: a frame of `measure` with one row, and `web_visits`, `sales` and `sales_amount`; the currency of the amount.

    >>> pages_and_sales(tk.measure(store, ["web_visits", "sales", "sales_amount"], by=[])).text
    '31 pages displayed, 3 sales worth 93.51'
    """
    row = measured.row(0, named=True)
    if not row.get("web_visits") or row.get("sales") is None or row.get("sales_amount") is None:
        return None
    pages, amount = number(row["web_visits"], lang=lang), number(row["sales_amount"], 2, lang)
    words = {"pages": pages, "amount": f"{amount} {currency}".rstrip()}
    return Finding(
        several(
            "{pages} pages displayed, {count} sale worth {amount}",
            "{pages} pages displayed, {count} sales worth {amount}",
            row["sales"],
            lang,
            **words,
        )
    )


def tied_by(counts: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many pages of a delivery follow a click in its message; None without pages.

    In: the frame of `web.attribution_counts`.

    >>> visits = tk.consent.with_consent(store, tk.web.attribute_web(store))
    >>> tied_by(tk.web.attribution_counts(visits)).text
    'All 29 pages follow a click in the message'
    """
    tied = counts.filter(pl.col("attribution").cast(pl.String) != "none")
    direct = tied.filter(pl.col("attribution").cast(pl.String) == "direct")
    part, whole = (int(rows["visits"].sum()) for rows in (direct, tied))
    if part == whole > 0:
        return Finding(
            several(
                "The {count} page follows a click in the message",
                "All {count} pages follow a click in the message",
                whole,
                lang,
            )
        )
    return share_of(say("{part} of {whole} pages follow a click in the message ({rate})", lang), part, whole, lang)


def first_day(activity: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how much of a delivery's pages were displayed on the first day, or, of one day, in the busiest hour.

    None below 30 pages, or if two hours of the one day had as many.

    In: the frame of `web.visit_activity`.

    >>> visits = tk.consent.with_consent(store, tk.web.attribute_web(store))
    >>> activity = tk.web.visit_activity(visits, every="1h").with_columns(pl.col("count") * 30)
    >>> first_day(activity).text
    '48.3% of the pages were displayed on the first day (420 of 870)'
    """
    whole = int(activity["count"].sum())
    if whole < LEAST:
        return None
    day = pl.col("starts_at").dt.date()
    if activity.select(day.n_unique()).item() == 1:
        return _busiest_hour_of(activity, lang)
    part = int(activity.filter(day == day.min())["count"].sum())
    words = part_words("", part, whole, lang)
    return Finding(say("{share} of the pages were displayed on the first day ({part} of {whole})", lang, **words))


def refused(choices: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many visitors refused web tracking; None without visitors.

    In: the frame of `consent.consent_counts`; visitors of several applications are in it once for each.

    >>> refused(tk.webapp.choices(tk.webapp.counted_pages(store))).text
    '2.6% refused web tracking (1 of 39)'
    """
    whole = int(choices["visitors"].sum())
    if not whole:
        return None
    part = int(choices.filter(pl.col("web_choice").cast(pl.String) == "refused")["visitors"].sum())
    words = part_words("", part, whole, lang)
    if not part:
        return Finding(say("No visitor of {whole} refused web tracking", lang, whole=words["whole"]))
    return Finding(say("{share} refused web tracking ({part} of {whole})", lang, **words))


def counted_of(conversion: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the visitors of the most visited path count, and how many began; None without visitors.

    In: the frame of `webapp.conversion`.

    >>> counted_of(tk.webapp.conversion(tk.webapp.counted_pages(store))).text
    "Concours d'automne: of 29 visitors, 29 are counted, of whom 27 began"
    """
    if conversion.is_empty() or not conversion["everyone"][0]:
        return None
    row = conversion.row(0, named=True)
    counts = {name: number(row[name], lang=lang) for name in ("everyone", "visitors", "started")}
    return Finding(
        say(
            "{name}: of {everyone} visitors, {visitors} are counted, of whom {started} began",
            lang,
            name=_path_name(row),
            **counts,
        )
    )


def largest_loss(steps: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say at which step the largest part is lost, and, if that is another, at which most people are.

    None if no step was reached by 30 or lost anybody.

    In: the frame of `webapp.funnel`.

    >>> steps = tk.webapp.funnel(tk.webapp.counted_pages(store))
    >>> steps = steps.with_columns(pl.col("visitors", "started", "before", "lost") * 30)
    >>> largest_loss(steps).text
    "Most are lost before “Your details” of Concours d'automne: 44.4% (360 of 810)"
    """
    rows = steps.filter(pl.col("before") >= LEAST, pl.col("lost") > 0)
    if rows.is_empty():
        return None
    row = rows.sort("loss_rate", "lost", descending=True).row(0, named=True)
    most = rows.sort("lost", "loss_rate", descending=True).row(0, named=True)
    words = part_words(clipped(row["page"] or "", LONGEST), row["lost"], row["before"], lang) | {
        "path": _path_name(row)
    }
    if most["lost"] == row["lost"]:
        return Finding(say("Most are lost before “{name}” of {path}: {share} ({part} of {whole})", lang, **words))
    people = {"most": number(most["lost"], lang=lang), "all": number(most["before"], lang=lang)}
    people |= {"other": clipped(most["page"] or "", LONGEST), "other_path": _path_name(most)}
    return Finding(
        say(
            "Largest loss: {share} before “{name}” of {path} ({part} of {whole}); "
            "most people: {most} of {all}, before “{other}” of {other_path}",
            lang,
            **words,
            **people,
        )
    )


def brought_most(sources: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which delivery brought most visitors of one path, or that none is ahead beyond chance; None below 30 known.

    In: the frame of `webapp.traffic_sources` for one path.

    >>> found = {"rank": [1, None], "source": ["Autumn offer", None], "found_by": ["named", "nothing"]}
    >>> brought_most(pl.DataFrame({**found, "visitors": [80, 20], "total": 100})).text
    '“Autumn offer” brought most: 80 of the 80 visitors whose delivery is known'
    """
    known = sources.filter(pl.col("found_by").cast(pl.String).fill_null("others") != "nothing")
    ranked = known.filter(pl.col("rank").is_not_null(), pl.col("source").is_not_null())
    rows = ranked.with_columns(of=pl.lit(known["visitors"].sum()))
    first = first_place(rows, "visitors", "of", "source")
    if first and rows.height > 1 and not is_ahead(rows["visitors"]):
        whole = sources["total"][0]
        counts = part_words(_path_name(sources.row(0, named=True)), whole - known["visitors"].sum(), whole, lang)
        return Finding(
            say(
                "{name}: no delivery is clearly ahead; {part} of {whole} visitors name none ({share})",
                lang,
                **counts,
            )
        )
    return first and Finding(
        say("“{name}” brought most: {part} of the {whole} visitors whose delivery is known", lang, **first(lang))
    )


def _busiest_hour_of(activity: pl.DataFrame, lang: str) -> Finding | None:
    """In which hour of one day most pages were displayed."""
    hours = activity.group_by(pl.col("starts_at").dt.truncate("1h")).agg(pl.col("count").sum()).sort("starts_at")
    names = hours["starts_at"].dt.strftime("%H:%M")
    first = first_place(hours.with_columns(name=names, total=pl.col("count").sum()), "count", "total", "name")
    if first is None or hours.height == 1:
        return None
    return Finding(
        say("Busiest hour so far: from {name}, {share} of the pages ({part} of {whole})", lang, **first(lang))
    )


def _path_name(row: Mapping[str, Any]) -> str:
    return clipped(" · ".join(word for word in (row["web_application"], row["goal"]) if word), LONGEST)
