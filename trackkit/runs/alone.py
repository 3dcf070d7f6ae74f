"""A page that is made alone, outside a run: rendered, and joined to those of its folder."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trackkit.report import render as rendered
from trackkit.report.formats import HTML
from trackkit.runs.due import join

__all__ = ["render"]


def render(
    report: str,
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    delivery: str | None = None,
    lang: str = "en",
    parameters: Mapping[str, Any] | None = None,
    formats: str | Sequence[str] = HTML,
    scope: str | None = None,
) -> Path:
    """Render one report into the folder `out` and return the path of its HTML file, which loads nothing.

    Arguments and errors are those of `trackkit.report.render`. The bars of all pages in the folder are brought in step,
    so that each reaches the others; while a run is writing to the folder, the run does so at its end.

    >>> render("overvew", "store", "reports", delivery="7471418")
    Traceback (most recent call last):
    trackkit.errors.RequestError: There is no report 'overvew'. Did you mean 'overview'?
    """
    page = rendered(report, store, out, delivery, lang, parameters, formats, scope)
    join(store, out)
    return page
