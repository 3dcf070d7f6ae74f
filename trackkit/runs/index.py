"""The index of a folder of reports: a gallery of its deliveries, with their figures and a link to each one's pages."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
from babel import Locale
from babel.dates import format_date
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trackkit import __version__, resources
from trackkit.analysis import unseen
from trackkit.analysis.usual import FEWEST
from trackkit.engine.deliveries import is_set_aside, planned_launch
from trackkit.engine.snapshot import Snapshot
from trackkit.language import languages, say, several, speech, tag, translatable
from trackkit.metrics import METRICS, part_of
from trackkit.quality import worst
from trackkit.report.glossary import glossary_name
from trackkit.report.header import PEOPLE_ALONE, scope_words
from trackkit.report.headlines import SHORT as NAMES
from trackkit.report.headlines import Headline, headlines
from trackkit.report.html_page import policy
from trackkit.report.template import SKIN
from trackkit.runs.dossier import Dossiers
from trackkit.runs.drawings import WIDTHS, sparkline, trend
from trackkit.runs.gallery import (
    RATES,
    RECENT_DAYS,
    TILES,
    Figures,
    figures,
    newest,
    opens_by_hour,
    overdue,
    progress,
    recent,
    selected,
    sent_to_readers,
    together,
)
from trackkit.runs.leaves import NO_REPORTS, Leaf
from trackkit.schema import MESSAGE_TYPES, STATES
from trackkit.show.cells import fraction
from trackkit.show.logo import logo
from trackkit.show.theme import page_style, theme
from trackkit.show.wording import NOT_AVAILABLE, figure, instant, number, plain, round_percent

NAME = NO_REPORTS[0]
STYLE = f"{SKIN}/runs.css"
MOST_LAUNCHES = 60  # in the trend
PERIODS = (30, 90, 365)
FINISHED, LATE = 95, translatable("Late")
RUNNING = (51, 55, 61, 62, 71, 72)  # states in which messages go out, or are about to
TREND = translatable("Open and click rates of the last {count} launches, without those that are not finished")
VERDICTS = translatable({"pass": "logs: pass", "warn": "logs: warning", "fail": "logs: failure"})
SHORT = translatable(  # why a figure is unknown, in the width of a cell
    {
        unseen.ALL_TEXT: "text only",
        unseen.NO_HIT: "no hits",
        unseen.NOT_OPENS: "opens not tracked",
        unseen.NO_LINK: "no tracked link",
        unseen.NO_SUCH_CHANNEL: "not in this channel",
        unseen.NOT_TOLD: "not in its source",
    }
)
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
    chosen = headlines(lang)
    shown = [headline.metric for headline in [*chosen.tile, *chosen.column]]
    each = figures(tables, dossiers.listed["delivery_id"].to_list(), list(dict.fromkeys([*RATES, *shown])))
    until = newest(tables, dossiers.listed)
    rows = _rows(tables, dossiers, each, [column.metric for column in chosen.column], lang)
    last, before = (_measured(tables, dossiers.listed, each, at, shown) for at in _ends(until))
    return {
        **_skin(),
        "headings": [column.name(lang) for column in chosen.column],
        "rows": rows,
        "channels": _distinct(row["channel"] for row in rows),
        **{f"{name}s": _distinct(row[name] for row in rows) for name in ("state", "verdict", "problem")},
        "fewest": number(FEWEST, lang=lang),
        "periods": _periods(rows, until, tables.timezone, lang),
        "days": RECENT_DAYS,
        "until": instant(until, tables.timezone, lang=lang) if until else "",
        "finding": _finding(last, before, lang),
        "tiles": _tiles(tables, dossiers.listed, last, until, chosen.tile, lang),
        **_trend(tables, dossiers, each, lang),
        "platform": dossiers.groups("", lang),
        "selections": _selections(tables, dossiers, chosen.tile, lang),
        "people_alone": say(PEOPLE_ALONE, lang) if tables.whole else "",
        "loose": [dossiers.link(leaf, leaf.title, lang) for leaf in dossiers.present if leaf.title],
        "glossaries": _glossaries(dossiers.folder, lang),
        **_made(tables.timezone, lang),
    }


def _skin() -> dict[str, Any]:
    """How the index looks, and the script that sorts and filters it."""
    script = resources.find(f"{SKIN}/search.js").read_text("utf-8")
    style = page_style(theme()) + "\n" + resources.find(STYLE).read_text("utf-8")
    return {"policy": policy([script]), "logo": logo(theme()), "style": Markup(style), "script": Markup(script)}


def _made(timezone: str, lang: str) -> dict[str, Any]:
    calculated = instant(datetime.now(UTC), timezone, seconds=True, lang=lang)
    return {"calculated": calculated, "timezone": timezone, "version": __version__, "lang": tag(lang)}


def _distinct(words: Any) -> list[str]:
    return sorted({word for word in words if word})


def _glossaries(folder: Path, lang: str) -> list[dict[str, str]]:
    """The pages of definitions in a folder, that in the language of the index first."""
    names = {other: glossary_name(other) for other in sorted(languages(), key=lambda other: (other != lang, other))}
    there = [(other, name) for other, name in names.items() if (folder / name).exists()]
    return [{"href": name, "tag": tag(other), "language": _language(other)} for other, name in there]


def _language(lang: str) -> str:
    """The name of a language in itself.

    >>> _language("pt_BR")
    'português'
    """
    return str(Locale.parse(lang).get_language_name() or tag(lang))


def _rows(tables: Snapshot, dossiers: Dossiers, each: Figures, columns: list[str], lang: str) -> list[Row]:
    """One row per delivery, with what it shows, what it is sorted by and what it is found by."""
    hours = opens_by_hour(tables, dossiers.listed)
    sent = progress(tables, dossiers.listed["delivery_id"].to_list())
    late = set(overdue(tables, dossiers.listed["delivery_id"].to_list()))
    facts = [
        fact
        | {"rates": each[fact["delivery_id"]], "sent": sent.get(fact["delivery_id"], {})}
        | {"is_late": fact["delivery_id"] in late}
        for fact in dossiers.listed.to_dicts()
    ]
    return [_row(fact, dossiers, hours.get(fact["delivery_id"], []), columns, tables.timezone, lang) for fact in facts]


def _row(fact: Row, dossiers: Dossiers, hours: list[int], columns: list[str], timezone: str, lang: str) -> Row:
    delivery = fact["delivery_id"]
    leaves = dossiers.leaves_of(delivery)
    first, at = dossiers.first(delivery, lang), fact["launched_at"]
    day = dossiers.day(delivery)
    rates = [fact["rates"][name] for name in columns]
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
        "processed": _processed(fact["sent"], lang),
        "rates": [_rate(name, rate, lang) for name, rate in zip(columns, rates, strict=True)],
        "compared": _compared(rates, lang),
        "is_compared": any(rate["is_different"] is not None for rate in rates),
        "channel": _word(fact["message_type"], MESSAGE_TYPES, lang),
        **_status(fact, leaves, dossiers, lang),
        "pages": _without_bar(dossiers, leaves, lang),
    }


def _without_bar(dossiers: Dossiers, leaves: list[Leaf], lang: str) -> list[Row]:
    """The pages of an earlier version, which have no bar that leads from one to the next."""
    titles = dossiers.words(lang).titles
    barless = [leaf for leaf in leaves if leaf.path and leaf.entry.get("bar", {}).get("none")]
    return [dossiers.link(leaf, titles[leaf.report], lang) for leaf in barless]


def _processed(sent: Row, lang: str) -> Row:
    """How many messages were processed, of those to deliver."""
    count, whole = sent.get("processed"), sent.get("to_deliver")
    shown = say(NOT_AVAILABLE, lang) if count is None else number(count, lang=lang)
    return {
        "value": shown,
        "of": "" if whole is None else say("of {whole}", lang, whole=number(whole, lang=lang)),
        "sort": count,
    }


def _selections(tables: Snapshot, dossiers: Dossiers, tiles: list[Headline], lang: str) -> list[Row]:
    """The campaigns, folders and other scopes that have pages: their names, what they are, and their figures."""
    rows = []
    scopes = {subject: scope.deliveries for subject, scope in dossiers.selections.items()}
    figures_of = selected(tables, scopes, [tile.metric for tile in tiles]) if tiles else {}
    for subject, scope in sorted(dossiers.selections.items(), key=lambda item: (item[1].kind, item[1].text)):
        heading, line = scope_words(scope, lang)
        leaves, first = dossiers.leaves_of(subject), dossiers.first(subject, lang)
        facts = figures_of.get(subject, {})
        wholes = [facts[part_of(facts, tile.metric, str(METRICS[tile.metric].denominator))] for tile in tiles]
        rates = [
            (tile.name(lang), figure(tile.metric, facts[tile.metric], lang, whole))
            for tile, whole in zip(tiles, wholes, strict=True)
        ]
        titles = dossiers.words(lang).titles
        failed = [dossiers.link(leaf, titles[leaf.report], lang) for leaf in leaves if leaf.error]
        rows.append(
            {
                "label": plain(heading),
                "href": first.path if first else "",
                "languages": _languages(dossiers, leaves, first, lang),
                "line": " · ".join(line),
                "rates": rates,
                "failed": failed,
                "problems": several("{count} page failed", "{count} pages failed", len(failed), lang) if failed else "",
            }
        )
    return rows


def _languages(dossiers: Dossiers, leaves: list[Leaf], first: Leaf | None, lang: str) -> list[dict[str, str]]:
    """The pages that lead to a delivery in the languages that its row does not link already."""
    others = sorted({leaf.lang for leaf in leaves if leaf.path} - ({first.lang} if first else set()))
    pages = [(other, dossiers.first(delivery, other)) for other in others for delivery in [leaves[0].about]]
    return [
        {"tag": tag(other), "language": _language(other), "href": page.path}
        for other, page in pages
        if page and page.lang == other
    ]


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


def _compared(rates: list[Row], lang: str) -> str:
    """How a delivery is beside what is usual, or why none of its rates is compared; "" if none is known."""
    verdicts = [rate["is_different"] for rate in rates if rate["is_different"] is not None]
    reasons = sorted({rate["reason"] for rate in rates if rate["reason"]})
    if not verdicts:
        return say(reasons[0], lang) if reasons else ""
    return say("not as usual", lang) if any(verdicts) else say("as usual", lang)


def _rate(name: str, row: Row, lang: str) -> Row:
    """A rate with its parts, or why it is unknown, and its distance from what is usual, if that is known."""
    rate: Row = {"value": say(NOT_AVAILABLE, lang), "of": "", "why": "", "short": "", "sort": None}
    rate |= {"points": "", "usual": "", "is_different": bool(row["is_different"])}
    if row["why"]:
        return rate | {"why": say(row["why"], lang), "short": _short(row["why"], lang)}
    shown = figure(name, row["value"], lang, row["whole"])
    rate |= {"value": shown, "of": fraction(row["part"], row["whole"], lang), "sort": row["value"]}
    if row["reason"] or row["difference"] is None:
        return rate
    return rate | {"points": _points(row["difference"], lang), "usual": _usual(name, row, lang)}


def _short(why: str, lang: str) -> str:
    return say(SHORT.get(why, why), lang)


def _points(difference: float, lang: str) -> str:
    shown = number(abs(difference) * 100, 1, lang)
    sign = "" if shown == number(0, 1, lang) else "+" if difference > 0 else "\u2212"
    return say("{points} pp", lang, points=f"{sign}{shown}")


def _usual(name: str, row: Row, lang: str) -> str:
    median, count = figure(name, row["median"], lang, row["whole"]), number(row["n"], lang=lang)
    return say("usual: {median}, the median of {count} comparable deliveries", lang, median=median, count=count)


def _status(fact: Row, leaves: list[Leaf], dossiers: Dossiers, lang: str) -> Row:
    """The words on a delivery's state, its logs and its failed pages, and the one that the dot stands for."""
    logged = worst([leaf.entry["quality"] for leaf in leaves if leaf.entry.get("quality")] or ["pass"])
    failed = [leaf for leaf in leaves if leaf.error]
    logs = say(VERDICTS[logged], lang)
    state = say(LATE, lang) if fact["is_late"] else _word(fact["state"], STATES, lang)
    is_finished = fact["state"] in (None, FINISHED)
    is_blind = any(rate["why"] == unseen.NO_HIT for rate in fact["rates"].values())
    verdict = "warn" if is_blind and logged == "pass" else logged
    sending = "running" if fact["state"] in RUNNING else "pass" if is_finished else "halted"
    problems = several("{count} page failed", "{count} pages failed", len(failed), lang) if failed else ""
    titles = dossiers.words(lang).titles
    return {
        "dot": "failed" if failed else verdict if verdict != "pass" else sending,
        "words": [
            *([state] if state else []),
            *([say("tracking missing", lang)] if is_blind else []),
            *([logs] if logged != "pass" else []),
        ],
        "state": state,
        "verdict": logs,
        "failed": [dossiers.link(leaf, titles[leaf.report], lang) for leaf in failed],
        "problems": problems,
        "problem": say("pages failed", lang) if failed else "",
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


class Recent(NamedTuple):
    """The deliveries of 30 days, those of them that figures are of, and these figures, by rate."""

    chosen: list[str]
    kept: list[str]
    figures: dict[str, Row]


def _ends(until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Where the last 30 days end, and the 30 before them."""
    return until, until and until - timedelta(days=RECENT_DAYS)


def _measured(
    tables: Snapshot, rows: pl.DataFrame, each: Figures, until: datetime | None, rates: Sequence[str]
) -> Recent:
    """The figures of the 30 days up to an instant, each measured again over the deliveries that are compared."""
    real = sent_to_readers(tables, rows)
    kept = _compared_of(real, each, until)
    measured = together(tables, each, kept, list(dict.fromkeys([*TILES, *rates])))
    return Recent(recent(real, until), kept, {name: frame.row(0, named=True) for name, frame in measured.items()})


def _tiles(
    tables: Snapshot, rows: pl.DataFrame, last: Recent, until: datetime | None, listed: list[Headline], lang: str
) -> list[Row]:
    """Some figures on the deliveries of the last 30 days."""
    real = sent_to_readers(tables, rows)
    elsewhere = len(recent(_all_real(tables), until)) - len(last.chosen)
    notes = _not_in_figures(real, last.chosen, last.kept, lang)
    if elsewhere > 0:
        words = "{count} more has no page here", "{count} more have no page here"
        notes.append(several(*words, elsewhere, lang))
    tiles: list[Row] = [
        {"name": say("Deliveries", lang), "value": number(len(last.chosen), lang=lang), "of": "", "notes": notes}
    ]
    for tile in listed:
        if (fact := last.figures.get(tile.metric)) is None:
            continue
        name, metric = tile.metric, METRICS[tile.metric]
        part, whole = fact[str(metric.numerator)], fact[str(metric.denominator)]
        rate = figure(name, fact[name], lang, whole)
        title, value, of = say(metric.label, lang), rate, fraction(part, whole, lang)
        if name == "delivery_rate":
            title, value = say("Messages delivered", lang), figure("delivered", fact["delivered"], lang)
            of = _delivered(fact, rate, lang)
        tiles.append({"name": tile.label or title, "value": value, "of": of, "notes": []})
    return tiles


def _all_real(tables: Snapshot) -> pl.DataFrame:
    """Every delivery that counts in totals, with or without pages: (delivery_id, launched_at)."""
    return tables.scan("delivery").filter(~is_set_aside()).select("delivery_id", launched_at=planned_launch()).collect()


def _finished(rows: pl.DataFrame, chosen: list[str]) -> list[str]:
    return rows.filter(pl.col("delivery_id").is_in(chosen), _is_finished())["delivery_id"].to_list()


def _is_finished() -> pl.Expr:
    return pl.col("state").is_null() | (pl.col("state") == FINISHED)


def _compared_of(rows: pl.DataFrame, each: Figures, until: datetime | None) -> list[str]:
    """The deliveries of the 30 days up to an instant that all figures are of: finished, with known opens and clicks.

    Where there is none, those of which these are known, finished or not; and else all.
    """
    chosen = recent(rows, until)
    known = [delivery for delivery in chosen if not any(each[delivery][name]["why"] for name in TILES)]
    return _finished(rows, known) or known or chosen


def _not_in_figures(rows: pl.DataFrame, chosen: list[str], kept: list[str], lang: str) -> list[str]:
    """How many of the deliveries are in no figure, and why."""
    left_out = set(chosen) - set(kept)
    unknown = len(left_out & set(_finished(rows, chosen)))
    notes = []
    if count := len(left_out) - unknown:
        notes.append(
            several(
                "{count} is not finished: in none of these figures",
                "{count} are not finished: in none of these figures",
                count,
                lang,
            )
        )
    if unknown:
        notes.append(
            several(
                "{count} is in none of these figures: its opens or clicks cannot be known",
                "{count} are in none of these figures: their opens or clicks cannot be known",
                unknown,
                lang,
            )
        )
    return notes


def _finding(last: Recent, before: Recent, lang: str) -> str:
    """Say what the deliveries of the last 30 days came to, beside those of the 30 before; "" without any."""
    shown = TILES[1:]
    words = {
        name + ending: figure(name, fact[name], lang, fact[str(METRICS[name].denominator)])
        for ending, of in (("", last), ("_before", before))
        for name, fact in of.figures.items()
        if name in shown
    }
    if not set(shown) <= words.keys():
        return ""
    if len(words) < 2 * len(shown):
        return say("{open_rate} opened, {recipient_click_rate} clicked", lang, **words)
    return say(
        "{open_rate} opened, {recipient_click_rate} clicked; "
        "in the {days} days before: {open_rate_before} and {recipient_click_rate_before}",
        lang,
        days=number(RECENT_DAYS, lang=lang),
        **words,
    )


def _delivered(fact: Row, rate: str, lang: str) -> str:
    whole = figure("to_deliver", fact["to_deliver"], lang)
    return say("of {whole} to deliver: {rate}", lang, whole=whole, rate=rate)


def _trend(tables: Snapshot, dossiers: Dossiers, each: Figures, lang: str) -> Row:
    """Open and click rates over the last launches, as lines; nothing with fewer than two.

    A delivery that is not finished is left out, as of the figures above it.
    """
    launched = sent_to_readers(tables, dossiers.listed).filter(_is_finished()).drop_nulls("launched_at")
    facts = launched.sort("launched_at", "delivery_id").tail(MOST_LAUNCHES).to_dicts()
    if len(facts) < 2:
        return {"trend": "", "trend_words": ""}
    names = ("open_rate", "recipient_click_rate")
    rates = {name: [each[fact["delivery_id"]][name] for fact in facts] for name in names}
    lines = [(say(NAMES[name], lang), [row["value"] for row in rates[name]]) for name in names]
    tips = [[_tip(name, row, dossiers, lang) for row in rates[name]] for name in names]
    days = [format_date(dossiers.day(fact["delivery_id"]), "d MMM", locale=lang) for fact in facts]
    words = say(TREND, lang, count=number(len(facts), lang=lang))
    unknown = sorted({_short(row["why"], lang) for row in chain(*rates.values()) if row["why"]})
    gaps = say("n/a: a rate that cannot be known ({reasons})", lang, reasons=", ".join(unknown)) if unknown else ""

    def tick(share: float) -> str:
        return round_percent(share, lang)

    drawn = {width: trend(lines, tips, days, tick, words, say(NOT_AVAILABLE, lang), width) for width in WIDTHS}
    return {"trend": drawn, "trend_words": " · ".join(filter(None, [words, gaps]))}


def _tip(name: str, row: Row, dossiers: Dossiers, lang: str) -> str:
    """What the point of a delivery says in the trend: its name, its day, the rate or why it is unknown."""
    rate = _rate(name, row, lang)
    label, day = dossiers.labels[row["delivery_id"]], instant(dossiers.day(row["delivery_id"]), lang=lang, weekday=True)
    return "\n".join(filter(None, [label, day, f"{say(NAMES[name], lang)}: {rate['value']}", rate["why"]]))
