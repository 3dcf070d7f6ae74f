"""All deliveries' indicators in one pass: trackkit beside hand-written SQL, on the same files, in the same run.

    python benchmarks/indicators.py --events 20000000 --rounds 3 --write benchmarks/RESULTS.md
    python benchmarks/indicators.py --smoke

The job: by delivery, every count of contract §4 that rows of events give. Each way runs in a process of its own, the
ways in turn, round after round; of each the median of its time, of its processor time and of its peak memory is kept.
All ways have to give the same figures. `--smoke` is small, and leaves with exit code 1 when a ratio is below its floor.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FIGURES = (
    "unique_opens", "total_opens", "unique_clicks", "unique_people_clicks", "total_clicks", "unsubscribe_clicks",
    "mirror_page_clicks", "web_visits", "transactions", "transaction_amount", "transaction_articles",
)  # fmt: skip
NEEDED = ("delivery_id", "message_id", "person_id", "event_type", "is_seed", "amount", "articles")
FILTER = "device = 'PC'"
QUESTIONS = {
    "": "All deliveries",
    FILTER: "All deliveries, under a filter that every row meets",
    "link_label is not null": "All deliveries, under a filter that three rows in ten meet",
    "domain = 'd1.example'": "All deliveries, under a filter that one row in 200 meets",
}
NO_HITS = (
    "queued", "sent", "delivered", "deferred", "bounced", "rejected", "failed", "autoresponded", "complained",
    "subscribed",
)  # fmt: skip
ROWS = "trackkit, reading rows"
Row = tuple[Any, ...]


def by_trackkit(store: Path, where: str | None = None) -> Iterable[Row]:
    """Ask the engine."""
    import trackkit

    measured = trackkit.measure(trackkit.open_store(store), FIGURES, where=where)
    return measured.select("delivery_id", *FIGURES).iter_rows()


def by_trackkit_rows(store: Path, where: str | None = None) -> Iterable[Row]:
    """Ask the engine, without the counts that files tell: as of a store by another writer."""
    import trackkit
    from trackkit.engine.snapshot import Snapshot

    tables = trackkit.open_store(store).snapshot()
    texts = {name: tables.stored(name) for name in tables.frames}
    measured = trackkit.measure(Snapshot(tables.frames, texts=texts), FIGURES, where=where)
    return measured.select("delivery_id", *FIGURES).iter_rows()


def by_duckdb(store: Path, where: str | None = None) -> Iterable[Row]:
    """Ask DuckDB, in the form that it answers fastest: CASE, not FILTER."""
    import duckdb

    return duckdb.sql(_sql(f"read_parquet('{_files(store)}')", where)).fetchall()


def by_clickhouse(store: Path, where: str | None = None) -> Iterable[Row]:
    """Ask ClickHouse, in its own exact functions."""
    import chdb

    sql = _sql(f"file('{_files(store)}', Parquet)", where)
    for column in ("message_id", "person_id"):
        clicked = f"count(DISTINCT CASE WHEN event_type = 'clicked' THEN {column} END)"
        sql = sql.replace(clicked, f"uniqExactIf({column}, event_type = 'clicked')")
    sql = sql.replace("count(DISTINCT message_id)", "uniqExact(message_id)")
    answer = json.loads(chdb.query(sql, "JSONCompact").bytes())["data"]
    return [(row[0], *(float(value or 0) for value in row[1:])) for row in answer]


def by_polars(store: Path, where: str | None = None) -> Iterable[Row]:
    """Ask polars, without trackkit's columns."""
    import polars as pl

    def of(kind: str) -> pl.Expr:
        return pl.col("event_type") == kind

    def distinct(column: str) -> pl.Expr:
        clicked = pl.when(of("clicked")).then(column)
        return clicked.n_unique() - clicked.is_null().any()

    visit, sale = of("web_visited") | of("transaction"), of("transaction")
    rows = pl.scan_parquet(_files(store), hive_partitioning=False)
    rows = rows.filter(~pl.col("is_seed").fill_null(False), ~pl.col("event_type").is_in(NO_HITS))
    asked = rows if where is None else rows.filter(pl.sql_expr(where))
    found = asked.group_by("delivery_id").agg(
        pl.col("message_id").n_unique(), of("opened").sum().alias("opens"), distinct("message_id").alias("clickers"),
        distinct("person_id").alias("people"), of("clicked").sum().alias("clicks"),
        of("unsubscribed").sum().alias("left"), of("mirror_page").sum().alias("mirrored"), visit.sum().alias("visits"),
        sale.sum().alias("sales"), pl.when(sale).then("amount").sum(), pl.when(sale).then("articles").sum(),
    )  # fmt: skip
    return found.collect(engine="streaming").iter_rows()


def by_pandas(store: Path, where: str | None = None) -> Iterable[Row]:
    """Ask pandas; its text is Arrow's, else memory would not hold the rows."""
    import pandas as pd

    columns = [*NEEDED, *(["device"] if where else [])]
    rows = pd.concat(pd.read_parquet(file, columns=columns, partitioning=None)
                     for file in sorted(store.glob("event/bucket=*/*.parquet")))  # fmt: skip
    rows = rows[~rows["is_seed"].fillna(False) & ~rows["event_type"].isin(NO_HITS)]
    rows = rows.query(where.replace(" = ", " == ")) if where else rows
    kinds = rows.groupby(["delivery_id", "event_type"]).size().unstack(fill_value=0)
    groups, clicks = rows.groupby("delivery_id"), rows[rows["event_type"] == "clicked"].groupby("delivery_id")
    sales = rows[rows["event_type"] == "transaction"].groupby("delivery_id")
    kinds = kinds.reindex(columns=["opened", "clicked", "unsubscribed", "mirror_page", "web_visited", "transaction"])
    columns = [
        groups["message_id"].nunique(), kinds["opened"], clicks["message_id"].nunique(), clicks["person_id"].nunique(),
        kinds["clicked"], kinds["unsubscribed"], kinds["mirror_page"], kinds["web_visited"] + kinds["transaction"],
        kinds["transaction"], sales["amount"].sum(), sales["articles"].sum(),
    ]  # fmt: skip
    found = pd.concat([column.astype(float) for column in columns], axis=1)
    return found.fillna(0).itertuples()


def by_scan(store: Path, where: str | None = None) -> Iterable[Row]:
    """Only read the columns that a plan without flags needs: the limit."""
    import polars as pl

    rows = pl.scan_parquet(_files(store), hive_partitioning=False)
    rows.select(pl.col(NEEDED).null_count()).collect(engine="streaming")
    return ()


WAYS: dict[str, Callable[[Path, str | None], Iterable[Row]]] = {
    "trackkit": by_trackkit, ROWS: by_trackkit_rows, "DuckDB, SQL with CASE": by_duckdb,
    "ClickHouse (chdb), uniqExactIf": by_clickhouse,
    "polars, n_unique": by_polars, "pandas": by_pandas, "bare polars scan": by_scan,
}  # fmt: skip
IMPORTS = {"DuckDB, SQL with CASE": "duckdb", "ClickHouse (chdb), uniqExactIf": "chdb"}
# Of the smoke run: how many times trackkit's processor time the other needs, at least.
FLOORS = {("", "DuckDB, SQL with CASE"): 3.5, ("", "bare polars scan"): 0.6, (FILTER, "DuckDB, SQL with CASE"): 1.3}
# What pandas needs for more than this does not go into 24 GiB.
PANDAS_EVENTS = 30_000_000


def _files(store: Path) -> str:
    return f"{store}/event/bucket=*/*.parquet"


def _sql(table: str, where: str | None) -> str:
    def of(kind: str, what: str = "1") -> str:
        return f"CASE WHEN event_type = '{kind}' THEN {what} END"

    return f"""SELECT delivery_id, count(DISTINCT message_id), count({of("opened")}),
        count(DISTINCT {of("clicked", "message_id")}), count(DISTINCT {of("clicked", "person_id")}),
        count({of("clicked")}), count({of("unsubscribed")}), count({of("mirror_page")}),
        count(CASE WHEN event_type IN ('web_visited', 'transaction') THEN 1 END), count({of("transaction")}),
        sum({of("transaction", "amount")}), sum({of("transaction", "articles")})
        FROM {table} WHERE NOT coalesce(is_seed, false) AND event_type NOT IN {NO_HITS}
        {f"AND {where}" if where else ""} GROUP BY delivery_id"""


def _checksum(rows: Iterable[Row]) -> str:
    """One text for the same figures, in any order; an unknown count, which SQL calls 0, and cents are rounded."""
    said = sorted(f"{row[0]} {[round(100 * float(value or 0)) for value in row[1:]]}" for row in rows)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]


def one_way(way: str, store: Path, where: str) -> None:
    """Run one way in this process, and print what it took."""
    import_module("polars")
    import_module(IMPORTS.get(way, "trackkit"))
    began, worked = time.perf_counter(), time.process_time()
    rows = list(WAYS[way](store, where or None))
    took, work = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"s": took, "cpu": work, "mb": peak, "sum": _checksum(rows) if rows else ""}))


def rounds(store: Path, ways: Iterable[str], where: str, times: int) -> dict[str, dict[str, float]]:
    """Run ways in turn; return the medians of each, or leave with 1 where figures differ."""
    took: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for _ in range(times):
        for way, found in took.items():
            command = [sys.executable, __file__, "--way", way, "--store", str(store), "--where", where]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found.append(json.loads(said.splitlines()[-1]))
            print(f"  {way:32} {found[-1]}", file=sys.stderr, flush=True)
    sums = {one["sum"] for found in took.values() for one in found if one["sum"]}
    if len(sums) != 1:
        sys.exit(f"The ways do not give the same figures: {took}")
    return {
        way: {name: statistics.median(one[name] for one in found) for name in ("s", "cpu", "mb")}
        for way, found in took.items()
    }


def one_delivery(store: Path) -> str:
    """Say the milliseconds of one delivery's indicators: first and later in process, and as a command."""
    import trackkit

    rows = trackkit.open_store(store).scan("event").group_by("delivery_id").len().collect().sort("len", "delivery_id")
    key = rows["delivery_id"][rows.height * 9 // 10]
    opened = trackkit.open_store(store)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        trackkit.measure(opened, FIGURES, delivery=key)
        times.append(1000 * (time.perf_counter() - began))
    command = [sys.executable, "-m", "trackkit", "measure", "--store", str(store), "--delivery", key]
    cold = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([*command, "--metrics", ",".join(FIGURES)], capture_output=True, check=True)
        cold.append(1000 * (time.perf_counter() - began))
    later, command_ms = statistics.median(times[1:]), statistics.median(cold)
    return f"One delivery: {times[0]:.0f} ms at first, {later:.0f} ms later, {command_ms:.0f} ms as a command."


def table(found: dict[str, dict[str, float]]) -> Iterator[str]:
    """Write medians, and how many times trackkit's each is."""
    own = found["trackkit"]
    yield "| way | wall s | × | processor s | × | peak MB |"
    yield "|---|--:|--:|--:|--:|--:|"
    for way, one in found.items():
        times = [f"{one[name]:.2f} | {one[name] / own[name]:.1f}" for name in ("s", "cpu")]
        yield f"| {way} | {' | '.join(times)} | {one['mb']:,.0f} |"


def picture(found: dict[str, dict[str, dict[str, float]]], events: int, to: Path) -> None:
    """Draw how many times trackkit's processor time each way needs."""
    import altair as alt

    rows = [
        {
            "way": way,
            "question": f"{QUESTIONS[where]}{where and f': {where}'}",
            "times": one["cpu"] / ways["trackkit"]["cpu"],
        }
        for where, ways in found.items()
        for way, one in ways.items()
    ]
    base = alt.Chart(alt.Data(values=[row | {"said": f"{row['times']:.1f} ×"} for row in rows]))
    y = alt.Y("way:N", title=None, sort=list(WAYS), axis=alt.Axis(labelLimit=260))
    x = alt.X("times:Q", title="processor time, as a multiple of trackkit's", scale=alt.Scale(nice=True))
    ours = alt.condition("datum.way == 'trackkit'", alt.value("#1f6f8b"), alt.value("#c9b79c"))
    bars = base.mark_bar().encode(y=y, x=x, color=ours)
    said = base.mark_text(align="left", dx=4).encode(y=y, x=x, text="said:N")
    chart = (bars + said).properties(width=480, height=alt.Step(24))
    title = f"{events:,} events: exact indicators of every delivery"
    said_above = alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold")
    faceted = chart.facet(
        row=alt.Row("question:N", title=None, header=said_above, sort=[row["question"] for row in rows]), title=title
    )
    faceted = faceted.resolve_scale(x="independent", y="independent")
    faceted.properties(padding={"left": 50, "top": 5, "right": 30, "bottom": 5}).save(to)  # labels stand out of facets


def machine() -> str:
    """Describe where this runs."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = re.findall(r"^model name\s*: (.*)", told, re.M)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = [name for name in ("polars", "duckdb", "chdb", "deltalake") if find_spec(name)]
    said = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{os.cpu_count()} × {names[0] if names else platform.machine()}, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, {said}; load {os.getloadavg()[0]:.1f} when it began"
    )


def result(
    store: Path, ways: list[str], times: int, questions: dict[str, str]
) -> tuple[str, dict[str, dict[str, Any]], int]:
    """Run everything; return the text, and the medians by filter."""
    import polars as pl

    events = pl.scan_parquet(_files(store), hive_partitioning=False).select(pl.len()).collect().item()
    text = [f"Machine: {machine()}.", "", f"{events:,} events, medians of {times} rounds, the ways in turn.", ""]
    found: dict[str, dict[str, Any]] = {}
    ways = [way for way in ways if way != "pandas" or events <= PANDAS_EVENTS]
    for where, title in questions.items():
        # Under a filter files tell nothing: there both are one.
        left_out = {ROWS} if where == FILTER else {ROWS, "pandas", "bare polars scan"} if where else set()
        found[where] = rounds(store, [way for way in ways if way not in left_out], where, times)
        text += [f"### {title}{f' (`{where}`)' if where else ''}", "", *table(found[where]), ""]
    return "\n".join(text), found, events


def smoke(found: dict[str, dict[str, Any]]) -> list[str]:
    """Name the ratios below their floor."""
    return [
        f"{way} takes {ratio:.2f} times trackkit's processor time{f' where {where}' if where else ''}, floor {floor}"
        for (where, way), floor in FLOORS.items()
        if (ratio := found[where][way]["cpu"] / found[where]["trackkit"]["cpu"]) < floor
    ]


def main(given: argparse.Namespace) -> None:
    """Make the store, run the ways, write the table."""
    ways = [way for way in WAYS if way not in IMPORTS or find_spec(IMPORTS[way])]
    if missing := WAYS.keys() - set(ways):
        print(f"Left out, not being installed: {', '.join(missing)}.", file=sys.stderr)
    questions = QUESTIONS
    if given.smoke:
        ways, questions = ["trackkit", "DuckDB, SQL with CASE", "bare polars scan"], dict(list(QUESTIONS.items())[:2])
    with tempfile.TemporaryDirectory(prefix="trackkit-bench-") as folder:
        store = given.store or Path(folder, "store")
        if not store.exists():
            # Apart: a process begins with the peak of the one that it comes from.
            maker = [sys.executable, str(Path(__file__).with_name("stores.py")), str(store)]
            subprocess.run([*maker, "--events", str(given.events)], check=True)
        text, found, events = result(store, ways, given.rounds, questions)
        if not given.smoke:
            text += f"\n{one_delivery(store)}"
    print(text)
    if given.write:
        mark = f"<!-- {given.part} -->"
        there = given.write.read_text() if given.write.exists() else "# Results\n\n"
        before, _, after = there.partition(mark)
        drawn = given.write.with_name(f"{given.part}.svg")
        picture(found, events, drawn)
        image = f"![How many times the processor time of trackkit each way needs]({drawn.name})"
        _, _, rest = after.partition("<!-- end -->")
        given.write.write_text(f"{before}{mark}\n\n{text}\n\n{image}\n\n<!-- end -->{rest}")
    if given.smoke and (below := smoke(found)):
        sys.exit("\n".join(below))


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--events", type=int, default=20_000_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--store", type=Path, help="a store made by stores.py before")
    asked.add_argument("--write", type=Path, help="a file in which one part is renewed, and beside it a picture")
    asked.add_argument("--part", default="indicators", help="which part: what stands from its comment to the next end")
    asked.add_argument("--smoke", action="store_true")
    asked.add_argument("--way", help=argparse.SUPPRESS)
    asked.add_argument("--where", default="", help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.way:
        one_way(options.way, options.store, options.where)
    else:
        main(options)
