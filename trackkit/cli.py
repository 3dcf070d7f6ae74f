"""`trackkit …`: arguments in, exit code out. Nothing is worked out here.

Exit codes: 0 done, 2 the request is wrong, 3 the data is refused, 4 a report failed. Errors are one sentence on stderr;
`--debug` shows where they came from. Progress is drawn on stderr, and only on a terminal.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from trackkit import __version__
from trackkit.errors import RequestError, TrackkitError

FOLDER = click.Path(path_type=Path)


def _store(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--store", required=True, help="Folder or URL of the store.")(command)


def _delivery(command: Callable[..., None]) -> Callable[..., None]:
    words = "Only these deliveries; several may follow."
    return click.option("--delivery", multiple=True, metavar="ID…", help=words)(command)


def _timezone(command: Callable[..., None]) -> Callable[..., None]:
    words = "Time zone of hours, days and shown instants."
    return click.option("--timezone", default="UTC", show_default=True, help=words)(command)


def _lang(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--lang", default="en", show_default=True, help="Language of the reports.")(command)


def _assets(command: Callable[..., None]) -> Callable[..., None]:
    words = "The script that draws charts: in each page, or once in OUT/assets."
    choice = click.Choice(["inline", "shared"])
    return click.option("--assets", type=choice, default="inline", show_default=True, help=words)(command)


def _output(command: Callable[..., None]) -> Callable[..., None]:
    choice = click.Choice(["table", "csv", "json", "parquet", "xlsx"])
    return click.option("--output", type=choice, default="table", show_default=True, help="How to print.")(command)


def _columns(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--columns", metavar="a,b", help="Columns, separated by commas.")(command)


def _tab(command: Callable[..., None]) -> Callable[..., None]:
    choice = click.Choice(["logs", "urls"])
    return click.option("--tab", type=choice, default="logs", show_default=True, help="Which sub-tab.")(command)


def _json(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, message="%(version)s")
def app(debug: bool) -> None:
    """Raw e-mail tracking logs to exact indicators and reports."""


@app.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--seed", default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--deliveries", type=click.IntRange(1), help="How many deliveries.")
@click.option("--recipients", type=click.IntRange(1), help="How many recipients.")
def demo(folder: Path, seed: int, deliveries: int | None, recipients: int | None) -> None:
    """Write a synthetic instance folder: raw logs and table exports of an invented sender."""
    from trackkit.demo import write_demo

    sizes = {"deliveries": deliveries, "recipients": recipients}
    click.echo(write_demo(folder, seed=seed, **{name: size for name, size in sizes.items() if size is not None}))


@app.command()
@click.argument("sources", metavar="SOURCE…", nargs=-1, required=True)
@_store
@click.option("--format", "format_", default="auto", show_default=True, help="A format; see `trackkit formats`.")
@click.option("--timezone", default="UTC", show_default=True, help="Time zone of instants without an offset.")
@click.option(
    "--collapse-opens", type=click.FloatRange(0), metavar="MINUTES",
    help="Repeated opens within these minutes count once [1 for raw logs, 0 for exports].",
)  # fmt: skip
@_json
def ingest(
    sources: tuple[str, ...], store: str, format_: str, timezone: str, collapse_opens: float | None, as_json: bool
) -> None:
    """Load raw logs and exports into a store, exactly once: repeating it changes nothing."""
    from trackkit.store import open_store

    with _progress("Loading") as progress:
        report = open_store(store).ingest(
            *sources, format=format_, timezone=timezone, collapse_minutes=collapse_opens, progress=progress
        )
    _print_json(report.to_dict()) if as_json else click.echo(str(report))


@app.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
def init(folder: Path) -> None:
    """Copy notebooks and report templates out of the package, to be changed; later commands prefer them."""
    from trackkit.resources import copy_out

    for path in copy_out(folder):
        click.echo(path)


@app.command()
@_json
def formats(as_json: bool) -> None:
    """List the formats that can be read."""
    from trackkit.sources import FORMATS

    records = [asdict(found) for found in FORMATS.values()]
    _print_json(records) if as_json else _print_records(records)


@app.command()
@_store
@click.option("--metrics", metavar="a,b", help="Metrics, separated by commas [all that apply].")
@click.option("--by", default="delivery_id", show_default=True, help="Breakdowns, by commas; empty for one total.")
@_delivery
@click.option("--where", help="SQL condition, as in \"domain = 'post.example'\".")
@_timezone
@_output
def measure(
    store: str,
    metrics: str | None,
    by: str,
    delivery: tuple[str, ...],
    where: str | None,
    timezone: str,
    output: str,
) -> None:
    """Measure indicators: one row per breakdown, counts as integers, rates as fractions, empty where unknown."""
    from trackkit.engine import measure as measured
    from trackkit.store import open_store

    asked = list(delivery) or None
    frame = measured(open_store(store), _list(metrics), _list(by) or [], asked, where, timezone)
    filters = {"By": by, "Deliveries": ", ".join(delivery), "Where": where or "", "Time zone": timezone}
    _print_frame(frame, output, lambda: {"What": "Indicators", "Store": store, **filters})


@app.command()
@_json
@click.option("--markdown", is_flag=True, help="Print METRICS.md.")
def metrics(as_json: bool, markdown: bool) -> None:
    """List the metrics: name, label, unit, source, formula, definition, reference."""
    from trackkit.catalogue import page, records

    if markdown:
        click.echo(page(), nl=False)
    elif as_json:
        _print_json(records())
    else:
        _print_records([{name: record[name] for name in ("name", "label", "unit", "formula")} for record in records()])


@app.command()
@_json
def reports(as_json: bool) -> None:
    """List the standard reports and their parameters."""
    from trackkit.report import REPORTS

    records = [report.to_dict() for report in REPORTS.values()]
    if as_json:
        _print_json(records)
    else:
        _print_records([{name: record[name] for name in ("name", "title", "scope")} for record in records])


@app.command()
@click.argument("report", metavar="REPORT")
@_store
@click.option("--out", required=True, type=FOLDER, help="Folder for the HTML files.")
@_delivery
@_lang
@_assets
@click.option("-p", "--parameter", multiple=True, metavar="name=value…", help="A parameter of the report.")
def render(
    report: str, store: str, out: Path, delivery: tuple[str, ...], lang: str, assets: str, parameter: tuple[str, ...]
) -> None:
    """Render one report, one self-contained HTML file per delivery, and print its path."""
    from trackkit.report import render as rendered

    given = _parameters(parameter)
    for name in delivery or (None,):
        click.echo(rendered(report, store, out, delivery=name, lang=lang, parameters=given, assets=assets))


@app.command()
@_store
@click.option("--out", required=True, type=FOLDER, help="Folder for reports, index.html and manifest.json.")
@click.option("--reports", metavar="a,b", help="Reports, separated by commas [all].")
@_delivery
@click.option("--since", metavar="DATE", help="Only deliveries launched on or after this date.")
@click.option("--jobs", type=click.IntRange(1), help="Reports rendered at once [one per core, four at most].")
@_lang
@_assets
def run(
    store: str,
    out: Path,
    reports: str | None,
    delivery: tuple[str, ...],
    since: str | None,
    jobs: int | None,
    lang: str,
    assets: str,
) -> None:
    """Render every due delivery × report; a second run with nothing new renders nothing."""
    from trackkit.runs import run as ran

    with _progress("Rendering") as progress:
        only = list(delivery) or None
        summary = ran(store, out, _list(reports), only, since, jobs, lang, progress=progress, assets=assets)
    click.echo(str(summary))
    if summary.failed:
        raise click.exceptions.Exit(4)


@app.command()
@click.argument("recipient_id", metavar="ID")
@_store
@_tab
@_columns
@_timezone
@_output
def recipient(recipient_id: str, store: str, tab: str, columns: str | None, timezone: str, output: str) -> None:
    """Print a recipient's Tracking tab over all deliveries: every hit, newest first, or the URLs clicked."""
    _print_tab(f"recipient {recipient_id}", store, tab, {"recipient": recipient_id}, columns, timezone, output)


@app.command()
@click.argument("delivery_id", metavar="DELIVERY")
@_store
@_tab
@_columns
@_timezone
@_output
def tracking(delivery_id: str, store: str, tab: str, columns: str | None, timezone: str, output: str) -> None:
    """Print a delivery's Tracking tab: every hit, newest first, or its tracked links with their clicks."""
    _print_tab(f"delivery {delivery_id}", store, tab, {"delivery": delivery_id}, columns, timezone, output)


def _print_tab(
    whose: str, store: str, tab: str, asked: dict[str, str], columns: str | None, timezone: str, output: str
) -> None:
    from trackkit.analysis.logs import tracking_tab
    from trackkit.store import open_store

    tables = open_store(store)
    rows = tracking_tab(tables, tab, columns=_list(columns), timezone=timezone, **asked)
    about = {"What": f"Tracking tab of {whose}, {tab}", "Columns": ", ".join(rows.columns), "Time zone": timezone}
    _print_frame(rows, output, lambda: about | _known(store, tables.snapshot(), asked, timezone))


def _known(store: str, tables: Any, asked: dict[str, str], timezone: str) -> dict[str, str]:
    """What a reader of the rows should know of the data behind them."""
    from trackkit.analysis.limits import limits
    from trackkit.analysis.needs import NEEDS
    from trackkit.report.notes import sentences

    said = sentences(limits(tables, needs=dict.fromkeys(NEEDS["logs"], ()), **asked), timezone)
    return {"Store": store, "About the data": "\n".join(line for lines in said for line in lines)}


@app.command()
@click.argument("folder", metavar="[DIR]", required=False, type=FOLDER)
def check(folder: Path | None) -> None:
    """Check report templates and notebooks, naming file, section, key and the nearest valid word."""
    from trackkit.report import check as checked

    problems = checked(folder)
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        raise click.exceptions.Exit(2)
    click.echo("Templates and notebooks are in order.")


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = _spread(sys.argv[1:])
    debug = "--debug" in arguments
    try:
        code = app.main(arguments, prog_name="trackkit", standalone_mode=False)
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
    if isinstance(error, click.exceptions.Abort):
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
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


def _parameters(given: tuple[str, ...]) -> dict[str, str]:
    for text in given:
        if "=" not in text:
            raise RequestError(f"A parameter is given as name=value, not {text!r}.")
    return dict(text.split("=", 1) for text in given)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def _print_records(records: list[dict[str, Any]]) -> None:
    import polars as pl

    _print_frame(pl.DataFrame(records, infer_schema_length=None), "table")


def _print_frame(frame: Any, output: str, about: Callable[[], dict[str, str]] = dict) -> None:
    """Print a frame; `about` says, for a workbook, what it is."""
    from trackkit import exports

    binary = sys.stdout.buffer
    if output in ("parquet", "xlsx") and sys.stdout.isatty():
        raise RequestError(f"{output} is not for a terminal; redirect it, as in `> rows.{output}`.")
    match output:
        case "csv":
            exports.write_csv(frame, binary)
        case "json":
            exports.write_json(frame, binary)
        case "parquet":
            frame.write_parquet(binary)
        case "xlsx":
            exports.write_xlsx(frame, binary, about())
        case "table":
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
