"""What the fork server does before it forks: imports, and first calls that fill caches.

polars and vl-convert are imported but never called: they would start threads, which a forked child does not have and
would wait for.
"""

import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from importlib import import_module
from typing import Any

import trackkit
from trackkit import resources
from trackkit.report.template import TEMPLATES

REPORT = "tracking_indicators"
LIBRARIES = ("altair", "papermill", "nbconvert", "babel.numbers", "lxml.etree", "nh3", "tinycss2", "deltalake")
# jsonschema, which altair imports, has this compile grammars for seconds where JupyterLab brought it: no chart needs it
GRAMMARS = "rfc3987_syntax"
PRIVATE = ("narwhals._interchange.dataframe", "narwhals._polars.dataframe")  # other versions may not have them
STATISTICS = "statsmodels.stats.proportion"  # takes seconds to import; only templates with an interval need it
OURS = ("store", "report", "report.execute", "report.html_page", "report.shell", "report.workers")

_INTERVAL = re.compile(r"^interval\s*=", re.MULTILINE)


def preload() -> None:
    """Import and call once; RuntimeError if a Python thread was started, since a child would not have it."""
    sys.modules.setdefault(GRAMMARS, None)  # type: ignore[arg-type]  # not to be imported
    for name in (*LIBRARIES, *PRIVATE, *(f"trackkit.{module}" for module in OURS)):
        with suppress(ModuleNotFoundError):
            import_module(name)
    for name in trackkit.__all__:
        getattr(trackkit, name)
    trackkit.charts.use_everywhere()  # a report's own notebook may draw with altair itself
    if any(_INTERVAL.search(path.read_text("utf-8")) for path in resources.files(TEMPLATES, "*.toml").values()):
        import_module(STATISTICS)
    _use_once()
    if threading.active_count() > 1:
        raise RuntimeError("the fork server of reports has threads, which its children would wait for")


def _use_once() -> None:
    """Fill the caches of libraries with a small page in every language, without any work on a frame."""
    from nbformat import NotebookNode

    from trackkit.analysis.domains import class_of, domain_list
    from trackkit.language import languages
    from trackkit.report.html_page import PageFacts, export
    from trackkit.report.shell import run_once, shell
    from trackkit.report.template import template
    from trackkit.show.charts.canvas import MIME

    class_of("a.example", domain_list().by_domain)
    run_once(shell())
    node: Callable[..., NotebookNode] = NotebookNode
    formatter: Any = shell().display_formatter
    for lang in languages():
        words = template(REPORT, lang)
        bundles = [formatter.format(part)[0] for part in (_chart(lang), _header(lang))]
        del bundles[0][MIME]  # to draw it would start threads
        outputs = [node(output_type="display_data", data=data) for data in bundles]
        metadata = {"tags": [f"section:{words.names[0]}"]}
        cell = node(cell_type="code", source="", metadata=metadata, outputs=outputs)
        export(node(cells=[cell]), words, PageFacts(REPORT, {}, "UTC", lang))


def _chart(lang: str) -> Any:
    """A chart of plain rows, made with altair itself, since the package's charts work on a frame."""
    import altair as alt

    from trackkit.show.charts.canvas import WHOLE, WHOLE_ONLY, Layers, Picture, series_names

    rows = alt.InlineData([{"name": "Opens", "count": 1}])
    count_axis = alt.Axis(format=WHOLE, tickMinStep=1, tickCount=5, labelExpr=WHOLE_ONLY)
    legend = alt.Legend(symbolOpacity=1)
    colour = alt.Color("name:N", scale=alt.Scale(domain=list(series_names(None, lang).values())), legend=legend)
    bars = Picture(rows, description="-").encode(
        x=alt.X("count:Q", axis=count_axis), color=colour, tooltip=[alt.Tooltip("name:N", title="-")]
    )
    return Layers(layer=[bars.mark_bar(), bars.mark_text()], description="-")


def _header(lang: str) -> Any:
    """The header of a page, with a number, a percentage and a date."""
    from trackkit.report.header import Header
    from trackkit.show.wording import instant, number, percent

    values = (number(1.5, 1, lang), percent(0.5, lang=lang), instant(date(2026, 1, 31), lang=lang, weekday=True))
    return Header("-", facts=[("-", text) for text in values])
