"""Formats as data: the grammar of a map (TOML), its checks, and where maps are found. `docs/formats.md` explains it.

The maps of the package are in `sources/formats`; a user's own are `formats/*.toml` in the working folder,
and win over the package's where they have its name.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, create_model, model_validator

from trackkit import schema, toml
from trackkit.errors import RequestError, did_you_mean
from trackkit.sources.feeds.notation import (
    Before,
    BounceClass,
    Condition,
    Engine,
    EventType,
    Method,
    Name,
    Paths,
    Pattern,
    Status,
    Zone,
)
from trackkit.sources.feeds.paths import alternatives
from trackkit.sources.table_formats import BUILT_IN, LOCAL, is_table_format, read_table_format
from trackkit.toml import Strict


class Recognise(Strict):
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
    joined: Paths | list[Paths] = []  # further values, put after the first and a colon; without one there is none
    written: str | list[str] = []  # an instant's forms, as `%m/%d/%Y %I:%M:%S %p`, where it is not ISO or seconds
    when: Condition = {}  # read only where this holds
    unless: list[Condition] = []  # not read where one of these holds
    with_address: Paths | None = None  # where this has a value, the address is added: the id is shared by recipients
    words: dict[str, str] = {}

    def values(self) -> list[str]:
        """Return every single path whose text stands in the column."""
        joined = [self.joined] if isinstance(self.joined, str) else self.joined
        return [single for written in (self.of, *joined) for single in alternatives(written)]

    def used(self) -> list[str]:
        """Return what is read of a record: the value, and all that bears on it."""
        joined = [self.joined] if isinstance(self.joined, str) else self.joined
        conditions = [written for one in (self.when, *self.unless) for written in one]
        return [self.of, *([self.with_address] if self.with_address else []), *joined, *conditions]


class _Columns(Strict):
    """Columns of `event` that are read as they are."""

    def readings(self) -> dict[str, Reading]:
        """Return the columns that the map reads, each with how."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: one if isinstance(one, Reading) else Reading(of=one) for name, one in given.items() if one}


COLUMNS = (
    "occurred_at", "delivery_id", "message_id", "vendor_id", "address", "recipient_id", "person_id", "link_id",
    "message_format", "user_agent", "ip", "bounce_reason", "diagnostic", "smtp_status", "is_machine", "machine_reason",
    "is_first", "link_position", "tags",
)  # fmt: skip
_read = {name: (Paths | Reading | None, None) for name in COLUMNS}
Columns = create_model("Columns", __base__=_Columns, **_read)  # type: ignore[call-overload]


class Link(Strict):
    """What is told of a link that was clicked: its address and its label."""

    url: Paths | Reading | None = None
    label: Paths | Reading | None = None


class Delivery(Strict):
    """What is told of a delivery."""

    label: Paths | Reading | None = None
    subject: Paths | Reading | None = None


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
    recognise: Recognise
    collapse_seconds: int = Field(0, ge=0, le=86_400)  # repeated opens within them count once
    unwrap: list[Paths] = []
    ping: Condition = {}  # a record that is no event
    skip: list[Condition] = []  # records that tell of no message of the sender's, as mail that came in
    delivered: Literal["sent", ""] = ""  # sent: no event tells deliveries; what was sent and did not bounce is one
    referred: list[Referred] = []
    recipients: Recipients | None = None
    word: list[Paths | Reading] = Field(min_length=1)
    words: dict[str, EventType | Literal["by_link"]] = {}  # by_link: what the table of links says
    columns: Columns  # type: ignore[valid-type]
    link: Link = Link()
    delivery: Delivery = Delivery()
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
        whole += [written for one in (*self.word_parts, *self.readings().values()) for written in one.used()]
        whole += [written for rule in self.rule for written in rule.when]
        return list(dict.fromkeys(single for written in whole for single in alternatives(written)))

    @property
    def word_parts(self) -> list[Reading]:
        """How each part of the sender's word is read."""
        return [part if isinstance(part, Reading) else Reading(of=part) for part in self.word]

    def readings(self) -> dict[str, Reading]:
        """Return everything that is read, by canonical column; of other tables as `table.column`."""
        further = {"link": self.link, "delivery": self.delivery}
        given = {f"{table}.{name}": one for table, model in further.items() for name, one in model if one}
        given = {name: one if isinstance(one, Reading) else Reading(of=one) for name, one in given.items()}
        return self.columns.readings() | given


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
