"""The index of a folder of reports: a gallery of its deliveries, with their figures and a link to each one's pages."""

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from babel.dates import format_date
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trackkit import __version__, resources
from trackkit.engine.snapshot import Snapshot
from trackkit.language import say, several, speech, tag, translatable
from trackkit.metrics import METRICS
from trackkit.quality import worst
from trackkit.report.glossary import glossary_name
from trackkit.report.template import SKIN
from trackkit.runs.dossier import Dossiers
from trackkit.runs.drawings import sparkline, trend
from trackkit.runs.gallery import (
    RATES,
    RECENT_DAYS,
    TILES,
    Figures,
    figures,
    newest,
    opens_by_hour,
    recent,
    sent_to_readers,
    together,
)
from trackkit.runs.leaves import NO_REPORTS, Leaf
from trackkit.schema import MESSAGE_TYPES, STATES
from trackkit.show.cells import fraction
from trackkit.show.theme import page_style, theme
from trackkit.show.wording import NOT_AVAILABLE, figure, instant, number, percent, plain

NAME = NO_REPORTS[0]
STYLE = f"{SKIN}/runs.css"
MOST_LAUNCHES = 60  # in the trend
PERIODS = (30, 90, 365)
FINISHED = 95
RUNNING = (51, 55, 61, 62, 71, 72)  # states in which messages go out, or are about to
HEADINGS = translatable(
    {
        "delivery_rate": "Delivered",
        "open_rate": "Opened",
        "recipient_click_rate": "Clicked",
        "click_to_open_rate": "Clicked of opened",
    }
)
TREND = translatable("Open and click rates of the last {count} launches, without those still being sent")
VERDICTS = translatable({"pass": "logs: pass", "warn": "logs: warn", "fail": "logs: fail"})
_STAMP = re.compile(r"<time>[^<]*</time>")
Row = dict[str, Any]


def write_index(tables: Snapshot, dossiers: Dossiers, lang: str = "en") -> Path:
    """Write `index.html` beside the pages of a folder, in one piece, and return its path.

    One row per delivery that has a page in any language, the latest launch first; its words are in `lang`. The page
    loads nothing and runs one script, named by its hash in its content-security policy. If only the stamp "Calculated"
    would change, the file stays as it is.
    """
    loader = FileSystemLoader([str(place) for place in resources.folders(SKIN)])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= speech(lang)
    html = environment.get_template("runs.html.j2").render(_page(tables, dossiers, lang))
    path = dossiers.folder / NAME
    if path.is_file() and _STAMP.sub("", path.read_text("utf-8", errors="replace")) == _STAMP.sub("", html):
        return path
    return resources.write_whole(path, html)


def _page(tables: Snapshot, dossiers: Dossiers, lang: str) -> dict[str, Any]:
    script = resources.find(f"{SKIN}/search.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = page_style(theme()) + "\n" + resources.find(STYLE).read_text("utf-8")
    each = figures(tables, dossiers.listed["delivery_id"].to_list())
    rows = _rows(tables, dossiers, each, lang)
    until = newest(tables, dossiers.listed)
    return {
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        "style": Markup(style),
        "script": Markup(script),
        "headings": [say(HEADINGS[name], lang) for name in RATES],
        "rows": rows,
        "channels": _distinct(row["channel"] for row in rows),
        "states": _distinct(word for row in rows for word in row["states"]),
        "periods": _periods(rows, until, tables.timezone, lang),
        "days": RECENT_DAYS,
        "until": instant(until, tables.timezone, lang=lang) if until else "",
        "tiles": _tiles(tables, dossiers.listed, each, until, lang),
        **_trend(tables, dossiers, each, lang),
        "platform": dossiers.groups("", lang),
        "loose": [dossiers.link(leaf, leaf.title, lang) for leaf in dossiers.present if leaf.title],
        "calculated": instant(datetime.now(UTC), tables.timezone, seconds=True, lang=lang),
        "timezone": tables.timezone,
        "version": __version__,
        "glossary": name if (dossiers.folder / (name := glossary_name(lang))).exists() else "",
        "lang": tag(lang),
    }


def _distinct(words: Any) -> list[str]:
    return sorted({word for word in words if word})


def _rows(tables: Snapshot, dossiers: Dossiers, each: Figures, lang: str) -> list[Row]:
    """One row per delivery, with what it shows, what it is sorted by and what it is found by."""
    hours = opens_by_hour(tables, dossiers.listed)
    facts = [fact | {"rates": each[fact["delivery_id"]]} for fact in dossiers.listed.to_dicts()]
    return [_row(fact, dossiers, hours.get(fact["delivery_id"], []), tables.timezone, lang) for fact in facts]


def _row(fact: Row, dossiers: Dossiers, hours: list[int], timezone: str, lang: str) -> Row:
    delivery = fact["delivery_id"]
    leaves = dossiers.leaves_of(delivery)
    first, at = dossiers.first(delivery, lang), fact["launched_at"]
    day = at.astimezone(ZoneInfo(timezone)).date() if at else None
    launched = instant(day, lang=lang, weekday=True)
    return {
        "id": plain(delivery),
        "label": dossiers.labels[delivery],
        "subject": plain(fact["subject"] or ""),
        "href": first.path if first else "",
        "languages": _languages(dossiers, leaves, first, lang),
        "launched": launched,
        "time": instant(at, timezone, lang=lang, weekday=True).removeprefix(launched).strip(),
        "day": day.isoformat() if day else "",
        "day_in_words": format_date(day, "full", locale=lang) if day else "",
        "at": at.timestamp() if at else None,
        "opens": _sparkline(hours, lang) if hours else "",
        "rates": [_rate(name, fact["rates"][name], lang) for name in RATES],
        "channel": _word(fact["message_type"], MESSAGE_TYPES, lang),
        **_status(fact, leaves, dossiers, lang),
        # Pages of an earlier version have no bar that leads from one to the next.
        "pages": [
            dossiers.link(leaf, dossiers.words(lang).titles[leaf.report], lang)
            for leaf in leaves
            if leaf.path and leaf.entry.get("bar", {}).get("none")
        ],
    }


def _languages(dossiers: Dossiers, leaves: list[Leaf], first: Leaf | None, lang: str) -> list[dict[str, str]]:
    """The pages that lead to a delivery in the languages that its row does not link already."""
    others = sorted({leaf.lang for leaf in leaves if leaf.path} - ({first.lang} if first else set()))
    pages = [(other, dossiers.first(delivery, other)) for other in others for delivery in [leaves[0].delivery]]
    return [{"tag": tag(other), "href": page.path} for other, page in pages if page and page.lang == other]


def _word(code: int | None, words: Mapping[int, str], lang: str) -> str:
    if code is None:
        return ""
    return say(words[code], lang) if code in words else say("code {code}", lang, code=code)


def _sparkline(hours: list[int], lang: str) -> Markup:
    opens, first = sum(hours), number(hours[0], lang=lang)
    words = several(
        "{count} open in the first 48 hours, {first} of them in the first one",
        "{count} opens in the first 48 hours, {first} of them in the first one",
        opens,
        lang,
        first=first,
    )
    return sparkline(hours, words)


def _rate(name: str, row: Row, lang: str) -> Row:
    """A rate with its parts, or why it is unknown, and its distance from what is usual."""
    value, part, whole = row["value"], row["part"], row["whole"]
    if row["why"]:
        nothing = {"of": "", "why": say(row["why"], lang), "sort": None}
        return {"value": say(NOT_AVAILABLE, lang), **nothing, "points": "", "usual": "", "is_different": False}
    difference = None if row["reason"] else row["difference"]
    return {
        "value": figure(name, value, lang, whole),
        "of": fraction(part, whole, lang),
        "why": "",
        "sort": value,
        "points": "" if difference is None else _points(difference, lang),
        "usual": "" if difference is None else _usual(name, row, lang),
        "is_different": bool(row["is_different"]),
    }


def _points(difference: float, lang: str) -> str:
    shown = number(abs(difference) * 100, 1, lang)
    sign = "" if shown == number(0, 1, lang) else "+" if difference > 0 else "\u2212"
    return say("{points} pt", lang, points=f"{sign}{shown}")


def _usual(name: str, row: Row, lang: str) -> str:
    median, count = figure(name, row["median"], lang, row["whole"]), number(row["n"], lang=lang)
    return say("usual: {median}, the median of {count} comparable deliveries", lang, median=median, count=count)


def _status(fact: Row, leaves: list[Leaf], dossiers: Dossiers, lang: str) -> Row:
    """The words on a delivery's state, its logs and its failed pages, and the one that the dot stands for."""
    verdict = worst([leaf.entry["quality"] for leaf in leaves if leaf.entry.get("quality")] or ["pass"])
    failed = [leaf for leaf in leaves if leaf.error]
    state = _word(fact["state"], STATES, lang)
    is_finished = fact["state"] in (None, FINISHED)
    sending = "running" if fact["state"] in RUNNING else "pass" if is_finished else "halted"
    problems = several("{count} page failed", "{count} pages failed", len(failed), lang) if failed else ""
    titles = dossiers.words(lang).titles
    kind = "failed" if failed else verdict if verdict != "pass" else sending
    words = ["" if is_finished else state, say(VERDICTS[verdict], lang)]
    return {
        "dot": kind,
        "words": [word for word in words if word],
        "states": [
            word for word in (state, say(VERDICTS[verdict], lang), problems and say("pages failed", lang)) if word
        ],
        "failed": [dossiers.link(leaf, titles[leaf.report], lang) for leaf in failed],
        "problems": problems,
    }


def _periods(rows: list[Row], until: datetime | None, timezone: str, lang: str) -> list[dict[str, str]]:
    """The periods that the index can be narrowed to: the last days, and every year with a launch."""
    if until is None:
        return []
    today = until.astimezone(ZoneInfo(timezone)).date()
    last = [
        {"name": say("last {days} days", lang, days=days), "since": _back(today, days), "to": "9999"}
        for days in PERIODS
    ]
    years = sorted({row["day"][:4] for row in rows if row["day"]}, reverse=True)
    return [*last, *({"name": year, "since": year, "to": f"{year}-99"} for year in years)]


def _back(today: date, days: int) -> str:
    return (today - timedelta(days=days)).isoformat()


def _tiles(tables: Snapshot, rows: pl.DataFrame, each: Figures, until: datetime | None, lang: str) -> list[Row]:
    """Four figures on the deliveries of the last 30 days, each measured again over all of them."""
    chosen = recent(sent_to_readers(tables, rows), until)
    measured = together(tables, each, chosen)
    tiles = [{"name": say("Deliveries", lang), "value": number(len(chosen), lang=lang), "of": "", "note": ""}]
    for name in TILES:
        frame, left_out = measured.get(name, (None, 0))
        if frame is None:
            continue
        fact, metric, is_count = frame.row(0, named=True), METRICS[name], name == "delivery_rate"
        part, whole = fact[str(metric.numerator)], fact[str(metric.denominator)]
        rate = {"value": figure(name, fact[name], lang, whole), "of": fraction(part, whole, lang)}
        value = figure("delivered", fact["delivered"], lang) if is_count else rate["value"]
        of = _delivered(fact, rate["value"], lang) if is_count else rate["of"]
        note = several(
            "{count} delivery whose figure cannot be known is left out",
            "{count} deliveries whose figures cannot be known are left out",
            left_out,
            lang,
        )
        title = say("Messages delivered", lang) if is_count else say(METRICS[name].label, lang)
        tiles.append({"name": title, "value": value, "of": of, "note": note if left_out else ""})
    return tiles


def _delivered(fact: Row, rate: str, lang: str) -> str:
    whole = figure("to_deliver", fact["to_deliver"], lang)
    return say("of {whole} to deliver: {rate}", lang, whole=whole, rate=rate)


def _trend(tables: Snapshot, dossiers: Dossiers, each: Figures, lang: str) -> dict[str, str]:
    """Open and click rates over the last launches, as lines; nothing with fewer than two.

    A delivery that is still being sent is left out: its rates are not yet what they will be.
    """
    is_running = pl.col("state").is_in(RUNNING).fill_null(False)
    launched = sent_to_readers(tables, dossiers.listed).filter(~is_running).drop_nulls("launched_at")
    facts = launched.sort("launched_at", "delivery_id").tail(MOST_LAUNCHES).to_dicts()
    if len(facts) < 2:
        return {"trend": "", "trend_words": ""}
    names = ("open_rate", "recipient_click_rate")
    rates = {name: [each[fact["delivery_id"]][name] for fact in facts] for name in names}
    lines = [(say(HEADINGS[name], lang), [row["value"] for row in rates[name]]) for name in names]
    days = [instant(fact["launched_at"], tables.timezone, lang=lang, weekday=True) for fact in facts]
    labels = [dossiers.labels[fact["delivery_id"]] for fact in facts]
    tips = [
        [
            f"{label}\n{day}\n{_rate(name, row, lang)['value']}"
            for label, day, row in zip(labels, days, rates[name], strict=True)
        ]
        for name in names
    ]
    words = say(TREND, lang, count=number(len(facts), lang=lang))
    ends = (days[0].rpartition(" ")[0], days[-1].rpartition(" ")[0])
    drawn = trend(lines, tips, ends, lambda share: percent(share, 0 if share * 100 % 1 == 0 else 1, lang), words)
    return {"trend": drawn, "trend_words": words}
