"""Runs of NUL bytes in a file are no text but holes.

A log that was truncated while its server wrote on begins with one, and a crash leaves one where the last lines were.
"""

import re
from dataclasses import dataclass

_RUN = re.compile(rb"\x00{2,}")
_BREAK = 16  # so many NUL bytes within a line end it: what follows is another line


@dataclass
class Holes:
    """Runs of NUL bytes in a file: they are passed over and counted. A single one is text, and refused as such."""

    count: int = 0
    _last: bytes = b"\n"  # the last byte handed on
    _run: int = 0  # NUL bytes at the end of what was read, of which more may follow

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
        rest = body[place:].rstrip(b"\x00")
        self._run, self._last = len(body) - place - len(rest), rest[-1:]
        return b"".join([*parts, rest])

    def rest(self) -> bytes:
        """Return what is left at the end of the file: a single NUL byte is no hole."""
        return self._filled(b"\n")

    def _filled(self, following: bytes) -> bytes:
        """Return what stands for the run that is over: nothing beside a line end, a line end for a long one."""
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
        """What to say of them in a load report."""
        return [f"{self.count:,} NUL bytes, a hole in the file, were passed over"] if self.count else []
