"""Whose definitions: which registered metric each sender's words mean, and where that is written.

A set is a TOML. Those of this folder are chosen by name, one of the user's by its path; a set can choose and name, it
can never compute. `adobe` is the default: there, words are the registry's own names.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from trackkit import toml
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import translatable
from trackkit.metrics import METRICS, lineage
from trackkit.toml import Problem, Strict

FOLDER = Path(__file__).parent
# What is asked of a delivery under each set, each a word of the sets: with the platform's metrics that answer it.
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "open_rate": ("open_rate",),
    "click_rate": ("recipient_click_rate", "click_rate"),
    "click_to_open_rate": ("click_to_open_rate",),
    "bounce_rate": ("failure_rate",),
    "unsubscribe_rate": ("recipient_unsubscribe_rate", "unsubscribe_rate"),
    "complaint_rate": ("complaint_rate",),
    "delivery_rate": ("delivery_rate",),
}
QUESTION_LABELS = translatable(
    {
        "open_rate": "Open rate",
        "click_rate": "Click rate",
        "click_to_open_rate": "Click-to-open rate",
        "bounce_rate": "Bounce rate of messages",
        "unsubscribe_rate": "Unsubscribe rate",
        "complaint_rate": "Complaint rate",
        "delivery_rate": "Delivery rate",
    }
)
NOT_DEFINED = translatable("this set does not define it")


def _metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"there is no metric {name!r}.{did_you_mean(name, METRICS)}")
    return name


def _kept(text: str, info: ValidationInfo) -> str:
    """Hand a sentence to who collects those to translate."""
    return info.context["say"](text) if info.context else text


_Text = StringConstraints(min_length=1, max_length=400)
Text = Annotated[str, _Text]
Sentence = Annotated[str, _Text, AfterValidator(_kept)]  # translated where it is shown
WordName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class Word(Strict):
    """What a word of a sender means: a registered metric under the sender's label, or why these data cannot tell it."""

    model_config = ConfigDict(strict=True)

    metric: Annotated[str, AfterValidator(_metric)] | None = None
    label: Text | None = None  # the sender's own, in the sender's language
    source: Text | None = None
    tag: Literal["R", "S", "K"] | None = None  # read, seen as an excerpt, or background knowledge to be checked
    note: Sentence | None = None
    why: Sentence | None = None

    @model_validator(mode="after")
    def _metric_or_reason(self) -> "Word":
        if (self.metric is None) is (self.why is None):
            raise ValueError("a word has either a metric, or why there is none")
        return self


class DefinitionSet(Strict):
    """The words of a sender."""

    model_config = ConfigDict(strict=True)

    label: Text
    about: Sentence | None = None
    words: dict[WordName, Word] = Field(min_length=1)

    @model_validator(mode="after")
    def _parts_are_told_apart(self) -> "DefinitionSet":
        """A part of a rate is called by its word, else by its registered name, which then is no other word."""
        for word, meaning in self.words.items():
            for part in lineage(meaning.metric)[:-1] if meaning.metric else ():
                if self.name_of(part) == part and part in self.words and self.words[part].metric != part:
                    raise ValueError(f"{word!r} is made of the metric {part!r}, which is another word here: name it")
        return self

    def name_of(self, metric: str) -> str:
        """Return the word that means a metric, else the metric's own name."""
        return next((word for word, meaning in self.words.items() if meaning.metric == metric), metric)

    def require(self, words: str | Sequence[str]) -> list[str]:
        """Return the words asked for; RequestError, with the nearest, for one that the set does not have."""
        asked = [words] if isinstance(words, str) else list(words)
        for word in asked:
            if word not in self.words:
                raise RequestError(f"{self.label} has no word {word!r}.{did_you_mean(word, self.words)}")
        return asked

    def in_place_of(self, metric: str) -> Word | None:
        """Return the set's answer to the question that a metric of the platform answers; None if it answers none."""
        word = next((question for question, metrics in QUESTIONS.items() if metric in metrics), "")
        return self.words.get(word)


@cache
def shipped() -> dict[str, Path]:
    """Return the sets of the package, the default first: name -> file.

    >>> list(shipped())
    ['adobe', 'mailchimp', 'salesforce', 'sendgrid', 'sparkpost']
    """
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


class Sets(Collection[str]):
    """What a parameter `definitions` takes, for `trackkit check`: the name of a set, or the path of a TOML."""

    def __contains__(self, name: object) -> bool:
        return name in shipped() or str(name).endswith(".toml")

    def __iter__(self) -> Iterator[str]:
        return iter(shipped())

    def __len__(self) -> int:
        return len(shipped())


SETS = Sets()


def definition_set(name: str) -> DefinitionSet:
    """Return a set by its name, or the user's by the path of its TOML, which ends in `.toml`.

    Raises RequestError for an unknown name, and naming file, key and the nearest word for a file that is not in order.

    >>> definition_set("sendgrid").words["open_rate"].metric
    'displayed_open_rate'
    """
    return toml.read(path_of(name), DefinitionSet)


def path_of(name: str) -> Path:
    """Return the file of a set; RequestError for a name that is no set and does not end in `.toml`."""
    if name in shipped():
        return shipped()[name]
    if not name.endswith(".toml"):
        hint = f"{did_you_mean(name, shipped())} Or give the path of a TOML."
        raise RequestError(f"There is no definition set {name!r}.{hint}")
    return Path(name)


def sentences_of(path: Path) -> list[str]:
    """Return the sentences of a set that readers see, to be translated."""
    sentences: list[str] = []

    def keep(text: str) -> str:
        sentences.append(text)
        return text

    toml.parse(path, DefinitionSet, {"say": keep})
    return sentences


def check(folder: Path | None = None) -> list[Problem]:
    """Return the problems of the sets in `definition_sets/` of a folder (by default the working folder)."""
    files = sorted(Path(folder or "", "definition_sets").glob("*.toml"))
    return [problem for path in files for problem in toml.parse(path, DefinitionSet)[1]]
