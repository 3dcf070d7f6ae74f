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


class References:
    """Which elements of the lists around a record it names by their `id`; each list is gone through once.

    >>> from trackkit.sources.feeds.paths import path
    >>> beside = References([("metric", "included", path("metric_id"))])
    >>> beside.put({"metric_id": "7"}, {"included": [{"id": "7", "name": "Opened"}]})["metric"]
    {'id': '7', 'name': 'Opened'}
    """

    def __init__(self, referred: list[tuple[str, str, Path]]) -> None:
        self.referred = referred
        self.seen: dict[str, tuple[Any, dict[Any, Any]]] = {}

    def put(self, record: Any, envelope: Any) -> Any:
        """Return the envelope of a record with the elements that it names, each under its name."""
        if not self.referred or not envelope:
            return envelope
        ids = {name: follow(record, by) for name, _, by in self.referred}
        found = {name: self._elements(of, envelope.get(of)).get(ids[name])
                 for name, of, _ in self.referred if type(ids[name]) in (str, int)}  # fmt: skip
        return {**envelope, **found}

    def _elements(self, of: str, many: Any) -> dict[Any, Any]:
        if of not in self.seen or self.seen[of][0] is not many:
            some = [one for one in many if type(one) is dict] if type(many) is list else []
            self.seen[of] = many, {one["id"]: one for one in some if type(one.get("id")) in (str, int)}
        return self.seen[of][1]


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
