"""Passes over rows on Apache Spark: the files of a store, read by a cluster; only what was counted comes back.

Formulas and passes are those of `rollup`, `refusals` and `engine`, in narwhals' words. Spark needs no Delta Lake of its
own: the store says which files its last commit is made of.
"""

import atexit
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from typing import Any

import narwhals as nw
import polars as pl
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql import types as t

from trackkit import schema
from trackkit.engine.backends import AMOUNTS
from trackkit.engine.snapshot import Tables
from trackkit.errors import RequestError
from trackkit.schema import LARGEST_AMOUNT, MONEY

MASTER = "TRACKKIT_SPARK_MASTER"
# Of a session of its own: instants and text as polars sees them, whatever the cluster's are for others.
_SETTINGS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}
_QUIET = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
_LOCAL = dict.fromkeys(("spark.driver.bindAddress", "spark.driver.host"), "127.0.0.1")
_LOCAL |= dict.fromkeys(("spark.sql.shuffle.partitions", "spark.default.parallelism"), str(os.cpu_count() or 1))
_TYPES = {
    pl.String: t.StringType,
    pl.Enum: t.StringType,
    pl.Int64: t.LongType,
    pl.Int32: t.IntegerType,
    pl.Int16: t.ShortType,
    pl.Float64: t.DoubleType,
    pl.Boolean: t.BooleanType,
    pl.Datetime: t.TimestampType,
}
_COUNTED = schema.DELIVERY.schema | schema.MESSAGE.schema | schema.EVENT.schema
_DECLARED = {name: dtype for name, dtype in _COUNTED.items() if name not in schema.FIRSTS}


class Spark:
    """Rows on Spark, as narwhals frames; see `frames.Frames`. One session for the process, begun at the first question.

    The cluster is the one of the session that is active, as in a hosted notebook, else the one whose URL is in
    `TRACKKIT_SPARK_MASTER`, else the processors of this machine.
    """

    api: Any = nw
    is_local = False

    def __init__(self) -> None:
        self._session, self._scanned, self._timezone = session(), dict[str, Any](), "UTC"

    def scan(self, tables: Tables, table: str) -> Any:
        """Return the rows of a table of a store; of tables in memory, those."""
        if table not in self._scanned:
            files = getattr(tables, "files", lambda _: None)(table)
            rows = self._native(tables.scan(table).collect()) if files is None else self._read(table, files)
            self._scanned[table] = nw.from_native(rows.select(*(_as_counted(rows, name) for name in rows.columns)))
        return self._scanned[table]

    def _read(self, table: str, files: list[str]) -> DataFrame:
        columns = [t.StructField(name, _TYPES[type(dtype)]()) for name, dtype in schema.TABLES[table].schema.items()]
        stored = t.StructType(columns)
        if not files:
            return self._native(pl.DataFrame(schema=schema.TABLES[table].schema))
        rows = self._session.read.schema(stored).parquet(*map(_as_spark_names, files))
        return rows.select(*stored.names)

    def _native(self, frame: pl.DataFrame) -> DataFrame:
        plain = [pl.col(name).cast(_as_plain(dtype)) for name, dtype in frame.schema.items()]
        with _told():
            return self._session.createDataFrame(frame.select(plain).to_arrow(compat_level=pl.CompatLevel.oldest()))

    def from_polars(self, frame: pl.DataFrame) -> Any:
        """Return a small frame as rows on Spark."""
        return nw.from_native(f.broadcast(self._native(frame)))

    def timed(self, events: Any, timezone: str) -> Any:
        """Add `hour`, the instant at which an hour began on a clock there, and `day`."""
        self._timezone, at = timezone, f.col("occurred_at")
        clock = f.from_utc_timestamp(at, timezone)
        shown = f.date_trunc("hour", clock)
        hour = f.timestamp_micros(f.unix_micros(at) - (f.unix_micros(clock) - f.unix_micros(shown)))
        # Where clocks were changed within the hour, by half of one, it began when they first showed it.
        is_whole = f.from_utc_timestamp(hour, timezone) == shown
        hour = f.when(is_whole, hour).otherwise(f.to_utc_timestamp(shown, timezone))
        return nw.from_native(events.to_native().withColumns({"hour": hour, "day": f.to_date(clock)}))

    def filtered(self, rows: Any, condition: pl.Expr) -> Any:
        """Return the rows that meet a condition: of each combination of values there is, polars says whether it does.

        So a condition means the same to both engines, and no text of a question is given to Spark.
        """
        columns = list(dict.fromkeys(condition.meta.root_names()))
        if not columns:
            return rows.filter(nw.lit(bool(pl.select(condition).item())))
        met = _met(self.collect(rows.select(*columns).unique()), condition)
        native, allowed = rows.to_native(), f.broadcast(self._native(met))
        same = [native[name].eqNullSafe(allowed[name]) for name in columns]
        return nw.from_native(native.join(allowed, same, "left_semi"))

    def unrepeated(self, rows: Any, columns: list[str]) -> Any:
        """Return some columns of rows: here no row has a place before another."""
        return rows.select(*columns)

    def amount(self, name: str) -> Any:
        """Return an amount of money, to be added exactly; `scan` has made it a decimal."""
        return nw.col(name)

    def collect(self, rows: Any) -> pl.DataFrame:
        """Run a pass; return what it leaves, in the types of the canonical tables."""
        with _told():
            found = pl.DataFrame(rows.to_native().toArrow())
        types = _DECLARED | {"hour": pl.Datetime("us", self._timezone)}
        return found.with_columns(_typed(name, types[name]) for name in found.columns if name in types)


def _met(values: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    together = values.select(condition.alias("met")).to_series()
    alone = values.with_row_index("place").select(condition.over("place").alias("met")).to_series()
    if not together.equals(alone):
        raise RequestError("A condition for Spark looks at one row: it cannot compare with other rows.")
    return values.filter(together)


def _as_counted(rows: DataFrame, name: str) -> Any:
    """Flags are added up, which Spark does with numbers only; amounts as polars would add them."""
    column = f.col(name)
    if name in schema.FIRSTS:
        return column.cast("bigint").alias(name)
    if name in AMOUNTS:
        known = f.when(f.abs(column) < LARGEST_AMOUNT, column)  # as `Here.amount`
        parts = f.rint(known * 10**MONEY.scale).try_cast(t.DecimalType(MONEY.precision - MONEY.scale, 0))
        return (
            (parts * f.lit(Decimal(1).scaleb(-MONEY.scale)))
            .cast(t.DecimalType(MONEY.precision, MONEY.scale))
            .alias(name)
        )
    return column


def _typed(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    return column.dt.convert_time_zone(zone) if zone else column.cast(dtype)


def _as_plain(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Datetime):
        return schema.INSTANT
    return pl.String() if isinstance(dtype, pl.Enum) else dtype


def _as_spark_names(path: str) -> str:
    """Return a path as Spark takes it: with a scheme, S3's by its Hadoop name, and no pattern to be filled in.

    >>> _as_spark_names("s3://logs/store/event/part-1.parquet"), _as_spark_names("/data/[a]/part-1.parquet")
    ('s3a://logs/store/event/part-1.parquet', 'file:///data/\\\\[a\\\\]/part-1.parquet')
    """
    full = re.sub(r"^s3://", "s3a://", path) if "://" in path else f"file://{os.path.abspath(path)}"
    return re.sub(r"([][{}*?\\])", r"\\\1", full)


@contextmanager
def _told() -> Iterator[None]:
    """Say what Spark could not do in a sentence, and not that it is older than pandas, which is not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            yield
        except PySparkException as error:
            raise RequestError(f"Spark could not answer: {str(error).splitlines()[0]}") from error


@cache
def session() -> SparkSession:
    """Return the session that questions run in, on the cluster that is there.

    Raises RequestError without Java, or where Spark does not start.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        active = SparkSession.getActiveSession()
        own = (active or SparkSession(_begun())).newSession()
    for name, value in _SETTINGS.items():
        own.conf.set(name, value)
    return own


def _begun() -> SparkContext:
    """Start Spark, quietly: what it says while it starts is shown only if it does not."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise RequestError("Spark needs Java 17 or later, and there is none: install it, or set JAVA_HOME.")
    master = os.environ.get(MASTER) or "local[*]"
    conf = SparkConf(loadDefaults=False).setAppName("trackkit").setMaster(master)
    conf.setAll([*_QUIET.items(), *(_LOCAL.items() if master.startswith("local") else ())])
    with tempfile.TemporaryFile() as said:
        try:
            gateway = launch_gateway(conf, {"stderr": said})  # type: ignore[no-untyped-call]  # pyspark gives no types
            context = SparkContext(conf=conf, gateway=gateway)
        except Exception as error:  # of py4j, of Java, of the cluster's manager
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
            reason = next((line for line in reversed(lines) if "Exception" in line or "Error" in line), str(error))
            raise RequestError(f"Spark did not start on {master!r}: {reason.strip()[:300]}") from error
    atexit.register(context.stop)
    return context
