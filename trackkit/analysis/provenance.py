"""Where figures come from: their definitions, the rows counted and left out, the files read, and what computed them.

Two such records say why a figure is another one than before. They hold no address, no recipient's id and no path of
this machine, so that they can travel with a report.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from trackkit import __version__
from trackkit.analysis.unseen import WHY, measure_observed, partly_seen, unseen
from trackkit.engine.conditions import conditions
from trackkit.engine.deliveries import Deliveries, asked_about, is_hit, is_public, is_set_aside, zone_of
from trackkit.engine.measure import measure
from trackkit.engine.refusals import is_visit, with_refusals
from trackkit.engine.selection import ALL, Selection
from trackkit.engine.snapshot import Traced
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import say, translatable
from trackkit.metrics import BREAKDOWNS, METRICS, bounds_of, lineage, part_of, sources_of, version_of
from trackkit.rules import version

__all__ = ["Provenance", "changes", "provenance"]

FORMAT = 1
MOST_FILES = 50  # that are named; all are counted, and part of the digest
SIDES = ("low", "high")  # of an interval
MACHINES = "machines"  # the rules by which hits are told apart as they are loaded
CAUSES = translatable(
    {
        "definition": "definition",
        "parameters": "parameters",
        "rules": "rules",
        "late events": "late events",
        "removal": "removed rows",
        "new data": "new data",
        "software": "software",
        "unknown": "unknown",
    }
)
CHANGES = {
    "metric": pl.String(),
    "before": pl.Float64(),
    "after": pl.Float64(),
    "causes": pl.List(pl.String()),
    "because": pl.String(),
}
Record = Mapping[str, Any]


class Provenance(dict[str, Any]):
    """Where figures come from, as plain data that JSON can hold; in a notebook it shows itself as a table."""

    def frame(self) -> pl.DataFrame:
        """Return one row per figure: `metric`, `value`, its parts with their values, `definition`, `formula`, `why`."""
        rows = [_row(name, figure) for name, figure in self["figures"].items()]
        kinds = {"value": pl.Float64(), "numerator_value": pl.Float64(), "denominator_value": pl.Float64()}
        names = ("metric", "value", "numerator", "numerator_value", "denominator", "denominator_value")
        columns = (*names, "definition", "formula", "why")
        return pl.DataFrame(rows, schema={name: kinds.get(name, pl.String()) for name in columns}, orient="row")

    def _repr_html_(self) -> str:
        others = {name: value for name, value in self.items() if name != "figures"}
        text = escape(json.dumps(others, ensure_ascii=False, indent=1))
        return f"{self.frame()._repr_html_()}<pre>{text}</pre>"


def provenance(
    tables: Traced,
    metrics: str | Sequence[str],
    delivery: Deliveries = None,
    where: str | None = None,
    timezone: str = "",
    activity: str = ALL,
    interval: float | None = None,
) -> Provenance:
    """Return where figures come from, measured together over the named deliveries, or all that are not set aside.

    In: a store or its snapshot, and the arguments of `measure`. Out, as plain data: `asked`; `figures`, by metric (the
    parts of a rate too): `value`, `definition` (its version), `formula`, `numerator` and `denominator` (name and
    value), `low` and `high` with an `interval`, `why` if it cannot be observed, `unknown_in`, the deliveries in which
    it cannot be, if that is some: it is that of the others; `rows`, by source: `rows`, `counted` and `left_out` (by
    reason), and for `event` the `collapsed` repeats; `inputs`: how many `files`, their `digest`, the
    `newest` and those that the hits came from (`hits_from`), each with name and fingerprint or number of hits, and what
    became of the lines of all `loads`; `store`: the number of its last load, its id, and the version of each table;
    `rules`, by which loads told machines from people, and `software`, by name. Raises RequestError as `measure`.

    >>> from trackkit.engine.snapshot import Snapshot
    >>> hits = {"delivery_id": ["7"] * 2, "message_id": ["a", "b"], "is_seed": [False, True]}
    >>> events = pl.LazyFrame({**hits, "event_type": ["clicked"] * 2, "source": ["adobe_export"] * 2})
    >>> traced = provenance(Snapshot({"event": events}), "unique_clicks")
    >>> traced["figures"]["unique_clicks"]["value"], traced["rows"]["event"]["left_out"]
    (1, {'control_addresses': 1})
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in names:
        if name not in METRICS:
            raise RequestError(f"There is no metric {name!r}.{did_you_mean(name, METRICS)}")
    zone = zone_of(tables, timezone)
    ids = asked_about(tables, delivery)
    tests = conditions(where, BREAKDOWNS, zone) if where else []
    selection = Selection.asked(tables, ids, tests, zone, activity=activity)
    asked = {"delivery": ids, "where": where or None, "timezone": zone, "activity": activity, "interval": interval}
    return Provenance(
        format=FORMAT,
        asked=asked,
        figures=_figures(tables, names, asked),
        rows=_rows(selection),
        inputs=_inputs(tables, selection),
        store=_version(tables),
        rules=_rules(tables, ids),
        software=software(),
    )


def _row(name: str, figure: Record) -> tuple[Any, ...]:
    parts = [*figure.get("numerator", (None, None)), *figure.get("denominator", (None, None))]
    return (name, figure["value"], *parts, figure["definition"], figure["formula"], figure.get("why"))


# ---- figures and rows ----


def _figures(tables: Traced, names: Sequence[str], asked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    every = list(dict.fromkeys(part for name in names for part in lineage(name)))
    if not every:
        return {}
    ids, is_one = asked["delivery"], len(asked["delivery"] or ()) == 1
    by, partly = ["delivery_id"] if is_one else [], {}
    if asked["where"] or asked["activity"] != ALL:
        measured = measure(tables, every, by, **asked)
    else:
        hidden = unseen(tables, ids, names)
        measured = measure_observed(tables, every, hidden, by, ids, asked["interval"])
        partly = dict(partly_seen(hidden, every).select("metric", "unknown").iter_rows())
    values = measured.row(0, named=True) if measured.height else {}
    unknown_in = {name: {"unknown_in": list(ids)} for name, ids in partly.items()}
    return {name: _figure(name, values) | unknown_in.get(name, {}) for name in every}


def _figure(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """One figure; where its parts are rates or counts, their values stand beside it."""
    metric, why = METRICS[name], values.get(WHY.format(name))
    parts = {"numerator": metric.numerator, "denominator": metric.denominator}
    return {
        "value": values.get(name),
        **{kind: [part, values.get(part_of(values, name, part))] for kind, part in parts.items() if part},
        "definition": version_of(name),
        "formula": str(metric.formula),
        **{side: values[bound] for side, bound in zip(SIDES, bounds_of(name), strict=True) if bound in values},
        **({"why": why} if why else {}),
    }


def _rows(selection: Selection) -> dict[str, Any]:
    """The rows of each source that was loaded: how many, how many count, and how many are left out, by reason."""
    parts = {"delivery": _delivery_rows, "message": _message_rows, "event": _event_rows}
    return {source: rows(selection) for source, rows in parts.items() if selection.has(source)}


def _accounted(total: int, left_out: Mapping[str, int]) -> dict[str, Any]:
    reasons = {name: count for name, count in left_out.items() if count}
    return {"rows": total, "counted": total - sum(reasons.values()), "left_out": reasons}


def _delivery_rows(selection: Selection) -> dict[str, Any]:
    named = selection.delivery is not None
    is_aside = pl.lit(False) if named else is_set_aside()
    rows = selection.of_deliveries("delivery").select(total=pl.len(), aside=is_aside.sum()).collect().row(0)
    return _accounted(rows[0], {"proofs_models_deleted": 0 if named else int(rows[1] or 0)})


def _message_rows(selection: Selection) -> dict[str, Any]:
    rows = selection.in_scope(selection.of("message")).select(total=pl.len(), seeds=(~is_public()).sum()).collect()
    return _accounted(rows["total"].item(), {"control_addresses": int(rows["seeds"].item() or 0)})


def _event_rows(selection: Selection) -> dict[str, Any]:
    rows = _event_cells(selection)
    seeds, others = rows.filter(~is_public()), rows.filter(is_public(), ~is_hit())
    left_out = {
        "control_addresses": int(seeds["rows"].sum()),
        "no_hits": int(others["rows"].sum()),
        "refused_visits": _refused(selection),
    }
    total = int(rows["rows"].sum())
    if selection.activity != ALL:
        every = int(_event_cells(replace(selection, activity=ALL))["rows"].sum())
        left_out, total = left_out | {"machines": every - total}, every
    return _accounted(total, left_out) | {"collapsed": _collapsed(selection)}


def _event_cells(selection: Selection) -> pl.DataFrame:
    """How many events there are by (event_type, is_seed), from stored counts where there are such."""
    keys, counted = [pl.col("event_type").cast(pl.String), pl.col("is_seed")], selection.counted(["delivery_id"])
    rows = selection.of("event") if counted is None else counted.uncounted
    cells = [selection.in_scope(rows).group_by(keys).agg(rows=pl.len().cast(pl.Int64))]
    if counted is not None:
        cells.append(selection.in_scope(counted.counts.lazy()).group_by(keys).agg(pl.col("rows").sum().cast(pl.Int64)))
    added: pl.DataFrame = pl.concat(cells).collect()
    return added


def _refused(selection: Selection) -> int:
    """The visits to the site that do not count, their visitors having refused."""
    if not selection.has("page_hit"):
        return 0
    visits = selection.in_scope(selection.of("event")).filter(is_visit(), is_public())
    refused: pl.LazyFrame = with_refusals(selection.tables, visits)
    return int(refused.select(pl.col("is_refused").fill_null(False).sum()).collect().item() or 0)


def _collapsed(selection: Selection) -> int:
    """The repeated opens that were counted once."""
    if not selection.has("collapsed"):
        return 0
    rows = selection.timed(selection.in_scope(selection.of_deliveries("collapsed")))
    rows = selection.meeting_condition(rows)
    return int(rows.select(pl.len()).collect().item())


# ---- files, version, software ----


def _inputs(tables: Traced, selection: Selection) -> dict[str, Any]:
    files: list[tuple[str, str]] = tables.loads.files() if hasattr(tables.loads, "files") else []
    prints = sorted({fingerprint for fingerprint, _ in files})
    reports = [source for load in tables.loads for source in load.get("report", {}).get("sources", [])]
    lines = ("read", "kept", "duplicate", "collapsed", "quarantined")
    return {
        "files": len(prints),
        "digest": _digest(prints),
        "newest": [[_file_name(path), fingerprint[:12]] for fingerprint, path in files[-MOST_FILES:]],
        "hits_from": _hits_from(selection),
        "loads": {name: sum(source.get(name, 0) for source in reports) for name in lines},
    }


def _hits_from(selection: Selection) -> list[list[Any]]:
    """The files that brought the most hits of the deliveries named, with how many; those that came last are last."""
    events = selection.of_deliveries("event")
    if selection.delivery is None or "source_file" not in events.collect_schema():
        return []
    rows = events.group_by("source_file").agg(pl.len()).drop_nulls().collect()
    rows = rows.sort("len", "source_file", descending=[True, False]).head(MOST_FILES).sort("source_file")
    return [[_file_name(path), count] for path, count in rows.iter_rows()]


def _file_name(path: str) -> str:
    """The name of a file without its folders; one that may name a person, or a database, is left out."""
    name = PurePosixPath(path.replace("\\", "/")).name
    return "…" if "@" in path or "://" in path else name[:80]


def _version(tables: Traced) -> dict[str, Any]:
    last = tables.loads[-1] if len(tables.loads) else {}
    versions = dict(sorted(tables.versions.items()))
    return {"load": last.get("number"), "load_id": last.get("load_id"), "tables": versions}


def _rules(tables: Traced, ids: Sequence[str] | None) -> dict[str, str]:
    """The version of the rules by which the hits of deliveries were marked, as the loads that may have done it tell.

    These are all up to the last that changed one of them; of several versions each is named, the oldest first. A load
    of an earlier trackkit tells none; of tables in memory it is today's.
    """
    loads, marks = list(tables.loads), tables.watermarks
    if not loads:
        return {MACHINES: version()}
    last = set(marks.values()) if ids is None else {marks[key] for key in ids if key in marks}
    places = [place for place, load in enumerate(loads) if load.get("load_id") in last]
    told = [load.get("report", {}).get("rules") for load in loads[: max(places, default=len(loads) - 1) + 1]]
    return {MACHINES: ", ".join(dict.fromkeys(filter(None, told)))}


@cache
def software() -> dict[str, str]:
    """Return what computes figures, with the version of each; `code` is a digest of trackkit's own files."""
    package = Path(__file__).resolve().parents[1]
    code = hashlib.sha256()
    for path in sorted(path for ending in ("py", "toml") for path in package.rglob(f"*.{ending}")):
        if "_bundled" not in path.parts:
            code.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    versions = {"trackkit": __version__, "code": code.hexdigest()[:12]}
    return versions | {"polars": pl.__version__, "python": platform.python_version()}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


# ---- what changed, and because of what ----


def changes(before: Record, after: Record, lang: str = "en") -> pl.DataFrame:
    """Return the figures that differ between two records of `provenance`, and because of what.

    In: such records, or the JSON that stands beside a page. Out: one row per metric in both whose value differs:
    `metric`, `before`, `after`, `causes` and, in words of a language, `because`. A cause is one of: "definition",
    "parameters", "rules", "late events" (more hits count), "removal" (rows were removed), "new data" (other files were
    loaded, or more rows of another kind), "software"; "unknown" if none of these differs. Where several differ, all are
    named: any may be the reason. Rounding of floats is no change.

    >>> old = {"figures": {"total_opens": {"value": 3, "definition": "a"}}, "software": {"polars": "1"}}
    >>> changes(old, old).height
    0
    """
    rows = [
        {"metric": name, "before": old["value"], "after": new["value"], **_because(name, before, after, lang)}
        for name, new in after.get("figures", {}).items()
        if (old := before.get("figures", {}).get(name)) and not _is_same(old["value"], new["value"])
    ]
    return pl.DataFrame(rows, schema=CHANGES)


def _is_same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= 1e-9 * max(abs(one), abs(other))


def _because(name: str, before: Record, after: Record, lang: str) -> dict[str, Any]:
    causes = causes_of(before, after, name) or {"unknown": ""}
    words = [": ".join(filter(None, [say(CAUSES[cause], lang), detail])) for cause, detail in causes.items()]
    return {"causes": list(causes), "because": "; ".join(words)}


def reasons(before: Record, after: Record) -> dict[str, str]:
    """Return why figures of two records differ, together: causes with details; where no figure does, what may matter.

    Empty if nothing that may change a figure differs.
    """
    both = [name for name in after.get("figures", {}) if name in before.get("figures", {})]
    changed = changes(before, after)["metric"].to_list()
    found: dict[str, dict[str, None]] = {}
    for name in changed or both:
        for cause, detail in causes_of(before, after, name).items():
            found.setdefault(cause, {}).setdefault(detail)
    return {cause: ", ".join(details) for cause, details in found.items()}


def causes_of(before: Record, after: Record, name: str) -> dict[str, str]:
    """Return what may have changed a metric between two records: causes with their details, as they are written."""
    old, new = (record["figures"][name] for record in (before, after))
    is_defined = old["definition"] != new["definition"]
    definition = f"{old.get('formula', '')} ({old['definition']}) → {new.get('formula', '')} ({new['definition']})"
    found = {
        "definition": definition if is_defined else "",
        "parameters": _differing(_asked(before), _asked(after)),
        "rules": _differing(*_told(before.get("rules", {}), after.get("rules", {}))),
        **_of_rows(before, after, sources_of(name) if name in METRICS else frozenset()),
        "software": _differing(before.get("software", {}), after.get("software", {})),
    }
    return {cause: detail for cause, detail in found.items() if detail}


def _asked(record: Record) -> dict[str, Any]:
    """The question: that of the figures, and the parameters of the report."""
    return {**record.get("asked", {}), **record.get("report", {}).get("parameters", {})}


def _told(before: Record, after: Record) -> tuple[Record, Record]:
    """Two records of rules, without those of which one tells no version."""
    names = [name for name in before if before[name] and after.get(name)]
    return {name: before[name] for name in names}, {name: after[name] for name in names}


def _differing(before: Record, after: Record) -> str:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {before.get(name)} → {after.get(name)}" for name in names)


def _of_rows(before: Record, after: Record, sources: Iterable[str]) -> dict[str, str]:
    """What other rows did: hits that came late, rows that were removed, other data."""
    counted = {source: [_counted(record, source) for record in (before, after)] for source in sorted(sources)}
    found: dict[str, list[str]] = {"late events": [], "removal": [], "new data": []}
    for source, (old, new) in counted.items():
        cause = "removal" if new < old else "late events" if source == "event" else "new data"
        found[cause] += [f"{source} {old:,} → {new:,}"] if old != new else []
    loaded = _loaded(before, after)
    if found["late events"]:
        found["late events"] += _new_files(before, after)
    elif not any(found.values()):
        found["new data"] += loaded
    return {cause: ", ".join(details) for cause, details in found.items()}


def _counted(record: Record, source: str) -> int:
    return int(record.get("rows", {}).get(source, {}).get("counted", 0))


def _loaded(before: Record, after: Record) -> list[str]:
    """What was loaded since, in words, if other files are behind the figures or the store is of another version."""
    versions = [record.get("store", {}).get("load") for record in (before, after)]
    inputs = [record.get("inputs", {}).get("digest") for record in (before, after)]
    if versions[0] == versions[1] and inputs[0] == inputs[1]:
        return []
    return [f"load {versions[0]} → {versions[1]}", *_new_files(before, after)]


def _new_files(before: Record, after: Record) -> list[str]:
    """The names of a few files that were loaded since."""
    known = {fingerprint for _, fingerprint in before.get("inputs", {}).get("newest", [])}
    names = [name for name, fingerprint in after.get("inputs", {}).get("newest", []) if fingerprint not in known]
    return [", ".join(names[:3]) + (" …" if names[3:] else "")] if known and names else []
