"""Records out of a JSON file of any framing, one at a time: array, one a line, pretty-printed, run together `}{`.

An array at the outside is only framing: its elements are the records, so that a file of any size streams. A line
`name=value&…`, as a form is posted, is a record too. What cannot be read is handed on with its text, and reading goes
on at the next place that looks like the beginning of a record.

Whole runs of records are parsed by orjson; a run that it refuses, or might read less exactly, by Python's own parser,
one record after the other. Either way the records are the same.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from json.decoder import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
import polars as pl

from trackkit.sources import files
from trackkit.sources.feeds.arrow_json import RecordRun, RecordShape
from trackkit.sources.files import NOT_UTF8
from trackkit.sources.staging import TEXT_LIMIT

LONGEST = 1 << 26  # characters of one record; a longer one is refused, so that memory stays bounded
_RUN = 1 << 17  # characters parsed at once where nothing is wrong with them
_KEPT = 1 << 10  # characters of a record that is too long, so that the beginning of the next is not cut
_NEAR = 16  # an error so near the end of what was read may be the end's fault
_GAP = re.compile(r"[\s,\[\]\x1e\ufeff]*")  # what stands between records
_AROUND = " \t\r,[]\x1e\ufeff"  # of it, what can stand on the line of a record
_BETWEEN = ("}{", "},{", "}, {")  # records on one line
_BEYOND = r"[:\[,]\s*(?:-[0-9]{19}|[0-9]{20})"  # a whole number that orjson may round
_DIGITS_ALIKE, _LONG = bytes.maketrans(b"123456789", b"000000000"), b"0" * 19
_FORM = re.compile(r"[A-Za-z][\w.-]*=[^\n]*")
# Not `[@id],[@name]`: so the headers of some tables are written.
_BEGIN = re.compile(r"\s*(?:\{|\[[\s\[]*(?:[{\]]|$)|[A-Za-z][\w.-]*=(?:%5B|%7B|\[|\{|[^\s&]*&[\w.-]+=))", re.IGNORECASE)


@dataclass(frozen=True)
class Broken:
    """A record that cannot be read: why, and its text."""

    reason: str
    text: str


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _float(text: str) -> float | str:
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number


_DECODER = JSONDecoder(parse_constant=_refuse, parse_float=_float)


def loads(text: str) -> Any:
    """Return the value of JSON text, whole numbers exact; ValueError when it is none."""
    return _DECODER.decode(text)  # made once: `json.loads` would make a decoder for each text


def looks_like(first: bytes) -> bool:
    """Return whether the first bytes of a file could be those of JSON records, or of a posted form of them."""
    return bool(_BEGIN.match(first[:4096].removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")))


def records(path: Path, shape: RecordShape | None = None, trouble: files.Trouble | None = None) -> Iterator[Any]:
    """Yield the records of a plain, gzip or zstd file, and a `Broken` where one cannot be read.

    With a `shape`, runs of records that have it come at once, as a `RecordRun`. `trouble` is told of holes in the file.
    """
    trouble = trouble or files.Trouble()
    yield from frames(files.decoded(files.blocks(path, trouble)), shape)
    if trouble.reason is not None:
        yield Broken(f"{files.CUT}: {trouble.reason}", "")


def frames(blocks: Iterable[str], shape: RecordShape | None = None) -> Iterator[Any]:
    """Yield the records of a text that comes in blocks, and a `Broken` where one cannot be read.

    >>> list(frames(['[{"a": 1}, {"b"', ': 2}]{"c": 3}']))
    [{'a': 1}, {'b': 2}, {'c': 3}]
    """
    return _Buffer(iter(blocks), shape).records()


class _Buffer:
    """The text read so far, and the position where the next record is searched."""

    def __init__(self, blocks: Iterator[str], shape: RecordShape | None) -> None:
        self.blocks, self.text, self.place, self.is_whole = blocks, "", 0, False
        self.shape, self.unlike = shape, 0  # up to there, records do not have the shape
        self.refused = 0  # up to here, records are read one after the other

    def records(self) -> Iterator[Any]:
        while True:
            while self.place >= self.refused and (run := self._alike() or self._run()):
                yield from [run] if isinstance(run, RecordRun) else run
            self.place = _GAP.match(self.text, self.place).end()  # type: ignore[union-attr]
            if self.place == len(self.text):
                if not self._more():
                    return
                continue
            if self.text[self.place] not in "{" and (form := self._form()) is not None:
                yield form
                continue
            try:
                value, end = _DECODER.raw_decode(self.text, self.place)
            except (ValueError, RecursionError) as error:
                if self._may_be_cut(error) and self._more():
                    continue
                yield self._broken(error)
                continue
            self.place = end
            yield value if type(value) is dict else Broken("no JSON object", json.dumps(value))

    def _alike(self) -> RecordRun | None:
        """Return all records at hand at once, if they have the shape."""
        if self.shape is None or self.place < self.unlike or not self.shape.kinds:
            return None
        end = len(self.text) if self.is_whole else self.text.rfind("\n", self.place) + 1
        if end - self.place < _RUN and not self.is_whole:
            return None
        run = self.shape.read(self.text[self.place : end])
        self.place, self.unlike = (end, 0) if run else (self.place, end)
        return run

    def _run(self) -> list[Any]:
        """Return the records of the next characters, if all of them are of whole records; else none."""
        end = self._run_end()
        records = _parsed(self.text[self.place : end])
        if records:
            self.place = end
            if self.shape:
                self.shape.learn(records)
        else:
            self.refused = end
        return records

    def _run_end(self) -> int:
        stop = min(self.place + _RUN, len(self.text))
        if self.is_whole and stop == len(self.text):
            return stop
        line = self.text.rfind("\n", self.place, stop) + 1
        return line or max(self.text.rfind(one, self.place, stop) for one in _BETWEEN) + 1 or stop

    def _more(self) -> bool:
        """Read the next block and drop the text already read; False if there is none or a record is too long."""
        if len(self.text) - self.place > LONGEST:
            return False
        block = next((block for block in self.blocks if block), None)
        self.refused -= self.place
        self.unlike -= self.place
        self.text, self.place = self.text[self.place :] + (block or ""), 0
        self.is_whole = block is None
        return block is not None

    def _may_be_cut(self, error: Exception) -> bool:
        if self.is_whole or not isinstance(error, JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self.text) - _NEAR

    def _form(self) -> dict[str, str] | None:
        """Return a posted form that stands here on a line of its own."""
        while self.text.find("\n", self.place) < 0 and self._more():
            pass
        line = _FORM.match(self.text, self.place)
        if line is None:
            return None
        self.place = line.end()
        return dict(parse_qsl(line.group().rstrip("\r"), keep_blank_values=True))

    def _broken(self, error: Exception) -> Broken:
        """Step over a record that cannot be read: to the next line that begins one at its indentation, or to `}{`."""
        following, beginning = self._following(), ""
        while (match := self._next(following, self.place + (not beginning))) is None:
            if beginning or len(self.text) - self.place > LONGEST:  # too long: all but its beginning is let go
                beginning = beginning or self.text[self.place : self.place + TEXT_LIMIT]
                self.text, self.place = self.text[-_KEPT:], 0
            if not self._more():
                break
        end = match.start() if match else len(self.text)
        text, self.place = beginning or self.text[self.place : end], end
        reason = f"the record is longer than {LONGEST:,} characters" if beginning else _why(error, text)
        return Broken(reason, text[:TEXT_LIMIT].replace(NOT_UTF8, "\ufffd").rstrip(", \t\r\n]"))

    def _following(self) -> re.Pattern[str]:
        """Return what stands before the record after this one."""
        indent = self.text[self.text.rfind("\n", 0, self.place) + 1 : self.place]
        margin = re.escape(indent) if not indent.strip() else r"[ \t]*"
        return re.compile(rf"\n(?:{margin})?(?=[{{\[])|(?<=\}})[ \t]*,?[ \t]*(?=\{{)")

    def _next(self, following: re.Pattern[str], start: int) -> re.Match[str] | None:
        """Return where the next record seems to begin; after a `}`, which a text may hold, only if it can be read."""
        for match in following.finditer(self.text, start):
            if match.group().startswith("\n"):
                return match
            try:
                _DECODER.raw_decode(self.text, match.end())
            except (ValueError, RecursionError):
                continue
            return match
        return None


def _parsed(text: str) -> list[dict[str, Any]]:
    """Return the records of a text; none where it is more than records and what stands between, or has a large number.

    What stands between is taken off each line, so that a line which is an object then is one record and nothing else.
    """
    if "\n" not in text.rstrip():
        for separator in _BETWEEN:
            text = text.replace(separator, "}\n{")
    try:
        records = [orjson.loads(inner) for line in text.split("\n") if (inner := line.strip(_AROUND))]
    except ValueError:
        return []
    return records if {*map(type, records)} == {dict} and not _has_large_number(text) else []


def _has_large_number(text: str) -> bool:
    if _LONG not in text.encode().translate(_DIGITS_ALIKE):  # the usual case, in a third of the time
        return False
    return bool(pl.Series([text]).str.contains(_BEYOND).item())


def _why(error: Exception, text: str) -> str:
    if NOT_UTF8 in text:
        return "not UTF-8"
    if isinstance(error, JSONDecodeError):
        return f"no JSON: {error.msg}"
    return "no JSON: nested too deeply" if isinstance(error, RecursionError) else f"no JSON: {error}"
