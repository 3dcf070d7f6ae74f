"""A rendered page in other formats, beside it and of the same stem: all made from the one executed notebook.

`browser` prints the page (pdf). `sheets` turns the data of its tables and charts into frames: a workbook (xlsx, ods),
comma-separated files (csv, zipped) or one tidy table (parquet). `mail` writes it as an unsent e-mail (eml).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trackkit import resources
from trackkit.errors import RequestError, did_you_mean

HTML = "html"
# What follows the stem of the page, by format.
ENDINGS: Mapping[str, str] = {
    HTML: ".html",
    "pdf": ".pdf",
    "xlsx": ".xlsx",
    "ods": ".ods",
    "csv": ".csv.zip",
    "parquet": ".parquet",
    "eml": ".eml",
}
PROVENANCE = ".provenance.json"  # beside every page: no format of it, but it goes with it
_OTHERS = "|".join(re.escape(ending) for ending in (*ENDINGS.values(), PROVENANCE) if ending != ENDINGS[HTML])
_NAMED = re.compile(rf"(\w+-.+-[0-9a-f]{{8}})(?:{_OTHERS})")  # as `report_path` names pages
Contents = Mapping[str, Any]  # of `html_page.contents`


def require_formats(formats: str | Iterable[str] = HTML, printing: bool = True) -> tuple[str, ...]:
    """Return the names of formats, each once, html first; text is split at commas.

    Raises RequestError for an unknown name, and for pdf where there is no browser to print with, unless `printing` is
    false: the pages are printed elsewhere.

    >>> require_formats("xlsx, html,xlsx")
    ('html', 'xlsx')
    """
    names = formats.split(",") if isinstance(formats, str) else formats
    chosen = dict.fromkeys([HTML, *filter(None, (str(name).strip().lower() for name in names))])
    for name in chosen:
        if name not in ENDINGS:
            raise RequestError(f"There is no format {name!r}.{did_you_mean(name, ENDINGS)}")
    if printing and "pdf" in chosen:
        from trackkit.report.formats.browser import require_browser

        require_browser()
    return tuple(chosen)


def beside(page: Path, name: str) -> Path:
    """Return the path of a page in a format.

    >>> beside(Path("out/bounces-7-1.html"), "csv").name
    'bounces-7-1.csv.zip'
    """
    return page.with_name(page.name.removesuffix(ENDINGS[HTML]) + ENDINGS[name])


def provenance_beside(page: Path) -> Path:
    """Return where the provenance of a page stands.

    >>> provenance_beside(Path("out/bounces-7-1.html")).name
    'bounces-7-1.provenance.json'
    """
    return page.with_name(page.name.removesuffix(ENDINGS[HTML]) + PROVENANCE)


def others(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield every file in a folder that goes with a page (another format, its provenance), with that page.

    The page may be gone.
    """
    for path in sorted(folder.iterdir()):
        if match := _NAMED.fullmatch(path.name):
            yield path, path.with_name(match[1] + ENDINGS[HTML])


def write(contents: Contents, html: str, page: Path, formats: Iterable[str]) -> None:
    """Write a page and its other formats, each whole, the page last: what fails leaves the files as they were.

    Files of other formats that an earlier rendering left are removed: they would show other figures than the page.
    """
    made = {name: _WRITERS[name](contents, html) for name in formats if name != HTML}
    for name in ENDINGS:
        if name in made:
            resources.write_whole(beside(page, name), made[name])
        elif name != HTML:
            beside(page, name).unlink(missing_ok=True)
    traced = provenance_beside(page)
    if provenance := contents.get("provenance"):
        resources.write_whole(traced, json.dumps(provenance, ensure_ascii=False, indent=1) + "\n")
    else:
        traced.unlink(missing_ok=True)
    resources.write_whole(page, html)


def _pdf(contents: Contents, html: str) -> bytes:
    from trackkit.report.formats.browser import printed

    return printed(html)


def _xlsx(contents: Contents, html: str) -> bytes:
    from trackkit.report.formats.sheets import xlsx

    return xlsx(contents)


def _ods(contents: Contents, html: str) -> bytes:
    from trackkit.report.formats.sheets import ods

    return ods(contents)


def _csv(contents: Contents, html: str) -> bytes:
    from trackkit.report.formats.sheets import csv_zip

    return csv_zip(contents)


def _parquet(contents: Contents, html: str) -> bytes:
    from trackkit.report.formats.sheets import parquet

    return parquet(contents)


def _eml(contents: Contents, html: str) -> bytes:
    from trackkit.report.formats.mail import eml

    return eml(contents)


_WRITERS: Mapping[str, Callable[[Contents, str], bytes]] = {
    "pdf": _pdf,
    "xlsx": _xlsx,
    "ods": _ods,
    "csv": _csv,
    "parquet": _parquet,
    "eml": _eml,
}
