"""Files as bytes: the files of a source, their compression and encoding, and repair of broken ones."""

import codecs
import glob
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from trackkit.errors import RequestError
from trackkit.plain import encodable

CUT, LOST = "the file is cut here and the rest of it is lost", "the rest of the file cannot be read"
NOT_UTF8 = "\ufffd\x00"  # replaces a byte that is not UTF-8; unmistakable, since no accepted line holds a NUL
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = 1 << 22
_TABLE = re.compile(r"(\.(csv|tsv|txt)(\.gz|\.zst)?|\.parquet)$", re.IGNORECASE)
# Byte-order marks; UTF-32 first, since its mark begins like that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_CODECS = {"UTF-32": "utf-32", "UTF-16": "utf-16", "UTF-16LE": "utf-16-le", "UTF-16BE": "utf-16-be"}
_C1 = re.compile(rb"[\x80-\x9f]")  # controls in Latin-1, which no export has; characters in Windows-1252
_CUT_LIMIT = 10_000  # characters kept of the line where a file is cut


# A log truncated while its server writes begins with a run of NUL bytes; a crash leaves one at the end.
_RUN = re.compile(rb"\x00{2,}")
_BREAK = 16  # this many NUL bytes within a line end it


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return NOT_UTF8, error.end


codecs.register_error("trackkit-mark", _mark)


@dataclass(frozen=True)
class Found:
    """A file of a source, and its path relative to the source, with forward slashes."""

    path: Path
    relative: str


def find(source: str | Path) -> list[Found]:
    """Return the files of a file, a folder or a glob, in order of name.

    Hidden files and names with a leading `_` are left out, except tables: data views are named `_Sent.csv`.
    """
    path = Path(source)
    if path.is_file():
        return [Found(path, encodable(path.name))]
    if path.is_dir():
        return _inside(path, path)
    matches = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
    if not matches:
        raise RequestError(f"There is no file, folder or match for {str(source)!r}; give one that exists.")
    base = _fixed_part(path)
    files = {file.path: file for match in matches for file in _inside_or_self(match, base)}
    return list(files.values())


def _fixed_part(pattern: Path) -> Path:
    parts = pattern.parts
    stop = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:stop])


def _inside_or_self(path: Path, base: Path) -> list[Found]:
    return _inside(path, base) if path.is_dir() else [Found(path, encodable(path.relative_to(base).as_posix()))]


def _inside(folder: Path, base: Path) -> list[Found]:
    walk = os.walk(folder, onerror=_refuse)
    files = sorted(path for parent, _, names in walk for name in names if (path := Path(parent, name)).is_file())
    shown = [path for path in files if not _is_left_out(*path.relative_to(folder).parts)]
    return [Found(path, encodable(path.relative_to(base).as_posix())) for path in shown]


def _refuse(error: OSError) -> None:
    """Raise, because the figures would silently lack an unreadable folder."""
    raise error


def _is_left_out(*parts: str) -> bool:
    *folders, name = parts
    return (
        name[0] == "." or any(folder[0] in "._" for folder in folders) or (name[0] == "_" and not _TABLE.search(name))
    )


def packing(path: Path) -> str | None:
    """Return `gzip`, `zstd` or None, by the first bytes, not the name."""
    with path.open("rb") as file:
        first = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), None)


def open_bytes(path: Path, errors: str = "trackkit-mark") -> "pa.NativeFile | Recoded":
    """Open a plain, gzip or zstd file, unpacked; UTF-16 is recoded to UTF-8, with `errors` as in `codecs`."""
    stream, wide = _unpacked(path), wide_encoding(path)
    return Recoded(stream, _CODECS[wide], errors) if wide else stream


def _unpacked(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression=packing(path))


def wide_encoding(path: Path) -> str:
    """Return `UTF-16`, `UTF-16LE` … of such a file, with or without a byte-order mark; else an empty text."""
    try:
        with _unpacked(path) as stream:
            first = stream.read(4096)
    except (OSError, pa.ArrowException):  # damaged, which its reader will report
        return ""
    if mark := next((name for mark, name in _MARKS.items() if first.startswith(mark)), ""):
        return mark
    # Without a mark, every other byte of ASCII characters is NUL.
    high, low = first[0::2], first[1::2]
    for name, empty, filled in (("UTF-16LE", low, high), ("UTF-16BE", high, low)):
        if len(first) >= 8 and not filled.count(0) and empty.count(0) > len(empty) // 2:
            return name
    return ""


class Recoded(io.RawIOBase):
    """A stream of another encoding, read as UTF-8."""

    def __init__(self, stream: pa.NativeFile, codec: str, errors: str) -> None:
        self._stream, self._pending = stream, b""
        self._decoder = codecs.getincrementaldecoder(codec)(errors)

    def readable(self) -> bool:
        """Return True: the stream is for reading."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most `size` of them."""
        ends = False
        while not ends and (size is None or size < 0 or not self._pending):
            block = self._stream.read(size if size and size > 0 else None)
            ends = not block
            self._pending += self._decoder.decode(block, final=ends).encode()
        stop = len(self._pending) if size is None or size < 0 else size
        block, self._pending = self._pending[:stop], self._pending[stop:]
        return block

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


def text(path: Path) -> tuple[str, str]:
    """Return the text of a small file, and its encoding if that is a guess."""
    content = b"".join(blocks(path, Trouble()))
    try:
        return content.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        encoding = "Windows-1252" if _C1.search(content) else "Latin-1"
        return content.decode(encoding, "replace"), encoding


@dataclass
class Holes:
    """Removes and counts runs of NUL bytes in a file. A single one stays, and its line is refused."""

    count: int = 0
    _last: bytes = b"\n"  # the last byte returned
    _run: int = 0  # NUL bytes at the end so far, which may go on

    def passed_over(self, block: bytes) -> bytes:
        """Return the next bytes without holes."""
        if not self._run and b"\x00" not in block:
            self._last = block[-1:] or self._last
            return block
        body = block.lstrip(b"\x00")
        self._run += len(block) - len(body)
        if not body:
            return b""
        parts, place = [self._filled(body[:1]), b""], 0
        for run in _RUN.finditer(body):
            if run.end() == len(body):
                break
            parts.append(body[place : run.start()])
            self._run, self._last = run.end() - run.start(), body[run.start() - 1 : run.start()]
            parts.append(self._filled(body[run.end() : run.end() + 1]))
            place = run.end()
        last = body[place:].rstrip(b"\x00")
        self._run, self._last = len(body) - place - len(last), last[-1:]
        return b"".join([*parts, last])

    def rest(self) -> bytes:
        """Return the pending bytes at the end of the file: a single NUL byte is no hole."""
        return self._filled(b"\n")

    def _filled(self, following: bytes) -> bytes:
        """Return the replacement of a completed run: nothing beside a line end, a line end for a long one."""
        size, self._run = self._run, 0
        if size < 2:
            return b"\x00" * size
        is_beside = b"\n" in (self._last, following)
        if not is_beside and size < _BREAK:
            return b"\x00" * size
        self.count += size
        return b"" if is_beside else b"\n"

    @property
    def notes(self) -> list[str]:
        """The note for a load report."""
        return [f"{self.count:,} NUL bytes, a hole in the file, were passed over"] if self.count else []


class Utf8Stream(io.RawIOBase):
    """The unpacked bytes of a file; reading bytes that are not UTF-8 raises UnicodeDecodeError."""

    def __init__(self, path: Path) -> None:
        self._bytes = open_bytes(path, "strict")
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.holes = Holes()

    def readable(self) -> bool:
        """Return True: the stream is for reading."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size` of them."""
        block, ends = b"", False
        while not block and not ends:
            raw = self._bytes.read(size if size and size > 0 else None)
            block, ends = self.holes.passed_over(raw) if raw else self.holes.rest(), not raw
        self._decoder.decode(block, final=ends)
        return block

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()
        super().close()


def head(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first unpacked bytes, as far as a broken file can be read."""
    content = bytearray()
    for block in blocks(path, Trouble(), sizes=(1 << 14, 1)):
        content += block
        if len(content) >= size:
            break
    return bytes(content[:size])


def tail(path: Path, size: int = 16) -> bytes:
    """Return the last unpacked bytes, as far as a broken file can be read."""
    end = b""
    for block in blocks(path, Trouble()):
        end = (end + block)[-size:]
    return end


@dataclass
class Trouble:
    """Why a packed file could not be read to its end, or None; and the holes in it."""

    reason: str | None = None
    holes: Holes = field(default_factory=Holes)


def blocks(path: Path, trouble: Trouble, sizes: tuple[int, ...] = (_BLOCK, 4096, 1)) -> Iterator[bytes]:
    """Yield all unpacked bytes before the first fault; reads get smaller near it."""
    for block in _raw_blocks(path, trouble, sizes):
        if content := trouble.holes.passed_over(block):
            yield content
    if pending := trouble.holes.rest():
        yield pending


def _raw_blocks(path: Path, trouble: Trouble, sizes: tuple[int, ...]) -> Iterator[bytes]:
    given = 0
    for size in sizes:
        try:
            with open_bytes(path) as stream:
                skip(stream, given)
                while block := stream.read(size):
                    given += len(block)
                    yield block
            trouble.reason = None
            return
        except (OSError, pa.ArrowException) as error:
            trouble.reason = str(error).split("\n")[0]


def hole_at_head(path: Path) -> list[str]:
    """Return the note for a load report if a file begins with NUL bytes."""
    trouble = Trouble()
    next(blocks(path, trouble, (1 << 16,)), None)
    return trouble.holes.notes


def decoded(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of blocks of bytes; invalid UTF-8 becomes `NOT_UTF8`."""
    decoder = codecs.getincrementaldecoder("utf-8")("trackkit-mark")
    for block in blocks:
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def skip(stream: "pa.NativeFile | io.RawIOBase", count: int) -> None:
    """Skip the first bytes of a stream that cannot seek."""
    while count and (block := stream.read(min(count, _BLOCK))):
        count -= len(block)


@dataclass(frozen=True)
class Mended:
    """A readable UTF-8 copy of a broken file."""

    path: Path
    cut: str | None  # the incomplete last line of a truncated file
    reason: str | None  # of the truncation
    encoding: str = ""  # a guess, if not UTF-8

    @property
    def notes(self) -> list[str]:
        """What was assumed."""
        return [f"the text is not UTF-8 and was read as {self.encoding}"] if self.encoding else []


def mend(path: Path, into: Path, allow_latin1: bool) -> Mended:
    """Copy the readable part of a file to `into`, unpacked and in UTF-8; memory is bounded, however long a line is.

    Invalid UTF-8 becomes `NOT_UTF8`, or is read as Windows-1252 or Latin-1 if these are allowed and more plausible.
    """
    encoding = _single_byte_encoding(path) if allow_latin1 and not wide_encoding(path) else ""
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")("trackkit-mark")
    trouble, cut, end_of_lines = Trouble(), None, 0
    with into.open("wb+") as copy:
        for block in blocks(path, trouble):
            content = decoder.decode(block).encode()
            if (end := content.rfind(b"\n")) >= 0:
                end_of_lines = copy.tell() + end + 1
            copy.write(content)
        copy.write(decoder.decode(b"", final=True).encode())
        if trouble.reason is not None:
            copy.seek(end_of_lines)
            cut = copy.read(4 * _CUT_LIMIT).decode("utf-8", "ignore")[:_CUT_LIMIT]
            copy.truncate(end_of_lines)
    return Mended(into, cut, trouble.reason, encoding)


def _single_byte_encoding(path: Path) -> str:
    """Return the single-byte encoding of a file whose bytes beyond ASCII are mostly invalid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("trackkit-mark")
    invalid = valid = 0
    has_c1 = False
    for block in blocks(path, Trouble()):
        text = decoder.decode(block)
        replaced = text.count(NOT_UTF8)
        invalid += replaced
        valid += len(text) - len(text.encode("ascii", "ignore")) - replaced
        has_c1 = has_c1 or bool(_C1.search(block))
    return ("Windows-1252" if has_c1 else "Latin-1") if invalid > valid else ""
