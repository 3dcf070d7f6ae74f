"""Formats declared in TOML: the grammar of a map, its checks, and where maps are found. See `docs/formats.md`.

Built-in maps are in `sources/formats`; a user's own, `formats/*.toml` in the working folder, override those of the
same name.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from trackkit import schema, toml
from trackkit.errors import RequestError, did_you_mean
from trackkit.project import local_folder
from trackkit.sources.feeds.json_paths import alternatives
from trackkit.sources.table_formats import BUILT_IN, LOCAL, Name, Zone, is_table_format, read_table_format
from trackkit.toml import Strict

Engine = Literal["json", "table", "access_log"]
EventType = Literal[schema.EVENT_TYPES]  # type: ignore[valid-type]
BounceClass = Literal[schema.BOUNCE_CLASSES]  # type: ignore[valid-type]


def _paths(text: str) -> str:
    try:
        alternatives(text)
    except RequestError as error:
        raise ValueError(str(error)) from None
    return text


def _pattern(text: str) -> str:
    try:
        pl.Series([""]).str.contains(text)
    except pl.exceptions.ComputeError as error:
        raise ValueError(f"{text!r} is no regular expression: {str(error).splitlines()[0]}") from None
    return text


def _status(text: str) -> str:
    if not re.fullmatch(r"[1-5](?:[0-9]{2}|xx)", text):
        raise ValueError(f"{text[:100]!r} is no status; write one as '302', or all of a kind as '3xx'")
    return text


def _before(parts: str | list[str]) -> str | list[str]:
    if isinstance(parts, str):
        if parts != "any":
            raise ValueError(f"{parts[:100]!r} is not known; write 'any', or list parts, as ['shop', 'index.php']")
        return parts
    if wrong := next((part for part in parts if re.search(r"[/?#\s]|^$", part)), None):
        raise ValueError(f"{wrong[:100]!r} is no part of a path; write it without '/', as 'index.php'")
    return parts


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _reading(value: Any) -> Any:
    return {"of": value} if isinstance(value, str) else value


Paths = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_paths)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Status = Annotated[str, AfterValidator(_status)]
Before = Annotated[str | list[str], AfterValidator(_before)]
Condition = dict[Paths, str | list[str] | bool]


class FeedMarks(Strict):
    """How records are recognised: all of `all`, one of `any` and none of `none` have a value."""

    all: list[Paths] = []
    any: list[Paths] = []
    none: list[Paths] = []
    words: list[str] = []  # words of this sender alone: a record with one needs none of `any`
    files: list[Name] = []  # tables: file names that count as one of `any`; `^.file` is the name
    because: str = ""


class Recipients(Strict):
    """A list in the record, each element of which is an event, unless `unless` has a value."""

    of: Paths
    unless: Paths | None = None


class Reading(Strict):
    """How the text of a column is read: its path, changes to it, and conditions."""

    of: Paths
    until: str = ""  # cut off from the first of these characters on
    without: str = ""  # characters stripped from both ends
    prefix: str = ""  # a text put in front
    nothing: list[str] = []  # texts that mean no value, such as 0 for a key
    hexadecimal: bool = False
    # Further values, appended with colons; if one is missing, there is no value.
    joined: Annotated[list[Paths], BeforeValidator(_listed)] = []
    # Forms of an instant that is neither ISO nor seconds, such as `%m/%d/%Y %I:%M:%S %p`.
    written: Annotated[list[str], BeforeValidator(_listed)] = []
    when: Condition = {}  # read only where this holds
    unless: list[Condition] = []  # not read where one of these holds
    with_address: Paths | None = None  # if this has a value, recipients share the id: the address is appended
    words: dict[str, str] = {}

    def values(self) -> list[str]:
        """Return the paths whose texts are in the column."""
        return [single for written in (self.of, *self.joined) for single in alternatives(written)]

    def used(self) -> list[str]:
        """Return all paths that are read, conditions included."""
        conditions = [path for condition in (self.when, *self.unless) for path in condition]
        return [self.of, *([self.with_address] if self.with_address else []), *self.joined, *conditions]


Read = Annotated[Reading, BeforeValidator(_reading)]
MayRead = Annotated[Reading | None, BeforeValidator(_reading)]


class Columns(Strict):
    """Columns of `event` read directly from records."""

    occurred_at: MayRead = None
    delivery_id: MayRead = None
    message_id: MayRead = None
    vendor_id: MayRead = None
    address: MayRead = None
    recipient_id: MayRead = None
    person_id: MayRead = None
    link_id: MayRead = None
    message_format: MayRead = None
    user_agent: MayRead = None
    ip: MayRead = None
    bounce_reason: MayRead = None
    diagnostic: MayRead = None
    smtp_status: MayRead = None
    is_machine: MayRead = None
    machine_reason: MayRead = None
    is_first: MayRead = None
    link_position: MayRead = None
    tags: MayRead = None


class LinkColumns(Strict):
    """What an event says about the clicked link."""

    url: MayRead = None
    label: MayRead = None


class DeliveryColumns(Strict):
    """What an event says about its delivery."""

    label: MayRead = None
    subject: MayRead = None
    campaign_id: MayRead = None


class CampaignColumns(Strict):
    """What an event says about the campaign of its delivery."""

    label: MayRead = None


class Rule(Strict):
    """Values of an event under conditions on the record; for each column the first matching rule wins."""

    when: Condition = Field(min_length=1)
    event_type: EventType | None = None
    bounce_class: BounceClass | None = None
    is_machine: bool | None = None
    machine_reason: str | None = None
    is_first: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Rule":
        if not self.assigned():
            raise ValueError("the rule says nothing; give it an event_type, a bounce_class, is_machine or is_first")
        return self

    def assigned(self) -> dict[str, Any]:
        """Return the values that the rule assigns, by column."""
        return {name: value for name, value in self if name != "when" and value is not None}


class Hit(Strict):
    """A request of an access log that counts: a pattern of its path with named groups, and its word."""

    path: Pattern
    word: str
    before: Before = []  # parts that may precede the path, any number of them; or `any`
    methods: list[Method] = Field(["GET"], min_length=1)  # HEAD requests are from scanners
    statuses: list[Status] = Field(["2xx", "3xx"], min_length=1)
    nothing: list[str] = []  # texts of named groups that mean no value

    @property
    def pattern(self) -> str:
        """The regular expression of the full path."""
        if not self.path.startswith("^") or not self.before:
            return self.path
        escaped = [] if isinstance(self.before, str) else [re.escape(part) for part in self.before]
        parts = rf"(?:/+(?:{'|'.join(escaped)}))*/*" if escaped else r"(?:/[^?#]*)?"
        return f"^{parts}(?:{self.path[1:]})"


class Sibling(Strict):
    """A table of deliveries or recipients that accompanies the events, recognised by its name."""

    table: Literal["delivery", "recipient"]
    files: list[Name] = Field(min_length=1)
    columns: dict[str, Paths]

    @model_validator(mode="after")
    def _names_its_key(self) -> "Sibling":
        known = schema.TABLES[self.table].sourced
        for name in self.columns:
            if name not in known:
                raise ValueError(f"there is no column {name!r} of {self.table}.{did_you_mean(name, known)}")
        if (key := schema.TABLES[self.table].key[0]) not in self.columns:
            raise ValueError(f"'columns' names no {key}, by which the events find their {self.table}")
        return self


class Extension(Strict):
    """A table with further columns of the events of another, joined on the columns `by`."""

    files: list[Name] = Field(min_length=1)
    by: list[Paths] = Field(min_length=1)  # of these, the ones that both tables have


class Referred(Strict):
    """An element of a list outside the record, which names it by its `id`; `^.<name>` is the element."""

    name: Name
    of: str  # the list's name
    by: Paths


class Feed(Strict):
    """A format: how it is recognised, where its records are, and what their values mean."""

    name: Name
    what: str
    engine: Engine
    also: list[Literal["json"]] = []  # a table map that also reads JSON records with the same names
    source: str = ""  # the vendor's page that documents it
    zone: Zone | None = None
    recognise: FeedMarks
    collapse_seconds: int = Field(0, ge=0, le=86_400)  # repeated opens within them count once
    unwrap: list[Paths] = []
    ping: Condition = {}  # a record that is no event
    skip: list[Condition] = []  # records about other things than messages sent, such as incoming mail
    delivered: Literal["sent", ""] = (
        ""  # sent: there are no events of delivery; what was sent and did not bounce is delivered
    )
    referred: list[Referred] = []
    recipients: Recipients | None = None
    word: list[Read] = Field(min_length=1)
    words: dict[str, EventType | Literal["by_link"]] = {}  # by_link: by the type of the link
    columns: Columns
    link: LinkColumns = LinkColumns()
    delivery: DeliveryColumns = DeliveryColumns()
    campaign: CampaignColumns = CampaignColumns()  # which holds several deliveries; not what we call a delivery
    attributes: list[Paths] = []
    rule: list[Rule] = []
    sibling: list[Sibling] = []  # tables: those that come with the events
    extension: Extension | None = None  # tables: one with further columns of the events
    hit: list[Hit] = []  # access logs: the requests that count

    @model_validator(mode="after")
    def _fits_its_engine(self) -> "Feed":
        if self.engine == "access_log" and not self.hit:
            raise ValueError("an access log needs 'hit', the requests that count")
        if self.engine != "access_log" and not (self.recognise.all or self.recognise.any):
            raise ValueError("'recognise' names nothing; give it 'all' or 'any', paths that every record has")
        return self

    @property
    def recognised(self) -> str:
        """How a file of the format is recognised, in words."""
        return self.recognise.because or f"records with {', '.join(self.recognise.all)}"

    def used(self) -> list[str]:
        """Return all paths that events are made from, except tags and attributes."""
        paths = [*self.ping, *(path for condition in self.skip for path in condition)]
        paths += self.extension.by if self.extension else []
        paths += [path for condition in (*self.word, *self.readings().values()) for path in condition.used()]
        paths += [path for rule in self.rule for path in rule.when]
        return list(dict.fromkeys(single for path in paths for single in alternatives(path)))

    def readings(self) -> dict[str, Reading]:
        """Return the readings by canonical column, `table.column` for other tables than `event`."""
        tables = {"": self.columns, "link.": self.link, "delivery.": self.delivery, "campaign.": self.campaign}
        return {f"{table}{name}": reading for table, columns in tables.items() for name, reading in columns if reading}


def read_feed(path: Path) -> Feed:
    """Return the map of a TOML file; RequestError names the file, the key and the nearest valid word."""
    return toml.read(path, Feed)


@cache
def _built_in() -> dict[str, Feed]:
    return {path.stem: read_feed(path) for path in sorted(BUILT_IN.glob("*.toml")) if not is_table_format(path)}


def local_maps(folder: Path | None = None) -> list[Path]:
    """Return the maps of a folder, of the project by default: of none outside a project."""
    place = folder or local_folder()
    return sorted((place / LOCAL).glob("*.toml")) if place else []


def maps_behind(format: str) -> list[Path]:
    """Return the user's maps that a load of this format depends on: when they change, files are read again."""
    return [path for path in (Path(format),) if path.suffix == ".toml" and path.is_file()] or local_maps()


def all_feeds() -> dict[str, Feed]:
    """Return all maps by name; those of the project override built-in ones.

    >>> all_feeds()["sendgrid"].engine
    'json'
    """
    local = {feed.name: feed for feed in (read_feed(path) for path in local_maps() if not is_table_format(path))}
    return local | {name: feed for name, feed in _built_in().items() if name not in local}


def can_tell(format: str) -> frozenset[str] | None:
    """Return the event types that a format's map has words for; None without a map, or if it uses types of links.

    >>> "complained" in can_tell("sendgrid"), "complained" in can_tell("postal"), can_tell("adobe_export")
    (True, False, None)
    """
    feed = all_feeds().get(format)
    if feed is None or "by_link" in feed.words.values():
        return None
    return frozenset({*feed.words.values(), *(rule.event_type for rule in feed.rule if rule.event_type)})


def check_maps(folder: Path | None = None) -> list[str]:
    """Return what is wrong with the maps in `formats` of a folder, the project by default."""
    problems = []
    for path in local_maps(folder):
        try:
            read_table_format(path) if is_table_format(path) else read_feed(path)
        except RequestError as error:
            problems.append(str(error))
    return problems
