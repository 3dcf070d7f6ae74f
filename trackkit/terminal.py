"""What commands print: text, JSON, frames, the rows of a tab, and how far they are.

What is asked for goes to stdout; sentences on the side and progress go to stderr. Names from the data can neither break
a line nor control the terminal.
"""

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from trackkit.arguments import comma_list
from trackkit.errors import RequestError
from trackkit.plain import in_json, one_line


def print_text(text: object, file: IO[str] | None = None) -> None:
    """Print text line by line; names from the data can neither break a line nor control the terminal."""
    print("\n".join(one_line(line) for line in str(text).split("\n")), file=file or sys.stdout)


def print_now(text: object) -> None:
    """Print text at once, though stdout may be a pipe."""
    print_text(text)
    sys.stdout.flush()


def print_notice(sentence: str) -> None:
    """Print one sentence on stderr."""
    print(one_line(sentence), file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a value as JSON; what JSON has no type for, as text."""
    print(in_json(json.dumps(value, ensure_ascii=False, indent=2, default=str)))


def print_records(records: list[dict[str, Any]]) -> None:
    """Print records as a table."""
    import polars as pl

    print_frame(pl.DataFrame(records, infer_schema_length=None), "table")


def print_frame(frame: Any, output: str, about: Callable[[], dict[str, str]] = dict) -> None:
    """Print a frame; `about` describes it on a sheet of its own in a workbook."""
    from trackkit.show import exports

    buffer = io.BytesIO()  # written in one piece: libraries hide errors such as a full disk or a closed pipe
    if output in ("parquet", "xlsx") and sys.stdout.isatty():
        raise RequestError(f"{output} is not for a terminal; redirect it, as in `> rows.{output}`.")
    match output:
        case "csv":
            exports.write_csv(exports.on_one_line(frame) if sys.stdout.isatty() else frame, buffer)
        case "json":
            exports.write_json(frame, buffer)
        case "parquet":
            frame.write_parquet(buffer)
        case "xlsx":
            exports.write_xlsx(frame, buffer, about())
        case "table":
            print(exports.as_text(frame))
    sys.stdout.flush()
    sys.stdout.buffer.write(buffer.getbuffer())


def print_rows(
    asked: Callable[..., Any],
    what: str,
    filters: dict[str, str],
    store: str,
    columns: str | None,
    lang: str | None,
    timezone: str,
    output: str,
    **options: Any,
) -> None:
    """Print the rows of a tab; `filters` say whose it is."""
    from trackkit.analysis import logs, messages
    from trackkit.language import require_language
    from trackkit.store import answered, open_store

    tables, words = (
        open_store(store),
        {**messages.COLUMNS, **messages.EXCLUDED_COLUMNS, **logs.COLUMNS, **logs.URL_COLUMNS},
    )
    zone = timezone or tables.timezone
    chosen = {name: value for name, value in options.items() if value not in ("", None, False)}
    rows = answered(tables, lambda now: asked(now, columns=comma_list(columns), timezone=zone, **filters, **chosen))
    about = {"What": what, "Columns": ", ".join(rows.columns), "Time zone": zone}
    about |= {name.capitalize(): str(value) for name, value in chosen.items() if name != "tab"}
    if lang is not None:
        from trackkit.show.cells import in_words

        rows = in_words(rows, words, require_language(lang), has_headings=output not in ("json", "parquet"))
    print_frame(rows, output, lambda: about | _about_the_data(store, tables.snapshot(), filters, zone))


def _about_the_data(store: str, tables: Any, filters: dict[str, str], timezone: str) -> dict[str, str]:
    """Describe the store and the caveats of its data, for the sheet "About"."""
    from trackkit.analysis.caveats import limits, table_needs
    from trackkit.report.notes import sentences

    ids = {name: value for name, value in filters.items() if name != "address"}
    warnings, remarks = sentences(limits(tables, needs=dict.fromkeys(table_needs("logs"), ()), **ids), timezone)
    return {"Store": store, "About the data": "\n".join([*warnings, *remarks])}


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """Yield `progress(done, total, label)`: a bar on a terminal, nothing anywhere else."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, label=title: bar.update(
            task, completed=done, total=total, description=one_line(label)
        )


@contextmanager
def page_progress(as_json: bool) -> Iterator[Any]:
    """Yield what tells of each page of a run: a bar on a terminal, else a line on stderr, as text or as JSON."""
    with progress_bar("Rendering") as bar:

        def tell(done: int, total: int, page: str, result: dict[str, Any]) -> None:
            if bar:
                bar(done, total, page)
                return
            known = {name: result[name] for name in ("status", "seconds", "error") if name in result}
            ends = f"failed: {known['error']}" if "error" in known else f"{known.get('seconds', 0)} s"
            line = json.dumps({"done": done, "of": total, "page": page} | known, ensure_ascii=False, default=str)
            text = in_json(line) if as_json else one_line(f"{done}/{total} {page}: {ends}")
            print(text, file=sys.stderr, flush=True)

        yield tell
