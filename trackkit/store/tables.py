"""The tables of a store as they are kept: canonical ones with columns of the store's own, and its own tables."""

import polars as pl

from trackkit import schema
from trackkit.store.datafile import BUCKET

# Tables of the store itself: where each bucket begins, and the load that last changed what is known of a delivery.
FENCE, WATERMARK, LOAD = "fence", "watermark", "load"
OWN = {
    FENCE: {BUCKET: pl.Int32(), "first_delivery": pl.String()},
    WATERMARK: {"delivery_id": pl.String(), "load_id": pl.String()},
    LOAD: {
        "number": pl.Int64(), "load_id": pl.String(), "loaded_at": schema.INSTANT, "timezone": pl.String(),
        "versions": pl.String(), "report": pl.String(), "fingerprints": pl.String(),
        "mark": pl.String(), "settings": pl.String(),
    },
}  # fmt: skip
# Which values of a row are not its own source's. The name is dedupe.FILLED's; numpy, which dedupe needs, would make
# every opening of a store wait.
_FILLED = {"filled": pl.Int32()}
BY_DELIVERY = [table.name for table in schema.TABLES.values() if table.by_delivery]
# Statistics of further columns would only lengthen the log.
SKIPPING = {LOAD: "number", WATERMARK: "delivery_id", **dict.fromkeys(BY_DELIVERY, ",".join(schema.MESSAGE.key))}


def stored_schema(name: str) -> dict[str, pl.DataType]:
    """Return the columns of a Delta table: enumerations as text, and the store's own columns."""
    columns = OWN[name] if name in OWN else schema.TABLES[name].schema
    stored = {column: pl.String() if isinstance(dtype, pl.Enum) else dtype for column, dtype in columns.items()}
    stored |= {} if name in OWN else _FILLED
    return stored | ({BUCKET: pl.Int32()} if name in BY_DELIVERY else {})


def as_stored(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return rows in the columns of their Delta table."""
    texts = [pl.col(column).cast(pl.String) for column, dtype in rows.schema.items() if isinstance(dtype, pl.Enum)]
    return rows.with_columns(texts).select(*stored_schema(name))


def as_declared(name: str) -> list[pl.Expr]:
    """Return what makes the enumerations of a table of its text."""
    declared = {} if name in OWN else schema.TABLES[name].schema
    return [pl.col(column).cast(dtype) for column, dtype in declared.items() if isinstance(dtype, pl.Enum)]
