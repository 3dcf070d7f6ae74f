"""Scopes: which deliveries a question or a report is about, in one syntax for all of them.

`7471418` is one delivery, `7471418,7471529` are several, and so are `campaign:12`, `programme:2`, `folder:3` (with the
folders in it; `only-folder:3` without) and `period:2026-10-01..2026-10-31` (launched in it, by the platform's clock;
either end may be missing, and a month or a year stands for its days). `platform` are all. A list by commas is any of
its members; of parts separated by spaces all must hold: `campaign:12 period:2026-10..`. A label stands for an id where
only one has it (`campaign:"Spring sale"`); what holds spaces, commas or quotes is written in quotes, `"` in it twice.
"""

import calendar
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from functools import cached_property

import polars as pl

from trackkit.clock import moment
from trackkit.engine.attributes import below, columns_of
from trackkit.engine.deliveries import is_set_aside, planned_launch, require_deliveries
from trackkit.engine.plausible import plausible
from trackkit.engine.snapshot import Measurable, with_all_hits
from trackkit.errors import RequestError, did_you_mean

__all__ = ["GROUPS", "Part", "Scope", "each_of", "every", "group", "resolve"]

GROUPS = ("campaign", "programme", "folder")  # of deliveries; `every` lists them
NAMED, PERIOD, PLATFORM = "deliveries", "period", "platform"
KINDS = (NAMED, "campaign", "programme", "folder", "only-folder", PERIOD, PLATFORM)
EXAMPLES = "7471418, 7471418,7471529, campaign:12, programme:2, folder:3, period:2026-10-01..2026-10-31 or platform"
_VALUE = r'(?:"(?:[^"]|"")*"|[^\s,"]+)'
_PART = re.compile(rf"(?:({'|'.join(KINDS[1:-1])}):)?({_VALUE}(?:\s*,\s*{_VALUE})*)\s*,?(?:\s+|$)")
_VALUES = re.compile(_VALUE)
_PLAIN = re.compile(r"[\w.@-]+")  # a value that needs no quotes
_DAY = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?")
OF_DELIVERY = ("delivery_id", "label", "campaign_id", "folder_id")
SETS_ASIDE = ("is_proof", "is_model", "state", "delete_status")
# The other tables that mention a group, and their columns.
MENTIONED = {
    "campaign": (("delivery", "campaign_id"),),
    "programme": (("campaign", "programme_id"),),
    "folder": (("delivery", "folder_id"), ("folder", "parent_id")),
}
Days = tuple[date | None, date | None]


class Directory:
    """Every delivery, and the campaigns, programmes and folders that they are in, each read once."""

    def __init__(self, tables: Measurable) -> None:
        self.tables = tables
        self._groups: dict[str, pl.DataFrame] = {}
        self._labels: dict[str, dict[str, str]] = {}

    @classmethod
    def of(cls, tables: Measurable) -> "Directory":
        """Return that of some tables; a snapshot, which does not change, keeps it."""
        tables = with_all_hits(tables)
        kept: list[Directory] = getattr(tables, "directory", [])
        if not kept:
            kept.append(cls(tables))
        return kept[0]

    @cached_property
    def known(self) -> pl.DataFrame:
        """Every delivery that is declared or has rows, the latest launch first: its groups, and whether it counts."""
        return _listed(self.tables)

    @cached_property
    def counted(self) -> frozenset[str]:
        """The deliveries that count without being named."""
        return frozenset(self.known.filter(~pl.col("is_aside"))["delivery_id"])

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each delivery in the order of launches."""
        return {name: place for place, name in enumerate(self.known["delivery_id"])}

    @cached_property
    def by_campaign(self) -> dict[str, list[str]]:
        """The deliveries of each campaign."""
        return _lists(self.known, "campaign_id", "delivery_id")

    @cached_property
    def by_folder(self) -> dict[str, list[str]]:
        """The deliveries right in each folder."""
        return _lists(self.known, "folder_id", "delivery_id")

    @cached_property
    def campaigns(self) -> dict[str, list[str]]:
        """The campaigns of each programme."""
        return _lists(
            columns_of(self.tables, "campaign", ("campaign_id", "programme_id")), "programme_id", "campaign_id"
        )

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """The folders right in each folder."""
        return _lists(columns_of(self.tables, "folder", ("folder_id", "parent_id")), "parent_id", "folder_id")

    def groups(self, kind: str) -> pl.DataFrame:
        """The campaigns, programmes or folders that any table lists or mentions: `id`, `label`, `internal_name`."""
        if kind not in self._groups:
            self._groups[kind] = _groups(self.tables, kind)
        return self._groups[kind]

    def labels(self, kind: str) -> dict[str, str]:
        """What people call each campaign, programme or folder, by its id."""
        if kind not in self._labels:
            rows = self.groups(kind).select("id", pl.coalesce("label", "internal_name", "id"))
            self._labels[kind] = dict(rows.iter_rows())
        return self._labels[kind]

    def within(self, kind: str, ids: Iterable[str]) -> list[str]:
        """The deliveries in some campaigns, programmes or folders (with those below them, unless "only-folder")."""
        if kind == "programme":
            ids = [campaign for each in ids for campaign in self.campaigns.get(each, ())]
        chosen = below(self.folders, ids) if kind == "folder" else ids
        members = self.by_folder if kind.endswith("folder") else self.by_campaign
        return [name for each in chosen for name in members.get(each, ())]


def _lists(rows: pl.DataFrame | pl.LazyFrame, key: str, value: str) -> dict[str, list[str]]:
    """The values of each key, in their order."""
    grouped = rows.lazy().drop_nulls([key, value]).group_by(key, maintain_order=True).agg(value).collect()
    return dict(grouped.select(key, value).iter_rows())


@dataclass(frozen=True)
class Part:
    """One condition of a scope: deliveries by their own ids, by those of groups, by days, or (`platform`) all.

    `label` is what people call it, "" for deliveries by their own ids, a period and the platform.
    """

    kind: str
    ids: tuple[str, ...] = ()
    label: str = ""
    days: Days = (None, None)  # the first and the last of a period; None where it is open

    @property
    def text(self) -> str:
        """The part in the syntax of scopes."""
        if self.kind == PERIOD:
            return f"{PERIOD}:{'..'.join(day.isoformat() if day else '' for day in self.days)}"
        values = ",".join(map(_quoted, self.ids))
        return values if self.kind == NAMED else f"{self.kind}:{values}" if values else self.kind


@dataclass(frozen=True)
class Scope:
    """The deliveries that a question is about: `deliveries` are those that count, the latest launch first.

    `kind` is "delivery", "deliveries", "campaign", "programme", "folder", "period" or "platform", of several parts the
    first of these; `text` says it in the one syntax, the same for all ways to write it; `label` is what people call it.
    """

    kind: str
    text: str
    label: str
    deliveries: tuple[str, ...]
    parts: tuple[Part, ...] = ()

    @property
    def chosen(self) -> str | list[str] | None:
        """What questions are asked with: the id of one delivery, those of several, None for the whole platform."""
        if self.kind == PLATFORM:
            return None
        return self.deliveries[0] if self.kind == "delivery" else list(self.deliveries)


def resolve(tables: Measurable, text: object = PLATFORM) -> Scope:
    """Return the scope that a text names, such as `campaign:12`; the module says the syntax.

    Proofs, models and deleted deliveries are in it only by their own ids. Raises RequestError for a text that cannot
    be read, an id that is unknown or a label of several, and a scope without a delivery, saying why.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> sent = pl.LazyFrame({"delivery_id": ["1", "2", "3"], "campaign_id": ["12", "12", None]})
    >>> resolve(Snapshot({"delivery": sent}), "campaign:12").deliveries
    ('2', '1')
    """
    directory = Directory.of(tables)
    asked = [_part(directory, *each) for each in _read(str(text).strip())]
    return _resolved(directory, _in_order([part for part in asked if part.kind != PLATFORM] or [Part(PLATFORM)]))


def _resolved(directory: Directory, parts: tuple[Part, ...]) -> Scope:
    named = {name for part in parts if part.kind == NAMED for name in part.ids}
    held = [set(_members(directory, part)) for part in parts]
    members = set.intersection(*held)
    counted = members & (directory.counted | named)
    if not counted:
        raise RequestError(_why_empty(directory.known, parts, held))
    is_one = parts[0].kind == NAMED and len(named) == len(parts) == 1
    kind = "delivery" if is_one else parts[0].kind.removeprefix("only-")
    words = " ".join(part.text for part in parts)
    label = " · ".join(filter(None, (part.label for part in parts))) or words
    last = len(directory.places)  # the place of one that only links or removals mention
    in_order = sorted(sorted(counted, reverse=True), key=lambda name: directory.places.get(name, last))
    return Scope(kind, words, label, tuple(in_order), parts)


def every(tables: Measurable, kind: str) -> list[Scope]:
    """Return all campaigns, programmes or folders in which a delivery counts, by the order of their ids.

    A folder counts the deliveries of the folders in it. Raises RequestError for another kind.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> sent = pl.LazyFrame({"delivery_id": ["1", "2"], "campaign_id": ["12", None]})
    >>> [each.text for each in every(Snapshot({"delivery": sent}), "campaign")]
    ['campaign:12']
    """
    if kind not in GROUPS:
        raise RequestError(f"There is no kind of scope {kind!r}.{did_you_mean(kind, GROUPS)}")
    directory = Directory.of(tables)
    parts = [Part(kind, (key,), label) for key, label in directory.labels(kind).items()]
    return [_resolved(directory, (part,)) for part in parts if directory.counted & set(_members(directory, part))]


def each_of(tables: Measurable, texts: Iterable[str]) -> list[Scope]:
    """Return the scopes that texts name, each once; "campaign", "programme" or "folder" alone stand for all of these.

    Raises RequestError as `resolve`.
    """
    found = [every(tables, text) if text in GROUPS else [resolve(tables, text)] for text in texts]
    return list({scope.text: scope for some in found for scope in some}.values())


def _read(text: str) -> Iterator[tuple[str, list[str]]]:
    """The kind and the values of each part of a text."""
    place = 0
    while place < len(text):
        match = _PART.match(text, place)
        if match is None:
            raise RequestError(f"A scope is such as {EXAMPLES}; got {text[place : place + 80]!r}.")
        is_platform = match[1] is None and match[2] == PLATFORM
        yield PLATFORM if is_platform else match[1] or NAMED, [_bare(value) for value in _VALUES.findall(match[2])]
        place = match.end()
    if not text:
        raise RequestError(f"A scope is such as {EXAMPLES}; got nothing.")


def _bare(value: str) -> str:
    return value[1:-1].replace('""', '"') if value.startswith('"') else value


def _quoted(value: str) -> str:
    doubled = value.replace('"', '""')
    return value if _PLAIN.fullmatch(value) and value != PLATFORM else f'"{doubled}"'


def group(tables: Measurable, kind: str, value: str) -> Part:
    """Return a campaign, programme or folder by its id or label, with its label; RequestError for an unknown one."""
    return _of_groups(Directory.of(tables), kind, [value])


def _part(directory: Directory, kind: str, values: list[str]) -> Part:
    if kind == PLATFORM:
        return Part(PLATFORM)
    if kind == PERIOD:
        return Part(PERIOD, days=_days(values))
    if kind == NAMED:
        return Part(NAMED, tuple(sorted(set(_deliveries(directory, values)))))
    return _of_groups(directory, kind, values)


def _of_groups(directory: Directory, kind: str, values: Sequence[str]) -> Part:
    of = kind.removeprefix("only-")
    ids = tuple(sorted({_group(directory, of, value) for value in values}))
    labels = directory.labels(of)
    return Part(kind, ids, ", ".join(labels[key] for key in ids))


def _in_order(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts in the order of their kinds, each once, so that all ways to write a scope are one text."""
    return tuple(sorted(dict.fromkeys(parts), key=lambda part: (KINDS.index(part.kind), part.text)))


def _deliveries(directory: Directory, values: list[str]) -> list[str]:
    """Ids of deliveries, by themselves or by a label that only one has."""
    unknown = [value for value in values if value not in directory.places]
    labelled = _labelled(directory.known.select("label", id="delivery_id"), unknown, "delivery") if unknown else {}
    for value in set(unknown) - labelled.keys():
        kind, colon, _ = value.partition(":")
        if kind in KINDS[1:-1]:
            example = "2026-10-01..2026-10-31" if kind == PERIOD else "12"
            raise RequestError(f"A scope names its {kind}, as in {kind}:{example}.")
        if colon and (near := did_you_mean(kind, KINDS[1:-1])).startswith(" Did"):
            raise RequestError(f"There is no kind of scope {kind!r}.{near}")
    return require_deliveries(directory.tables, [labelled.get(value, value) for value in values])


def _group(directory: Directory, kind: str, value: str) -> str:
    """The id of a campaign, programme or folder, by itself or by a label that only one has."""
    if value in directory.labels(kind):
        return value
    groups = directory.groups(kind)
    if groups.is_empty():
        raise RequestError(f"These tables hold no {kind}: {kind}:{_quoted(value)} names nothing.")
    names = [groups.select("id", label=name) for name in ("label", "internal_name")]
    if (found := _labelled(pl.concat(names), [value], kind)) or not value:
        return found.get(value, value)
    candidates = [*groups["id"], *groups["label"].drop_nulls()]
    raise RequestError(f"There is no {kind} {value!r} in these tables.{did_you_mean(value, candidates)}")


def _labelled(names: pl.DataFrame, values: Sequence[str], kind: str) -> dict[str, str]:
    """The id of each label among values; RequestError for a label of several."""
    found: dict[str, str] = {}
    for value in values:
        ids = names.filter(pl.col("label").str.to_lowercase() == value.lower())["id"].unique().sort()
        if ids.len() > 1:
            raise RequestError(f"{kind} {value!r} names {ids.len()}: take one of the ids {', '.join(ids.head(10))}.")
        found |= {value: ids.item()} if ids.len() else {}
    return found


def _days(values: list[str]) -> Days:
    """The first and the last day of a period such as 2026-10..2026-11-15; a month or a year stands for its days."""
    asked = ",".join(values)
    begin, dots, end = asked.partition("..")
    try:
        first, last = _first_day(begin), _last_day(end if dots else begin)
        if not (first or last) or (first and last and first > last):
            raise ValueError
    except ValueError:
        example = "2026-10-01..2026-10-31, 2026-10.., ..2026-10-31 or 2026-10"
        raise RequestError(f"A period is such as {example}, the earlier day first; got {asked[:80]!r}.") from None
    return first, last


def _first_day(text: str) -> date | None:
    year, month, day = _numbers(text)
    return date(year, month or 1, day or 1) if year else None


def _last_day(text: str) -> date | None:
    year, month, day = _numbers(text)
    return date(year, month or 12, day or calendar.monthrange(year, month or 12)[1]) if year else None


def _numbers(text: str) -> tuple[int, int, int]:
    """The year, month and day of a text, 0 for those that it leaves out; ValueError for other text."""
    match = _DAY.fullmatch(text)
    if text and not match:
        raise ValueError
    year, month, day = (int(number or 0) for number in match.groups()) if match else (0, 0, 0)
    return year, month, day


def _listed(tables: Measurable) -> pl.DataFrame:
    described = columns_of(tables, "delivery", (*OF_DELIVERY, *SETS_ASIDE, "started_at", "contact_at")).select(
        *OF_DELIVERY, "is_proof", is_aside=is_set_aside(), launched_at=planned_launch()
    )
    rows = described.unique("delivery_id").collect()
    ids = pl.collect_all([columns_of(tables, name, ("delivery_id",)).unique() for name in ("message", "event")])
    others = pl.concat(ids).unique().drop_nulls().join(rows, on="delivery_id", how="anti")
    return _sorted(pl.concat([rows, _with_first_hits(tables, others)], how="diagonal"))


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    """The latest launch first; those that nothing declares are no proofs."""
    in_order = rows.sort("launched_at", "delivery_id", descending=True, nulls_last=True)
    return in_order.with_columns(pl.col("is_aside", "is_proof").fill_null(False))


def _with_first_hits(tables: Measurable, others: pl.DataFrame) -> pl.DataFrame:
    """Deliveries that no table declares, launched at their first hit."""
    if others.is_empty():
        return others
    hits = tables.scan("event").join(others.lazy(), on="delivery_id", how="semi").filter(plausible(tables).holds())
    firsts = hits.group_by("delivery_id").agg(launched_at=pl.col("occurred_at").min()).collect()
    return others.join(firsts, on="delivery_id", how="left")


def _groups(tables: Measurable, kind: str) -> pl.DataFrame:
    """The campaigns, programmes or folders that any table lists or mentions: `id`, `label`, `internal_name`."""
    key = f"{kind}_id"
    listed = columns_of(tables, kind, (key, "label", "internal_name")).rename({key: "id"}).unique("id")
    mentions = [columns_of(tables, table, (name,)).rename({name: "id"}) for table, name in MENTIONED[kind]]
    frames = pl.collect_all([listed, *mentions])
    others = pl.concat(frames[1:]).unique().join(frames[0], on="id", how="anti")
    return pl.concat([frames[0], others], how="diagonal").drop_nulls("id").sort("id")


def _members(directory: Directory, part: Part) -> Iterable[str]:
    """The deliveries of which a part holds, those that are set aside included."""
    if part.kind == NAMED:
        return part.ids
    if part.kind == PLATFORM:
        return directory.places
    if part.kind == PERIOD:
        return directory.known.filter(_launched_in(part.days, directory.tables.timezone))["delivery_id"]
    return directory.within(part.kind, part.ids)


def _launched_in(days: Days, zone: str) -> pl.Expr:
    """True for deliveries launched from the first to the last of some days by the clock of `zone`."""
    launched, (first, last) = pl.col("launched_at"), days
    tests = [launched >= moment(first, zone, "The period").astimezone(UTC)] if first else []
    ending = moment(last, zone, "The period", end_of_day=True) if last else None
    tests += [launched <= ending.astimezone(UTC)] if ending else []
    return pl.all_horizontal(launched.is_not_null(), *tests)


def _why_empty(known: pl.DataFrame, parts: Sequence[Part], held: Sequence[set[str]]) -> str:
    """Why no delivery of a scope counts, and what is near to it."""
    rows = known.filter(pl.col("delivery_id").is_in(list(set.intersection(*held))))
    words = " and ".join(f"{part.kind} {','.join(part.ids)}" if part.ids else part.text for part in parts)
    if rows.height:
        proofs = rows["is_proof"].sum()
        kinds = "proofs" if proofs == rows.height else "proofs, models or deleted"
        its = f"its {rows.height} are" if rows.height > 1 else "its only one is"
        kinds = kinds if rows.height > 1 else "a proof" if proofs else "a model or deleted"
        return f"No delivery of {words} counts: {its} {kinds}. Named by their own ids, they do: {_some(rows)}."
    if len(parts) > 1:
        counts = ", ".join(f"{part.text} holds {len(some):,}" for part, some in zip(parts, held, strict=True))
        return f"No delivery is in all of {words}: {counts}."
    return f"No delivery of {words} is in these tables."


def _some(rows: pl.DataFrame) -> str:
    return ",".join(map(_quoted, rows["delivery_id"].head(10)))
