"""An analyst's template: a TOML per report that chooses, orders and words its sections. It cannot define formulas."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from trackkit import resources, toml
from trackkit.definition_sets import DefinitionSet, definition_set
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import holes, require_language, say
from trackkit.metrics import ADOBE, METRICS
from trackkit.report import notebook
from trackkit.report.conditions import conditions
from trackkit.report.prose import require_links
from trackkit.schema import MESSAGE_TYPES
from trackkit.toml import Problem, Strict

if TYPE_CHECKING:
    from nbformat import NotebookNode

TEMPLATES = "reports_templates"
SKIN = f"{TEMPLATES}/html"  # the page around a report, and the index
Values = TypeVar("Values", list[Any], dict[str, Any])
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


def _in_language(text: str, info: ValidationInfo) -> str:
    """Translate words while they are read, if the context has a `say`."""
    return info.context["say"](text) if info.context else text


def _distinct(values: Values) -> Values:
    """Refuse duplicates, and two things under one label: a reader could not tell them apart."""
    listed = list(values.values() if isinstance(values, dict) else values)
    for value in listed:
        if listed.count(value) > 1:
            raise ValueError(f"{value!r} stands there twice")
    return values


# Translated, since readers see it; every other text of a template is a name.
Words = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_in_language)]
# With links and bold; a translation of it is as strict.
Prose = Annotated[
    str,
    StringConstraints(max_length=4_000),
    AfterValidator(require_links),
    AfterValidator(_in_language),
    AfterValidator(require_links),
]


def _knows(*names: str) -> Callable[[str], str]:
    """A check that a sentence has no other placeholders than these."""

    def check(text: str) -> str:
        for name in sorted(holes(text) - set(names)):
            raise ValueError(f"there is no placeholder {name!r} here.{did_you_mean(name, names)}")
        return text

    return check


def _metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(f"there is no metric {name!r}.{did_you_mean(name, METRICS)}")
    return name


def _report(name: str) -> str:
    reports = resources.files(notebook.NOTEBOOKS, "*.ipynb")
    if name not in reports:
        raise ValueError(f"there is no report {name!r}.{did_you_mean(name, reports)}")
    return name


_LENGTH, _TRANSLATED = StringConstraints(min_length=1, max_length=400), AfterValidator(_in_language)
# Sentences, by the placeholders that they may have.
Plainly = Annotated[str, _LENGTH, AfterValidator(_knows()), _TRANSLATED] | None
OfReading = Annotated[str, _LENGTH, AfterValidator(_knows("opened", "clicked")), _TRANSLATED] | None
OfPart = Annotated[str, _LENGTH, AfterValidator(_knows("part")), _TRANSLATED] | None
OfCount = Annotated[str, _LENGTH, AfterValidator(_knows("count")), _TRANSLATED] | None
OfReach = Annotated[str, _LENGTH, AfterValidator(_knows("messages", "people")), _TRANSLATED] | None
OfReason = Annotated[str, _LENGTH, AfterValidator(_knows("why")), _TRANSLATED] | None
OfTime = Annotated[str, _LENGTH, AfterValidator(_knows("time")), _TRANSLATED] | None
OfProgress = (
    Annotated[str, _LENGTH, AfterValidator(_knows("processed", "to_deliver", "share", "end")), _TRANSLATED] | None
)
OfOverdue = (
    Annotated[
        str,
        _LENGTH,
        AfterValidator(_knows("processed", "to_deliver", "share", "last", "deadline", "pending")),
        _TRANSLATED,
    ]
    | None
)
OfLimit = Annotated[str, _LENGTH, AfterValidator(_knows("name", "rate", "parts", "limit")), _TRANSLATED] | None
OfDistance = Annotated[str, _LENGTH, AfterValidator(_knows("rate", "parts", "median")), _TRANSLATED] | None
MetricName = Annotated[str, AfterValidator(_metric)]
ReportName = Annotated[str, AfterValidator(_report)]
Names = Annotated[list[str], Field(min_length=1, description="a list of names, each once"), AfterValidator(_distinct)]
Decimals = Annotated[int, Field(ge=0, le=4, description="a whole number from 0 to 4")]
Share = Annotated[float, Field(gt=0, le=1, description="a share above 0 and at most 1")]


class _WordedModel(Strict):
    """Types are strict: neither `true` nor "10" is a number."""

    model_config = ConfigDict(strict=True)


class ParameterChoice(_WordedModel):
    """An analyst's choice for a parameter of the notebook: its default, and the allowed values."""

    default: bool | int | float | str | None = None
    choices: Annotated[list[bool | int | float | str], AfterValidator(_distinct)] = []


class Together(_WordedModel):
    """What is said of opens and clicks, by how both compare with what is usual; `alone` if nothing compares."""

    more: OfReading = None
    usual: OfReading = None
    less: OfReading = None
    alone: OfReading = None


class Apart(_WordedModel):
    """What is said of opens or of clicks, where they compare differently, or one of them is unknown."""

    more: OfPart = None
    usual: OfPart = None
    less: OfPart = None
    alone: OfPart = None


class Lead(_WordedModel):
    """The first sentences of a delivery's page, each said where it applies; what has no sentence is not said."""

    not_sent: Plainly = None
    running: OfProgress = None
    running_until: OfProgress = None  # where the pace says when it will end
    paused: OfProgress = None
    overdue: OfOverdue = None  # where the deadline has passed with messages pending
    nobody: OfCount = None
    not_clicked: Plainly = None
    unseen: OfReason = None  # opens and clicks, for one reason
    opens_unseen: OfReason = None
    clicks_unseen: OfReason = None
    both: Together = Together()
    opened: Apart = Apart()
    clicked: Apart = Apart()
    few: OfCount = None
    several: OfReach = None  # of several deliveries: how many people they reached
    half_of_clicks: OfTime = None
    half_of_opens: OfTime = None
    look_at: Plainly = None


class Tile(_WordedModel):
    """A large figure: a metric, its short label, and which direction is good (by default the metric's own)."""

    metric: MetricName
    label: Words | None = None
    good: Literal["higher", "lower", "neither"] | None = None
    decimals: Decimals | None = None


class Look(_WordedModel):
    """What is worth a look: a metric beyond a limit in a mail domain, or not as usual; and where to look."""

    metric: MetricName
    report: ReportName
    ceiling: Share | None = None
    above: OfLimit = None
    floor: Share | None = None
    below: OfLimit = None
    higher: OfDistance = None
    lower: OfDistance = None


def _condition(text: str) -> str:
    conditions(text)
    return text


class Note(_WordedModel):
    """A paragraph of a section that stands there only while a condition holds on the figures of the whole page."""

    when: Annotated[str, AfterValidator(_condition)]
    text: Prose


class Section(_WordedModel):
    """One section of a report: its words, and its choices among those that the notebook offers."""

    name: Name
    title: Words
    text: Prose = ""
    width: Literal["full", "half"] = "full"
    show: Annotated[list[Literal["chart", "table"]], AfterValidator(_distinct)] = []
    folded: bool = False  # whether what it shows is behind a line to open; on paper it is open
    finding: bool = True  # whether what the notebook finds is the heading, with the title above it as its topic
    note: list[Note] = []
    as_platform: Prose = ""  # said where the page follows another definition set, which this section does not
    # Read by notebooks; each section of a notebook offers some of these.
    metrics: Names | None = None
    charted: Names | None = None
    columns: Names | None = None
    labels: Annotated[dict[str, Words], AfterValidator(_distinct)] = {}
    categories: Annotated[dict[str, Words], Field(min_length=1), AfterValidator(_distinct)] | None = None
    top: Annotated[int, Field(ge=1, le=1_000)] | None = None
    shares: Annotated[list[Share], Field(min_length=1), AfterValidator(_distinct)] | None = None
    chart: str | None = None
    days: Annotated[int, Field(ge=1, le=400)] | None = None
    lines: Annotated[int, Field(ge=5, le=400)] | None = None
    ceilings: dict[str, Share] | None = None
    floors: dict[str, Share] | None = None
    decimals: Decimals | None = None  # of rates, amounts and averages; by default as `wording.decimals_of`


OF_DELIVERIES = {"delivery", "deliveries", "scope"}  # parameters of reports about some deliveries
CHANNELS = {name: code for code, name in MESSAGE_TYPES.items()}
WISHES = {"labels", "floors", "decimals"}  # choices that no section needs
PAGE_OPTIONS = {"name", "title", "text", "width", "show", "folded", "finding", "note", "as_platform"}
OPTIONS = set(Section.model_fields) - PAGE_OPTIONS


def _channel(name: str) -> str:
    if name not in CHANNELS:
        raise ValueError(f"there is no channel {name!r}.{did_you_mean(name, CHANNELS)}")
    return name


class OfKind(_WordedModel):
    """What differs on the page of a delivery of one typology, one channel, or both."""

    typology: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    channel: Annotated[str, AfterValidator(_channel)] | None = None
    title: Words | None = None
    text: Prose | None = None
    sections: Names | None = None
    tiles: Annotated[list[MetricName], AfterValidator(_distinct)] | None = None
    titles: dict[str, Words] = {}

    @model_validator(mode="after")
    def _is_of_a_kind(self) -> "OfKind":
        if self.typology is None and self.channel is None:
            raise ValueError("a variant needs a `typology` or a `channel`")
        return self

    def fits(self, typology: str | None, message_type: int | None) -> bool:
        """Whether a delivery is of this kind."""
        is_of_channel = self.channel is None or CHANNELS[self.channel] == message_type
        return is_of_channel and self.typology in (None, typology)


class Template(_WordedModel):
    """The words and choices of one report; `template["links"]` is the section of that name."""

    title: Words
    text: Prose = ""
    interval: Annotated[float, Field(gt=0, lt=1, description="a confidence between 0 and 1, as 0.95")] | None = None
    parameters: dict[str, ParameterChoice] = {}
    lead: Lead = Lead()
    tile: Annotated[list[Tile], AfterValidator(_distinct)] = []
    look: list[Look] = []
    variant: list[OfKind] = []
    section: list[Section] = Field(min_length=1)

    def __getitem__(self, name: str) -> Section:
        """Return a section by name; RequestError when the template does not list it."""
        for section in self.section:
            if section.name == name:
                return section
        raise RequestError(f"The template lists no section {name!r}.{did_you_mean(name, self.names)}")

    @property
    def names(self) -> list[str]:
        """The names of the sections, in the analyst's order."""
        return [section.name for section in self.section]

    def of_kind(self, typology: str | None, message_type: int | None) -> "Template":
        """Return the template of a delivery: with what the first variant that fits says otherwise."""
        chosen = next((each for each in self.variant if each.fits(typology, message_type)), None)
        if chosen is None:
            return self
        sections = self.section if chosen.sections is None else [self[name] for name in chosen.sections]
        tiles = {tile.metric: tile for tile in self.tile}
        named = [tiles.get(metric) or Tile(metric=metric) for metric in chosen.tiles or []]
        changed = {
            "title": chosen.title or self.title,
            "text": self.text if chosen.text is None else chosen.text,
            "tile": self.tile if chosen.tiles is None else named,
            "section": [
                section.model_copy(update={"title": chosen.titles.get(section.name, section.title)})
                for section in sections
            ],
        }
        return self.model_copy(update=changed)

    @property
    def asked(self) -> list[str]:
        """The metrics that conditions of paragraphs ask about, each once."""
        notes = [note for section in self.section for note in section.note]
        return list(dict.fromkeys(each.metric for note in notes for each in conditions(note.when)))


def template(report: str, lang: str = "en") -> Template:
    """Return the template of a report; RequestError naming file, section, key and the nearest valid word.

    The local copy in `reports_templates/` wins over the shipped one. `lang` is the language of its words, in English
    where the catalogue has none. RequestError also for an unknown language.

    >>> template("tracking_indicators").title, template("tracking_indicators", "pt_BR").title
    ('Tracking indicators', 'Indicadores de rastreamento')
    """
    require_language(lang)
    path = resources.find(f"{TEMPLATES}/{report}.toml")
    parsed, problems = toml.parse(path, Template, {"say": lambda text: say(text, lang)})
    if parsed:
        problems = misfits(parsed, path)
    if problems or not parsed:
        raise RequestError(str(problems[0]))
    return parsed


def by_definitions(words: Template, definitions: str) -> Template:
    """Return a template whose rates are those of a definition set, under the sender's labels; the default's as it is.

    A rate that the set does not define is left out, unless nothing else is listed with it.
    """
    if definitions == ADOBE:
        return words
    chosen = definition_set(definitions)
    tiles = [_tile_by(chosen, tile) for tile in words.tile if _kept_by(chosen, [tile.metric])]
    looks = [
        look.model_copy(update={"metric": _meant_by(chosen, look.metric)})
        for look in words.look
        if _kept_by(chosen, [look.metric])
    ]
    sections = [_section_by(chosen, section) for section in words.section]
    return words.model_copy(update={"tile": tiles, "look": looks, "section": sections})


def _kept_by(chosen: DefinitionSet, metrics: list[str]) -> list[str]:
    """The metrics that a set does not leave undefined."""
    return [name for name in metrics if not (word := chosen.in_place_of(name)) or word.metric]


def _meant_by(chosen: DefinitionSet, metric: str) -> str:
    word = chosen.in_place_of(metric)
    return (word.metric if word else None) or metric


def _tile_by(chosen: DefinitionSet, tile: Tile) -> Tile:
    word = chosen.in_place_of(tile.metric)
    return tile.model_copy(update={"metric": word.metric, "label": word.label or tile.label}) if word else tile


def _same_in(chosen: DefinitionSet, note: Note) -> bool:
    """Whether a set defines the metrics of a condition as the platform does, for whose figures its number is meant."""
    return all(chosen.in_place_of(each.metric) is None for each in conditions(note.when))


def _section_by(chosen: DefinitionSet, section: Section) -> Section:
    changed: dict[str, Any] = {}
    for key in ("metrics", "charted"):
        if names := getattr(section, key):
            changed[key] = list(dict.fromkeys(_meant_by(chosen, name) for name in _kept_by(chosen, names) or names))
    words = [word for name in section.metrics or [] if (word := chosen.in_place_of(name)) and word.metric]
    changed["labels"] = section.labels | {str(word.metric): word.label for word in words if word.label}
    for key in ("ceilings", "floors"):
        if limits := getattr(section, key):
            changed[key] = {_meant_by(chosen, name): limit for name, limit in limits.items()}
    changed["note"] = [note for note in section.note if _same_in(chosen, note)]
    if any(_meant_by(chosen, name) != name for name in section.metrics or []):
        changed["text"] = ""  # it may speak of the platform's definitions
    if section.as_platform:
        changed["text"] = " ".join(filter(None, [section.text, section.as_platform]))
    return section.model_copy(update=changed)


def words_of(path: Path) -> tuple[list[str], list[str]]:
    """Return the sentences of a template that readers see, and the columns that it chooses."""
    sentences: list[str] = []

    def keep(text: str) -> str:
        sentences.append(text)
        return text

    parsed, _ = toml.parse(path, Template, {"say": keep})
    return sentences, [column for section in (parsed.section if parsed else []) for column in section.columns or []]


def misfits(
    parsed: Template, path: Path, notebook_path: Path | None = None, book: "NotebookNode | None" = None
) -> list[Problem]:
    """Compare a template with its notebook: unknown or repeated names, and options that it lacks."""
    try:
        notebook_path = notebook_path or resources.find(f"{notebook.NOTEBOOKS}/{path.stem}.ipynb")
        book = book or notebook.read(notebook_path)
        used, declared = notebook.options_used(book, notebook_path), notebook.parameters(book, notebook_path)
    except RequestError as error:
        return [Problem(str(path), "", "", f"its notebook cannot be read: {error}")]
    names = [parameter.name for parameter in declared]
    repeated = sorted({name for name in parsed.names if parsed.names.count(name) > 1})
    problems = [Problem(str(path), name, "name", "this section is listed twice.") for name in repeated]
    problems += [
        Problem(str(path), "", f"parameters.{name}", f"there is no such parameter.{did_you_mean(name, names)}")
        for name in parsed.parameters
        if name not in names
    ]
    problems += [Problem(str(path), *problem) for problem in _unanswerable(parsed, names)]
    problems += [
        Problem(str(path), "", f"variant.{key}", f"there is no section {name!r}.{did_you_mean(name, parsed.names)}")
        for variant in parsed.variant
        for key in ("sections", "titles")
        for name in getattr(variant, key) or []
        if name not in parsed.names
    ]
    if parsed.variant and "delivery" not in names:
        problems.append(Problem(str(path), "", "variant", "this report is not about one delivery."))
    if parsed.interval and not _shows_intervals(parsed, book):
        problems.append(Problem(str(path), "", "interval", "no figure of this report has one."))
    for section in parsed.section:
        problems += [Problem(str(path), section.name, key, text) for key, text in _section_misfits(section, used)]
    return problems


def _unanswerable(parsed: Template, parameters: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield conditions in a report that is not about deliveries, and limits of figures that no section measures."""
    if "recipient" in parameters or not OF_DELIVERIES.intersection(parameters):
        for section in parsed.section:
            if section.note:
                yield section.name, "note", "a condition is on figures of deliveries, which this report is not about."
    measured = {name for section in parsed.section for name in section.metrics or []}
    for look in parsed.look:
        if look.floor and look.metric not in measured:
            yield (
                "",
                "look.floor",
                f"{look.metric!r} is not among the metrics of a section, which are measured by domain.",
            )
        if bool(look.floor) is not bool(look.below):
            yield "", "look.floor", "a `floor` needs the sentence `below`, and `below` a `floor`."


def _shows_intervals(parsed: Template, book: "NotebookNode") -> bool:
    """Whether a cell measures with `page.interval`, or shows tiles of which one has an interval."""
    cells = [cell.source for cell in notebook.code_cells(book)]
    has_tile = any(METRICS[tile.metric].interval for tile in parsed.tile)
    return any("page.interval" in cell or (has_tile and "tk.tiles.row(page" in cell) for cell in cells)


def _section_misfits(section: Section, used: dict[str, set[str]]) -> list[tuple[str, str]]:
    if section.name not in used:
        return [("name", f"the notebook has no such section.{did_you_mean(section.name, used)}")]
    offered = used[section.name] & OPTIONS
    chosen = section.model_fields_set & OPTIONS
    problems = [
        (key, f"this section does not offer it; it offers: {', '.join(sorted(offered)) or 'nothing'}.")
        for key in sorted(chosen - offered)
    ]
    problems += [(key, "this section needs it.") for key in sorted(offered - chosen - WISHES)]
    problems += [
        (key, f"there is no metric {name!r}.{did_you_mean(name, METRICS)}")
        for key in ("metrics", "charted", "ceilings", "floors")
        for name in getattr(section, key) or []
        if name not in METRICS
    ]
    uncharted = [name for name in section.charted or [] if name in METRICS and name not in (section.metrics or [])]
    return problems + [("charted", f"{name!r} is not among the metrics of this section.") for name in uncharted]
