"""Files as bytes: which ones a source holds, how they are packed, their first bytes, and mending broken ones."""

import codecs
import glob
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from trackkit.errors import RequestError
from trackkit.sources.holes import Holes

# Stands for a byte that is not UTF-8: a NUL can stand in no accepted log line, so it can be mistaken for nothing.
NOT_UTF8 = "\ufffd\x00"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BLOCK = 1 << 22
_TABLE = re.compile(r"(\.(csv|tsv|txt)(\.gz|\.zst)?|\.parquet)$", re.IGNORECASE)


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

    Hidden ones are left out, and what a name with `_` sets aside; tables are not, as data views are called `_Sent.csv`.
    """
    path = Path(source)
    if path.is_file():
        return [Found(path, path.name)]
    if path.is_dir():
        return _inside(path, path)
    matches = [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
    if not matches:
        raise RequestError(f"There is no file, folder or match for {str(source)!r}; give one that exists.")
    base = _fixed_part(path)
    files = {one.path: one for match in matches for one in _inside_or_self(match, base)}
    return list(files.values())


def _fixed_part(pattern: Path) -> Path:
    fixed = [part for part in pattern.parts]
    stop = next((i for i, part in enumerate(fixed) if glob.has_magic(part)), len(fixed) - 1)
    return Path(*fixed[:stop])


def _inside_or_self(path: Path, base: Path) -> list[Found]:
    return _inside(path, base) if path.is_dir() else [Found(path, path.relative_to(base).as_posix())]


def _inside(folder: Path, base: Path) -> list[Found]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    seen = ((path, path.relative_to(folder).parts) for path in files)
    return [Found(p, p.relative_to(base).as_posix()) for p, parts in seen if not _is_left_out(*parts)]


def _is_left_out(*parts: str) -> bool:
    *folders, name = parts
    return name[0] == "." or any(one[0] in "._" for one in folders) or (name[0] == "_" and not _TABLE.search(name))


def packing(path: Path) -> str | None:
    """Return `gzip`, `zstd` or None, by the first bytes (a name can lie)."""
    with path.open("rb") as file:
        first = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), None)


def open_bytes(path: Path) -> pa.NativeFile:
    """Open a plain, gzip or zstd file for reading its unpacked bytes."""
    return pa.input_stream(str(path), compression=packing(path))


class Utf8Stream(io.RawIOBase):
    """The unpacked bytes of a file; reading bytes that are not UTF-8 raises UnicodeDecodeError."""

    def __init__(self, path: Path) -> None:
        self._bytes = open_bytes(path)
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
    """Return the first unpacked bytes, as many as can be read of a broken file."""
    gathered = bytearray()
    for block in blocks(path, Trouble(), sizes=(1 << 14, 1)):
        gathered += block
        if len(gathered) >= size:
            break
    return bytes(gathered[:size])


def tail(path: Path, size: int = 16) -> bytes:
    """Return the last unpacked bytes of a file that can be read."""
    end = b""
    for block in blocks(path, Trouble()):
        end = (end + block)[-size:]
    return end


@dataclass
class Trouble:
    """What stopped the reading of a packed file before its end, or None; and the holes in it, which are passed over."""

    reason: str | None = None
    holes: Holes = field(default_factory=Holes)


def blocks(path: Path, trouble: Trouble, sizes: tuple[int, ...] = (_BLOCK, 4096, 1)) -> Iterator[bytes]:
    """Yield the unpacked bytes up to the first fault, to the last byte: reads get smaller near it."""
    for block in _raw_blocks(path, trouble, sizes):
        if text := trouble.holes.passed_over(block):
            yield text
    if rest := trouble.holes.rest():
        yield rest


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
    """Return what to say in a load report of a file that begins with NUL bytes; nothing where it does not."""
    trouble = Trouble()
    next(blocks(path, trouble, (1 << 16,)), None)
    return trouble.holes.notes


def decoded(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the text of bytes that come in blocks; what is not UTF-8 becomes `NOT_UTF8`."""
    decoder = codecs.getincrementaldecoder("utf-8")("trackkit-mark")
    for block in blocks:
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def skip(stream: pa.NativeFile | Utf8Stream, count: int) -> None:
    """Pass over the first bytes of a stream that can only be read forward."""
    while count and (block := stream.read(min(count, _BLOCK))):
        count -= len(block)


@dataclass(frozen=True)
class Mended:
    """A readable UTF-8 copy of a broken file; `cut` is the last line where the file was cut, `reason` says how."""

    path: Path
    cut: str | None
    reason: str | None
    is_latin1: bool


def mend(path: Path, into: Path, allow_latin1: bool) -> Mended:
    """Copy what can be read of a file to `into`, unpacked and in UTF-8.

    Bytes that are not UTF-8 become `NOT_UTF8`; where Latin-1 is allowed and explains them better, they are read so.
    """
    is_latin1 = allow_latin1 and _is_latin1(path)
    decoder = codecs.getincrementaldecoder("latin-1" if is_latin1 else "utf-8")("trackkit-mark")
    trouble, rest = Trouble(), ""
    with into.open("w", encoding="utf-8", newline="") as copy:
        for block in blocks(path, trouble):
            text, newline, end = (rest + decoder.decode(block)).rpartition("\n")
            copy.write(text + newline)
            rest = end
        rest += decoder.decode(b"", final=True)
        if trouble.reason is None:
            copy.write(rest)
    return Mended(into, None if trouble.reason is None else rest, trouble.reason, is_latin1)


def _is_latin1(path: Path) -> bool:
    """Return whether most bytes beyond ASCII are no UTF-8: then the whole file is Latin-1, not damaged UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")("trackkit-mark")
    broken = sound = 0
    for block in blocks(path, Trouble()):
        text = decoder.decode(block)
        bad = text.count(NOT_UTF8)
        broken += bad
        sound += len(text) - len(text.encode("ascii", "ignore")) - bad
    return broken > sound
