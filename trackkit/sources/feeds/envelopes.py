"""Envelopes: what stands around the records of a feed, as SNS and webhooks wrap them, opened step by step."""

from collections.abc import Iterator
from typing import Any

from trackkit.sources.feeds import framing
from trackkit.sources.feeds.paths import RECORD, Path, follow


def opened(record: Any, steps: list[Path], envelope: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield the records inside a record, each with its envelope: all that stood around it, the innermost first.

    >>> from trackkit.sources.feeds.paths import path
    >>> list(opened({"id": 1, "items": [{"a": 1}, {"a": 2}]}, [path("items[]")]))
    [({'a': 1}, {'id': 1, 'items': [{'a': 1}, {'a': 2}]}), ({'a': 2}, {'id': 1, 'items': [{'a': 1}, {'a': 2}]})]
    """
    for place, step in enumerate(steps):
        inner = _inside(record, step)
        if inner is None:
            continue
        envelope = {**(envelope or {}), **record}
        if step.explodes:
            for one in inner:
                yield from opened(one, steps[place + 1 :], envelope)
            return
        record = inner
    yield record, envelope


def _inside(record: Any, step: Path) -> Any:
    """Return what a step leads to: an object, or a list where it explodes, also as JSON text; None for neither."""
    if type(record) is not dict or step.steps[0] not in record:
        return None
    value = follow(record, step)
    if value is None and step.steps[-1] == "*":
        return {} if follow(record, Path("", RECORD, step.steps[:-1])) == {} else None
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = framing.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list if step.explodes else dict) else None
