"""Where notebooks and templates are: the project's first, then the checkout's, then the copy inside the wheel."""

import secrets
from pathlib import Path, PurePosixPath

from trackkit.errors import RequestError
from trackkit.project import ignored, local_folder

SHIPPED = ("notebooks", "reports_templates", "retention.toml")
_PACKAGE = Path(__file__).resolve().parent


def folders(relative: str) -> list[Path]:
    """Return every existing folder of that name in order of precedence: a search path for templates.

    >>> [folder.name for folder in folders("reports_templates")][-1]
    'reports_templates'
    """
    return [path for root in _roots() if (path := root / _checked(relative)).is_dir()]


def folder(relative: str) -> Path:
    """Return the folder of the project, else the shipped one.

    Raises RequestError when there is none, or when the name leads outside.
    """
    existing = folders(relative)
    if not existing:
        raise RequestError(f"There is no folder {relative!r} in project or package; known: {', '.join(SHIPPED)}.")
    return existing[0]


def find(relative: str) -> Path:
    """Return the file of the project, else the shipped one.

    This goes file by file, so a project may hold only the changed files.
    Raises RequestError when there is none, or when the name leads outside.

    >>> find("reports_templates/../secret")
    Traceback (most recent call last):
    trackkit.errors.RequestError: 'reports_templates/../secret' is not a name of a notebook or template.
    """
    for root in _roots():
        if (path := root / _checked(relative)).is_file():
            return path
    raise RequestError(f"There is no {relative!r} in project or package; `trackkit init DIR` shows what there is.")


def files(relative: str, pattern: str) -> dict[str, Path]:
    """Return the files of a folder that match a pattern, by stem and sorted; those of the project hide shipped ones.

    >>> sorted(files("notebooks/explore", "*.ipynb"))[0]
    '01_first_look'
    """
    by_stem = {path.stem: path for directory in reversed(folders(relative)) for path in directory.glob(pattern)}
    return dict(sorted(by_stem.items()))


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
    return [*filter(None, [local_folder()]), shipped()]


def shipped() -> Path:
    """Return the folder of the shipped notebooks and templates: the checkout, else the copy inside the wheel."""
    bundled = _PACKAGE / "_bundled"
    return bundled if bundled.is_dir() else _PACKAGE.parent


def not_used() -> str:
    """Say which notebooks and templates lie in the working folder and are not used, since it is in no project.

    It is "" if there are none, in a project, and in the checkout.
    """
    return "" if Path.cwd() == shipped() or local_folder() else ignored(Path.cwd())


def _checked(relative: str) -> PurePosixPath:
    path = PurePosixPath(relative)
    if not path.parts or ".." in path.parts or "\0" in relative or path.parts[0] not in SHIPPED:
        raise RequestError(f"{relative!r} is not a name of a notebook or template.")
    return path
