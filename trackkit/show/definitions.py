"""What a metric means: a "?" beside its label, and the entries of the glossary that it leads to."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from trackkit.errors import RequestError, did_you_mean
from trackkit.language import say
from trackkit.metrics import METRICS, Difference, Metric, Ratio

_USED = re.compile(r'\bdata-metric="(\w+)"')


@dataclass(frozen=True)
class Entry:
    """A metric in the glossary: its name, and in the reader's language its label and definition."""

    name: str
    label: str
    definition: str
    formula: str
    reference: str


def mark(name: str, lang: str = "en", label: str = "") -> Markup:
    """Return a "?" to stand beside a metric's label: a link to its entry in the page's glossary.

    A page's script opens the entry beside it, under the `label` that stands there too, if that is not the metric's own.
    RequestError for an unknown metric.

    >>> mark("open_rate")
    Markup('<a class="tk-what" href="#what-open_rate" data-metric="open_rate" aria-label="What is Open rate...">?</a>')
    """
    metric = _metric(name)
    link = Markup('<a class="tk-what" href="#what-{0}" data-metric="{0}" aria-label="{1}" title="{2}"{3}>?</a>')
    own = say(metric.label, lang)
    called = Markup(' data-name="{}"').format(label) if label and label != own else ""
    question = say("What is {metric}?", lang, metric=label or own)
    return link.format(name, question, say(metric.definition, lang), called)


def marked(label: str, name: str, lang: str = "en") -> Markup:
    """Return a label with the "?" of its metric, which never stands alone on a line."""
    before, space, last = label.rpartition(" ")
    return Markup('{}{}<span class="tk-nowrap">{} {}</span>').format(before, space, last, mark(name, lang, label))


def entries(names: Iterable[str], lang: str = "en") -> list[Entry]:
    """Return the glossary's entries of these metrics, each once, by label.

    >>> [entry.label for entry in entries(["open_rate", "delivered", "open_rate"])]
    ['Open rate (recipients)', 'Success (without control addresses)']
    """
    known = (_metric(name) for name in set(names))
    listed = [
        Entry(each.name, say(each.label, lang), say(each.definition, lang), _formula(each, lang), _cited(each, lang))
        for each in known
    ]
    return sorted(listed, key=lambda entry: entry.label.casefold())


def _cited(metric: Metric, lang: str) -> str:
    """Where a definition comes from: the title of a document, which has one language, and how we differ from it."""
    return ", ".join(filter(None, [metric.reference, say(metric.differs, lang)]))


def _formula(metric: Metric, lang: str) -> str:
    """What a rate or a difference is made of, in words; empty for a count, whose definition says it."""
    sign = "/" if isinstance(metric.formula, Ratio) else "−" if isinstance(metric.formula, Difference) else ""
    return f" {sign} ".join(say(METRICS[part].label, lang) for part in metric.parents) if sign else ""


def used_in(html: str) -> list[str]:
    """Return the metrics whose marks stand in a piece of HTML.

    >>> used_in(mark("delivered") + mark("open_rate") + mark("delivered"))
    ['delivered', 'open_rate']
    """
    return [name for name in dict.fromkeys(_USED.findall(html)) if name in METRICS]


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise RequestError(f"There is no metric {name!r}.{did_you_mean(name, METRICS)}")
    return METRICS[name]
