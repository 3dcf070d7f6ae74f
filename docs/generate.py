"""Gathers the pages of the site: those of this folder, and those that repeat what the code says.

`python docs/generate.py OUT` writes Markdown into a folder. Quick starts run their own commands on `samples/` and show
what came out.
"""

import contextlib
import inspect
import io
import json
import re
import shlex
import shutil
import sys
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import trackkit as tk
from trackkit.cli import app
from trackkit.report import REPORTS
from trackkit.sources import formats

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SAMPLES = HERE / "samples"
FIGURES = "delivered,hard_bounces,unique_opens,unique_clicks,open_rate,recipient_click_rate"
# Where a sample names its delivery in a place of the account's own, as a tag.
DELIVERY_FIELD = {
    "amazon_ses": "mail.tags.campaign[0]",
    "brevo": "tags[0]",
    "mailersend": "data.email.tags[0]",
    "mandrill": "msg.tags[0]",
    "unisender_go": "metadata.campaign",
    "sparkpost_access_log": "=spring news",
    "mautic_access_log": "=spring news",
}
DATABASES = {
    "listmonk": "postgresql://reader@db.example/listmonk",
    "mautic": "mysql://db.example/mautic?read_default_file=~/.my.cnf",
}


def ran(command: str, folder: Path) -> str:
    """Run a command line of trackkit in a folder, and return what it prints."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        app(shlex.split(command)[1:], standalone_mode=False)
    printed.flush()
    return printed.buffer.getvalue().decode().rstrip()


def block(language: str, text: str) -> str:
    """Return text as a block of code, however many back-ticks it has.

    >>> block("sh", "make test")
    '```sh\\nmake test\\n```'
    """
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def quick_starts() -> Iterator[tuple[str, str]]:
    """Yield (path, text) of a page for each format, and of their list."""
    listed = ["# Which sender is it?\n\nFive minutes from its logs to the first report.\n"]
    for name, known in formats().items():
        if (SAMPLES / name).is_dir():
            page = _quick_start(name, known.what, known.recognised)
        elif name in DATABASES:
            page = _database_start(DATABASES[name], known.what, known.recognised)
        else:
            listed.append(f"- {known.what}: the [tutorial](../tutorial.md) begins with it")
            continue
        yield f"start/{name}.md", page
        listed.append(f"- [{known.what}]({name}.md)")
    yield "start/index.md", "\n".join(listed)


def _quick_start(name: str, what: str, recognised: str) -> str:
    field = DELIVERY_FIELD.get(name)
    load = f"trackkit ingest {name} --store store" + (f" --delivery-field '{field}'" if field else "")
    ask = f"trackkit measure --store store --by '' --metrics {FIGURES}"
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(SAMPLES / name, Path(scratch) / name)
        loaded, figures = ran(load, Path(scratch)), ran(f"{ask} --output json", Path(scratch))
    file = min((SAMPLES / name).iterdir())
    parts = [
        f"# {what}",
        f"A file of it is recognised by: {recognised}.",
        "## The data",
        f"Keep what the sender posts or exports in a folder, here `{name}/`. `{file.name}`, invented, begins:",
        block("text", _beginning(file)),
        "## Load it",
        block("sh", load),
        "Every line is accounted for:",
        block("text", loaded),
    ]
    if field:
        parts.append(f"No word of this sender names a delivery: `--delivery-field` says what does, here `{field}`.")
    parts += ["## First figures", block("sh", ask), _as_table(json.loads(figures))]
    parts += [
        "An empty cell is unknown: where a source does not tell what was sent, no rate can be known.",
        "## Reports",
        block("sh", "trackkit run --store store --out reports"),
        "Then open `reports/index.html`. Load again whenever there is more: what was loaded before counts once.",
    ]
    return "\n\n".join(parts)


def _beginning(file: Path, most: int = 700) -> str:
    """The beginning of a sample; records on one line are shown over several."""
    text = file.read_text("utf-8")
    if file.suffix == ".ndjson":
        text = json.dumps(json.loads(text.splitlines()[0]), indent=2, ensure_ascii=False)
    lines = [line if len(line) <= 100 else f"{line[:99]}…" for line in text[:most].splitlines()]
    return "\n".join(lines) + ("\n…" if len(text) > most else "")


def _as_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        list(rows[0]),
        ["---:"] * len(rows[0]),
        *(["" if v is None else f"{v:g}" for v in row.values()] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _database_start(url: str, what: str, recognised: str) -> str:
    commands = f"trackkit ingest '{url}' --store store\ntrackkit run --store store --out reports"
    return "\n\n".join(
        [
            f"# {what}",
            f"It is recognised by: {recognised}.",
            block("sh", commands),
            "The next load reads what is new, and two days before that again for what came late. Leave the password "
            "out of the URL: `~/.pgpass`, `PGPASSWORD` or an option file holds it.",
        ]
    )


def commands() -> str:
    """Return the reference of the command line: what each `--help` says."""
    return "\n\n".join(["# Command line", *_helps("trackkit", app)])


def _helps(name: str, command: click.Command) -> Iterator[str]:
    yield block("text", command.get_help(click.Context(command, info_name=name, max_content_width=100)))
    if isinstance(command, click.Group):
        for each, inner in sorted(command.commands.items()):
            yield f"## {name} {each}"
            yield from _helps(f"{name} {each}", inner)


def reports() -> str:
    """Return the list of reports with their parameters."""
    parts = ["# Reports and their parameters"]
    for name, report in ((name, REPORTS[name]) for name in REPORTS):
        rows = ["| parameter | type | default | |", "|---|---|---|---|"]
        for each in report.parameters:
            default, meaning = json.dumps(each.default, ensure_ascii=False), each.help.replace("|", r"\|")
            rows.append(f"| `{each.name}` | {each.type} | `{default}` | {meaning} |")
        parts += [f"## {report.title}", f"`trackkit render {name}`", "\n".join(rows)]
    return "\n\n".join(parts)


def python() -> str:
    """Return the reference of what `import trackkit` offers, from its docstrings."""
    parts = [
        "# Python",
        "What `import trackkit as tk` offers: functions, and modules of functions on one subject. In examples, `store` "
        "is that of a small demo, and `delivery` one of its deliveries.",
    ]
    modules = []
    for name in sorted(tk.__all__):
        value = getattr(tk, name)
        if inspect.ismodule(value):
            modules.append((name, value))
        elif callable(value):
            parts += _function(f"tk.{name}", value)
    for name, module in modules:
        parts += [f"## tk.{name}", inspect.getdoc(module) or ""]
        offered = [(each, getattr(module, each)) for each in getattr(module, "__all__", ())]
        routines = [(each, value) for each, value in offered if inspect.isroutine(value)]
        parts += [text for each, value in routines for text in _function(f"tk.{name}.{each}", value)]
    return "\n\n".join(parts)


def _function(name: str, function: Any) -> list[str]:
    text, example = inspect.getdoc(function) or "", ""
    if ">>>" in text:
        text, _, example = text.partition(">>>")
    hints = typing.get_type_hints(function)
    taken = ",\n".join(f"    {_plainly(each, hints)}" for each in inspect.signature(function).parameters.values())
    shown = f"{name}(\n{taken},\n)" if taken else f"{name}()"
    parts = [f"### {name}", block("python", shown), text.rstrip()]
    return [*parts, block("pycon", f">>>{example}".rstrip())] if example else parts


def _plainly(parameter: inspect.Parameter, hints: dict[str, Any]) -> str:
    """A parameter with its type, without what the type is annotated with and the modules of names."""
    plain = parameter.replace(annotation=hints.get(parameter.name, parameter.annotation))
    return re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", str(plain))


def taken_over() -> Iterator[tuple[str, str]]:
    """Yield (path, text) of the pages of this folder and of the top of the repository; links that leave the site go."""
    for path in HERE.glob("*.md"):
        yield path.name, re.sub(r"\[([^\]]+)\]\(\.\./(?!reference/)[^)]+\)", r"\1", path.read_text("utf-8"))
    for file, page in (
        ("METRICS.md", "metrics"),
        ("SCHEMA.md", "schema"),
        ("DECISIONS.md", "decisions"),
        ("CHANGELOG.md", "changelog"),
    ):
        text = (ROOT / file).read_text("utf-8")
        yield f"reference/{page}.md", re.sub(r"\[([^\]]+)\]\((?!http|#)[^)]+\)", r"\1", text)


def generate(out: Path) -> None:
    """Write all pages into a folder, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(HERE, out, ignore=shutil.ignore_patterns("*.py", "*.md", "samples", "__pycache__"))
    made = {"reference/commands.md": commands(), "reference/reports.md": reports(), "reference/python.md": python()}
    for path, text in [*made.items(), *quick_starts(), *taken_over()]:
        page = out / path
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text.rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
