"""What the fork server does before it forks: imports, and first uses that no child then needs to repeat.

polars is imported and asked nothing: its threads would start, and a child that has none of them would wait for ever.
"""

import threading
from contextlib import suppress
from datetime import date
from importlib import import_module
from typing import Any

import trackkit
from trackkit.report.vega import made_meanwhile

REPORT = "tracking_indicators"
NAMES = (
    "altair", "papermill", "nbconvert", "babel.numbers", "lxml.etree", "nh3", "tinycss2", "deltalake",
    "narwhals._interchange.dataframe", "narwhals._polars.dataframe", "trackkit.store", "trackkit.report",
    "trackkit.report.execute", "trackkit.report.html_page", "trackkit.report.shell", "trackkit.report.workers",
)  # fmt: skip


def preload() -> None:
    """Import and use once; RuntimeError if a thread of Python was started, which no child would have."""
    with made_meanwhile():  # which takes as long as to import
        for name in NAMES:
            with suppress(ModuleNotFoundError):  # not all are public: another version has other ones
                import_module(name)
        for name in trackkit.__all__:
            getattr(trackkit, name)
    _use_once()
    if threading.active_count() > 1:
        raise RuntimeError("the fork server of reports has threads, which its children would wait for")


def _use_once() -> None:
    """Fill the caches of libraries, with a small page in every language; no frame is asked anything here."""
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    from trackkit.analysis.domains import class_of, domain_list
    from trackkit.language import languages
    from trackkit.report.html_page import Made, export
    from trackkit.report.shell import shell
    from trackkit.report.template import template

    class_of("a.example", domain_list().by_domain)
    shell().run_cell("None", silent=True)
    written = shell().display_formatter.format
    for lang in languages():
        words = template(REPORT, lang)
        cell = new_code_cell("", metadata={"tags": [f"section:{words.names[0]}"]})
        cell.outputs = [new_output("display_data", written(shown)[0]) for shown in (_chart(lang), _header(lang))]
        export(new_notebook(cells=[cell]), words, Made(REPORT, {}, "UTC", lang))


def _chart(lang: str) -> Any:
    """A chart of plain rows, drawn by altair itself: the package's own charts ask a frame."""
    import altair as alt

    from trackkit.show.charts.canvas import WHOLE, WHOLE_ONLY, series_names

    rows = alt.InlineData([{"name": "Opens", "count": 1}])
    whole = alt.Axis(format=WHOLE, tickMinStep=1, tickCount=5, labelExpr=WHOLE_ONLY)
    legend = alt.Legend(symbolOpacity=1)
    colour = alt.Color("name:N", scale=alt.Scale(domain=list(series_names(None, lang).values())), legend=legend)
    bars = alt.Chart(rows, description="-").encode(
        x=alt.X("count:Q", axis=whole), color=colour, tooltip=[alt.Tooltip("name:N", title="-")]
    )
    return alt.layer(bars.mark_bar(), bars.mark_text(), description="-")


def _header(lang: str) -> Any:
    """The head of a page, with a number, a share and an instant in it."""
    from trackkit.report.page import Header
    from trackkit.show.wording import instant, number, percent

    shown = (number(1.5, 1, lang), percent(0.5, lang=lang), instant(date(2026, 1, 31), lang=lang, weekday=True))
    return Header("-", facts=[("-", text) for text in shown])
