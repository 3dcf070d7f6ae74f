"""Errors, each one sentence: what was asked, what we got, what would work."""

import difflib
from collections.abc import Collection, Iterable

from trackkit.plain import one_line

_MOST_KNOWN = 10  # words listed in a sentence


class TrackkitError(Exception):
    """Anything trackkit refuses or cannot do; `exit_code` is what the command line returns for it."""

    exit_code = 1

    def __str__(self) -> str:
        return one_line(super().__str__())  # it may quote names from any source


class RequestError(TrackkitError):
    """The request is wrong: an unknown name, a breakdown that cannot apply, a parameter of the wrong type."""

    exit_code = 2


class DataError(TrackkitError):
    """The data is refused: unreadable, of no known format, or without what the question needs."""

    exit_code = 3


class ReportError(TrackkitError):
    """A report failed to run; the failed notebook is kept beside the place of the report."""

    exit_code = 4


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known word, or up to ten known words if none is near.

    >>> did_you_mean("open_rat", ["open_rate", "click_rate"])
    " Did you mean 'open_rate'?"
    >>> did_you_mean("zzz", ["a", "b"])
    ' Known: a, b.'
    >>> did_you_mean("zzz", "abcdefghijkl")
    ' Known: a, b, c, d, e, f, g, h, i, j and 2 more.'
    """
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    more = f" and {len(names) - _MOST_KNOWN:,} more" if len(names) > _MOST_KNOWN else ""
    return f" Known: {', '.join(names[:_MOST_KNOWN])}{more}." if names else ""


def require_word(what: str, word: str, known: Collection[str]) -> str:
    """Return a word if it is known; otherwise raise RequestError naming the nearest.

    >>> require_word("order", "any", ("any", "strict"))
    'any'
    """
    if word not in known:
        raise RequestError(f"There is no {what} {str(word)[:80]!r}.{did_you_mean(str(word), known)}")
    return word
