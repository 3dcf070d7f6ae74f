"""How a process of our own begins, before it imports; a process that only imports trackkit is left as it is."""

import gc
import sys

# jsonschema, which altair and nbformat import, would read a grammar for its optional check of IRIs: 3 s for nothing.
NOT_NEEDED = "rfc3987_syntax"


def begin() -> None:
    """Leave out what no command and no report needs."""
    sys.modules[NOT_NEEDED] = None  # type: ignore[assignment]
    gc.set_threshold(100_000)  # importing makes many objects, none of them garbage
