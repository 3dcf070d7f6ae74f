"""docs/exploring.md: every block of code runs, in order, on the demo's store."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "exploring.md").read_text("utf-8"), re.DOTALL)


def test_every_block_runs_in_order(demo_store: Path, tmp_path: Path) -> None:
    """In a process of its own, since the last ones change it; each line that only shows something is shown."""
    (tmp_path / "store").symlink_to(demo_store)
    shown = "from IPython.core.interactiveshell import InteractiveShell\n"
    shown += "shell = InteractiveShell.instance(ast_node_interactivity='all')\n"
    runs = f"for block in {BLOCKS!r}:\n    shell.run_cell(block).raise_error()\n"
    command, paths = [sys.executable, "-c", shown + runs], os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=paths, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1500:]
    assert "Store 'store': 1 load" in done.stdout and "open_rate: Open rate (recipients)" in done.stdout
    assert "what its columns mean" in done.stdout and len(BLOCKS) == 17
