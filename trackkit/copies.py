"""The shipped notebooks and templates in a project: copied there, and brought to a later version of trackkit.

`trackkit.lock` beside `trackkit.toml` holds the digest of each file as it was shipped. So an upgrade can tell what the
analyst changed from what a new version changed.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from trackkit import __version__
from trackkit.errors import RequestError, did_you_mean
from trackkit.project import FILE, TEXT, Project, named_project
from trackkit.resources import SHIPPED, shipped, write_whole

LOCK, BESIDE = "trackkit.lock", ".new"
_OF_REPORT = ("notebooks/reports/{}.ipynb", "reports_templates/{}.toml")


def begin(target: Path) -> list[Path]:
    """Make a folder a project, if it is none: return its new `trackkit.toml`."""
    if (target / FILE).is_file():
        return []
    target.mkdir(parents=True, exist_ok=True)
    return [write_whole(target / FILE, TEXT)]


def copy_out(target: Path, only: Sequence[str] = ()) -> tuple[list[Path], list[str]]:
    """Make a folder a project, and copy the shipped notebooks and templates into it, to be changed there.

    `only` are reports whose two files are copied; by default, all there is. Returns the files written, and a sentence
    on each that was there and differs: it is kept. Raises RequestError for an unknown report.
    """
    names, written = _names_of(only), begin(target)
    project = Project(target)
    known, kept = _read(project), []
    for name in names:
        content, copy = (shipped() / name).read_bytes(), project.templates / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            written.append(write_whole(copy, content))
            known[name] = _digest(content)
        elif copy.read_bytes() != content:
            kept.append(f"Kept {copy}: it differs from the shipped one; `trackkit init --upgrade` says how.")
        else:
            known.setdefault(name, _digest(content))
    _write(project, known)
    return written, kept


def upgrade(target: Path) -> list[str]:
    """Bring the copies of a project to this version; return a sentence on each file that is not as it was.

    What the analyst did not touch is replaced, what they changed is kept. Where the shipped file changed too, the new
    one is written beside theirs, as NAME.new. Raises RequestError for a folder that is no project.
    """
    project = named_project(target)
    known = _read(project)
    told = [sentence for name in sorted({*_copied(project), *known}) for sentence in _upgraded(project, name, known)]
    _write(project, known)
    return told


def own_files(project: Project) -> list[str]:
    """Return the files of a project that are not as they are shipped, or not shipped at all."""
    files = [path.relative_to(project.templates).as_posix() for path in _files(project.templates)]
    return [name for name in files if not _is_as_shipped(project.templates / name, name)]


def facts_of(project: Project) -> dict[str, str]:
    """Return what a manifest keeps of a project: the digest of its settings and of its own files."""
    digest = hashlib.sha256(project.file.read_bytes())
    for name in own_files(project):
        digest.update(name.encode() + (project.templates / name).read_bytes())
    return {"digest": digest.hexdigest()[:12]}


def _is_as_shipped(path: Path, name: str) -> bool:
    original = shipped() / name
    return original.is_file() and original.read_bytes() == path.read_bytes()


def _names_of(only: Sequence[str]) -> list[str]:
    """The shipped files to be copied."""
    reports = [path.stem for path in (shipped() / "notebooks/reports").glob("*.ipynb")]
    for name in only:
        if name not in reports:
            raise RequestError(f"There is no report {name!r} in the package.{did_you_mean(name, reports)}")
    return [form.format(name) for name in only for form in _OF_REPORT] or _shipped_names()


def _shipped_names() -> list[str]:
    return [path.relative_to(shipped()).as_posix() for path in _files(shipped())]


def _copied(project: Project) -> list[str]:
    return [name for name in _shipped_names() if (project.templates / name).is_file()]


def _files(root: Path) -> Iterator[Path]:
    """The notebooks and templates below a folder, sorted, without what editors and upgrades leave there."""
    places = [path for top in SHIPPED for path in (root / top, *(root / top).rglob("*"))]
    for path in sorted(path for path in places if path.is_file() and path.suffix != BESIDE):
        if not any(part.startswith((".", "__pycache__")) for part in path.relative_to(root).parts):
            yield path


def _upgraded(project: Project, name: str, known: dict[str, str]) -> Iterator[str]:
    """Bring one copy to this version, and say what became of it."""
    copy, original = project.templates / name, shipped() / name
    was = known.pop(name, "")
    if not copy.is_file():
        return  # the analyst removed it: the shipped one is used
    mine, now = _digest(copy.read_bytes()), _digest(original.read_bytes()) if original.is_file() else ""
    if not now:
        yield from _no_longer_shipped(copy, is_touched=mine != was)
        return
    known[name] = now
    if mine == now or was == now:
        return
    if mine == was:
        write_whole(copy, original.read_bytes())
        yield f"Upgraded {copy}"
        return
    write_whole(copy.with_name(copy.name + BESIDE), original.read_bytes())
    yield f"Kept {copy}: you changed it and so did this version; merge the new one, {copy.name}{BESIDE}, by hand."


def _no_longer_shipped(copy: Path, is_touched: bool) -> Iterator[str]:
    if is_touched:
        yield f"Kept {copy}, which this version ships no more: you changed it, and it is yours now."
    else:
        copy.unlink()
        yield f"Removed {copy}, which this version ships no more."


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _read(project: Project) -> dict[str, str]:
    path = project.folder / LOCK
    try:
        known = json.loads(path.read_text("utf-8"))["shipped"] if path.is_file() else {}
        return {str(name): str(digest) for name, digest in known.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RequestError(f"{path} is not as trackkit wrote it: remove it; what you changed is kept then.") from None


def _write(project: Project, known: dict[str, str]) -> None:
    content = {"trackkit": __version__, "shipped": dict(sorted(known.items()))}
    write_whole(project.folder / LOCK, json.dumps(content, indent=1) + "\n")
