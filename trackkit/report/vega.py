"""Vega's script, which draws the charts of a page: bundled once per process, since that takes a second.

This module imports nothing large, so that the fork server can start with it.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

EMBED = "window.vegaEmbed=vegaEmbed;"  # the part of Vega that a page needs
BUNDLE = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle(sys.argv[1]).encode())"
_MADE: dict[str, str] = {}


def vega() -> str:
    """Return Vega's script for one page, wrapped in a function so that its global names stay local."""
    if not _MADE:
        import vl_convert

        _keep(vl_convert.javascript_bundle(EMBED))
    return _MADE["script"]


def file_name() -> str:
    """Return the name of the file with the script for many pages, derived from its content."""
    return f"{hashlib.sha256(vega().encode()).hexdigest()[:16]}.js"


@contextmanager
def made_meanwhile() -> Iterator[None]:
    """Bundle the script while the block runs, in a process of its own: the JavaScript engine starts threads."""
    with subprocess.Popen([sys.executable, "-P", "-c", BUNDLE, EMBED], stdout=subprocess.PIPE) as making:
        yield
        assert making.stdout
        _keep(making.stdout.read().decode())


def _keep(bundle: str) -> None:
    safe = re.sub(r"<(?=/script|!--)", r"\\x3c", bundle, flags=re.IGNORECASE)
    _MADE["script"] = f"(function(){{{safe}\n}})();"
