"""An executed report notebook and its template -> one self-contained HTML page that loads nothing and trusts no text.

The page runs two scripts, Vega and our few lines that draw with it. Its content-security policy allows them by hash, so
that no script of a hostile log can run. Charts travel as escaped JSON.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from trackkit.language import SOURCE, say, speech, tag
from trackkit.report import notebook
from trackkit.report.page import MIME as HEADER
from trackkit.report.template import SKIN, Section, Template
from trackkit.report.vega import file_name, vega
from trackkit.show.charts.canvas import MIME as CHART
from trackkit.show.charts.canvas import WIDTH
from trackkit.show.data import MIME as DATA
from trackkit.show.theme import Theme, by_variable, page_style, theme
from trackkit.show.wording import NOT_AVAILABLE, chart_locale, instant, number, percent, plain

INDEX = "index.html.j2"
Contents = Mapping[str, Any]  # of a page, as `contents` returns them
ASSETS = "assets"  # the folder beside the pages
MOST_ROWS = 500  # of the table behind a chart
_D3_FORMAT = re.compile(r",?\.(?P<decimals>\d)(?P<kind>[f%])")
_STYLE_ELEMENT = re.compile(r"<style>.*?</style>", re.DOTALL)
# Keys whose text may come from a log, even if it looks like a colour.
_TEXT_KEYS = ("domain", "sort", "title", "text", "description")
_NO_ROW = re.compile(r'<tbody class="gt_table_body">\s*</tbody>')
_OUR_TABLE = re.compile(r'\s*<div (?:id="tk-[0-9a-f]{10}"|class="tk-block")')


@dataclass(frozen=True)
class PageFacts:
    """What a page says about how it was made."""

    report: str
    parameters: Mapping[str, Any]
    timezone: str
    lang: str = "en"
    shared: bool = False  # whether Vega stands once beside the pages


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
    colours, now = theme(), datetime.now(UTC)
    sections = [
        _section(section, executed, colours, place, facts.lang) for place, section in enumerate(template.section, 1)
    ]
    drawn = any(piece["kind"] == "chart" for section in sections for piece in section["pieces"])
    drawing = resources.find(f"{SKIN}/draw.js").read_text("utf-8")
    scripts = [*([] if facts.shared else [vega()]), drawing] if drawn else []
    shared = f"{ASSETS}/{file_name()}" if drawn and facts.shared else ""
    return {
        "lang": tag(facts.lang),
        "title": template.title,
        "text": _paragraphs(template.text),
        "header": _header(executed),
        "sections": sections,
        "style": Markup(page_style(colours)),
        "scripts": [Markup(script) for script in scripts],
        "shared": shared,
        "policy": _policy(scripts, shared),
        "report": facts.report,
        "delivery": plain(facts.parameters.get("delivery") or ""),
        "version": __version__,
        "timezone": facts.timezone,
        "locale": facts.lang,
        "calculated_at": now,
        "calculated": instant(now, facts.timezone, seconds=True, lang=facts.lang),
        "parameters": {name: plain(value) for name, value in facts.parameters.items()},
    }


def _header(executed: NotebookNode) -> dict[str, Any]:
    for cell in notebook.code_cells(executed):
        for data in _shown(cell):
            if HEADER in data:
                return dict(data[HEADER])
    return {"heading": "", "subtitle": "", "facts": [], "notes": [], "remarks": [], "data_through": "", "loads": []}


def _section(section: Section, executed: NotebookNode, colours: Theme, place: int, lang: str) -> dict[str, Any]:
    cells = [cell for cell in notebook.code_cells(executed) if notebook.section_of(cell) == section.name]
    pieces = [piece for cell in cells for data in _shown(cell) if (piece := _piece(data, colours, lang))]
    for index, piece in enumerate(pieces, 1):
        piece["id"] = f"s{place}-{index}"
    kinds = section.show or ["chart", "table"]
    shown = [piece for kind in kinds for piece in pieces if piece["kind"] == kind] if section.show else pieces
    return {
        "name": section.name,
        "title": section.title,
        "finding": "",
        "text": _paragraphs(section.text),
        "width": section.width,
        "pieces": shown,
    }


def _shown(cell: NotebookNode) -> list[dict[str, Any]]:
    """The displayed outputs of a cell; what it printed or warned of is left out."""
    return [output.data for output in cell.outputs if output.output_type in ("display_data", "execute_result")]


def _piece(data: Mapping[str, Any], colours: Theme, lang: str) -> dict[str, Any] | None:
    if CHART in data:
        return _chart(json.loads(json.dumps(data[CHART])), colours, lang) | {"data": data.get(DATA)}
    if "text/html" in data:
        html = _without_own_style(data["text/html"])
        return {"kind": "table", "html": Markup(html), "empty": bool(_NO_ROW.search(html)), "data": data.get(DATA)}
    text = plain(data.get("text/plain", ""))
    return None if HEADER in data else {"kind": "table", "empty": False, "text": text, "data": None}


def _without_own_style(html: str) -> str:
    """Remove the style of our own tables, which take the page's; any other table keeps its style."""
    return _STYLE_ELEMENT.sub("", html, count=1) if _OUR_TABLE.match(html) else html


def _chart(spec: dict[str, Any], colours: Theme, lang: str) -> dict[str, Any]:
    """A chart whose colours follow the light or dark scheme, and the table behind it."""
    spec.pop("$schema", None)
    if lang != SOURCE:
        # Axes speak only English to screen readers; the description and the table behind are translated.
        no_aria = {part: spec.get("config", {}).get(part, {}) | {"aria": False} for part in ("axis", "legend")}
        spec["config"] = spec.get("config", {}) | {"locale": chart_locale(lang)} | no_aria
    rows = [row for data in (spec.get("datasets") or {}).values() for row in data]
    config = {key: value for key, value in spec.items() if key not in ("datasets", "data")}
    wide = {"width": "container"} if spec.get("width") == WIDTH else {}
    drawn = _recoloured(config, by_variable(colours)) | {key: spec[key] for key in ("datasets", "data") if key in spec}
    return {
        "kind": "chart",
        "spec": drawn | {"background": "transparent"} | wide,
        "empty": not rows,
        "description": plain(spec.get("description") or say("Chart", lang)),
        **_table_behind(spec, rows, lang),
    }


def _recoloured(part: Any, names: Mapping[str, str]) -> Any:
    if isinstance(part, dict):
        return {key: value if _is_name(key, value) else _recoloured(value, names) for key, value in part.items()}
    if isinstance(part, list):
        return [_recoloured(value, names) for value in part]
    return names.get(part.lower(), part) if isinstance(part, str) else part


def _is_name(key: str, value: Any) -> bool:
    return key in _TEXT_KEYS and not isinstance(value, dict)


def _table_behind(spec: Mapping[str, Any], rows: list[dict[str, Any]], lang: str) -> dict[str, Any]:
    """The figures of a chart as a table: the fields of its tooltip, for those who cannot see or hover it."""
    encoding: dict[str, Any] = next(
        (layer["encoding"] for layer in [spec, *spec.get("layer", [])] if "tooltip" in layer.get("encoding", {})), {}
    )
    fields = [field for field in encoding.get("tooltip", []) if "field" in field]
    return {
        "columns": [field.get("title") or field["field"] for field in fields],
        "rows": [[_cell(row.get(field["field"]), field, lang) for field in fields] for row in rows[:MOST_ROWS]],
        "left_out": max(0, len(rows) - MOST_ROWS),
    }


def _cell(value: Any, field: Mapping[str, Any], lang: str) -> str:
    """Format a value of a chart as its tooltip does, in the language's number format."""
    if value is None:
        return say(NOT_AVAILABLE, lang)
    if not isinstance(value, int | float) or "format" not in field:
        return plain(value)
    number_format = _D3_FORMAT.fullmatch(field["format"])
    if number_format is None:
        return format(value, field["format"])
    return (percent if number_format["kind"] == "%" else number)(value, int(number_format["decimals"]), lang)


def _paragraphs(text: str) -> list[str]:
    return [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]


def _policy(scripts: list[str], shared: str) -> str:
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    # A file beside the page cannot be allowed by hash: browsers check no hashes for pages opened from a disk.
    allowed = " ".join([*(["'self'"] if shared else []), *(f"'sha256-{digest}'" for digest in hashes)]) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
