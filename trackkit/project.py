"""A project: the folder whose `trackkit.toml` says whose notebooks and templates count, and where things are.

It is the folder that TRACKKIT_PROJECT names (`--project` sets it), else the nearest one from the working folder upwards
that holds a `trackkit.toml`. Outside a project only the shipped files are used: a notebook is a program, and one that
happens to lie in a shared folder is not run.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trackkit.errors import RequestError

if TYPE_CHECKING:
    from trackkit.settings import Settings

FILE, VARIABLE = "trackkit.toml", "TRACKKIT_PROJECT"
OWN = (
    "notebooks/reports/*.ipynb",
    "reports_templates/**/*.*",
    "formats/*.toml",
    "metrics/*.toml",
)  # what a project may have of its own
TEXT = """\
# The project of this folder: trackkit finds it from here and from the folders below, or by `--project FOLDER`.
# Its notebooks and templates come before the shipped ones, file by file. What a command line says wins over this file.
# Take away a # to settle something; paths start at this folder. `trackkit check` names what is wrong.

# store = "store"             # folder or URL of the store
# out = "reports"             # folder of the pages
# timezone = "Europe/Paris"   # of hours, days and instants on pages and in tables; else the store's
# languages = ["en"]          # of the pages of a run; `render` and `preview` take the first
# formats = ["html"]          # also pdf, xlsx, ods, csv, parquet, eml, beside each page
# definitions = "adobe"       # whose definitions: a set of `trackkit definitions`, or a path
# keep = 5                    # versions of a page that a run keeps
# retention = "retention.toml"  # the periods of `trackkit forget --retention`
# templates = "."             # folder of notebooks/, reports_templates/ and formats/
"""


class Project:
    """A folder with a `trackkit.toml`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def file(self) -> Path:
        """Its `trackkit.toml`."""
        return self.folder / FILE

    @property
    def settings(self) -> "Settings":
        """What it settles; RequestError naming file, key and the nearest word."""
        from trackkit.settings import read  # pydantic, which takes 0.2 s, and nothing outside a project needs it

        return read(self.file)

    @property
    def templates(self) -> Path:
        """The folder of its notebooks, templates and maps of formats; RequestError if there is none."""
        folder = self.folder / self.settings.templates
        if not folder.is_dir():
            raise RequestError(f"{self.file}, key 'templates': there is no folder {str(folder)!r}.")
        return folder

    def path(self, place: str) -> str:
        """Return a path of the file, which starts at the project's folder; a URL stays as it is."""
        return place if "://" in place else os.path.relpath(self.folder / place)


def current() -> Project | None:
    """Return the project in which this process works, if any.

    An empty TRACKKIT_PROJECT means none. Raises RequestError for a named folder without a `trackkit.toml`, and for one
    that is found by looking upwards but belongs to another user: whoever may write to a folder above would decide.
    """
    named = os.environ.get(VARIABLE)
    if named is None:
        return _above(Path.cwd())
    return named_project(named) if named else None


def named_project(folder: str | os.PathLike[str]) -> Project:
    """Return the project of a folder, or of the path of its `trackkit.toml`; RequestError if there is none."""
    place = Path(folder).resolve()
    place = place.parent if place.name == FILE and not place.is_dir() else place
    if not (place / FILE).is_file():
        raise RequestError(f"There is no {FILE} in {str(place)!r}: `trackkit init {place}` makes it a project.")
    return Project(place)


def _above(start: Path) -> Project | None:
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            _require_own(folder / FILE)
            return Project(folder)
    return None


def _require_own(path: Path) -> None:
    if hasattr(os, "getuid") and path.stat().st_uid not in (os.getuid(), 0):
        raise RequestError(
            f"{path} belongs to another user: if you trust its notebooks and templates, name it by "
            f"`--project {path.parent}`; if not, work in another folder, or set {VARIABLE} to nothing."
        )


def local_folder() -> Path | None:
    """Return the folder of the current project's own notebooks, templates and maps; None outside a project."""
    project = current()
    return project.templates if project else None


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the notebooks, templates and maps of a folder, sorted within each kind; not those of editors."""
    for pattern in OWN:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        yield from (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


@cache
def ignored(folder: Path) -> str:
    """Say which files lie in a folder that is no project, and how they would be used; "" if there are none."""
    tops = sorted({path.relative_to(folder).parts[0] for path in files_of(folder)})
    if not tops:
        return ""
    return f"Not used: {', '.join(f'{top}/' for top in tops)} here; `trackkit init .` makes this folder a project."
