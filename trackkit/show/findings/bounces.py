"""Of bounces: where messages fail most, and how many addresses are invalid."""

import polars as pl

from trackkit.language import say
from trackkit.metrics import METRICS
from trackkit.show.cells import require
from trackkit.show.findings.finding import LEAST, Finding, share_of
from trackkit.show.findings.groups import highest, stands_out


def fails_most(bounces: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say in which mail domain messages fail most, as `highest` does, or else that no domain stands out.

    In: the frame of `bounces.bounces` by domain. Where the highest rate is of a domain too small to say, no other one
    is said to fail most.

    >>> by_domain = tk.bounces.bounces(store, by="domain").with_columns(pl.col("errors", "breakdown_of") * 30)
    >>> fails_most(by_domain).text
    'harbour.test fails most: 16.7% (30 of 180)'
    """
    part, whole = METRICS["failure_rate"].parents
    require(["row", "domain", "errors", "breakdown_of", "breakdown"], bounces.columns)
    groups = bounces.filter(pl.col("row").cast(pl.String) == "group")
    names = {"errors": part, "breakdown_of": whole, "breakdown": "failure_rate"}
    first = groups.sort("breakdown", descending=True, nulls_last=True).head(1)
    rates = groups.select("domain", *names).rename(names)
    if first.is_empty() or (first["breakdown_of"][0] or 0) < LEAST:
        return None
    return highest(rates, "domain", "failure_rate", lang) or stands_out(rates, "domain", "failure_rate", lang)


def invalid_addresses(axes: pl.DataFrame, lang: str = "en") -> Finding | None:
    """Say how many errors mean that an address is invalid for good; None without errors. In: `bounces.axes`.

    >>> invalid_addresses(tk.bounces.axes(store)).text
    '2 of 3 errors say that the address is invalid (66.7%)'
    """
    if not axes["messages"].count():
        return None
    is_invalid = (pl.col("cause") == "address") & (pl.col("permanence") == "permanent")
    part, whole = int(axes.filter(is_invalid)["messages"].sum()), axes["failed"][0]
    return share_of(say("{part} of {whole} errors say that the address is invalid ({rate})", lang), part, whole, lang)
