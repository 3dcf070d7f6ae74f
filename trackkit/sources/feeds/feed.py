"""Formats as data: the grammar of a map (TOML), its checks, and where maps are found. `docs/formats.md` explains it.

The maps of the package are in `sources/formats`; a user's own are `formats/*.toml` in the working folder,
and win over the package's where they have its name.
"""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from trackkit import schema, toml
from trackkit.errors import RequestError, did_you_mean
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


def _before(given: str | list[str]) -> str | list[str]:
    if isinstance(given, str):
        if given != "any":
            raise ValueError(f"{given[:100]!r} is not known; write 'any', or list parts, as ['shop', 'index.php']")
        return given
    if wrong := next((one for one in given if re.search(r"[/?#\s]|^$", one)), None):
        raise ValueError(f"{wrong[:100]!r} is no part of a path; write it without '/', as 'index.php'")
    return given


def _listed(value: Any) -> Any:
    """A single text is a list of one."""
    return [value] if isinstance(value, str) else value


def _reading(value: Any) -> Any:
    """A path alone is a reading of nothing but that path."""
    return {"of": value} if isinstance(value, str) else value


Paths = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_paths)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Status = Annotated[str, AfterValidator(_status)]
Before = Annotated[str | list[str], AfterValidator(_before)]
Condition = dict[Paths, str | list[str] | bool]


class FeedMarks(Strict):
    """What says that a record is of the format: all of `all`, one of `any`, none of `none` have a value."""

    all: list[Paths] = []
    any: list[Paths] = []
    none: list[Paths] = []
    words: list[str] = []  # words that only this sender has: a record whose word is one of them needs none of `any`
    files: list[Name] = []  # tables: names of files that stand for one of `any`; `^.file` is the one it has
    because: str = ""


class Recipients(Strict):
    """A list in the record, of which each element gives an event; `unless` has a value where the list tells nothing."""

    of: Paths
    unless: Paths | None = None


class Reading(Strict):
    """How the text of a column is read: where it lies, what is done to it, and when."""

    of: Paths
    until: str = ""  # what follows the first of these characters is left out
    without: str = ""  # these characters are taken off both ends
    prefix: str = ""  # a text put before
    nothing: list[str] = []  # texts that stand for no value, as 0 where a key is meant
    hexadecimal: bool = False
    # Further values, put after the first and a colon; without one there is none.
    joined: Annotated[list[Paths], BeforeValidator(_listed)] = []
    # An instant's forms, as `%m/%d/%Y %I:%M:%S %p`, where it is not ISO or seconds.
    written: Annotated[list[str], BeforeValidator(_listed)] = []
    when: Condition = {}  # read only where this holds
    unless: list[Condition] = []  # not read where one of these holds
    with_address: Paths | None = None  # where this has a value, the address is added: the id is shared by recipients
    words: dict[str, str] = {}

    def values(self) -> list[str]:
        """Return every single path whose text stands in the column."""
        return [single for written in (self.of, *self.joined) for single in alternatives(written)]

    def used(self) -> list[str]:
        """Return what is read of a record: the value, and all that bears on it."""
        conditions = [written for one in (self.when, *self.unless) for written in one]
        return [self.of, *([self.with_address] if self.with_address else []), *self.joined, *conditions]


Read = Annotated[Reading, BeforeValidator(_reading)]
MayRead = Annotated[Reading | None, BeforeValidator(_reading)]


class Columns(Strict):
    """Columns of `event` that are read as they are."""

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
    """What an event tells of the link that was clicked: its address and its label."""

    url: MayRead = None
    label: MayRead = None


class DeliveryColumns(Strict):
    """What an event tells of its delivery."""

    label: MayRead = None
    subject: MayRead = None


class Rule(Strict):
    """What holds of an event under conditions on the record; of several rules that say something, the first holds."""

    when: Condition = Field(min_length=1)
    event_type: EventType | None = None
    bounce_class: BounceClass | None = None
    is_machine: bool | None = None
    machine_reason: str | None = None
    is_first: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Rule":
        if not self.said():
            raise ValueError("the rule says nothing; give it an event_type, a bounce_class, is_machine or is_first")
        return self

    def said(self) -> dict[str, Any]:
        """Return what the rule says, by column."""
        return {name: value for name, value in self if name != "when" and value is not None}


class Hit(Strict):
    """A request of an access log that counts: its path, whose named groups are values, and the word for it."""

    path: Pattern
    word: str
    before: Before = []  # parts of a path that may stand before it, in any number; `any` for all
    methods: list[Method] = Field(["GET"], min_length=1)  # HEAD is how scanners look
    statuses: list[Status] = Field(["2xx", "3xx"], min_length=1)
    nothing: list[str] = []  # texts of named groups that stand for no value

    @property
    def pattern(self) -> str:
        """The regular expression of the whole path, what may stand before it included."""
        if not self.path.startswith("^") or not self.before:
            return self.path
        known = [] if isinstance(self.before, str) else [re.escape(one) for one in self.before]
        parts = rf"(?:/+(?:{'|'.join(known)}))*/*" if known else r"(?:/[^?#]*)?"
        return f"^{parts}(?:{self.path[1:]})"


class Sibling(Strict):
    """A table that comes with the events and tells of deliveries or recipients: read beside them, by its name."""

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
    """A table that holds further columns of the events of another: of the rows whose columns `by` have its values."""

    files: list[Name] = Field(min_length=1)
    by: list[Paths] = Field(min_length=1)  # those of them that both tables have


class Referred(Strict):
    """An element of a list around the records, which each record names by its `id`: `^.<name>` is the element."""

    name: Name
    of: str  # the list's name
    by: Paths


class Feed(Strict):
    """A format: how it is recognised, where its records lie, and what each value of a record means."""

    name: Name
    what: str
    engine: Engine
    also: list[Literal["json"]] = []  # a table map that reads JSON records of the same names too
    source: str = ""  # the vendor's page that documents it
    zone: Zone | None = None
    recognise: FeedMarks
    collapse_seconds: int = Field(0, ge=0, le=86_400)  # repeated opens within them count once
    unwrap: list[Paths] = []
    ping: Condition = {}  # a record that is no event
    skip: list[Condition] = []  # records that tell of no message of the sender's, as mail that came in
    delivered: Literal["sent", ""] = ""  # sent: no event tells deliveries; what was sent and did not bounce is one
    referred: list[Referred] = []
    recipients: Recipients | None = None
    word: list[Read] = Field(min_length=1)
    words: dict[str, EventType | Literal["by_link"]] = {}  # by_link: what the table of links says
    columns: Columns
    link: LinkColumns = LinkColumns()
    delivery: DeliveryColumns = DeliveryColumns()
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
        """Return every single path that events are made of, tags and attributes aside."""
        whole = [*self.ping, *(written for one in self.skip for written in one)]
        whole += self.extension.by if self.extension else []
        whole += [written for one in (*self.word, *self.readings().values()) for written in one.used()]
        whole += [written for rule in self.rule for written in rule.when]
        return list(dict.fromkeys(single for written in whole for single in alternatives(written)))

    def readings(self) -> dict[str, Reading]:
        """Return everything that is read, by canonical column; of other tables as `table.column`."""
        tables = {"": self.columns, "link.": self.link, "delivery.": self.delivery}
        return {f"{table}{name}": one for table, columns in tables.items() for name, one in columns if one}


def read_feed(place: Path) -> Feed:
    """Return the map of a TOML file; RequestError names the file, the key and the nearest valid word."""
    return toml.read(place, Feed)


@cache
def _built_in() -> dict[str, Feed]:
    return {place.stem: read_feed(place) for place in sorted(BUILT_IN.glob("*.toml")) if not is_table_format(place)}


def local_maps(folder: Path | None = None) -> list[Path]:
    """Return the maps of a folder, of the working folder by default."""
    return sorted(((folder or Path()) / LOCAL).glob("*.toml"))


def maps_behind(format: str) -> list[Path]:
    """Return the maps, other than the package's, that a load of this format goes by: changed, they read anew."""
    return [place for place in (Path(format),) if place.suffix == ".toml" and place.is_file()] or local_maps()


def all_feeds() -> dict[str, Feed]:
    """Return every map that is known, by name, those of the working folder first.

    >>> all_feeds()["sendgrid"].engine
    'json'
    """
    own = {one.name: one for one in (read_feed(place) for place in local_maps() if not is_table_format(place))}
    return own | {name: one for name, one in _built_in().items() if name not in own}


def can_tell(format: str) -> frozenset[str] | None:
    """Return the event types that a format's map has words for; None where it is no map, or goes by the type of links.

    >>> "complained" in can_tell("sendgrid"), "complained" in can_tell("postal"), can_tell("adobe_export")
    (True, False, None)
    """
    feed = all_feeds().get(format)
    if feed is None or "by_link" in feed.words.values():
        return None
    return frozenset({*feed.words.values(), *(rule.event_type for rule in feed.rule if rule.event_type)})


def check_maps(folder: Path | None = None) -> list[str]:
    """Return what is wrong with the maps in `formats` of a folder, the working folder by default."""
    problems = []
    for place in local_maps(folder):
        try:
            read_table_format(place) if is_table_format(place) else read_feed(place)
        except RequestError as error:
            problems.append(str(error))
    return problems
