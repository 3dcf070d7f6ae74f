"""What the tests of declared formats share: records written in every framing, and events read back."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import zstandard

from trackkit import sources

FRAMINGS = {
    "array": lambda records: json.dumps(records),
    "lines": lambda records: "\n".join(map(json.dumps, records)) + "\n",
    "lines with CRLF": lambda records: "\r\n".join(map(json.dumps, records)),
    "lines of arrays": lambda records: "\n".join(json.dumps(records[i : i + 2]) for i in range(0, len(records), 2)),
    "pretty array": lambda records: json.dumps(records, indent=2, ensure_ascii=False),
    "pretty, one after another": lambda records: "\n".join(json.dumps(one, indent=4) for one in records),
    "run together": lambda records: "".join(map(json.dumps, records)),
    "text sequence": lambda records: "".join(f"\x1e{json.dumps(one)}\n" for one in records),
}
PACKINGS = {
    "plain": lambda raw: raw,
    "BOM": lambda raw: b"\xef\xbb\xbf" + raw,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "two gzip members": lambda raw: gzip.compress(raw[: len(raw) // 2]) + gzip.compress(raw[len(raw) // 2 :]),
}


def read(folder: Path, written: Any, name: str = "events.json", **options: Any) -> sources.RawLoad:
    """Write records (or text, or bytes) to a file of a new folder and read it; every file must balance."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = (
        written
        if isinstance(written, bytes)
        else (written if isinstance(written, str) else json.dumps(written)).encode()
    )
    (folder / name).write_bytes(raw)
    load = sources.read(folder / name, folder.with_name(folder.name + " staging"), **options)
    for one in load.report.sources:
        events = load.frames["event"].filter(pl.col("source_file") == one.path).collect().height
        assert one.read == events + one.quarantined
        assert one.quarantined == load.quarantine.filter(pl.col("source_file") == one.path).height
    return load


def events(load: sources.RawLoad, *columns: str) -> list[tuple]:
    """Return the events in the order of their rows."""
    order = ["source_file", "source_row", "address"]
    return load.frames["event"].sort(order, maintain_order=True).select(columns).collect().rows()


def told(load: sources.RawLoad, table: str, *columns: str) -> list[tuple]:
    """Return what is told of another table, in order."""
    return load.frames[table].select(columns).unique().sort(columns, nulls_last=True).collect().rows()


def table(rows: list[dict[str, Any]], separator: str = ",", end: str = "\n") -> str:
    """Return rows as the text of a table; the headers are those of the first row."""
    text = io.StringIO()
    out = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator=end)
    out.writeheader()
    out.writerows(rows)
    return text.getvalue()


def read_tables(folder: Path, files: dict[str, list[dict[str, Any]]], **options: Any) -> sources.RawLoad:
    """Write tables to a new folder and read it; every file must balance."""
    folder.mkdir(parents=True)
    for name, rows in files.items():
        (folder / name).write_text(table(rows), "utf-8")
    load = sources.read(folder, folder.with_name(folder.name + " staging"), **options)
    for one in load.report.sources:
        kept = load.frames["event"].filter(pl.col("source_file") == one.path).collect().height
        assert one.read == (kept + one.quarantined if one.table == "event" else one.read)
    return load
