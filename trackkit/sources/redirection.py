"""The raw redirection log: one tab-separated line per hit, checked against the platform's published pattern.

Blank lines are skipped, but count in the numbering of lines.
"""

from pathlib import Path

import polars as pl
import pyarrow as pa

from trackkit import schema
from trackkit.sources import money, values
from trackkit.sources.files import NOT_UTF8, Found
from trackkit.sources.hiding import Hiding, kinds_of
from trackkit.sources.lines import LAYOUT, Lines, bare, is_ordinary
from trackkit.sources.report import SourceReport
from trackkit.sources.staging import STAGED, Staged, handed_on, quarantine_frame, refused, staged_path
from trackkit.sources.values import Clock

NAME = "adobe_redirection_log"
# [[:print:]] is every character but the controls, as in a UTF-8 locale of the C library; letters and digits are
# ASCII. Stricter than the published pattern, hexadecimal digits must follow the x of the log id.
_PRINT = r"[^\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]*"
_HEX, _ADDRESS = r"[0-9a-fA-F]*", r"[0-9a-fA-F.:]*"
_CHAINED = "an address, alone or followed by a comma and the forwarded-for chain"
# Of each field: its name, pattern, and the pattern in words.
_FORMS = (
    ("log id", r"[0-9A-Za-z]{2}x[0-9a-fA-F]+", "two characters, x and hexadecimal digits"),
    ("instant", r"[0-9T:.-]*", "digits and T : . -"),
    ("broadlog id", _HEX, "hexadecimal"),
    ("delivery id", _HEX, "hexadecimal"),
    ("url id", _HEX, "hexadecimal"),
    ("flags", r"[0-9A-Za-z]*", "letters and digits"),
    ("person id", r"[0-9A-Za-z-]*", "letters, digits and hyphens"),
    ("message format", _PRINT, "printable"),
    ("extra parameters", _PRINT, "printable"),
    ("user agent", _PRINT, "printable"),
    ("IP address", rf"{_ADDRESS}(?:,{_PRINT})?", _CHAINED),
)
_FIELDS = [name for name, *_ in _FORMS]
CHECK = "^" + r"\t".join(form for _, form, _ in _FORMS) + rf"(?:\t{_PRINT})?$"
_IDS = ("log id", "broadlog id", "delivery id", "url id")


def stage(found: Found, folder: Path, clock: Clock, collapse_seconds: int, hiding: Hiding) -> Staged:
    """Read one raw log into Parquet in `folder`: event rows, web_event rows, refused lines and the report.

    Streamed: memory grows neither with the file nor with a line. A truncated log is read up to the cut; the cut line
    is refused, as are lines that are too long.
    """
    target = staged_path(folder, "parquet")
    report, log = SourceReport(found.relative, NAME, "event"), Lines(found.path)
    try:
        _sink(_all_lines(found.path, log), target, clock, hiding)
    except (pl.exceptions.ComputeError, OSError):  # not UTF-8
        _sink(_bounded_lines(log), target, clock, hiding)
    rows = pl.scan_parquet(target, glob=False)
    _count(report, rows, clock)
    report.read += len(log.aside)
    report.quarantined += len(log.aside)
    report.assumptions += log.holes.notes
    quarantine = pl.concat([_refused_lines(rows, report), quarantine_frame(log.aside, report)])
    events = _events(rows.filter(pl.col("refused").is_null()), report, collapse_seconds)
    return Staged(report, {"event": events, **_web_events(rows, report, folder)}, quarantine)


def looks_like(first: bytes) -> bool:
    """Return whether the first bytes of a file hold a line of a redirection log."""
    lines = pl.Series("line", first.decode("utf-8", "replace").splitlines(), dtype=pl.String)
    return bool(lines.str.contains(CHECK).any())


def _all_lines(path: Path, log: Lines) -> pl.LazyFrame:
    if not is_ordinary(path):
        return _bounded_lines(log)
    return pl.scan_lines(path, name="line", row_index_name="source_row", row_index_offset=1)


def _bounded_lines(log: Lines) -> pl.LazyFrame:
    return pl.scan_arrow_c_stream(pa.RecordBatchReader.from_batches(LAYOUT, log.batches()))


def _sink(lines: pl.LazyFrame, target: Path, clock: Clock, hiding: Hiding) -> None:
    lines = lines.with_columns(bare("line")).filter(pl.col("line") != "")
    parts = pl.col("line").str.split_exact("\t", len(_FIELDS)).struct.rename_fields([*_FIELDS, "forwarded for"])
    hexadecimal = {f"{name} value": values.hexadecimal(pl.col(name)) for name in _IDS[1:]}
    parsed = (
        lines.with_columns(parts.alias("part"), matches=pl.col("line").str.contains(CHECK))
        .unnest("part")
        .with_columns(server=pl.col("log id").str.slice(0, 2), number=pl.col("log id").str.slice(3))
        .with_columns(local=values.log_instant(pl.col("instant")), **hexadecimal)
        .with_columns(**{"log id value": values.hexadecimal(pl.col("number"))})
    )
    out_of_range = [_unparsed(pl.col("instant"), pl.col("local"))]
    out_of_range += [_unparsed(pl.col(name), pl.col(f"{name} value")) for name in _IDS]
    parsed = parsed.with_columns(accepted=pl.col("matches") & ~pl.any_horizontal(out_of_range))
    kinds = kinds_of("event") | {"parameters": "line", "refused": "text"}
    hiding.rows(parsed.select(**_columns(clock)), kinds).sink_parquet(target, **STAGED)


def _unparsed(text: pl.Expr, value: pl.Expr) -> pl.Expr:
    return (text != "") & value.is_null()


def _columns(clock: Clock) -> dict[str, pl.Expr]:
    accepted, link = pl.col("accepted"), pl.col("url id value")
    parameters = pl.col("extra parameters")
    is_purchase = accepted & parameters.str.contains("(?:^|&)(?:tagid|amount|article)=")
    message_format = values.named(pl.col("message format"), {"h": "html", "t": "text"})
    return {
        "delivery_id": _key("delivery id"),
        "message_id": _key("broadlog id"),
        "occurred_at": clock.to_utc(pl.col("local")),
        "event_id": pl.col("log id value").cast(pl.String),
        "log_server": pl.col("server"),
        "person_id": _text(pl.col("person id").str.to_lowercase()),
        "link_id": _key("url id"),
        "reported_type": pl.when(link == 1).then(pl.lit("opened")).cast(pl.Enum(schema.EVENT_TYPES)),
        "message_format": message_format.cast(pl.Enum(schema.FORMATS)),
        "user_agent": _text(pl.col("user agent")),
        "ip": _text(_address()),
        "source_row": pl.col("source_row").cast(pl.Int64),
        "parameters": pl.when(is_purchase).then(parameters),
        "oddity": pl.when(accepted).then(clock.oddity(pl.col("local"))),
        "refused": pl.when(~accepted).then(pl.col("line")),
    }


def _key(name: str) -> pl.Expr:
    value = pl.col(f"{name} value")
    return pl.when(value != 0).then(value).cast(pl.String)


def _address() -> pl.Expr:
    cell = pl.col("IP address")
    is_chained = cell.str.contains(",", literal=True)
    return pl.when(is_chained).then(pl.when(is_chained).then(cell).str.extract(r"^([^,]*)")).otherwise(cell)


def _text(text: pl.Expr) -> pl.Expr:
    return pl.when(~text.is_in(["", "-"])).then(text)


def _events(accepted: pl.LazyFrame, report: SourceReport, collapse_seconds: int) -> pl.LazyFrame:
    available = accepted.collect_schema()
    columns = {
        **{
            name: pl.col(name) if name in available else pl.lit(None, dtype)
            for name, dtype in schema.EVENT.sourced.items()
        },
        "collapse_seconds": pl.lit(collapse_seconds, pl.Int32),
        "source": pl.lit(report.format),
        "source_file": pl.lit(report.path),
    }
    return accepted.select(**columns).select(handed_on("event"))


def _count(report: SourceReport, rows: pl.LazyFrame, clock: Clock) -> None:
    accepted = pl.col("refused").is_null()
    counts = rows.select(
        read=pl.len(),
        refused=(~accepted).sum(),
        undated=(accepted & pl.col("occurred_at").is_null()).sum(),
        twice=(pl.col("oddity") == 1).sum(),
        skipped=(pl.col("oddity") == 2).sum(),
    )
    totals = counts.collect(engine="streaming").row(0, named=True)
    report.read, report.quarantined, report.undated = totals["read"], totals["refused"], totals["undated"]
    report.assumptions += clock.notes(totals["read"] - totals["refused"], totals["twice"], totals["skipped"])


def _web_events(rows: pl.LazyFrame, report: SourceReport, folder: Path) -> dict[str, pl.LazyFrame]:
    """Return the hits with a tag, an amount or articles; values that are no numbers become null and are counted."""
    parameters = values.extra_parameters(pl.col("parameters"))
    hits = rows.filter(pl.col("parameters").is_not_null()).select(
        "event_id",
        "source_row",
        tag_id=parameters["tagid"],
        amount_text=money.decoded(parameters["amount"]),
        article_text=parameters["article"],
        currency_text=money.decoded(parameters["currency"]),
    )
    text = pl.col("amount_text")
    hits = hits.filter(pl.any_horizontal(pl.col("tag_id", "amount_text", "article_text").is_not_null())).with_columns(
        amount=money.amount(text),
        articles=values.whole(pl.col("article_text")),
        source_file=pl.lit(report.path),
        currency=pl.coalesce(money.currency(pl.col("currency_text")), money.currency_beside(text)),
    )
    target = staged_path(folder, "parquet")
    hits.sink_parquet(target, **STAGED)
    web = pl.scan_parquet(target, glob=False)
    no_amount = _unparsed(text, pl.col("amount"))
    no_articles = _unparsed(pl.col("article_text"), pl.col("articles"))
    wrong = {
        "'amount' that are no number": no_amount & ~money.is_too_large(text),
        f"'amount' that are {money.TOO_LARGE}": no_amount & money.is_too_large(text),
        "'article' that are no number": no_articles,
    }
    sums = {name: is_wrong.sum() for name, is_wrong in wrong.items()}
    counts = web.select(pl.len(), **sums).collect().row(0, named=True)
    report.assumptions += [f"{counts[name]:,} values of {name} were left empty" for name in wrong if counts[name]]
    return {"web_event": web.select(handed_on("web_event"))} if counts["len"] else {}


def _refused_lines(rows: pl.LazyFrame, report: SourceReport) -> pl.DataFrame:
    lines = rows.filter(pl.col("refused").is_not_null()).select("source_row", line="refused")
    lines = lines.with_columns(parts=pl.col("line").str.split("\t"))
    return refused(lines.select("source_row", reason=_reason(), text="line").collect(), report)


def _reason() -> pl.Expr:
    count, line = pl.col("parts").list.len(), pl.col("line")
    wrong_count = f"{len(_FIELDS)} fields expected, got {{}}"
    reasons: list[pl.Expr] = [
        pl.when(line.str.contains(NOT_UTF8, literal=True)).then(pl.lit("not UTF-8")),
        pl.when(line.str.contains("\x00", literal=True)).then(pl.lit("the line holds a NUL byte")),
        pl.when(count < len(_FIELDS)).then(pl.format(wrong_count, count)),
        pl.when(count > len(_FIELDS) + 1).then(pl.format(wrong_count, count)),
    ]
    reasons += [_field_reason(index, *form) for index, form in enumerate(_FORMS)]
    return pl.coalesce(*reasons, pl.lit("the forwarded-for chain is not printable"))


def _field_reason(index: int, name: str, form: str, expected: str) -> pl.Expr:
    text = pl.col("parts").list.get(index, null_on_oob=True)
    shown = text.str.head(100)
    misshapen = pl.when(~text.str.contains(f"^{form}$"))
    reason = misshapen.then(pl.format(f"the {name} '{{}}' is not {expected}", shown))
    if name == "instant":
        does_not_exist = _unparsed(text, values.log_instant(text))
        return pl.coalesce(reason, pl.when(does_not_exist).then(pl.format("the instant '{}' does not exist", shown)))
    if name in _IDS:
        digits = text.str.slice(3) if name == "log id" else text
        is_too_large = _unparsed(digits, values.hexadecimal(digits))
        return pl.coalesce(reason, pl.when(is_too_large).then(pl.format(f"the {name} '{{}}' exceeds 64 bits", shown)))
    return reason
