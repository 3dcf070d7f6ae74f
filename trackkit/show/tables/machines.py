"""Tables of machines: figures by people alone, what each rule leaves, opt-outs, the band of open rates, domains."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from great_tables import GT

from trackkit.language import say, translatable
from trackkit.show.cells import Block, Cell, fraction, nothing, unavailable
from trackkit.show.columns import TableColumn, column_table
from trackkit.show.definitions import marked
from trackkit.show.wording import number, percent

Row = Mapping[str, Any]
__all__ = ["band_table", "domain_table", "opt_out_table", "people_table", "rule_table"]

UNMARKED = translatable("loaded before machines were marked: `trackkit store mark`")
NOT_MARKED = translatable("Loaded before machines were marked: `trackkit store mark` marks them.")
NONE_COUNTED, NOTHING_TO_GO_BY, NO_SCANNER, NO_OPT_OUT, IDLE = translatable(
    (
        "none counted",
        "nothing to go by",
        "No click by a scanner.",
        "No opt-out link was clicked.",
        "Nothing in this data to judge by",
    )
)
MOST = 10  # domains shown
NO_HISTORY = translatable("no history of subscriptions is loaded")
FIGURES = translatable({"open_rate": "Opened", "recipient_click_rate": "Clicked", "unsubscribe_rate": "Opt-outs"})
PEOPLE = {
    "metric": TableColumn("Figure", "word", words=FIGURES),
    "rate": TableColumn("As counted", "share", ("counted", "delivered")),
    "people_rate": TableColumn("By people", "share", ("people", "delivered"), why_unknown=UNMARKED),
    "machine_share": TableColumn("Machines alone", "share", ("machines", "counted"), NONE_COUNTED, UNMARKED),
    "counted": TableColumn("Counted", "part"),
    "people": TableColumn("People", "part"),
    "machines": TableColumn("Machines", "part"),
    "delivered": TableColumn("Delivered", "part"),
}
ASSUMPTIONS = translatable(
    {
        "at_least": "At least: opened by people",
        "at_most": "At most: all the hidden ones too",
        "alike": "If the hidden open as the others do",
        "by_clicks": "If the hidden open as their clicks suggest",
        "lenient": "As counted, machines included",
    }
)
BAND = {
    "assumption": TableColumn("Open rate", "word", words=ASSUMPTIONS),
    "rate": TableColumn("Rate", "share", ("openers", "delivered"), NONE_COUNTED),
    "openers": TableColumn("Openers", "part"),
    "delivered": TableColumn("Delivered", "part"),
}
RULES = {
    "rule": TableColumn("Rule", "text"),
    "meaning": TableColumn("What it finds", "word"),
    "looked_at": TableColumn("Hits judged"),
    "openers_removed": TableColumn("Openers out"),
    "openers": TableColumn("Openers left"),
    "clickers_removed": TableColumn("Clickers out"),
    "clickers": TableColumn("Clickers left"),
}
OPT_OUTS = translatable(
    {
        "clicks": "Clicks on opt-out links",
        "scanner_clicks": "By scanners, in bursts",
        "people_clicks": "By people",
        "recipients": "Recipients who clicked themselves",
        "confirmed": "Of them, left a service within 48 hours",
        "scanned_confirmed": "Left though only a scanner clicked",
    }
)
COUNTS = {"step": TableColumn("Step", "word", words=OPT_OUTS), "count": TableColumn("Count")}
DOMAINS = {
    "domain": TableColumn("Domain", "group"),
    "scanner_share": TableColumn("Clicks by scanners", "share", ("scanner_clicks", "clicks"), NONE_COUNTED, UNMARKED),
    "machine_share": TableColumn(
        "Clicked by scanners alone", "share", ("machine_clickers", "clickers"), NONE_COUNTED, UNMARKED
    ),
    "clicks": TableColumn("Clicks", "part"),
    "scanner_clicks": TableColumn("Scanner clicks", "part"),
    "clickers": TableColumn("Clickers", "part"),
    "machine_clickers": TableColumn("Scanners' clickers", "part"),
}
RAW = translatable("All hits, as counted")


def people_table(rows: pl.DataFrame, lang: str = "en") -> GT:
    """Show figures as they are counted and by people alone. In: the frame of `machines.people`.

    >>> table = people_table(tk.machines.people(store))
    >>> [each["label"] for each in table.data["columns"]]
    ['Figure', 'As counted', 'Counted', 'Delivered', 'By people', 'People', 'Machines alone', 'Machines']
    """

    def metric(row: Row) -> Cell:
        return marked(say(FIGURES[row["metric"]], lang), row["metric"], lang)

    def machines(row: Row) -> Cell:
        return _missing(row, lang) or fraction(row["machines"], row["counted"], lang)

    def share(name: str) -> Callable[[Row], Cell]:
        return lambda row: _missing(row, lang, name) or percent(row[name], lang=lang, of=row["delivered"])

    own = {"metric": metric, "machine_share": machines, **{name: share(name) for name in ("rate", "people_rate")}}
    return column_table(rows, PEOPLE, list(PEOPLE)[:4], lang=lang, own=own)


def _missing(row: Row, lang: str, name: str = "people_rate") -> Cell:
    """Why a figure is missing, if it is."""
    if row[name] is not None:
        return ""
    why = UNMARKED if row["counted"] is not None and row["delivered"] else NONE_COUNTED
    return unavailable(row["why"] or why, lang)


def band_table(band: pl.DataFrame, lang: str = "en") -> GT:
    """Show the bounds of the open rate, then each assumption between them. In: the frame of `machines.band`.

    >>> table = band_table(tk.machines.band(store))
    >>> [each["label"] for each in table.data["columns"]]
    ['Open rate', 'Rate', 'Openers', 'Delivered']
    """
    bounds = band.filter(pl.col("assumption") == "bounds")
    others = band.filter(~pl.col("assumption").is_in(["bounds", "strict"]))
    low = others.select("assumption", "delivered", openers="openers_low", rate="rate_low")
    ends = [
        bounds.select(pl.lit(name).alias("assumption"), "delivered", openers=f"openers_{end}", rate=f"rate_{end}")
        for name, end in (("at_least", "low"), ("at_most", "high"))
    ]
    is_marked = bounds["openers_low"].null_count() == 0
    why = pl.when(pl.col("openers").is_null()).then(pl.lit(NOTHING_TO_GO_BY if is_marked else UNMARKED))
    rows = pl.concat([*ends, low]).with_columns(why.alias("why rate"))
    return column_table(rows, BAND, ["assumption", "rate"], lang=lang)


def rule_table(funnel: pl.DataFrame, lang: str = "en") -> GT | Block:
    """Show what each rule leaves, and what it could judge. In: the frame of `machines.funnel`.

    >>> table = rule_table(tk.machines.funnel(store))
    >>> [each["label"] for each in table.data["columns"]]
    ['Rule', 'What it finds', 'Hits judged', 'Openers out', 'Openers left', 'Clickers out', 'Clickers left']
    """
    if funnel["openers"].null_count():
        return nothing(NOT_MARKED, lang)

    is_idle = (pl.col("looked_at") == 0).fill_null(False) & (pl.col("openers_removed").fill_null(0) == 0)
    idle, tried = funnel.filter(is_idle), funnel.filter(~is_idle)
    if idle.height:
        names = pl.DataFrame({"rule": [", ".join(idle["rule"])], "meaning": [IDLE]})
        tried = pl.concat([tried, names], how="diagonal")

    def rule(row: Row) -> Cell:
        return row["rule"] or say(RAW, lang)

    def meaning(row: Row) -> Cell:
        return say(row["meaning"], lang) if row["meaning"] else ""

    def count(name: str) -> Callable[[Row], Cell]:
        return lambda row: "" if row[name] is None else number(row[name], lang=lang)

    own = {"rule": rule, "meaning": meaning} | {name: count(name) for name in list(RULES)[2:]}
    return column_table(tried, RULES, list(RULES), lang=lang, own=own)


def opt_out_table(opt_outs: pl.DataFrame, lang: str = "en") -> GT | Block:
    """Show the clicks on opt-out links, one below the other. In: the frame of `machines.opt_outs_together`.

    >>> table = opt_out_table(tk.machines.opt_outs_together(store))
    >>> [each["label"] for each in table.data["columns"]]
    ['Step', 'Count']
    """
    if opt_outs.is_empty():
        return nothing(NO_OPT_OUT, lang)
    row = opt_outs.row(0, named=True)
    rows = pl.DataFrame({"step": list(OPT_OUTS), "count": [row[name] for name in OPT_OUTS]})
    is_marked = row["scanner_clicks"] is not None

    def count(cells: Row) -> Cell:
        value = cells["count"]
        return unavailable(NO_HISTORY if is_marked else UNMARKED, lang) if value is None else number(value, lang=lang)

    return column_table(rows, COUNTS, list(COUNTS), lang=lang, own={"count": count})


def domain_table(domains: pl.DataFrame, lang: str = "en") -> GT | Block:
    """Show the ten domains with most clicks by scanners. In: the frame of `machines.by_domain`.

    >>> table = domain_table(tk.machines.by_domain(store))
    >>> [each["label"] for each in table.data["columns"]][:3]
    ['Domain', 'Clicks by scanners', 'Scanner clicks']
    """
    is_scanned = (pl.col("scanner_clicks") > 0) | pl.col("scanner_clicks").is_null()
    rows = domains.filter(is_scanned).head(MOST)
    return nothing(NO_SCANNER, lang) if rows.is_empty() else column_table(rows, DOMAINS, list(DOMAINS)[:3], lang=lang)
