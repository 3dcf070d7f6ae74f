"""Of what readers and visitors use: devices, browsers, systems and their versions."""

import polars as pl

from trackkit.language import say
from trackkit.show.findings.finding import LEAST, LONGEST, Finding, first_place, share_of
from trackkit.show.naming import enough_weeks, version_label
from trackkit.show.wording import clipped, number


def on_mobiles(opens: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many of the opens on known devices were on mobiles; None below 30 of them.

    In: the frame of `audience.opens_by`.

    >>> on_mobiles(tk.audience.opens_by(store, "device")).text
    '77.3% of the opens on known devices were on mobiles (34 of 44)'
    """
    total = opens.filter(pl.col("row").cast(pl.String) == "total").select("computer", "mobile")
    computer, mobile = total.row(0) if total.height else (0, 0)
    if (computer or 0) + (mobile or 0) < LEAST:
        return None
    sentence = say("{rate} of the opens on known devices were on mobiles ({part} of {whole})", lang)
    return share_of(sentence, mobile, computer + mobile, lang)


def most_used(usage: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which browser or system most visitors use; None below 30 visitors, or if two are used as much.

    In: the frame of `audience.usage`.

    >>> usage = tk.audience.usage(store, "browser").with_columns(pl.col("visitors", "total") * 30)
    >>> most_used(usage).text
    'Safari is used most: 52.6% of visitors (300 of 570)'
    """
    first = first_place(usage.filter(pl.col("row").cast(pl.String) == "group"), "visitors", "total", "name")
    return first and Finding(say("{name} is used most: {share} of visitors ({part} of {whole})", lang, **first(lang)))


def most_used_version(versions: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say which version most visitors use, as `most_used` does. In: the frame of `audience.versions`.

    >>> versions = tk.audience.versions(store, "browser")
    >>> versions = versions.with_columns(pl.col("visitors", "name_visitors", "total") * 30)
    >>> most_used_version(versions).text
    'Safari 26 is used most: 36.8% of visitors (210 of 570)'
    """
    known = versions.filter(pl.col("row").cast(pl.String) == "group", pl.col("version").is_not_null())
    named = known.with_columns(label=version_label())
    first = first_place(named, "visitors", "total", "label")
    return first and Finding(say("{name} is used most: {share} of visitors ({part} of {whole})", lang, **first(lang)))


def leads(weekly: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say in how many weeks the most used name, or version, was ahead of all others; None of fewer than two weeks.

    In: the frame of `audience.weekly`. Weeks of fewer than 20 visitors are left out, unless there are no others.

    >>> leads(tk.audience.weekly(store, "browser")).text
    'Safari leads in each of the 3 weeks'
    """
    groups = enough_weeks(weekly).filter(pl.col("row").cast(pl.String) == "group")
    is_split = groups["version"].is_not_null().any()
    first = groups.filter(pl.col("rank") == 1, pl.col("version" if is_split else "name").is_not_null())
    if first.height < 2:
        return None
    ahead = first.join(groups.group_by("week").agg(most=pl.col("visitors").max()), on="week")
    count = ahead.filter(pl.col("visitors") == pl.col("most")).height
    name = clipped(first.select(version_label() if is_split else "name").item(0, 0), LONGEST)
    words = {"name": name, "weeks": number(first.height, lang=lang), "count": number(count, lang=lang)}
    if count == first.height:
        return Finding(say("{name} leads in each of the {weeks} weeks", lang, **words))
    return Finding(say("{name} leads in {count} of {weeks} weeks", lang, **words))
