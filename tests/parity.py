"""The instance of tests/cases/parity, with the files of one of its variants in the place of its own."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

Row = dict[str, str]
CASES = Path(__file__).parent / "cases" / "parity"


def instance(folder: Path, variant: str = "") -> Path:
    """Write the instance to a folder, and return it."""
    shutil.copytree(CASES / "instance", folder)
    for path in (CASES / variant).glob("*.csv") if variant else ():
        shutil.copy(path, folder)
    return folder


def changed(path: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    """Write a table again with other rows."""
    with path.open(newline="", encoding="utf-8") as text:
        rows = change(list(csv.DictReader(text)))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
