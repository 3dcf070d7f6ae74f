"""Examples in docstrings may name `store`, the small demo's, `delivery`, its delivery with the most hits, and `tk`."""

from typing import Any

import pytest
from _pytest.doctest import DoctestItem

from tests.conftest import delivery, demo_raw, demo_store, once

__all__ = ["delivery", "demo_raw", "demo_store", "once"]  # fixtures, here for modules outside of tests/


@pytest.fixture(autouse=True)
def _names_of_examples(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """Make the store for the first example that names it, since that takes seconds."""
    if not isinstance(request.node, DoctestItem) or "store" in doctest_namespace:
        return
    sources = [example.source for example in request.node.dtest.examples]
    names = {name for source in sources for name in compile(source, "<example>", "single").co_names}
    if names & {"store", "delivery", "tk"}:
        import trackkit as tk

        store = tk.open_store(request.getfixturevalue("demo_store"))
        doctest_namespace |= {"tk": tk, "store": store, "delivery": request.getfixturevalue("delivery")}
