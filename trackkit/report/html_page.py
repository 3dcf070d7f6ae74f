"""An executed report notebook and its template -> one self-contained HTML page that loads nothing and trusts no text.

Charts are pictures, drawn beforehand; figures travel as escaped JSON. The page runs only our few lines that show tips
and write downloads: its content-security policy allows them by hash, so that no script of a hostile log can run.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError
from markupsafe import Markup
from nbconvert.exporters import TemplateExporter
from nbformat import NotebookNode

from trackkit import __version__, resources
from trackkit.errors import ReportError
from trackkit.language import SOURCE, said, say, speech, tag, translatable
from trackkit.report import notebook
from trackkit.report.conditions import conditions
from trackkit.report.header import MIME as HEADER
from trackkit.report.header import Header
from trackkit.report.page_tables import is_table, on_page
from trackkit.report.picture import drawings
from trackkit.report.prose import paragraphs
from trackkit.report.template import SKIN, Section, Template
from trackkit.show import definitions
from trackkit.show.charts import behind
from trackkit.show.charts.canvas import MIME as CHART
from trackkit.show.data import MIME as DATA
from trackkit.show.findings.finding import MIME as FINDING
from trackkit.show.logo import logo
from trackkit.show.tables.message import ON_PAGE
from trackkit.show.theme import Theme, page_style, theme
from trackkit.show.wording import NOT_AVAILABLE, instant, number, percent, plain, round_percent

INDEX = "index.html.j2"
Contents = Mapping[str, Any]  # of a page, as `contents` returns them
SCRIPTS = {
    "charts.js": "pictures",
    "download.js": "data",
    "tables.js": "is_table",
    "hotclicks.js": "is_marked",
}  # each for pages with a piece that has this
HEADLINE = "headline"  # the section of the large figures
MOST_ROWS = 200  # of the table behind a chart
_D3_FORMAT = re.compile(r",?\.(?P<decimals>\d)(?P<kind>[f%])")
_NO_ROW = re.compile(r'<tbody class="gt_table_body">\s*</tbody>')
VERDICTS = translatable({"pass": "pass", "warn": "warning", "fail": "failure"})
INTERVALS = translatable(
    "In brackets: between what the rate of recipients such as these lies, with {level} confidence. "
    "The counts are exact: the brackets allow for chance, not for machines or for events still to come."
)
# For scripts.
WORDS = translatable(
    {"filter": "Filter these rows", "found": "{found} of {all}", "rows": "{all} rows, more by scrolling"}
)


@dataclass(frozen=True)
class PageFacts:
    """What a page says about how it was made."""

    report: str
    parameters: Mapping[str, Any]
    timezone: str
    lang: str = "en"


def export(executed: NotebookNode, template: Template, facts: PageFacts) -> str:
    """Return the page of an executed notebook: sections in the template's order, in its words.

    Raises ReportError when the page's own template (`index.html.j2`) is wrong.
    """
    return written(contents(executed, template, facts))


def written(page: Contents) -> str:
    """Return the page with these `contents`; ReportError as `export`."""
    environment = _environment(tuple(resources.folders(SKIN)), resources.find(f"{SKIN}/{INDEX}"), page["locale"])
    try:
        return environment.get_template(INDEX).render(resources={"page": page})
    except TemplateError as error:
        where = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
        raise ReportError(f"{SKIN}/{INDEX}{where}: {error}.") from None


def skin_environment() -> Environment:
    """Return the environment in which the page's templates are compiled."""
    return _environment(tuple(resources.folders(SKIN)), resources.find(f"{SKIN}/{INDEX}"), SOURCE)


@lru_cache(maxsize=16)
def _environment(folders: tuple[Path, ...], index: Path, lang: str) -> Environment:
    """The environment in which templates are compiled, cached for many pages; another `index` makes a new one."""
    exporting: Callable[..., TemplateExporter] = TemplateExporter  # which has no types
    exporter = exporting(template_paths=[str(folder) for folder in folders], file_extension=".html")
    environment: Environment = exporter.environment
    environment.autoescape = True  # every value is escaped unless it is marked safe
    environment.undefined = StrictUndefined
    environment.filters["script_json"] = script_json
    environment.globals |= speech(lang)
    return environment


def script_json(value: Any) -> Markup:
    r"""Return JSON that cannot end the script element it stands in, nor open a comment there.

    >>> script_json("</script>")
    Markup('"\\u003c/script\\u003e"')
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def contents(executed: NotebookNode, template: Template, facts: PageFacts) -> dict[str, Any]:
    """Return everything that the template of the page, or another format, may show; plain data only."""
    colours = theme()
    header = _header(executed)
    sections = _sections(template, executed, colours, facts.lang, header["figures"])
    lead = _lead(sections, header["heading"] == template.title)
    pieces = [piece for section in sections for piece in section["pieces"]]
    every = [*pieces, *_folded(pieces)]
    used = definitions.used_in("".join(str(piece.get("html", "")) for piece in every))
    scripts = _scripts(every, explains=bool(used))
    return {
        "lang": tag(facts.lang),
        "logo": logo(colours),
        "title": template.title,
        "glossary": definitions.entries(used, facts.lang),
        "verdicts": said(VERDICTS, facts.lang),
        "words": said(WORDS, facts.lang),
        "text": paragraphs(template.text),
        "intervals": _of_intervals(template, every, facts.lang),
        "header": header,
        "lead": lead,
        "sections": sections,
        "style": Markup(page_style(colours)),
        "scripts": [Markup(script) for script in scripts],
        "policy": policy(scripts),
        "provenance": {},
        "short": {},
        "made": {},
        "counted": [],
        **_made(facts, datetime.now(UTC)),
    }


def _scripts(pieces: list[dict[str, Any]], explains: bool) -> list[str]:
    """The scripts that pieces of a page need, and that of the marks which explain figures."""
    needed = [name for name, part in SCRIPTS.items() if any(piece.get(part) for piece in pieces)]
    needed += ["definitions.js"] if explains else []
    return [resources.find(f"{SKIN}/{name}").read_text("utf-8") for name in needed]


def _of_intervals(template: Template, pieces: list[dict[str, Any]], lang: str) -> str:
    """What the intervals of a page mean, if it shows any."""
    if not template.interval or not any('class="tk-range"' in str(piece.get("html", "")) for piece in pieces):
        return ""
    return say(INTERVALS, lang, level=round_percent(template.interval, lang))


def _made(facts: PageFacts, now: datetime) -> dict[str, Any]:
    return {
        "report": facts.report,
        "delivery": plain(facts.parameters.get("delivery") or ""),
        "scope": plain(facts.parameters.get("scope") or ""),
        "version": __version__,
        "timezone": facts.timezone,
        "locale": facts.lang,
        "calculated_at": now,
        "calculated": instant(now, facts.timezone, seconds=True, lang=facts.lang),
        "parameters": {name: plain(value) for name, value in facts.parameters.items()},
    }


def _folded(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [piece["table"] for piece in pieces if piece.get("table")]


def _header(executed: NotebookNode) -> dict[str, Any]:
    for cell in notebook.code_cells(executed):
        for data in _shown(cell):
            if HEADER in data:
                return dict(data[HEADER])
    return asdict(Header(""))


def _lead(sections: list[dict[str, Any]], is_titled: bool) -> str:
    """Take the finding beside the large figures, and else, of a report headed by its own name, the first one.

    It stands below the heading, and once: its card has the one that follows.
    """
    leading = [section for section in sections if section["findings"]]
    chosen = [section for section in leading if section["name"] == HEADLINE] or (leading[:1] if is_titled else [])
    lead = str(chosen[0]["findings"].pop(0)) if chosen else ""
    for section in sections:
        section["finding"] = next(iter(section.pop("findings")), "")
    return lead


def _sections(
    template: Template, executed: NotebookNode, colours: Theme, lang: str, figures: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    """The sections in the template's order, without those in which the notebook shows nothing.

    `figures` are those that conditions of paragraphs ask about.
    """
    every = [
        _section(section, executed, colours, place, lang) | {"notes": _notes(section, figures)}
        for place, section in enumerate(template.section, 1)
    ]
    return [section for section in every if section["pieces"] or section["findings"]]


def _notes(section: Section, figures: Mapping[str, float | None]) -> list[str]:
    """The paragraphs whose conditions hold."""
    kept = [note for note in section.note if all(each.holds(figures) for each in conditions(note.when))]
    return [paragraph for note in kept for paragraph in paragraphs(note.text)]


def _section(section: Section, executed: NotebookNode, colours: Theme, place: int, lang: str) -> dict[str, Any]:
    cells = [cell for cell in notebook.code_cells(executed) if notebook.section_of(cell) == section.name]
    half = section.width == "half"
    outputs = [data for cell in cells for data in _shown(cell)]
    findings = [plain(data[FINDING]["text"]) for data in outputs if FINDING in data]
    drawn = [
        _piece(data, colours, half, f"s{place}-{nth}", section.title, lang)
        for nth, data in enumerate(outputs, 1)
        if FINDING not in data
    ]
    pieces = [piece for piece in drawn if piece]
    kinds = section.show or ["chart", "table"]
    shown = [piece for kind in kinds for piece in pieces if piece["kind"] == kind] if section.show else _fold(pieces)
    return {
        "name": section.name,
        "title": section.title,
        "findings": findings if section.finding else [],
        "text": paragraphs(section.text),
        "width": section.width,
        "folded": section.folded,
        "pieces": shown,
    }


def _fold(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put the table that follows a chart behind it, so that the same figures stand on a page once."""
    shown: list[dict[str, Any]] = []
    for piece in pieces:
        before = shown[-1] if shown else {}
        if piece.get("is_table") and before.get("kind") == "chart" and not before["empty"] and not before["table"]:
            before["table"] = piece
        else:
            shown.append(piece)
    return shown


def _shown(cell: NotebookNode) -> list[dict[str, Any]]:
    """The displayed outputs of a cell; what it printed or warned of is left out, and a None that was displayed."""
    outputs = [output.data for output in cell.outputs if output.output_type in ("display_data", "execute_result")]
    return [data for data in outputs if data != {"text/plain": "None"}]


def _piece(
    data: Mapping[str, Any], colours: Theme, half: bool, name: str, title: str, lang: str
) -> dict[str, Any] | None:
    common = {"id": name, "data": data.get(DATA), "table": None, "is_table": False}
    if CHART in data:
        return common | _chart(data[CHART], colours, half, name, lang)
    if ON_PAGE in data:  # a message, whose badges and links show each other
        return common | {"kind": "table", "html": Markup(data[ON_PAGE]), "empty": False, "is_marked": True}
    if "text/html" in data:
        html = data["text/html"]
        shown = {"html": on_page(html, title, data.get(DATA)), "is_table": is_table(html)}
        return common | {"kind": "table", "empty": bool(_NO_ROW.search(html))} | shown
    text = {"kind": "table", "empty": False, "text": plain(data.get("text/plain", ""))}
    return common | text if HEADER not in data else None


def _chart(spec: Mapping[str, Any], colours: Theme, half: bool, name: str, lang: str) -> dict[str, Any]:
    """A chart as pictures, one or two for different widths, and the table behind it."""
    unit = behind.told(spec)
    rows = behind.rows(spec, unit)
    description = plain(spec.get("description") or say("Chart", lang))
    pictures: list[str] = []
    with suppress(ReportError):  # the table is shown instead
        pictures = drawings({**spec, "description": description}, colours, lang, half, name) if rows else []
    return {
        "kind": "chart",
        "spec": spec,
        "pictures": [Markup(picture) for picture in pictures],
        "empty": not rows,
        "description": description,
        **_table_behind(unit, rows, lang),
    }


def _table_behind(unit: Mapping[str, Any], rows: list[dict[str, Any]], lang: str) -> dict[str, Any]:
    """The figures of a chart as a table: the fields of its tooltip, for those who cannot see or hover it."""
    fields = behind.fields(unit)
    return {
        "columns": [behind.title(field) for field in fields],
        "rows": [[_cell(row, field, lang) for field in fields] for row in rows[:MOST_ROWS]],
        "left_out": max(0, len(rows) - MOST_ROWS),
    }


def _cell(row: Mapping[str, Any], field: Mapping[str, Any], lang: str) -> str:
    """Format a value of a chart as the words at its marks do, in the language's number format."""
    value, name = row.get(field["field"]), field["field"].removesuffix(behind.SHOWN)
    if value is None:
        return say(NOT_AVAILABLE, lang)
    if not isinstance(value, int | float) or "format" not in field:
        return plain(value)
    if name + behind.DECIMALS in row:
        return percent(row[name], row[name + behind.DECIMALS], lang)
    number_format = _D3_FORMAT.fullmatch(field["format"])
    if number_format is None:
        return format(value, field["format"])
    return (percent if number_format["kind"] == "%" else number)(value, int(number_format["decimals"]), lang)


def policy(scripts: list[str]) -> str:
    """Return the content-security policy of a page that runs only these scripts, and loads nothing."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
