"""Where notebooks and templates are: a local copy first, then the checkout, then the copy inside the wheel."""

import filecmp
import secrets
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from trackkit.errors import RequestError

SHIPPED = ("notebooks", "reports_templates", "retention.toml")
_PACKAGE = Path(__file__).resolve().parent


def folders(relative: str) -> list[Path]:
    """Return every existing folder of that name, the one that wins first: a search path for templates.

    >>> [folder.name for folder in folders("reports_templates")][-1]
    'reports_templates'
    """
    return [place for root in _roots() if (place := root / _checked(relative)).is_dir()]


def folder(relative: str) -> Path:
    """Return the folder that wins: the local copy in the current directory, else the shipped one.

    Raises RequestError when there is none, or when the name leads outside.
    """
    found = folders(relative)
    if not found:
        raise RequestError(f"There is no folder {relative!r} here or in the package; known: {', '.join(SHIPPED)}.")
    return found[0]


def find(relative: str) -> Path:
    """Return the file that wins: the local copy in the current directory, else the shipped one.

    Falls back file by file, so a local copy may hold only what was changed.
    Raises RequestError when there is none, or when the name leads outside.

    >>> find("reports_templates/../secret")
    Traceback (most recent call last):
    trackkit.errors.RequestError: 'reports_templates/../secret' is not a name of a notebook or template.
    """
    for root in _roots():
        if (place := root / _checked(relative)).is_file():
            return place
    raise RequestError(f"There is no {relative!r} here or in the package; `trackkit init DIR` shows what there is.")


def files(relative: str, pattern: str) -> dict[str, Path]:
    """Return every file of a folder that matches the pattern, by stem and sorted; a local one hides the shipped one.

    >>> sorted(files("notebooks/explore", "*.ipynb"))[0]
    '01_first_look'
    """
    found = {path.stem: path for place in reversed(folders(relative)) for path in place.glob(pattern)}
    return dict(sorted(found.items()))


def copy_out(target: Path, say: Callable[[str], None] | None = None) -> list[Path]:
    """Copy the shipped notebooks and templates into a folder to be changed there; return the files written.

    A file that is there and differs is kept as it is, and `say` (stderr by default) is told of it.
    """
    say = say or (lambda line: print(line, file=sys.stderr))
    shipped = _shipped()
    written = []
    for name in _resources(shipped):
        source, place = shipped / name, target / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, source.read_bytes())
            written.append(place)
        elif not filecmp.cmp(source, place, shallow=False):
            say(f"Kept {place}: it differs from the shipped one; remove it and repeat to get the shipped one.")
    return written


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file beside and rename it, so that the good name never holds half of one; return its path."""
    beside = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part")
    try:
        with beside.open("xb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        return beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _roots() -> list[Path]:
    return [Path.cwd(), _shipped()]


def _shipped() -> Path:
    bundled = _PACKAGE / "_bundled"
    return bundled if bundled.is_dir() else _PACKAGE.parent


def _resources(shipped: Path) -> list[Path]:
    places = [path for top in SHIPPED for path in (shipped / top, *(shipped / top).rglob("*"))]
    names = [path.relative_to(shipped) for path in places if path.is_file()]
    return sorted(name for name in names if not any(part.startswith((".", "__pycache__")) for part in name.parts))


def _checked(relative: str) -> PurePosixPath:
    path = PurePosixPath(relative)
    if not path.parts or ".." in path.parts or "\0" in relative or path.parts[0] not in SHIPPED:
        raise RequestError(f"{relative!r} is not a name of a notebook or template.")
    return path
