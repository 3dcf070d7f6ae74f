"""`trackkit …`: arguments in, exit code out. Nothing is worked out here.

Exit codes: 0 done, 2 the request is wrong, 3 the data is refused, 4 a report failed. Errors are one sentence on stderr;
`--debug` shows where they came from. Progress is drawn on stderr, and only on a terminal.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from trackkit import __version__
from trackkit.errors import RequestError, TrackkitError

app = typer.Typer(
    name="trackkit",
    help="Raw e-mail tracking logs to exact indicators and reports.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Output(StrEnum):
    """How a frame is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


StoreOption = Annotated[str, typer.Option("--store", help="Folder or URL of the store.")]
DeliveryOption = Annotated[
    list[str] | None, typer.Option("--delivery", help="Only these deliveries; several may follow.", metavar="ID…")
]
OutputOption = Annotated[Output, typer.Option("--output", help="How to print.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TimezoneOption = Annotated[str, typer.Option("--timezone", help="Time zone of hours, days and shown instants.")]
LangOption = Annotated[str, typer.Option("--lang", help="Language of the report.")]


@app.callback(invoke_without_command=True)
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; made if missing.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    deliveries: Annotated[int | None, typer.Option(help="How many deliveries.", min=1)] = None,
    recipients: Annotated[int | None, typer.Option(help="How many recipients.", min=1)] = None,
) -> None:
    """Write a synthetic instance folder: raw logs and table exports of an invented sender."""
    from trackkit.demo import write_demo

    sizes = {"deliveries": deliveries, "recipients": recipients}
    print(write_demo(folder, seed=seed, **{name: size for name, size in sizes.items() if size is not None}))


@app.command()
def ingest(
    source: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Folders, files, globs.")],
    store: StoreOption,
    format_: Annotated[str, typer.Option("--format", help="Name of the format; see `trackkit formats`.")] = "auto",
    timezone: Annotated[str, typer.Option(help="Time zone of instants without an offset.")] = "UTC",
    collapse_opens: Annotated[
        float | None,
        typer.Option(help="Minutes within which repeated opens count once [1 for raw logs, 0 for exports].", min=0),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Load raw logs and exports into a store, exactly once: repeating it changes nothing."""
    from trackkit.store import open_store

    with _progress("Loading") as progress:
        report = open_store(store).ingest(
            *source, format=format_, timezone=timezone, collapse_minutes=collapse_opens, progress=progress
        )
    _print_json(report.to_dict()) if as_json else print(report)


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the copies go.")]) -> None:
    """Copy notebooks and report templates out of the package, to be changed; later commands prefer them."""
    from trackkit.resources import copy_out

    for path in copy_out(folder):
        print(path)


@app.command()
def formats(as_json: JsonOption = False) -> None:
    """List the formats that can be read."""
    from trackkit.sources import FORMATS

    records = [found.to_dict() for found in FORMATS.values()]
    _print_json(records) if as_json else _print_records(records)


@app.command()
def measure(
    store: StoreOption,
    metrics: Annotated[str | None, typer.Option(help="Metrics, separated by commas.", metavar="a,b")] = None,
    by: Annotated[str, typer.Option(help="Breakdowns, separated by commas; empty for one total.")] = "delivery_id",
    delivery: DeliveryOption = None,
    where: Annotated[str | None, typer.Option(help="SQL condition, as in \"domain = 'post.example'\".")] = None,
    timezone: TimezoneOption = "UTC",
    output: OutputOption = Output.table,
) -> None:
    """Measure indicators: one row per breakdown, counts as integers, rates as fractions, empty where unknown."""
    from trackkit.engine import measure as measured
    from trackkit.store import open_store

    frame = measured(open_store(store), _list(metrics), _list(by) or [], delivery or None, where, timezone)
    _print_frame(frame, output)


@app.command()
def metrics(
    as_json: JsonOption = False, markdown: Annotated[bool, typer.Option(help="Print METRICS.md.")] = False
) -> None:
    """List the metrics: name, label, unit, source, formula, definition, reference."""
    from trackkit.catalogue import page, records

    if markdown:
        sys.stdout.write(page())
    elif as_json:
        _print_json(records())
    else:
        _print_records([{name: record[name] for name in ("name", "label", "unit", "formula")} for record in records()])


@app.command()
def reports(as_json: JsonOption = False) -> None:
    """List the standard reports and their parameters."""
    from trackkit.report import REPORTS

    records = [report.to_dict() for report in REPORTS.values()]
    if as_json:
        _print_json(records)
    else:
        _print_records([{name: record[name] for name in ("name", "title", "scope")} for record in records])


@app.command()
def render(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="Name of a report; see `trackkit reports`.")],
    store: StoreOption,
    out: Annotated[Path, typer.Option("--out", help="Folder for the HTML files.")],
    delivery: DeliveryOption = None,
    lang: LangOption = "en",
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="A parameter of the report.", metavar="name=value…")
    ] = None,
) -> None:
    """Render one report, one self-contained HTML file per delivery, and print its path."""
    from trackkit.report import render as rendered

    given = _parameters(parameter or [])
    for name in delivery or [None]:
        print(rendered(report, store, out, delivery=name, lang=lang, parameters=given))


@app.command()
def run(
    store: StoreOption,
    out: Annotated[Path, typer.Option("--out", help="Folder for the reports, index.html and manifest.json.")],
    reports: Annotated[str | None, typer.Option(help="Reports, separated by commas.", metavar="a,b")] = None,
    delivery: DeliveryOption = None,
    since: Annotated[str | None, typer.Option(help="Only deliveries launched on or after this date.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Reports rendered at once.", min=1)] = None,
    lang: LangOption = "en",
) -> None:
    """Render every due delivery × report; a second run with nothing new renders nothing."""
    from trackkit.runs import run as ran

    with _progress("Rendering") as progress:
        summary = ran(store, out, _list(reports), delivery or None, since, jobs, lang, progress=progress)
    print(summary)
    if summary.failed:
        raise typer.Exit(4)


@app.command()
def recipient(
    recipient_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the recipient.")],
    store: StoreOption,
    columns: Annotated[str | None, typer.Option(help="Columns, separated by commas.")] = None,
    timezone: TimezoneOption = "UTC",
    output: OutputOption = Output.table,
) -> None:
    """Print a recipient's Tracking tab: URL, instant and delivery (document) of every hit, newest first."""
    from trackkit.logs import tracking_log
    from trackkit.store import open_store

    _print_frame(
        tracking_log(open_store(store), recipient=recipient_id, columns=_list(columns), timezone=timezone), output
    )


@app.command()
def tracking(
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")],
    store: StoreOption,
    columns: Annotated[str | None, typer.Option(help="Columns, separated by commas.")] = None,
    timezone: TimezoneOption = "UTC",
    output: OutputOption = Output.table,
) -> None:
    """Print a delivery's Tracking tab, newest first."""
    from trackkit.logs import tracking_log
    from trackkit.store import open_store

    _print_frame(
        tracking_log(open_store(store), delivery=delivery_id, columns=_list(columns), timezone=timezone), output
    )


@app.command()
def check(folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Folder to check.")] = None) -> None:
    """Check report templates and notebooks, naming file, section, key and the nearest valid word."""
    from trackkit.report import check as checked

    problems = checked(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    print("Templates and notebooks are in order.")


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = _spread(sys.argv[1:])
    debug = "--debug" in arguments
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="trackkit", standalone_mode=False)
    except Exception as error:
        if debug:
            raise
        code = _explained(error)
    except KeyboardInterrupt:
        code = 130
    _flush()
    sys.exit(code or 0)


def _explained(error: Exception) -> int:
    """Say one sentence on stderr, and return the exit code that goes with it."""
    import click

    if isinstance(error, click.exceptions.Abort):
        return 130
    if isinstance(error, click.ClickException):
        sentence, code = error.format_message(), 2
    elif isinstance(error, TrackkitError):
        sentence, code = str(error), error.exit_code
    else:
        sentence, code = f"trackkit stumbled: {type(error).__name__}: {error} (--debug shows where)", 1
    print(f"Error: {_one_line(sentence)}", file=sys.stderr)
    return code


def _one_line(sentence: str) -> str:
    """Keep a hostile name in a message from moving the cursor or adding lines."""
    return "".join(letter if letter.isprintable() else " " for letter in sentence)


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `trackkit … | head` closed early, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_SEVERAL = {"--delivery": "--delivery", "-p": "-p", "--parameter": "-p"}
_COMMANDS_WITH_ARGUMENT = ("render",)


def _spread(arguments: list[str]) -> list[str]:
    """Let one option take several values: `--delivery 1 2` becomes `--delivery 1 --delivery 2`.

    >>> _spread(["measure", "--delivery", "1", "2", "--store", "s"])
    ['measure', '--delivery', '1', '--delivery', '2', '--store', 's']
    """
    spread: list[str] = []
    option, taken = None, 0
    waiting = bool(arguments) and arguments[0] in _COMMANDS_WITH_ARGUMENT
    for place, word in enumerate(arguments):
        if word.startswith("-") and len(word) > 1:
            option, taken = _SEVERAL.get(word), 0
        elif option is not None:
            waiting_for_report = waiting and place > 1 and arguments[1].startswith("-")
            if taken and not waiting_for_report:
                spread.append(option)
            taken += 1
        spread.append(word)
    return spread


def _list(words: str | None) -> list[str] | None:
    """Split at commas.

    >>> _list("a, b"), _list(""), _list(None)
    (['a', 'b'], [], None)
    """
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]


def _parameters(given: list[str]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise RequestError(f"A parameter is given as name=value, not {text!r}.")
    return dict(text.split("=", 1) for text in given)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def _print_records(records: list[dict[str, Any]]) -> None:
    import polars as pl

    _print_frame(pl.DataFrame(records, infer_schema_length=None), Output.table)


def _print_frame(frame: Any, output: Output) -> None:
    from trackkit import exports

    binary = sys.stdout.buffer
    match output:
        case Output.csv:
            exports.write_csv(frame, binary)
        case Output.json:
            exports.write_json(frame, binary)
        case Output.parquet:
            frame.write_parquet(binary)
        case Output.table:
            print(exports.as_text(frame))


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    """Yield `progress(done, total, label)`: a bar on a terminal, nothing anywhere else."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, label=what: bar.update(task, completed=done, total=total, description=label)
