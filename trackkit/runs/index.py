"""The page that lists the reports of a run: deliveries × reports, headline figures, and a search box."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trackkit import __version__, resources
from trackkit.analysis.unseen import observed, unseen
from trackkit.engine.deliveries import deleted
from trackkit.engine.measure import measure
from trackkit.engine.snapshot import Snapshot
from trackkit.errors import TrackkitError
from trackkit.language import say, speech, tag
from trackkit.metrics import METRICS
from trackkit.report import REPORTS
from trackkit.report.template import SKIN
from trackkit.show.theme import page_style, theme
from trackkit.show.wording import figure, instant, plain

HEADLINES = ("delivered", "open_rate", "recipient_click_rate", "click_to_open_rate", "recipient_unsubscribe_rate")
NAME = "index.html"


def write_index(tables: Snapshot, folder: Path, entries: Mapping[str, Mapping[str, Any]], lang: str = "en") -> Path:
    """Write `index.html` beside the reports of a manifest's entries, in one piece, and return its path.

    One row per delivery that has a report in that language, the latest launch first. The page loads nothing and runs
    one script, named by its hash in its content-security policy.
    """
    environment = Environment(
        loader=FileSystemLoader([str(place) for place in resources.folders(SKIN)]),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.globals |= speech(lang)
    in_language = {name: entry for name, entry in entries.items() if entry["lang"] == lang}
    html = environment.get_template("runs.html.j2").render(_page(tables, in_language, lang))
    return resources.write_whole(folder / NAME, html)


def _page(tables: Snapshot, entries: Mapping[str, Mapping[str, Any]], lang: str) -> dict[str, Any]:
    script = resources.find(f"{SKIN}/search.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # A folder may hold reports of another store, or of a delivery that was removed or deleted on the platform.
    listed_ids = _mentioned_deliveries(tables) - set(deleted(tables))
    of_deliveries = {
        name: entry for name, entry in entries.items() if entry["delivery"] in listed_ids and entry["report"] in REPORTS
    }
    of_platform = [entry for entry in entries.values() if not entry["delivery"] and entry["report"] in REPORTS]
    order = list(REPORTS).index
    of_platform.sort(key=lambda entry: order(entry["report"]))  # the manifest has them as they were finished
    reports = sorted({entry["report"] for entry in of_deliveries.values()}, key=order)
    return {
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        "style": Markup(page_style(theme())),
        "script": Markup(script),
        "titles": {name: _title(name, lang) for name in reports},
        "headlines": [say(METRICS[name].label, lang) for name in HEADLINES],
        "rows": _rows(tables, of_deliveries, reports, lang),
        "platform": [{"title": _title(entry["report"], lang), **(_link(entry) or {})} for entry in of_platform],
        "calculated": instant(datetime.now(UTC), tables.timezone, seconds=True, lang=lang),
        "timezone": tables.timezone,
        "version": __version__,
        "lang": tag(lang),
    }


def _title(report: str, lang: str) -> str:
    """Return the title of a report, or its name if its files are wrong: the run has reported that."""
    try:
        return say(REPORTS[report].title, lang)
    except TrackkitError:
        return report


def _mentioned_deliveries(tables: Snapshot) -> set[str]:
    """Every delivery that some table mentions."""
    mentioned = [tables.scan(table).select("delivery_id").unique() for table in ("delivery", "message", "event")]
    return set(pl.concat(pl.collect_all(mentioned))["delivery_id"].drop_nulls())


def _rows(
    tables: Snapshot, entries: Mapping[str, Mapping[str, Any]], reports: list[str], lang: str
) -> list[dict[str, Any]]:
    """One row per delivery: its label and subject, its figures with their parts, and links to its reports."""
    links: dict[str, dict[str, Mapping[str, Any]]] = {}
    for entry in entries.values():
        links.setdefault(entry["delivery"], {})[entry["report"]] = entry
    facts = _facts(tables, list(links))
    return [
        {
            "id": plain(fact["delivery_id"]),
            "label": plain(fact["label"] or fact["delivery_id"]),
            "subject": plain(fact["subject"] or ""),
            "launched": instant(fact["launched_at"], tables.timezone, lang=lang),
            "figures": [_figure(name, fact, lang) for name in HEADLINES],
            "reports": [_link(links[fact["delivery_id"]].get(report)) for report in reports],
        }
        for fact in facts
    ]


def _facts(tables: Snapshot, deliveries: list[str]) -> list[dict[str, Any]]:
    measured = observed(measure(tables, HEADLINES, delivery=deliveries), unseen(tables, deliveries))
    words = tables.scan("delivery").select(
        "delivery_id", "label", "subject", launched_at=pl.coalesce("started_at", "contact_at")
    )
    joined = measured.lazy().join(words, "delivery_id", how="left").collect()
    return joined.sort("launched_at", "delivery_id", descending=True, nulls_last=True).to_dicts()


def _figure(name: str, fact: Mapping[str, Any], lang: str) -> dict[str, str]:
    metric = METRICS[name]
    if why := fact.get(f"why {name}"):
        return {"value": figure(name, None, lang), "of": "", "why": say(why, lang)}
    parts = (metric.numerator, metric.denominator)
    of = " / ".join(figure(part, fact[part], lang) for part in parts if part)
    return {"value": figure(name, fact[name], lang), "of": of, "why": ""}


def _link(entry: Mapping[str, Any] | None) -> dict[str, str] | None:
    if entry is None:
        return None
    if entry["status"] == "done":
        return {"href": entry["path"], "error": ""}
    return {"href": "", "error": plain(entry["error"])}
