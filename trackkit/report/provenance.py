"""The provenance of a page: where its figures come from, on the page, beside it, and what was made of what.

What stands on the page is a short form of what stands beside it; both say enough to make the same page again.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from trackkit.analysis.provenance import Provenance, provenance
from trackkit.analysis.several import chosen_deliveries
from trackkit.engine.scope import resolve
from trackkit.engine.selection import ALL
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import RequestError
from trackkit.language import say, translatable
from trackkit.metrics import CURRENCY, METRICS, lineage
from trackkit.report.formats import Contents
from trackkit.show.cells import PARTS
from trackkit.show.wording import NOT_AVAILABLE, number

SCRIPT = re.compile(r'<script type="application/json" id="provenance">(.*?)</script>\n?', re.DOTALL)
NOT_ON_PAGE = ("newest", "hits_from")
MOST_ON_PAGE = 4_500  # bytes; what is longer stands on the page without its formulas
COUNTED = translatable({"delivery": "Deliveries counted", "message": "Messages counted", "event": "Events counted"})
LEFT_OUT = translatable(
    {
        "control_addresses": "control addresses",
        "no_hits": "sends and bounces",
        "refused_visits": "refused visits",
        "proofs_models_deleted": "proofs, models and deleted",
        "collapsed": "repeats counted once",
        "machines": "machines",
    }
)
Version = tuple[str, int, str]  # where a store is, and the number and the id of a load


def of_page(page: Contents, store: str, parameters: Mapping[str, Any], made_of: Mapping[str, str]) -> dict[str, Any]:
    """Return what a page says of its provenance: `provenance`, in full, `short`, and in words `made` and `counted`.

    `made` is by metric; `counted` are facts with their names.

    In: the contents of a page, the store it was made from, its parameters, and digests of the files it was made of. It
    is about the version of the store that the page's header names, and the metrics that the page explains; those of a
    recipient or a service are not measured.
    """
    version = page["header"].get("version")
    if version is None:  # not of a store
        return {}
    used = tuple(entry.name for entry in page["glossary"])
    traced = dict(_traced((store, *version), used, parameters, page["timezone"]))
    figures = dict.fromkeys(part for name in used for part in lineage(name))
    asked = {name: value for name, value in parameters.items() if value not in ("", None)}
    report = {"name": page["report"], "lang": page["locale"], "parameters": asked, "made_of": dict(made_of)}
    traced["figures"] = {name: traced["figures"][name] for name in figures if name in traced["figures"]}
    full = {"format": traced.pop("format"), "report": report, **traced}
    made = {name: _words(name, figure, page["locale"]) for name, figure in full["figures"].items()}
    return {"provenance": full, "short": _short(full), "made": made, "counted": _counted(full, page["locale"])}


def _traced(store: Version, used: tuple[str, ...], parameters: Mapping[str, Any], timezone: str) -> Provenance:
    """The provenance of figures; that of a delivery or a scope is of all metrics, once for all its reports."""
    if parameters.get("recipient") or parameters.get("service") is not None:
        return _of_deliveries(store, (), "", "", None, timezone)
    delivery, scope = (str(parameters.get(name) or "") for name in ("delivery", "scope"))
    names, activity = tuple(METRICS) if delivery or scope else used, str(parameters.get("activity") or ALL)
    return _of_deliveries(store, names, delivery, scope, parameters.get("deliveries"), timezone, activity)


@lru_cache(maxsize=4)
def _of_deliveries(
    store: Version,
    names: tuple[str, ...],
    delivery: str,
    scope: str,
    deliveries: str | None,
    timezone: str,
    activity: str = ALL,
) -> Provenance:
    chosen = _chosen(_opened(store), delivery, scope, deliveries)
    return provenance(_opened(store), names, chosen, timezone=timezone, activity=activity)


def _chosen(tables: Snapshot, delivery: str, scope: str, deliveries: str | None) -> list[str] | None:
    """The deliveries that a report with these parameters counts; None for all."""
    if delivery:
        return [delivery]
    if scope:
        chosen = resolve(tables, scope).chosen
        return [chosen] if isinstance(chosen, str) else chosen
    return None if deliveries is None else chosen_deliveries(tables, deliveries)["delivery_id"].to_list()


@lru_cache(maxsize=1)
def _opened(store: Version) -> Snapshot:
    from trackkit.store import open_store
    from trackkit.store.lake import pinned

    location, number, _ = store
    return open_store(pinned(location, number)).snapshot()


def _short(full: Mapping[str, Any]) -> dict[str, Any]:
    inputs = {name: value for name, value in full["inputs"].items() if name not in NOT_ON_PAGE}
    short = {**full, "inputs": inputs}
    if len(json.dumps(short, separators=(",", ":"))) > MOST_ON_PAGE:
        short["figures"] = {name: _without_formula(figure) for name, figure in full["figures"].items()}
    return short


def _without_formula(figure: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figure.items() if name != "formula"}


def _words(name: str, figure: Mapping[str, Any], lang: str) -> str:
    """The figure in all with its numerator and denominator, and the version of its definition."""
    parts = [figure[kind] for kind in ("numerator", "denominator") if kind in figure] or [[name, figure["value"]]]
    shown = " / ".join(_number(part, value, lang) for part, value in parts)
    version = say("definition {version}", lang, version=figure["definition"])
    return f"{say('In all: {parts}', lang, parts=shown)} · {version}"


def _counted(full: Mapping[str, Any], lang: str) -> list[tuple[str, str]]:
    """What was counted and left out, and the version of the store, each with its name, for the foot of the page."""
    facts = []
    shown_rows = {name: rows for name, rows in full["rows"].items() if rows["left_out"] or name != "delivery"}
    for source, rows in shown_rows.items():
        left_out = {**rows["left_out"], "collapsed": rows.get("collapsed", 0)}
        shown = [f"{say(LEFT_OUT[why], lang)} {number(count, lang=lang)}" for why, count in left_out.items() if count]
        parts = say(PARTS, lang, part=number(rows["counted"], lang=lang), whole=number(rows["rows"], lang=lang))
        facts.append((say(COUNTED[source], lang), " · ".join([parts, *shown])))
    version, files = full["store"]["load"], number(full["inputs"]["files"], lang=lang)
    facts.append((say("Files read", lang), f"{files} · {full['inputs']['digest']}"))
    return [*facts, (say("Version of the store", lang), str(version))]


def _number(name: str, value: float | None, lang: str) -> str:
    if value is None:
        return say(NOT_AVAILABLE, lang)
    return number(value, 2 if METRICS[name].unit == CURRENCY else 0, lang)


def read(path: Path) -> dict[str, Any]:
    """Return the provenance that a page, or the file beside it, holds; that beside it says more.

    Raises RequestError if there is none.
    """
    try:
        text = path.read_text("utf-8", errors="replace")
        known = held(text) if path.suffix == ".html" else json.loads(text)
        if isinstance(known, dict) and "report" in known and "store" in known:
            return known
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not ours"
        raise RequestError(f"The provenance in {path.name} cannot be read: {reason}.") from None
    raise RequestError(f"{path.name} says nothing of its provenance: render it again with this version of trackkit.")


def held(text: str) -> dict[str, Any]:
    """Return the provenance that the text of a page holds; empty if it holds none."""
    match = SCRIPT.search(text)
    known = json.loads(match[1]) if match else {}
    return known if isinstance(known, dict) else {}
