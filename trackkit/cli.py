"""`trackkit …`: arguments in, exit code out. Nothing is computed here.

The exit codes are in `CODES`, at the foot of every `--help`. Errors are one sentence on stderr; `--debug` adds the
traceback. Progress bars need a terminal.
"""

import gc
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import click

from trackkit import __version__
from trackkit.errors import DataError, RequestError, TrackkitError
from trackkit.failures import refused_by_system
from trackkit.plain import in_json, one_line
from trackkit.startup import begin

FOLDER = click.Path(path_type=Path)
CODES = (
    "Exit codes: 0 done, 1 trackkit stumbled, 2 the request is wrong or the system refused it, 3 the data is refused, "
    "4 a report failed, 5 the work is done but the quality of the logs is worse than --fail-on allows, 130 interrupted."
)


class _Command(click.Command):
    """A command whose help ends with the exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_text(CODES.removeprefix("Exit codes: "))


class _Commands(_Command, click.Group):
    """A group whose help, and that of its commands, ends with the exit codes."""

    command_class = _Command


# Options that several commands have.
_store = click.option("--store", required=True, help="Folder or URL of the store.")
_delivery = click.option("--delivery", multiple=True, metavar="ID…", help="Only these deliveries; several may follow.")
_scope = click.option(
    "--scope",
    multiple=True,
    metavar="TEXT…",
    help="Several deliveries together: 7,8 · campaign:12 · programme:2 · folder:3 · period:2026-10-01.. · platform; "
    'or campaign, programme or folder for each of these. In quotes, "campaign:12 period:2026-10" is what is in both.',
)
_timezone = click.option(
    "--timezone",
    default="",
    metavar="ZONE",
    help="Time zone of hours, days and shown instants [the platform's, which the store keeps].",
)
_lang = click.option("--lang", default="en", show_default=True, help="Language of the reports.")
_assets = click.option(
    "--assets",
    type=click.Choice(["inline", "shared"]),
    hidden=True,
    expose_value=False,
    callback=lambda _, __, value: _say_no_assets(value),
)
_formats = click.option(
    "--format",
    "formats",
    default="html",
    show_default=True,
    metavar="a,b",
    help="Also as pdf, xlsx, ods, csv, parquet or eml, beside the page; several by commas.",
)
_parameter = click.option("-p", "--parameter", multiple=True, metavar="name=value…", help="A parameter of the report.")
_output = click.option(
    "--output",
    type=click.Choice(["table", "csv", "json", "parquet", "xlsx"]),
    default="table",
    show_default=True,
    help="How to print.",
)
_columns = click.option("--columns", metavar="a,b", help="Columns, separated by commas.")
_definitions = click.option(
    "--definitions",
    default="adobe",
    show_default=True,
    metavar="NAME|TOML",
    help="Whose definitions: a set of `trackkit definitions`, or the path of one's own.",
)
_activity = click.option(
    "--activity",
    type=click.Choice(["all", "human"]),
    default="all",
    show_default=True,
    help="Whose hits count; human: neither scanners' nor what machines fetch whether anybody reads or not.",
)
_since = click.option("--since", default="", metavar="DATE", help="Only from this date of the platform, or instant.")
_until = click.option("--until", default="", metavar="DATE", help="Only until this date of the platform, or instant.")
_type = click.option(
    "--type", default="", metavar="a,b", help="Only hits of these types, as shown: Open, Email click, …"
)
_order = click.option("--order", default="", metavar="a,-b", help="Columns to order by; a - before one: descending.")
_limit = click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows [all].")
_addresses = click.option("--addresses", is_flag=True, help="Also the e-mail addresses.")
_in_words = click.option("--lang", help="Headings and words in this language [names of columns, words in English].")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_fail_on = click.option(
    "--fail-on",
    type=click.Choice(["warn", "fail"]),
    help="Leave with exit code 5, the work done, when the quality of the logs is this or worse.",
)
_pseudonymise = click.option(
    "--pseudonymise",
    metavar="KEYFILE",
    type=FOLDER,
    help="Replace addresses by keyed hashes; the key is in this file [or in the variable TRACKKIT_KEY].",
)


def _exit_on_verdict(fail_on: str | None, verdict: str, done: str) -> None:
    """Exit with code 5 if the verdict is as bad as `fail_on` or worse; the message says that the work was done."""
    if _is_worse(fail_on, verdict):
        _print_notice(f"{done}, and the quality of the logs is {verdict!r}: --fail-on {fail_on} gives exit code 5.")
        raise click.exceptions.Exit(5)


def _is_worse(fail_on: str | None, verdict: str) -> bool:
    from trackkit.quality import VERDICTS

    return bool(fail_on) and VERDICTS.index(verdict) >= VERDICTS.index(str(fail_on))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--project", metavar="DIR", type=FOLDER, help="Folder with a trackkit.toml [the nearest one upwards].")
@click.option("--verbose", is_flag=True, help="Say whose notebooks and templates count, even the shipped ones.")
@click.version_option(__version__, message="%(version)s")
@click.pass_context
def app(context: click.Context, debug: bool, project: Path | None, verbose: bool) -> None:
    """Raw e-mail tracking logs to exact indicators and reports."""
    from trackkit.project_options import defaults, knowing_metrics, told, working_in

    if context.invoked_subcommand != "init":
        context.with_resource(working_in(project))
        context.default_map = defaults(app)
        if context.invoked_subcommand != "check":
            context.with_resource(knowing_metrics())
        for sentence in told(verbose):
            _print_notice(sentence)


@app.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--seed", default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--deliveries", type=click.IntRange(1), help="How many deliveries.")
@click.option("--recipients", type=click.IntRange(1), help="How many recipients.")
def demo(folder: Path, seed: int, deliveries: int | None, recipients: int | None) -> None:
    """Write a synthetic instance folder: raw logs and table exports of an invented sender."""
    from trackkit.demo import write_demo

    sizes = {"deliveries": deliveries, "recipients": recipients}
    _print_text(write_demo(folder, seed=seed, **{name: size for name, size in sizes.items() if size is not None}))


@app.command()
@click.argument("sources", metavar="SOURCE…", nargs=-1, required=True)
@_store
@click.option(
    "--format", "format_", default="auto", show_default=True, help="A format of `trackkit formats`, or a map.toml."
)
@click.option(
    "--timezone",
    metavar="ZONE",
    help="Time zone of instants without an offset; a new store keeps it as the platform's [the store's, UTC if new].",
)
@click.option(
    "--overlap",
    type=click.FloatRange(0),
    default=2,
    show_default=True,
    metavar="DAYS",
    help="Of a database, how much before the end of the last load is read again, for rows that came late.",
)
@click.option("--full", is_flag=True, help="Read all rows of a database again.")
@click.option(
    "--collapse-opens",
    type=click.FloatRange(0),
    metavar="MINUTES",
    help="Repeated opens within these minutes count once [1 for raw logs, 0 for exports].",
)
@click.option(
    "--dedupe",
    type=click.Choice(["exact", "loose", "none"]),
    default="exact",
    show_default=True,
    help="Which copies of an event count once; loose: even where the sender's own id differs.",
)
@click.option("--delivery-field", metavar="PATH", help="Field that names the delivery, as tags.campaign, or =NAME.")
@click.option(
    "--dates", metavar="ORDER", help="How dates are written if not as in ISO: day-first, month-first or %d/%m/%Y %H:%M."
)
@_fail_on
@_pseudonymise
@click.option("--truncate-ips", is_flag=True, help="Cut IP addresses to /24 and /48 before they are stored.")
@_json
def ingest(
    sources: tuple[str, ...],
    store: str,
    format_: str,
    timezone: str | None,
    collapse_opens: float | None,
    dedupe: str,
    delivery_field: str | None,
    dates: str | None,
    overlap: float,
    full: bool,
    fail_on: str | None,
    pseudonymise: Path | None,
    truncate_ips: bool,
    as_json: bool,
) -> None:
    """Load raw logs and exports into a store, exactly once: repeating it changes nothing.

    The exit code is 3 where nothing of a source or a file could be read; all else is loaded.

    A SOURCE is an instance folder, a file, a folder of files, a glob, or the SQLAlchemy URL of a database, as in
    postgresql://user@host/name. Leave the password out of it: ~/.pgpass or PGPASSWORD holds one for PostgreSQL, an
    option file for MariaDB and MySQL (mysql://host/name?read_default_file=~/.my.cnf).
    """
    from trackkit.store import open_store
    from trackkit.store.pseudonyms import Pseudonyms

    pseudonyms = Pseudonyms.read(pseudonymise, truncate_ips)
    with _progress("Loading") as progress:
        report = open_store(store).ingest(
            *sources,
            format=format_,
            timezone=timezone,
            collapse_minutes=collapse_opens,
            dedupe=dedupe,
            delivery_field=delivery_field,
            dates=dates,
            overlap_days=None if full else overlap,
            pseudonyms=pseudonyms,
            progress=progress,
        )
    _print_json(report.to_dict()) if as_json else _print_text(str(report))
    _exit_if_unread(report)
    _exit_on_verdict(fail_on, report.quality["verdict"], "The data was loaded")


def _exit_if_unread(report: Any) -> None:
    """Exit with code 3 if nothing of a source could be read; print each unreadable source or file with its reason."""
    unread_sources = {path: f"Nothing of {path!r} could be read: {why}" for path, why in report.failures.items()}
    for sentence in (unread_sources | report.unreadable).values():
        _print_notice(f"Error: {sentence}")
    if unread_sources:
        raise click.exceptions.Exit(3)


@app.command()
@click.argument("folder", metavar="[DIR]", required=False, type=FOLDER)
@click.option("--only", metavar="a,b", help="Copy only the notebooks and templates of these reports.")
@click.option("--language", metavar="xx", help="Begin the words of a language, as fr: an empty catalogue.")
@click.option("--upgrade", is_flag=True, help="Bring the copies of an earlier version of trackkit to this one.")
def init(folder: Path | None, only: str | None, language: str | None, upgrade: bool) -> None:
    """Make a folder a project: write trackkit.toml, and copy notebooks and report templates, to be changed.

    Commands find the project from that folder and those below it, or by --project; its files come before the shipped
    ones, file by file. An upgrade replaces what you did not touch, keeps what you changed, and where a file was changed
    on both sides writes the new one beside it, as NAME.new. For --upgrade and --language, DIR is the project found.
    """
    from trackkit import copies
    from trackkit.project_options import begin_language, found

    if [bool(only), bool(language), upgrade].count(True) > 1:
        raise RequestError("--only, --language and --upgrade are three requests: make them one by one.")
    if folder is None and not (language or upgrade):
        raise RequestError("Name the folder to be made a project: `trackkit init .` takes this one.")
    if upgrade:
        told = copies.upgrade(folder or found())
        _print_text("\n".join(told) or "Nothing to upgrade: the copies are those of this version, or yours alone.")
        return
    if language:
        _print_text(begin_language(folder or found(), language))
        return
    assert folder
    written, kept = copies.copy_out(folder, _list(only) or [])
    for path in written:
        _print_text(path)
    for sentence in kept:
        _print_notice(sentence)


@app.command()
@_json
def formats(as_json: bool) -> None:
    """List the formats that can be read, and how each is recognised."""
    from trackkit.sources import formats as known_formats

    records = [asdict(format_) for format_ in known_formats().values()]
    _print_json(records) if as_json else _print_records(records)


@app.command()
@_store
@click.option("--metrics", metavar="a,b", help="Metrics, separated by commas [all that apply].")
@click.option(
    "--by",
    default="delivery_id",
    show_default=True,
    help="Breakdowns, by commas, as campaign,day; empty for one total.",
)
@_delivery
@_scope
@click.option("--where", help="SQL condition, as in \"domain = 'post.example'\".")
@click.option(
    "--join",
    multiple=True,
    metavar="KEY=FILE…",
    help="A CSV or Parquet file by a key, as recipient_id=crm.csv: its columns are further breakdowns.",
)
@_activity
@_timezone
@click.option(
    "--engine",
    type=click.Choice(["polars", "spark"]),
    default="polars",
    show_default=True,
    help="Who goes through the rows; Spark on the cluster that TRACKKIT_SPARK_MASTER names.",
)
@click.option("--interval", type=float, metavar="0.95", help="Also the bounds of each rate, with this confidence.")
@_definitions
@_output
def measure(
    store: str,
    metrics: str | None,
    by: str,
    delivery: tuple[str, ...],
    scope: tuple[str, ...],
    where: str | None,
    join: tuple[str, ...],
    activity: str,
    timezone: str,
    engine: str,
    interval: float | None,
    definitions: str,
    output: str,
) -> None:
    """Measure indicators: one row per breakdown, counts as integers, rates as fractions, empty where unknown.

    A --scope is measured over its deliveries, each of them a row unless --by says otherwise.
    """
    from trackkit.engine import joins
    from trackkit.engine.measure import measure as measured
    from trackkit.engine.measure import not_added
    from trackkit.store import answered, open_store

    tables, groups, joined = open_store(store), _list(by) or [], joins.read(_parameters(join, "A --join", "key=file"))

    def answer(snapshot: Any) -> tuple[Any, list[str]]:
        options = (_chosen(snapshot, delivery, scope), where, timezone, engine, activity)
        frame = measured(snapshot, _list(metrics), groups, *options, interval, definitions, joined)
        return frame, not_added(frame, snapshot, groups, *options, join=joined)

    frame, unadded = answered(tables, answer)
    if unadded:
        words = "Amounts of several currencies ({}) are not added: they are unknown. By currency each is told."
        _print_notice(words.format(", ".join(unadded)))
    zone = timezone or tables.timezone
    filters = {
        "By": by,
        "Deliveries": ", ".join([*delivery, *scope]),
        "Where": where or "",
        "Time zone": zone,
        "Activity": activity,
    }
    filters |= {} if definitions == "adobe" else {"Definitions": definitions}
    _print_frame(frame, output, lambda: {"What": "Indicators", "Store": store, **filters})


def _chosen(tables: Any, delivery: tuple[str, ...], scope: tuple[str, ...]) -> list[str] | None:
    """The deliveries named by their ids or by scopes; None for all that count."""
    from trackkit.engine.scope import PLATFORM, each_of

    found = each_of(tables, scope)
    if scope and not found:
        raise RequestError(f"There is no {' and no '.join(scope)} in which a delivery counts.")
    if not delivery and any(each.kind == PLATFORM for each in found):
        return None
    return list(dict.fromkeys([*delivery, *(name for each in found for name in each.deliveries)])) or None


@app.command()
@_json
@click.option("--markdown", is_flag=True, help="Print METRICS.md.")
def metrics(as_json: bool, markdown: bool) -> None:
    """List the metrics: name, label, unit, source, formula, definition, reference."""
    from trackkit.show.catalogue import page, records

    if markdown:
        print(page(), end="")
    elif as_json:
        _print_json(records())
    else:
        brief = ("name", "label", "unit", "formula", *(["of"] if any(record["of"] for record in records()) else []))
        _print_records([{name: record[name] or "trackkit" for name in brief} for record in records()])


@app.command()
@click.argument("table", required=False)
@_json
@click.option("--markdown", is_flag=True, help="Print SCHEMA.md.")
def schema(table: str | None, as_json: bool, markdown: bool) -> None:
    """List the tables of a store, or the columns of one: name, type, unit, meaning."""
    from trackkit.errors import require_word
    from trackkit.schema import TABLES
    from trackkit.show.catalogue import columns_of, schema_page

    names = list(TABLES) if table is None else [require_word("table", table, TABLES)]
    if markdown:
        print(schema_page(), end="")
    elif as_json:
        _print_json([record for name in names for record in columns_of(name)])
    elif table is None:
        _print_records([{"table": name, "what is in it": TABLES[name].grain} for name in names])
    else:
        brief = ("column", "type", "unit", "meaning", "personal")
        _print_records([{name: record[name] for name in brief} for record in columns_of(names[0])])


@app.command()
@click.option("--store", help="Folder or URL of the store, with --delivery.")
@click.option("--delivery", metavar="ID", help="Print this delivery under each set.")
@click.option("--sets", metavar="a,b", help="Sets, or paths of one's own, separated by commas [those of the package].")
@_output
def definitions(store: str | None, delivery: str | None, sets: str | None, output: str) -> None:
    """List the definition sets: which metric each word of a sender means; or one delivery under each of them."""
    from trackkit.analysis.definitions import side_by_side, words
    from trackkit.analysis.unseen import unseen
    from trackkit.store import answered, open_store

    if (store is None) is not (delivery is None):
        raise RequestError("A delivery under each set needs both --store and --delivery.")
    if store is None or delivery is None:
        frame, brief = words(_list(sets)), ["definitions", "word", "label", "metric", "tag", "why"]
    else:
        chosen, asked = _list(sets), delivery
        frame = answered(
            open_store(store),
            lambda now: side_by_side(now, asked, chosen, hidden=unseen(now, [asked], ("complaints",))),
        )
        brief = ["question", "sender", "label", "rate", "numerator", "denominator", "metric", "why"]
    _print_frame(frame.select(brief) if output == "table" else frame, output, lambda: {"What": "Definition sets"})


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
@_scope
@_lang
@_assets
@_formats
@_definitions
@_activity
@_timezone
@_parameter
def render(
    report: str,
    store: str,
    out: Path,
    delivery: tuple[str, ...],
    scope: tuple[str, ...],
    lang: str,
    formats: str,
    definitions: str,
    activity: str,
    timezone: str,
    parameter: tuple[str, ...],
) -> None:
    """Render one report, one self-contained HTML file per delivery or scope, and print its path.

    Where the figures come from stands beside the page, in NAME.provenance.json.

    Other formats lie beside the page, which is always made, under the same name: pdf (printed by Chromium, Chrome or
    Edge), xlsx and ods (a sheet for each table and chart), csv (the same as files in an archive, .csv.zip), parquet
    (one tidy table) and eml (an unsent e-mail). The paths of the formats asked for are printed.
    """
    from trackkit.report import render as rendered
    from trackkit.report.formats import beside, require_formats
    from trackkit.runs.due import join

    chosen, parameters = require_formats(formats), _parameters(parameter)
    parameters |= {} if definitions == "adobe" else {"definitions": definitions}
    parameters |= {} if activity == "all" else {"activity": activity}
    if timezone:
        parameters.setdefault("timezone", timezone)
    asked = [name for name in chosen if name in formats.lower()] or chosen
    for name, over in _subjects(store, delivery, scope):
        page = rendered(report, store, out, name, lang, parameters, chosen, over)
        for each in asked:
            _print_text(beside(page, each))
    join(store, out)


def _subjects(store: str, delivery: tuple[str, ...], scope: tuple[str, ...]) -> Iterator[tuple[str | None, str | None]]:
    """Yield what pages are asked for: each delivery, then each scope; or one page on neither."""
    from trackkit.engine.scope import GROUPS, every
    from trackkit.store import open_store

    yield from ((name, None) for name in delivery)
    for text in scope:
        found = [each.text for each in every(open_store(store).snapshot(), text)] if text in GROUPS else [text]
        if not found:
            raise RequestError(f"There is no {text} in which a delivery counts.")
        yield from ((None, each) for each in found)
    if not (delivery or scope):
        yield None, None


@app.command()
@click.argument("report", metavar="REPORT")
@_store
@click.option("--delivery", metavar="ID", help="The delivery [the latest].")
@click.option("--scope", default="", metavar="TEXT", help="Several deliveries instead of one, as campaign:12.")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="The port [any that is free].")
@_lang
@_activity
@_parameter
def preview(
    report: str,
    store: str,
    delivery: str | None,
    scope: str,
    port: int,
    lang: str,
    activity: str,
    parameter: tuple[str, ...],
) -> None:
    """Show a report in the browser, and again whenever its template, notebook, words, theme or style are saved.

    Prints the address, which only this machine can open. Errors appear on the page, with file, section and key, and the
    last good page stays below.
    """
    from trackkit.report.preview import preview as previewed
    from trackkit.runs.due import latest_delivery

    chosen = delivery or (None if scope else latest_delivery(store, report))
    parameters = _parameters(parameter) | ({} if activity == "all" else {"activity": activity})
    previewed(report, store, chosen, port, lang, parameters, _print_now, scope)


@app.command()
@_store
@click.option("--out", required=True, type=FOLDER, help="Folder for reports, index.html and manifest.json.")
@click.option("--reports", metavar="a,b", help="Reports, separated by commas [all].")
@_delivery
@_scope
@click.option(
    "--since",
    metavar="DATE",
    help="Only deliveries launched on or after this date of the platform, or instant; or yesterday, or 7d.",
)
@click.option("--jobs", type=click.IntRange(1), help="Reports rendered at once [one per core, four at most].")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Render on the workers of this dask scheduler.")
@click.option("--keep", type=click.IntRange(1), metavar="N", help="Keep the last N versions of a page that changes.")
@click.option("--prune", is_flag=True, help="Remove pages of deliveries, scopes and reports that are there no more.")
@click.option("--dry-run", is_flag=True, help="Say what is due and what would be removed, and do nothing.")
@click.option("--metrics-file", metavar="FILE", type=FOLDER, help="Write metrics in Prometheus' text format.")
@click.option(
    "--lang",
    multiple=True,
    default=["en"],
    show_default=True,
    help="Language of the reports; may be repeated, the index is in the first.",
)
@_timezone
@_json
@_fail_on
@_assets
@_formats
@_definitions
@_activity
def run(
    store: str,
    out: Path,
    reports: str | None,
    delivery: tuple[str, ...],
    scope: tuple[str, ...],
    since: str | None,
    jobs: int | None,
    scheduler: str | None,
    lang: tuple[str, ...],
    keep: int | None,
    fail_on: str | None,
    formats: str,
    definitions: str,
    timezone: str,
    as_json: bool,
    metrics_file: Path | None,
    **extent: Any,
) -> None:
    """Render every due delivery × report; a second run with nothing new renders nothing.

    With --scope, every report that can be about several deliveries gets a page on each scope too.

    Other formats are as for `render`; a page that lacks one is due. Versions that --keep keeps are in OUT/archive, and
    the foot of a page leads to them and says which figures changed.

    Off a terminal each page is a line on stderr. OUT/runs.jsonl has a line of every run.
    """
    from trackkit.runs.due import run as ran

    def work() -> Any:
        with _page_progress(as_json) as progress:
            options = (since, jobs, lang, progress, scheduler, formats, keep, definitions, timezone, scope)
            return ran(store, out, _list(reports), list(delivery) or None, *options, **extent)

    summary = _measured(metrics_file, fail_on, work)
    _print_json(summary.to_dict()) if as_json else _print_text(str(summary))
    if summary.exit_code:
        raise click.exceptions.Exit(summary.exit_code)
    _exit_on_verdict(fail_on, summary.verdict, "The reports were made")


def _measured(metrics_file: Path | None, fail_on: str | None, work: Callable[[], Any]) -> Any:
    """Do the work of a run, and write its metrics however it ends."""
    from trackkit.runs.history import code_of, write_metrics

    if metrics_file is None:
        return work()
    try:
        summary = work()
    except BaseException as error:
        write_metrics(metrics_file, None, code_of(_cause_of(error, None) if isinstance(error, Exception) else error))
        raise
    write_metrics(metrics_file, summary, summary.exit_code or (5 if _is_worse(fail_on, summary.verdict) else 0))
    return summary


@contextmanager
def _page_progress(as_json: bool) -> Iterator[Any]:
    """Yield what tells of each page of a run: a bar on a terminal, else a line on stderr, as text or as JSON."""
    with _progress("Rendering") as bar:

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


@app.command()
@click.option("--out", required=True, type=FOLDER, help="Folder of the reports.")
@click.option("--report", default="", metavar="NAME", help="Only versions of this report.")
@click.option("--delivery", default="", metavar="ID", help="Only versions of pages of this delivery.")
@click.option("--before", default="", metavar="DATE", help="Only versions made before this date, or instant.")
@click.option("--delete", is_flag=True, help="Delete them, without asking; at least one of the three above is needed.")
@click.option("--dry-run", is_flag=True, help="With --delete: say what would be deleted, and delete nothing.")
@click.option("--timezone", default="UTC", show_default=True, metavar="ZONE", help="Time zone of dates.")
@_output
def archive(out: Path, delete: bool, dry_run: bool, output: str, **chosen: str) -> None:
    """List the earlier versions of pages that `run --keep` has kept, or delete some."""
    from trackkit.runs.versions import delete_versions, versions

    if dry_run and not delete:
        raise RequestError("--dry-run goes with --delete.")
    rows = delete_versions(out, **chosen, dry_run=dry_run) if delete else versions(out, **chosen)
    rows = rows.with_columns(rows["made_at"].dt.convert_time_zone(chosen["timezone"]))
    if delete:
        done = "would be deleted" if dry_run else "deleted"
        _print_notice(f"{rows.height:,} versions {done}, {rows['bytes'].sum():,} bytes.")
    _print_frame(rows, output, lambda: {"What": "Earlier versions of pages", "Folder": str(out)})


@app.command()
@click.argument("page", metavar="PAGE", type=FOLDER)
@_store
def reproduce(page: Path, store: str) -> None:
    """Make a page again from the version of the store that it was made from, and compare the bytes.

    PAGE is an HTML page, or the .provenance.json beside it. The bar, the stamp "Calculated" and the list of earlier
    versions are not compared. Other software, or other files of the report, are named and do not stop it.

    The exit code is 1 where the bytes are not the same (the first difference is printed), and 3 where that version of
    the store is there no more.
    """
    from trackkit.runs.reproduce import reproduce as reproduced

    outcome = reproduced(page, store)
    _print_text(str(outcome))
    if not outcome.is_same:
        raise click.exceptions.Exit(1)


@app.command()
@_store
@click.option("--delivery", metavar="ID", help="Judge one delivery, by its own rows [everything].")
@_fail_on
@_output
def quality(store: str, delivery: str | None, fail_on: str | None, output: str) -> None:
    """Print how well the logs were forwarded: one row per check, the worst first, each with its verdict."""
    from trackkit.quality import quality as judged
    from trackkit.quality import verdict
    from trackkit.store import answered, open_store

    checks = answered(open_store(store), lambda now: judged(now.snapshot(), delivery))
    about = {"What": "Quality of the logs", "Store": store, "Delivery": delivery or "", "Verdict": verdict(checks)}
    _print_frame(checks, output, lambda: about)
    _exit_on_verdict(fail_on, verdict(checks), "The checks were made")


@app.command()
@_store
@click.option("--since", default="", metavar="DATE", help="Only those launched on this day of the platform, or later.")
@click.option("--state", default="", metavar="WORD", help="Only those in this state, as 'Finished'.")
@click.option("--channel", default="", metavar="WORD", help="Only those of this channel, as 'e-mail'.")
@click.option("--campaign", default="", metavar="ID", help="Only those of this campaign.")
@click.option("--folder", default="", metavar="ID", help="Only those in this folder, or in one below it.")
@click.option("--all", "every", is_flag=True, help="Also proofs, models and deleted deliveries.")
@_timezone
@_output
def deliveries(store: str, output: str, **asked: Any) -> None:
    """Print the console's list of deliveries, the last launched first."""
    from trackkit.analysis.console import deliveries as listed
    from trackkit.store import answered, open_store

    tables = open_store(store)
    rows = answered(tables, lambda now: listed(now, **asked))
    filters = {name.capitalize(): str(value) for name, value in asked.items() if value}
    about = {"What": "Deliveries", "Store": store, **filters, "Time zone": asked["timezone"] or tables.timezone}
    _print_frame(rows, output, lambda: about)


@app.command()
@click.argument("recipient_id", metavar="[ID|ADDRESS]", default="")
@_store
@click.option("--address", default="", help="The recipient's e-mail address, in place of an id.")
@click.option(
    "--tab",
    type=click.Choice(["logs", "urls", "deliveries"]),
    default="logs",
    show_default=True,
    help="Which sub-tab: hits, URLs clicked, or the messages with their status.",
)
@click.option("--delivery", metavar="ID", help="Only what belongs to this delivery.")
@_type
@_since
@_until
@_order
@_limit
@_columns
@_in_words
@_timezone
@_output
def recipient(recipient_id: str, address: str, tab: str, delivery: str | None, **options: Any) -> None:
    """Print a recipient's tabs over all deliveries: every hit, newest first, the URLs clicked, or the deliveries.

    A recipient is named by id or by e-mail address; in a store of pseudonyms TRACKKIT_KEY has the key.
    """
    from trackkit.analysis.logs import tracking_tab
    from trackkit.store.pseudonyms import Pseudonyms

    if bool(recipient_id) is bool(address):
        raise RequestError("Name one recipient: by id, or by --address.")
    named_by = address or (recipient_id if "@" in recipient_id else "")
    who = {"address": Pseudonyms.read(None).of(named_by)} if named_by else {"recipient": recipient_id}
    subject = "recipient" if named_by else f"recipient {recipient_id}"
    filters = who | ({"delivery": delivery} if delivery else {})
    if tab == "deliveries" and options["type"]:
        raise RequestError("--type narrows hits; deliveries have none: leave one of the two out.")
    _print_rows(tracking_tab, f"Tracking tab of {subject}, {tab}", filters, tab=tab, **options)


@app.command()
@click.argument("delivery_id", metavar="DELIVERY")
@_store
@click.option("--tab", type=click.Choice(["logs", "urls"]), default="logs", show_default=True, help="Which sub-tab.")
@_type
@_since
@_until
@click.option("--link", default="", help="Only hits on the link of this id, label or URL.")
@click.option("--device", default="", metavar="a,b", help="Only hits by these devices.")
@_order
@_limit
@_columns
@_in_words
@_timezone
@_output
def tracking(delivery_id: str, **options: Any) -> None:
    """Print a delivery's Tracking tab: every hit, newest first, or its tracked links with their clicks.

    Narrowed by type, period, link or device, the second lists the URLs clicked then, and counts these clicks.
    """
    from trackkit.analysis.logs import tracking_tab

    what = f"Tracking tab of delivery {delivery_id}, {options['tab']}"
    _print_rows(tracking_tab, what, {"delivery": delivery_id}, **options)


@app.command()
@click.argument("delivery_id", metavar="DELIVERY")
@_store
@click.option(
    "--tab",
    type=click.Choice(["messages", "statuses", "exclusions"]),
    default="messages",
    show_default=True,
    help="Which sub-tab: messages, how many have each status, or who was left out.",
)
@click.option("--status", default="", metavar="a,b", help="Only messages of these statuses, as shown: Sent, Failed, …")
@click.option("--domain", default="", metavar="a,b", help="Only messages to these mail domains.")
@click.option("--rule", default="", help="Of the exclusions, only those by this rule.")
@_since
@_until
@_order
@_limit
@_addresses
@_columns
@_in_words
@_timezone
@_output
def messages(delivery_id: str, **options: Any) -> None:
    """Print a delivery's messages with status, date and reason of failure, the latest first; or its exclusions.

    E-mail addresses are printed only with --addresses.
    """
    from trackkit.analysis.messages import message_tab

    what = f"Tab of delivery {delivery_id}, {options['tab']}"
    _print_rows(message_tab, what, {"delivery": delivery_id}, **options)


def _print_rows(
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
    rows = answered(tables, lambda now: asked(now, columns=_list(columns), timezone=zone, **filters, **chosen))
    about = {"What": what, "Columns": ", ".join(rows.columns), "Time zone": zone}
    about |= {name.capitalize(): str(value) for name, value in chosen.items() if name != "tab"}
    if lang is not None:
        from trackkit.show.cells import in_words

        rows = in_words(rows, words, require_language(lang), has_headings=output not in ("json", "parquet"))
    _print_frame(rows, output, lambda: about | _about_the_data(store, tables.snapshot(), filters, zone))


def _about_the_data(store: str, tables: Any, filters: dict[str, str], timezone: str) -> dict[str, str]:
    """Describe the store and the caveats of its data, for the sheet "About"."""
    from trackkit.analysis.caveats import limits, table_needs
    from trackkit.report.notes import sentences

    ids = {name: value for name, value in filters.items() if name != "address"}
    warnings, remarks = sentences(limits(tables, needs=dict.fromkeys(table_needs("logs"), ()), **ids), timezone)
    return {"Store": store, "About the data": "\n".join([*warnings, *remarks])}


@app.command()
@_store
@click.option("--before", metavar="DATE", help="Remove what happened before this date of the platform, or instant.")
@click.option("--recipient", metavar="ID", help="Remove every trace of a recipient.")
@click.option("--address", metavar="ADDRESS", help="Remove every trace of an e-mail address.")
@click.option(
    "--retention",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Remove what is older than the periods of this file [without a name: that of the project].",
)
@click.option("--as-of", metavar="DATE", help="The day of the platform that periods are counted back from [today].")
@click.option("--keep-counts", is_flag=True, help="Keep the counts of finished deliveries that lose rows.")
@click.option("--out", multiple=True, type=FOLDER, help="Delete concerned pages in this folder of reports too.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@_pseudonymise
@_json
def forget(as_json: bool, pseudonymise: Path | None, **options: Any) -> None:
    """Remove rows by age, or one person, with the history that holds them; print what was removed."""
    from trackkit.runs.retention import forget as forgotten
    from trackkit.store.pseudonyms import Pseudonyms

    if options["retention"] == "":
        options["retention"] = _retention_of_project()
    report = forgotten(**options, pseudonyms=Pseudonyms.read(pseudonymise))
    _print_json(report.to_dict()) if as_json else _print_text(str(report))


def _retention_of_project() -> str:
    from trackkit.project_options import setting

    if (path := setting("retention")) is None:
        raise RequestError("--retention needs a file: name it, or settle 'retention' in the project's trackkit.toml.")
    return str(path)


@app.group(cls=_Commands)
def store() -> None:
    """Look after a store."""


@store.command(name="set")
@click.argument("settings", metavar="timezone=ZONE", nargs=-1, required=True)
@_store
def set_(settings: tuple[str, ...], store: str) -> None:
    """Change what a store keeps: the platform's time zone, the default of every question and page."""
    from trackkit.store import open_store

    for name, value in _parameters(settings).items():
        open_store(store).set(name, value)
        _print_text(f"{name} is {value}.")


@store.command()
@_store
def mark(store: str) -> None:
    """Mark who was behind the hits of a store loaded before machines were marked: people, proxies, scanners."""
    from trackkit.store import open_store

    with _progress("Marking") as progress:
        count = open_store(store).mark(progress)
    _print_text(f"{count:,} deliveries had hits to mark.")


@store.command()
@_store
def verify(store: str) -> None:
    """Read every file of a store, and name one that is lost or damaged."""
    from trackkit.store import open_store

    _print_text(f"The store is whole: {open_store(store).verify():,} files were read.")


@app.command()
@click.argument("folder", metavar="[DIR]", required=False, type=FOLDER)
def check(folder: Path | None) -> None:
    """Check templates, notebooks, metrics, translations, maps of formats and definition sets.

    Each problem names file, section, key and the nearest word. Without DIR, what the project or the package has is
    checked. Rules of the package's own notebooks (no arithmetic, only `import trackkit`) are not asked of yours.
    """
    from trackkit.metrics import METRICS
    from trackkit.own_metrics import in_order

    with METRICS.having(in_order(folder)):
        problems, missing = _checked(folder)
    for problem in problems:
        _print_notice(str(problem))
    if problems:
        raise click.exceptions.Exit(2)
    for sentence in missing:
        _print_notice(sentence)
    _print_text("Templates and notebooks are in order.")


def _checked(folder: Path | None) -> tuple[list[Any], list[str]]:
    """What is wrong with the files of a folder, and what is not translated."""
    from trackkit.definition_sets import check as check_sets
    from trackkit.own_metrics import check as check_metrics
    from trackkit.report.checks import check as checked
    from trackkit.report.checks import missing_words
    from trackkit.runs import retention
    from trackkit.sources.feeds.feed import check_maps

    others = [*check_maps(folder), *retention.check(folder), *check_sets(folder)]
    problems = [*check_metrics(folder), *checked(folder), *others]
    return problems, [] if problems else missing_words(folder)


def main() -> None:
    """Run the command line and leave with its exit code."""
    begin()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # what its encoding lacks
    arguments = _arguments(sys.argv[1:])
    try:
        code = app.main(arguments, prog_name="trackkit", standalone_mode=False)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code = _report_error(_cause_of(error, _store_of(arguments)))
    except KeyboardInterrupt:
        code = 130
    except SystemExit:  # raised by click when a pipe was closed early: not an error
        code = 0
    flushed = _flush()
    code = code or flushed
    gc.freeze()  # a last collection at exit would take as long as a query
    sys.exit(code or 0)


def _report_error(error: Exception) -> int:
    """Print an error in one sentence on stderr, and return its exit code."""
    if isinstance(error, click.exceptions.Abort):
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _print_text(error.format_message(), sys.stderr)
        return 2
    if isinstance(error, click.ClickException):
        sentence, code = error.format_message(), 2
    elif isinstance(error, TrackkitError):
        sentence, code = str(error), error.exit_code
    else:
        sentence, code = f"trackkit stumbled: {type(error).__name__}: {error} (--debug shows where)", 1
    _print_notice(f"Error: {sentence}")
    return code


def _store_of(arguments: list[str]) -> str | None:
    """Find the value of `--store` in arguments that may be wrong otherwise, else the store of the project."""
    from trackkit.project_options import setting

    padded = [*arguments, ""]
    return next((padded[index + 1] for index, word in enumerate(arguments) if word == "--store"), setting("store"))


def _cause_of(error: Exception, store: str | None) -> Exception:
    """Return the cause in our own words: a refusal of the system or a damaged file of the store, else the error."""
    if isinstance(error, TrackkitError | click.ClickException | click.exceptions.Abort):
        return error
    from deltalake.exceptions import DeltaError
    from polars.exceptions import PolarsError

    refused = refused_by_system(error)
    if store is not None and isinstance(error, PolarsError | DeltaError | FileNotFoundError):
        from trackkit.store import open_store

        with suppress(RequestError):
            try:
                open_store(store).verify()
            except DataError as damage:
                return damage
    return refused or error


def _flush() -> int:
    """Flush stdout, and return the exit code."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            return _report_error(refused_by_system(error) or error)
    return 0


_MULTI_VALUE = {"--delivery": "--delivery", "--scope": "--scope", "--join": "--join", "-p": "-p", "--parameter": "-p"}
_COMMANDS_WITH_ARGUMENT = ("render", "preview")


def _arguments(given: list[str]) -> list[str]:
    """Return arguments for click: --project and --verbose first, and one value for each option.

    >>> _arguments(["run", "--project", "mine", "--delivery", "1", "2"])
    ['--project', 'mine', 'run', '--delivery', '1', '--delivery', '2']
    """
    first, rest, words = [], [], iter(given)
    for word in words:
        if word == "--project":
            first += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word in ("--verbose", "--debug") or word.startswith("--project="):
            first.append(word)
        else:
            rest.append(word)
    return [*first, *_repeat_options(rest)]


def _repeat_options(arguments: list[str]) -> list[str]:
    """Let one option take several values: `--delivery 1 2` becomes `--delivery 1 --delivery 2`.

    >>> _repeat_options(["measure", "--delivery", "1", "2", "--store", "s"])
    ['measure', '--delivery', '1', '--delivery', '2', '--store', 's']
    """
    expanded: list[str] = []
    option, value_count = None, 0
    takes_report = bool(arguments) and arguments[0] in _COMMANDS_WITH_ARGUMENT
    for index, word in enumerate(arguments):
        if word.startswith("-") and len(word) > 1:
            option, value_count = _MULTI_VALUE.get(word), 0
        elif option is not None:
            report_follows = takes_report and index > 1 and arguments[1].startswith("-")
            if value_count and not report_follows:
                expanded.append(option)
            value_count += 1
        expanded.append(word)
    return expanded


def _list(words: str | None) -> list[str] | None:
    """Split at commas.

    >>> _list("a, b"), _list(""), _list(None)
    (['a', 'b'], [], None)
    """
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]


def _parameters(texts: tuple[str, ...], what: str = "A parameter", form: str = "name=value") -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise RequestError(f"{what} is given as {form}, not {text!r}.")
    return dict(text.split("=", 1) for text in texts)


def _say_no_assets(value: str | None) -> None:
    if value:
        click.echo(
            "--assets does nothing any more: pages hold their charts as pictures, drawn without a script.", err=True
        )


def _print_text(text: object, file: IO[str] | None = None) -> None:
    """Print text line by line; names from the data can neither break a line nor control the terminal."""
    print("\n".join(one_line(line) for line in str(text).split("\n")), file=file or sys.stdout)


def _print_now(text: object) -> None:
    """Print text at once, though stdout may be a pipe."""
    _print_text(text)
    sys.stdout.flush()


def _print_notice(sentence: str) -> None:
    """Print one sentence on stderr."""
    print(one_line(sentence), file=sys.stderr)


def _print_json(value: Any) -> None:
    print(in_json(json.dumps(value, ensure_ascii=False, indent=2, default=str)))


def _print_records(records: list[dict[str, Any]]) -> None:
    import polars as pl

    _print_frame(pl.DataFrame(records, infer_schema_length=None), "table")


def _print_frame(frame: Any, output: str, about: Callable[[], dict[str, str]] = dict) -> None:
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


@contextmanager
def _progress(title: str) -> Iterator[Any]:
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
