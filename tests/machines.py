"""How the rules agree with the demo's truth: `python -m tests.machines STORE TRUTH` prints precision and recall.

The truth is synthetic: the demo's machines were made to behave as the rules say that machines do. What it shows is that
the rules find what they are about, mark nothing else, and what they miss where a column is hidden. It says nothing of
real mail.
"""

import sys
from pathlib import Path

import polars as pl

from trackkit.engine.measure import quotient
from trackkit.engine.snapshot import Tables
from trackkit.rules import MEANINGS
from trackkit.store import open_store
from trackkit.store.activity import facts_of, signs_of, with_activity
from trackkit.store.layout import as_texts

MEANT = dict.fromkeys(("O1", "O2", "O4", "V1"), "prefetch") | dict.fromkeys(("O3", "O5"), "proxy_open")
MEANT |= {rule: "scanner" for rule in MEANINGS if rule not in MEANT}
# What a load may lack, and how it is hidden here.
HIDDEN: dict[str, list[str]] = {"nothing": [], "user agents": ["user_agent", "browser"], "addresses": ["ip"]}
SYNTHETIC = "Synthetic truth: the demo's machines behave as the rules say; this proves nothing of real mail."


def with_truth(events: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """The hits of which the truth is known, with its `kind`; rows of exports name no server."""
    known = truth.select("event_id", "log_server", "kind")
    by_id = known.select("event_id", "kind").unique("event_id", keep="none")
    raw = events.join(known, on=["event_id", "log_server"])
    exported = events.filter(pl.col("log_server").is_null()).join(by_id, on="event_id")
    return pl.concat([raw, exported])


def stored(tables: Tables) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events and messages as a load has them: enumerations as text."""
    names = ("event", "message")
    events, messages = (
        tables.scan(name).collect().cast(as_texts(tables.scan(name).collect_schema())) for name in names
    )
    return events, messages


def agreement(rows: pl.DataFrame) -> pl.DataFrame:
    """Precision and recall of all rules for a kind (`rule` null), and of each that marked a hit: kind, rule, counts."""
    of = pl.col("activity_rule").replace_strict(MEANT, default=None, return_dtype=pl.String)
    rows = rows.with_columns(of=of)
    right = (pl.col("kind") == pl.col("of")).sum().cast(pl.Int64)
    marked = [
        rows.drop_nulls("of").group_by(rule=rule, of="of").agg(marked=pl.len().cast(pl.Int64), right=right)
        for rule in (pl.lit(None, pl.String), pl.col("activity_rule"))
    ]
    return _shares(pl.concat(marked).rename({"of": "kind"}), rows)


def alone(events: pl.DataFrame, messages: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The same of each rule of clicks on its own, whichever decides in the end: hits with any evidence of it."""
    signs = signs_of(events, messages, facts_of([events.lazy()], [messages.lazy()]))
    evidence = signs.unpivot(["C1", "C2", "C3", "C5", "C6", "O6"], index="row of all", variable_name="rule")
    evidence = evidence.filter(pl.col("value") > 0).join(rows.rename({"place": "row of all"}), on="row of all")
    is_right = (pl.col("kind") == "scanner").sum().cast(pl.Int64)
    counts = evidence.group_by("rule").agg(marked=pl.len().cast(pl.Int64), right=is_right)
    return _shares(counts.with_columns(kind=pl.lit("scanner")), rows)


def _shares(counts: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    true = rows.group_by("kind").agg(true=pl.len().cast(pl.Int64))
    both = counts.join(true, on="kind", how="left")
    shares = both.with_columns(precision=quotient("right", "marked"), recall=quotient("right", "true"))
    return shares.select("kind", "rule", "marked", "right", "precision", "true", "recall").sort("kind", "rule")


def tables_of(tables: Tables, truth: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The agreement of the rules: with everything known, with columns hidden, and of each rule of clicks alone."""
    events, messages = stored(tables)
    found = {}
    for name, columns in HIDDEN.items():
        hidden = events.with_columns(pl.lit(None, pl.String).alias(column) for column in columns)
        found[f"hidden: {name}"] = agreement(with_truth(with_activity(hidden, messages), truth))
    rows = with_truth(events.select("event_id", "log_server").with_row_index("place"), truth)
    return found | {"each rule of clicks alone": alone(events, messages, rows)}


def main(store: str, truth: str) -> None:
    """Print the tables."""
    print(SYNTHETIC)
    with pl.Config(tbl_rows=40, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True):
        for title, table in tables_of(open_store(store), pl.read_parquet(Path(truth))).items():
            print(f"\n{title}\n{table}")


if __name__ == "__main__":
    main(*sys.argv[1:])
