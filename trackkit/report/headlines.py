"""Which figures stand on the index: `reports_templates/index.toml`, which analysts edit."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from trackkit import resources, toml
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import say, translatable
from trackkit.metrics import METRICS
from trackkit.report.template import Words
from trackkit.show.cells import RATES, label_of
from trackkit.toml import Strict

LIST = "reports_templates/index.toml"
MOST_TILES, MOST_COLUMNS = 3, 6  # what a row has room for
SHORT = translatable(
    {
        "delivery_rate": "Delivered",
        "open_rate": "Opened",
        "recipient_click_rate": "Clicked",
        "click_to_open_rate": "Clicked of opened",
    }
)


def _rate(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"there is no metric {name!r}.{did_you_mean(name, RATES)}")
    if name not in RATES:
        raise ValueError(f"{name!r} is no rate: the index compares rates alone")
    return name


class Headline(Strict):
    """A rate and its name on the index, by default a short one of ours or that of the metric."""

    metric: Annotated[str, AfterValidator(_rate)]
    label: Words | None = None

    def name(self, lang: str) -> str:
        """Return its heading in a language."""
        return self.label or (say(SHORT[self.metric], lang) if self.metric in SHORT else label_of(self.metric, lang))


def _each_once(listed: list[Headline]) -> list[Headline]:
    names = [each.metric for each in listed]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} stands there twice")
    return listed


class Headlines(Strict):
    """The figures of the last days beside the number of deliveries, and the columns of the table of deliveries."""

    tile: Annotated[list[Headline], Field(max_length=MOST_TILES), AfterValidator(_each_once)]
    column: Annotated[list[Headline], Field(min_length=1, max_length=MOST_COLUMNS), AfterValidator(_each_once)]


def headlines(lang: str = "en") -> Headlines:
    """Return the figures of the index, the local copy before the shipped one; RequestError names the key at fault.

    >>> [column.name("en") for column in headlines().column]
    ['Delivered', 'Opened', 'Clicked', 'Clicked of opened']
    """
    parsed, problems = toml.parse(resources.find(LIST), Headlines, {"say": lambda text: say(text, lang)})
    if parsed is None:
        raise RequestError(str(problems[0]))
    return parsed


def labels_of(path: Path) -> list[str]:
    """Return the labels of a file, for the catalogues."""
    parsed, _ = toml.parse(path, Headlines)
    return [each.label for each in [*parsed.tile, *parsed.column] if each.label] if parsed else []
