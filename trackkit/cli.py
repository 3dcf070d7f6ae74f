"""`trackkit …`: arguments in, exit code out. Nothing is computed here.

What is typed is made ready in `arguments`, what is printed is in `terminal`, and how a command ends in `exit_codes`,
whose `CODES` stand at the foot of every `--help`. Errors are one sentence on stderr; `--debug` adds the traceback.
Progress bars need a terminal.
"""

import gc
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from trackkit import __version__
from trackkit.arguments import assignments, comma_list, for_click, named_deliveries, store_of, subjects
from trackkit.errors import RequestError
from trackkit.exit_codes import CODES, cause_of, exit_if_unread, exit_on_verdict, flush, is_worse, report_error
from trackkit.startup import begin
from trackkit.terminal import (
    page_progress,
    print_frame,
    print_json,
    print_notice,
    print_now,
    print_records,
    print_rows,
    print_text,
    progress_bar,
)

FOLDER = click.Path(path_type=Path)


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
            print_notice(sentence)


@app.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--seed", default=1, show_default=True, help="Same seed, same bytes.")
@click.option("--deliveries", type=click.IntRange(1), help="How many deliveries.")
@click.option("--recipients", type=click.IntRange(1), help="How many recipients.")
def demo(folder: Path, seed: int, deliveries: int | None, recipients: int | None) -> None:
    """Write a synthetic instance folder: raw logs and table exports of an invented sender."""
    from trackkit.demo import write_demo

    sizes = {"deliveries": deliveries, "recipients": recipients}
    print_text(write_demo(folder, seed=seed, **{name: size for name, size in sizes.items() if size is not None}))


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
    with progress_bar("Loading") as progress:
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
    print_json(report.to_dict()) if as_json else print_text(str(report))
    exit_if_unread(report)
    exit_on_verdict(fail_on, report.quality["verdict"], "The data was loaded")


@app.command()
@click.argument("folder", metavar="[DIR]", required=False, type=FOLDER)
@click.option("--only", metavar="a,b", help="Copy only the notebooks and templates of these reports.")
@click.option(
    "--new",
    metavar="NAME=REPORT:SECTION,…",
    help="Make a report of sections of others, as mine=overview:headline,bounces:by_domain.",
)
@click.option("--language", metavar="xx", help="Begin the words of a language, as fr: an empty catalogue.")
@click.option("--upgrade", is_flag=True, help="Bring the copies of an earlier version of trackkit to this one.")
def init(folder: Path | None, only: str | None, new: str | None, language: str | None, upgrade: bool) -> None:
    """Make a folder a project: write trackkit.toml, and copy notebooks and report templates, to be changed.

    Commands find the project from that folder and those below it, or by --project; its files come before the shipped
    ones, file by file. An upgrade replaces what you did not touch, keeps what you changed, and where a file was changed
    on both sides writes the new one beside it, as NAME.new. For --new, --upgrade and --language, DIR is the project
    found.
    """
    from trackkit import copies
    from trackkit.project_options import begin_language, begin_report, found

    if [bool(only), bool(new), bool(language), upgrade].count(True) > 1:
        raise RequestError("--only, --new, --language and --upgrade are four requests: make them one by one.")
    if folder is None and not (language or upgrade or new):
        raise RequestError("Name the folder to be made a project: `trackkit init .` takes this one.")
    if upgrade:
        told = copies.upgrade(folder or found())
        print_text("\n".join(told) or "Nothing to upgrade: the copies are those of this version, or yours alone.")
        return
    if language:
        print_text(begin_language(folder or found(), language))
        return
    if new:
        for path in begin_report(folder or found(), new):
            print_text(path)
        return
    assert folder
    written, kept = copies.copy_out(folder, comma_list(only) or [])
    for path in written:
        print_text(path)
    for sentence in kept:
        print_notice(sentence)


@app.command()
@_json
def formats(as_json: bool) -> None:
    """List the formats that can be read, and how each is recognised."""
    from trackkit.sources import formats as known_formats

    records = [asdict(format_) for format_ in known_formats().values()]
    print_json(records) if as_json else print_records(records)


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

    tables, groups = open_store(store), comma_list(by) or []
    joined = joins.read(assignments(join, "A --join", "key=file"))

    def answer(snapshot: Any) -> tuple[Any, list[str]]:
        options = (named_deliveries(snapshot, delivery, scope), where, timezone, engine, activity)
        frame = measured(snapshot, comma_list(metrics), groups, *options, interval, definitions, joined)
        return frame, not_added(frame, snapshot, groups, *options, join=joined)

    frame, unadded = answered(tables, answer)
    if unadded:
        words = "Amounts of several currencies ({}) are not added: they are unknown. By currency each is told."
        print_notice(words.format(", ".join(unadded)))
    zone = timezone or tables.timezone
    filters = {
        "By": by,
        "Deliveries": ", ".join([*delivery, *scope]),
        "Where": where or "",
        "Time zone": zone,
        "Activity": activity,
    }
    filters |= {} if definitions == "adobe" else {"Definitions": definitions}
    print_frame(frame, output, lambda: {"What": "Indicators", "Store": store, **filters})


@app.command()
@_json
@click.option("--markdown", is_flag=True, help="Print METRICS.md.")
def metrics(as_json: bool, markdown: bool) -> None:
    """List the metrics: name, label, unit, source, formula, definition, reference."""
    from trackkit.show.catalogue import page, records

    if markdown:
        print(page(), end="")
    elif as_json:
        print_json(records())
    else:
        brief = ("name", "label", "unit", "formula", *(["of"] if any(record["of"] for record in records()) else []))
        print_records([{name: record[name] or "trackkit" for name in brief} for record in records()])


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
        print_json([record for name in names for record in columns_of(name)])
    elif table is None:
        print_records([{"table": name, "what is in it": TABLES[name].grain} for name in names])
    else:
        brief = ("column", "type", "unit", "meaning", "personal")
        print_records([{name: record[name] for name in brief} for record in columns_of(names[0])])


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
        frame, brief = words(comma_list(sets)), ["definitions", "word", "label", "metric", "tag", "why"]
    else:
        chosen, asked = comma_list(sets), delivery
        frame = answered(
            open_store(store),
            lambda now: side_by_side(now, asked, chosen, hidden=unseen(now, [asked], ("complaints",))),
        )
        brief = ["question", "sender", "label", "rate", "numerator", "denominator", "metric", "why"]
    print_frame(frame.select(brief) if output == "table" else frame, output, lambda: {"What": "Definition sets"})


@app.command()
@_json
def reports(as_json: bool) -> None:
    """List the standard reports and their parameters."""
    from trackkit.report import REPORTS

    records = [report.to_dict() for report in REPORTS.values()]
    if as_json:
        print_json(records)
    else:
        print_records([{name: record[name] for name in ("name", "title", "scope")} for record in records])


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

    chosen, parameters = require_formats(formats), assignments(parameter)
    parameters |= {} if definitions == "adobe" else {"definitions": definitions}
    parameters |= {} if activity == "all" else {"activity": activity}
    if timezone:
        parameters.setdefault("timezone", timezone)
    asked = [name for name in chosen if name in formats.lower()] or chosen
    for name, over in subjects(store, delivery, scope):
        page = rendered(report, store, out, name, lang, parameters, chosen, over)
        for each in asked:
            print_text(beside(page, each))
    join(store, out)


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
    parameters = assignments(parameter) | ({} if activity == "all" else {"activity": activity})
    previewed(report, store, chosen, port, lang, parameters, print_now, scope)


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
        with page_progress(as_json) as progress:
            options = (since, jobs, lang, progress, scheduler, formats, keep, definitions, timezone, scope)
            return ran(store, out, comma_list(reports), list(delivery) or None, *options, **extent)

    summary = _measured(metrics_file, fail_on, work)
    print_json(summary.to_dict()) if as_json else print_text(str(summary))
    if summary.exit_code:
        raise click.exceptions.Exit(summary.exit_code)
    exit_on_verdict(fail_on, summary.verdict, "The reports were made")


def _measured(metrics_file: Path | None, fail_on: str | None, work: Callable[[], Any]) -> Any:
    """Do the work of a run, and write its metrics however it ends."""
    from trackkit.runs.history import code_of, write_metrics

    if metrics_file is None:
        return work()
    try:
        summary = work()
    except BaseException as error:
        write_metrics(metrics_file, None, code_of(cause_of(error, None) if isinstance(error, Exception) else error))
        raise
    write_metrics(metrics_file, summary, summary.exit_code or (5 if is_worse(fail_on, summary.verdict) else 0))
    return summary


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
        print_notice(f"{rows.height:,} versions {done}, {rows['bytes'].sum():,} bytes.")
    print_frame(rows, output, lambda: {"What": "Earlier versions of pages", "Folder": str(out)})


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
    print_text(str(outcome))
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
    print_frame(checks, output, lambda: about)
    exit_on_verdict(fail_on, verdict(checks), "The checks were made")


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
    print_frame(rows, output, lambda: about)


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
    print_rows(tracking_tab, f"Tracking tab of {subject}, {tab}", filters, tab=tab, **options)


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
    print_rows(tracking_tab, what, {"delivery": delivery_id}, **options)


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
    print_rows(message_tab, what, {"delivery": delivery_id}, **options)


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
    print_json(report.to_dict()) if as_json else print_text(str(report))


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

    for name, value in assignments(settings).items():
        open_store(store).set(name, value)
        print_text(f"{name} is {value}.")


@store.command()
@_store
def mark(store: str) -> None:
    """Mark who was behind the hits of a store loaded before machines were marked: people, proxies, scanners."""
    from trackkit.store import open_store

    with progress_bar("Marking") as progress:
        count = open_store(store).mark(progress)
    print_text(f"{count:,} deliveries had hits to mark.")


@store.command()
@_store
def verify(store: str) -> None:
    """Read every file of a store, and name one that is lost or damaged."""
    from trackkit.store import open_store

    print_text(f"The store is whole: {open_store(store).verify():,} files were read.")


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
        print_notice(str(problem))
    if problems:
        raise click.exceptions.Exit(2)
    for sentence in missing:
        print_notice(sentence)
    print_text("Templates and notebooks are in order.")


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
    arguments = for_click(sys.argv[1:])
    try:
        code = app.main(arguments, prog_name="trackkit", standalone_mode=False)
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code = report_error(cause_of(error, store_of(arguments)))
    except KeyboardInterrupt:
        code = 130
    except SystemExit:  # raised by click when a pipe was closed early: not an error
        code = 0
    flushed = flush()
    code = code or flushed
    gc.freeze()  # a last collection at exit would take as long as a query
    sys.exit(code or 0)


def _say_no_assets(value: str | None) -> None:
    if value:
        click.echo(
            "--assets does nothing any more: pages hold their charts as pictures, drawn without a script.", err=True
        )
