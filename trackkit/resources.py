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
    """Return every existing folder of that name in order of precedence: a search path for templates.

    >>> [folder.name for folder in folders("reports_templates")][-1]
    'reports_templates'
    """
    return [path for root in _roots() if (path := root / _checked(relative)).is_dir()]


def folder(relative: str) -> Path:
    """Return the local folder in the current directory, else the shipped one.

    Raises RequestError when there is none, or when the name leads outside.
    """
    existing = folders(relative)
    if not existing:
        raise RequestError(f"There is no folder {relative!r} here or in the package; known: {', '.join(SHIPPED)}.")
    return existing[0]


def find(relative: str) -> Path:
    """Return the local file in the current directory, else the shipped one.

    This goes file by file, so a local copy may hold only the changed files.
    Raises RequestError when there is none, or when the name leads outside.

    >>> find("reports_templates/../secret")
    Traceback (most recent call last):
    trackkit.errors.RequestError: 'reports_templates/../secret' is not a name of a notebook or template.
    """
    for root in _roots():
        if (path := root / _checked(relative)).is_file():
            return path
    raise RequestError(f"There is no {relative!r} here or in the package; `trackkit init DIR` shows what there is.")


def files(relative: str, pattern: str) -> dict[str, Path]:
    """Return the files of a folder that match a pattern, by stem and sorted; local ones hide shipped ones.

    >>> sorted(files("notebooks/explore", "*.ipynb"))[0]
    '01_first_look'
    """
    by_stem = {path.stem: path for directory in reversed(folders(relative)) for path in directory.glob(pattern)}
    return dict(sorted(by_stem.items()))


def copy_out(target: Path, say: Callable[[str], None] | None = None) -> list[Path]:
    """Copy the shipped notebooks and templates into a folder, to be changed there; return the files written.

    An existing file that differs is kept, and reported to `say` (stderr by default).
    """
    say = say or (lambda line: print(line, file=sys.stderr))
    shipped = _shipped()
    written = []
    for name in _resources(shipped):
        source, destination = shipped / name, target / name
        if not destination.exists():
            destination.parent.mkdir(parents=True, exist_ok=True)
            write_whole(destination, source.read_bytes())
            written.append(destination)
        elif not filecmp.cmp(source, destination, shallow=False):
            say(f"Kept {destination}: it differs from the shipped one; remove it and repeat to get the shipped one.")
    return written


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file under a temporary name and rename it, so that it is never seen half written; return its path."""
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        return temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
