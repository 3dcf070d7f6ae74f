"""Failures of the system (no space, no permission, a read-only file system), each in one sentence."""

import errno
import os
import re
from collections.abc import Iterator

from trackkit.errors import RequestError

# Libraries written in Rust give the system's error number, and some the path.
_NUMBER, _PATH = re.compile(r"\(os error (\d+)\)"), re.compile(r"(?<![\w:/])/[^\s:'\"()]+")
_UNFINISHED_FILE = "Invalid thrift: transport error"  # polars' only message when the end of a file could not be written
_NO_PERMISSION = "There is no permission for {}: ask its owner, or name another place; {}"
_NO_SPACE = "There is no space left to write {}: make room or name another place, then repeat it; {}"
_AS_IT_WAS = "what was there before still counts."
SENTENCES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "A file may not be as large as {} would be: raise the limit or name another place; {}",
    errno.EROFS: "Nothing can be written to {}, which is read only: name another place; {}",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EMFILE: "Too many files are open at once to open {}: raise the limit (`ulimit -n`), then repeat it; {}",
}


def refused_by_system(error: BaseException) -> RequestError | None:
    """Return a sentence saying what the system refused and what to do; None if the cause is not the system."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return _sentence(cause.errno, cause.filename2 or cause.filename)
        if (number := _NUMBER.search(str(cause))) is not None:
            place = _PATH.search(str(cause))
            return _sentence(int(number[1]), place[0] if place else None)
        if _UNFINISHED_FILE in str(cause):
            return _sentence(errno.ENOSPC, None)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those in its arguments and causes."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [nested for nested in (*cause.args, cause.__cause__) if isinstance(nested, BaseException)]


def _sentence(number: int, place: object) -> RequestError:
    name = repr(os.fsdecode(place)) if isinstance(place, str | bytes | os.PathLike) else "what was asked for"
    if number in SENTENCES:
        return RequestError(SENTENCES[number].format(name, _AS_IT_WAS))
    return RequestError(f"{name}: {os.strerror(number)}.")
