"""Set-up of our own processes before imports; a process that only imports trackkit is not affected."""

import gc
import sys

# jsonschema, imported by altair and nbformat, would parse a grammar for its optional check of IRIs, which takes 3 s.
NOT_NEEDED = "rfc3987_syntax"


def begin() -> None:
    """Skip an import that nothing needs, and collect garbage less often."""
    sys.modules[NOT_NEEDED] = None  # type: ignore[assignment]
    gc.set_threshold(100_000)  # imports create many objects, none of them garbage
