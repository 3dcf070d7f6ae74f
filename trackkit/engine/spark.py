"""Passes over rows on Apache Spark: a cluster reads the files of a store; only counts come back.

Formulas and passes are those of `counting`, `refusals` and `measure`, through narwhals. Spark needs no Delta Lake of
its own: the store lists the files of its last commit.
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
from trackkit.engine.backends import AMOUNTS, CLOCK
from trackkit.engine.snapshot import Tables
from trackkit.errors import RequestError
from trackkit.schema import LARGEST_AMOUNT, MONEY

MASTER = "TRACKKIT_SPARK_MASTER"
# Settings of our own session: instants and text as in polars, whatever the cluster uses for others.
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
_TYPES_READ = schema.DELIVERY.schema | schema.MESSAGE.schema | schema.EVENT.schema
_TYPES_RETURNED = {name: dtype for name, dtype in _TYPES_READ.items() if name not in schema.FIRSTS}


class Spark:
    """Rows on Spark, as narwhals frames (see `backends.Backend`). One session per process, started on first use.

    The cluster is that of the active session, as in a hosted notebook, else the one at `TRACKKIT_SPARK_MASTER`, else
    the processors of this machine.
    """

    api: Any = nw
    is_local = False

    def __init__(self) -> None:
        self._session, self._scanned, self._timezone = session(), dict[str, Any](), "UTC"

    def scan(self, tables: Tables, table: str) -> Any:
        """Return the rows of a table of a store, or of tables in memory."""
        if table not in self._scanned:
            files = getattr(tables, "files", lambda _: None)(table)
            rows = self._native(tables.scan(table).collect()) if files is None else self._read(table, files)
            self._scanned[table] = nw.from_native(rows.select(*(_as_summable(rows, name) for name in rows.columns)))
        return self._scanned[table]

    def _read(self, table: str, files: list[str]) -> DataFrame:
        columns = [t.StructField(name, _TYPES[type(dtype)]()) for name, dtype in schema.TABLES[table].schema.items()]
        stored = t.StructType(columns)
        if not files:
            return self._native(pl.DataFrame(schema=schema.TABLES[table].schema))
        rows = self._session.read.schema(stored).parquet(*map(_spark_path, files))
        return rows.select(*stored.names)

    def _native(self, frame: pl.DataFrame) -> DataFrame:
        plain = [pl.col(name).cast(_plain_type(dtype)) for name, dtype in frame.schema.items()]
        with _errors_in_words():
            return self._session.createDataFrame(frame.select(plain).to_arrow(compat_level=pl.CompatLevel.oldest()))

    def from_polars(self, frame: pl.DataFrame) -> Any:
        """Return a small frame as rows on Spark."""
        return nw.from_native(f.broadcast(self._native(frame)))

    def timed(self, events: Any, timezone: str) -> Any:
        """Add the columns of `CLOCK` by clocks in `timezone`; `hour` is the instant at which the hour began."""
        self._timezone, at = timezone, f.col("occurred_at")
        clock = f.from_utc_timestamp(at, timezone)
        shown = f.date_trunc("hour", clock)
        hour = f.timestamp_micros(f.unix_micros(at) - (f.unix_micros(clock) - f.unix_micros(shown)))
        # If clocks changed within the hour, by half an hour, it began when they first showed it.
        is_whole = f.from_utc_timestamp(hour, timezone) == shown
        hour = f.when(is_whole, hour).otherwise(f.to_utc_timestamp(shown, timezone))
        dates = {name: f.to_date(f.date_trunc(name, clock)) for name in ("day", "week", "month")}
        numbers = {"weekday": f.weekday(clock) + 1, "hour_of_day": f.hour(clock)}
        return nw.from_native(events.to_native().withColumns({"hour": hour, **dates, **numbers}))

    def filtered(self, rows: Any, condition: pl.Expr) -> Any:
        """Return the rows that meet a condition; polars evaluates it on each distinct combination of values.

        A condition thus means the same in both engines, and no user text is given to Spark.
        """
        columns = list(dict.fromkeys(condition.meta.root_names()))
        if not columns:
            return rows.filter(nw.lit(bool(pl.select(condition).item())))
        allowed_values = _matching_values(self.collect(rows.select(*columns).unique()), condition)
        native, allowed = rows.to_native(), f.broadcast(self._native(allowed_values))
        same = [native[name].eqNullSafe(allowed[name]) for name in columns]
        return nw.from_native(native.join(allowed, same, "left_semi"))

    def unrepeated(self, rows: Any, columns: list[str]) -> Any:
        """Return some columns of rows, which have no order here."""
        return rows.select(*columns)

    def amount(self, name: str) -> Any:
        """Return an amount of money, which `scan` has made a decimal, so that sums are exact."""
        return nw.col(name)

    def collect(self, rows: Any) -> pl.DataFrame:
        """Run a pass; return its result in the types of the canonical tables."""
        with _errors_in_words():
            result = pl.DataFrame(rows.to_native().toArrow())
        types = _TYPES_RETURNED | CLOCK | {"hour": pl.Datetime("us", self._timezone)}
        return result.with_columns(_cast_to(name, types[name]) for name in result.columns if name in types)


def _matching_values(values: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    at_once = values.select(condition.alias("met")).to_series()
    row_by_row = values.with_row_index("place").select(condition.over("place").alias("met")).to_series()
    if not at_once.equals(row_by_row):
        raise RequestError("A condition for Spark looks at one row: it cannot compare with other rows.")
    return values.filter(at_once)


def _as_summable(rows: DataFrame, name: str) -> Any:
    """A column ready to be added up: flags as numbers, amounts as decimals."""
    column = f.col(name)
    if name in schema.FIRSTS:
        return column.cast("bigint").alias(name)
    if name in AMOUNTS:
        amount = f.when(f.abs(column) < LARGEST_AMOUNT, column)  # as `Polars.amount`
        parts = f.rint(amount * 10**MONEY.scale).try_cast(t.DecimalType(MONEY.precision - MONEY.scale, 0))
        return (
            (parts * f.lit(Decimal(1).scaleb(-MONEY.scale)))
            .cast(t.DecimalType(MONEY.precision, MONEY.scale))
            .alias(name)
        )
    return column


def _cast_to(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    return column.dt.convert_time_zone(zone) if zone else column.cast(dtype)


def _plain_type(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Datetime):
        return schema.INSTANT
    return pl.String() if isinstance(dtype, pl.Enum) else dtype


def _spark_path(path: str) -> str:
    """Return a path for Spark: with a scheme, Hadoop's name for S3, and glob characters escaped.

    >>> _spark_path("s3://logs/store/event/part-1.parquet"), _spark_path("/data/[a]/part-1.parquet")
    ('s3a://logs/store/event/part-1.parquet', 'file:///data/\\\\[a\\\\]/part-1.parquet')
    """
    full = re.sub(r"^s3://", "s3a://", path) if "://" in path else f"file://{os.path.abspath(path)}"
    return re.sub(r"([][{}*?\\])", r"\\\1", full)


@contextmanager
def _errors_in_words() -> Iterator[None]:
    """Turn Spark's errors into a sentence, and hide its warning about pandas, which is not used here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            yield
        except PySparkException as error:
            raise RequestError(f"Spark could not answer: {str(error).splitlines()[0]}") from error


@cache
def session() -> SparkSession:
    """Return the session that questions run in.

    Raises RequestError without Java, or where Spark does not start.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        active = SparkSession.getActiveSession()
        isolated = (active or SparkSession(_start())).newSession()
    for name, value in _SETTINGS.items():
        isolated.conf.set(name, value)
    return isolated


def _start() -> SparkContext:
    """Start Spark, showing its output only if it fails."""
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        raise RequestError("Spark needs Java 17 or later, and there is none: install it, or set JAVA_HOME.")
    master = os.environ.get(MASTER) or "local[*]"
    conf = SparkConf(loadDefaults=False).setAppName("trackkit").setMaster(master)
    conf.setAll([*_QUIET.items(), *(_LOCAL.items() if master.startswith("local") else ())])
    with tempfile.TemporaryFile() as output:
        try:
            gateway = launch_gateway(conf, {"stderr": output})  # type: ignore[no-untyped-call]  # pyspark gives no types
            context = SparkContext(conf=conf, gateway=gateway)
        except Exception as error:  # of py4j, of Java, of the cluster's manager
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
            reason = next((line for line in reversed(lines) if "Exception" in line or "Error" in line), str(error))
            raise RequestError(f"Spark did not start on {master!r}: {reason.strip()[:300]}") from error
    atexit.register(context.stop)
    return context
