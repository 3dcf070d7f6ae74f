"""What the figures of a report cannot say: the frame of `caveats.limits` as sentences.

Also which tables each section reads, by its notebook and template, so that the sentence about a missing table names the
sections concerned.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from trackkit import resources
from trackkit.analysis.caveats import metric_needs, table_needs
from trackkit.language import say, several, translatable
from trackkit.metrics import METRICS
from trackkit.quality.finding import REASONS, reason, verdict
from trackkit.report import notebook
from trackkit.report.template import Section, Template
from trackkit.schema import STATES
from trackkit.show.wording import clipped, instant, number, plain

# For each table: what is unknown if it was not loaded.
MISSING = translatable(
    {
        "delivery": "No table of deliveries was loaded: population, messages to deliver, text messages, state and "
        "dates are unknown.",
        "message": "No delivery log was loaded: success, errors and bounces are unknown, and every rate over them.",
        "event": "No tracking log was loaded: opens, clicks and visits are unknown.",
        "link": "No list of tracked links was loaded: labels and categories are unknown, and what a hit was is known "
        "only where its log says so.",
        "web_event": "No parameters of web hits were loaded: amounts and articles of transactions are unknown.",
        "failure": "No failure messages were loaded: the reasons of errors are unknown, and so are hard and soft "
        "bounces.",
        "exclusion": "No exclusion log was loaded: why recipients were rejected is unknown.",
        "recipient": "No table of recipients was loaded: countries are unknown.",
        "subscription": "No history of subscriptions was loaded: who joined or left a service is unknown.",
        "service": "No table of services was loaded: services go by their id.",
        "page_hit": "No pages of web applications were loaded: conversion and bounce rates are unknown, and so is who "
        "refused web tracking.",
        "content": "No message content was loaded: clicks cannot be placed on the message.",
    }
)
# All other caveats. Placeholders: {count}, {total}, {at}, {until}, {state}, {deliveries}, {currencies}.
SENTENCES: Mapping[str, str] = translatable(
    {
        "not_listed": "This delivery is in no table of deliveries: only what its hits and messages say is known.",
        "proof": "This is a proof: averages and totals leave it out.",
        "model": "This is a delivery template, never sent.",
        "deleted": "This delivery was deleted on the platform: totals, averages, lists and the index leave it out.",
        "not_sent": "The delivery has not been sent (state: {state}).",
        "running": "The delivery is still running (state: {state}): its figures will change.",
        "late": "The delivery is late (state: {state}): its deadline of {until} has passed with messages pending. Its "
        "figures may still change.",
        "late_unknown": "The delivery is still running (state: {state}) in the data, which goes to {at}. Its deadline "
        "of {until} has passed since: what became of the messages pending is unknown.",
        "ended_early": "The delivery ended early (state: {state}): not every message may have been sent.",
        "valid": "The delivery is valid until {until}, and the data goes to {at}: its figures are provisional.",
        "late_bounces": "Late bounces may arrive until {until}, and the data goes to {at}: success is provisional.",
        "waiting": "Messages not sent yet: {count} of {total}.",
        "purged": "What was sent in this delivery is not known: its delivery log was purged, or the sender's logs do "
        "not tell it. Success and every rate over it are unknown.",
        "only_failures": "Of this delivery only failures and complaints are told ({count} messages), and not what was "
        "sent: success, errors and every rate over them are unknown.",
        "deliveries_unlogged": "Deliveries of which it is unknown what was sent: {count} of {total} ({deliveries}). "
        "Their success, errors and bounces are unknown, and so is every total that holds them.",
        "removed": "Logs of this delivery were removed on {at}, as retention asks: the figures that need them are "
        "unknown, and lists and curves show what is left.",
        "kept": "Logs of this delivery were removed on {at}, as retention asks, and its figures were kept: what breaks "
        "them down is unknown, and lists and curves show what is left.",
        "no_hit": "No hit has been recorded: opens and clicks are 0.",
        "text_only": "All messages are text ({count}), whose opens cannot be seen: opens and every rate over them are "
        "n/a.",
        "text_some": "Text messages, whose opens cannot be seen: {count} of {total}. The estimates allow for them; "
        "other figures of opens do not.",
        "text_unknown": "How many messages are text is unknown: estimated opens equal those counted.",
        "counters_differ": "Counters of the platform that differ from ours: {count} of {total}. The delivery dashboard "
        "lists them, each with its likely cause.",
        "counters_agree": "The platform's own counters of this delivery agree with ours: all {count}.",
        "seeds": "Messages to control addresses, left out of success: {count}.",
        "seed_hits": "Hits of control addresses, left out of every count: {count} of {total}.",
        "currencies": "Purchases are in {count} currencies ({currencies}), which are never added: their amounts and "
        "averages over more than one are unknown.",
        "currency_taken": "Amounts that name no currency: {count} of {total}. They are taken to be in {currencies}.",
        "currency": "Amounts are in {currencies}.",
        "currency_unnamed": "Amounts that name no currency: {count}, all of them. Which one they are in is unknown.",
        "unknown_amounts": "Purchases of unknown amount: {count} of {total}. They are in no amount and no average.",
        "refused_visits": "Pages of the site displayed by visitors who refused web tracking, left out of every figure "
        "of the site: {count} of {total}.",
        "nameless": "Hits that name no message: {count} of {total}. They count in totals, never as recipients.",
        "unclassified": "What {count} of {total} hits were is unknown without the list of tracked links: they are in "
        "no count of clicks, visits or purchases.",
        "quarantined": "Lines of all loads that could not be read, kept apart: {count}.",
        "age": "The newest hit known is of {at}; the last load was made on {until}.",
        "undated_data": "No hit carries a date, so how old the data is, is unknown.",
        "deliveries_running": "Deliveries not over yet, whose figures will change: {count} of {total} ({deliveries}).",
        "deliveries_set_aside": "Proofs and templates, left out of averages and totals: {count} of {total} deliveries.",
        "deliveries_deleted": "Deliveries deleted on the platform, left out of totals, averages and lists: {count} of "
        "{total} deliveries.",
        "deliveries_left_out": "Deliveries of this recipient that were deleted on the platform, left out here: "
        "{count}.",
        "deliveries_earlier": "Deliveries launched more than six months before the latest one, or without a date, "
        "which are not on this page: {count} of {total}.",
        "deliveries_removed": "Deliveries whose logs were removed, as retention asks: {count}. Totals leave them out, "
        "except those whose figures were kept.",
        "chosen_removed": "Deliveries whose logs were removed, as retention asks: {count}. Totals that hold them are "
        "unknown, except those whose figures were kept.",
        "opens_unseen": "Deliveries whose opens cannot be observed: {count} of {total} ({deliveries}). Opens, and what "
        "their rates are out of, are those of the others.",
        "deliveries_text_unknown": "Deliveries whose number of text messages is unknown: {count} of {total}. "
        "Their estimated opens equal those counted.",
        "without_delivery": "Hits that belong to no delivery, left out of every figure: {count} of {total}.",
    }
)
# Limits that are quality checks too: stated once, by the verdict if it counts them, else by themselves.
CHECKED = {
    "unknown_links": "unknown_links",
    "unknown_messages": "unknown_messages",
    "undated": "undated",
    "unknown_types": "unknown_types",
    "unknown_statuses": "unknown_statuses",
    "tracking_missing": "tracking_missing",
    "quarantined": "corrupt_lines",
    "deliveries_untracked": "tracking_missing",
    "unlisted_deliveries": "unknown_deliveries",
}
_OF_CHECKS = {limit: REASONS.get(limit, REASONS[check]) for limit, check in CHECKED.items()}
WORDS: Mapping[str, str] = {**_OF_CHECKS, **SENTENCES}
PASSED = translatable("Quality of the logs: pass. No problem of forwarding was found.")

_ONE_CURRENCY = ("currency", "currency_taken")
CONCERNS = translatable("{sentence} Concerned: {sections}.")
_WORD = re.compile(r"\"(\w+)\"")
_CALLED = re.compile(r"\btk\.(\w+)(?:\.(\w+))?")


def sentences(
    limits: pl.DataFrame, timezone: str = "UTC", lang: str = "en", quality: pl.DataFrame | None = None
) -> tuple[list[str], list[str]]:
    """Return the warnings and the notes of a report, one sentence or two each; the verdict on the logs comes first.

    In: the frame of `caveats.limits`, and optionally that of `quality.quality`; what both report is stated once.
    Instants are by the clock of `timezone`, numbers in the format of `lang`.
    """
    weighted = [] if quality is None else list(_verdict(quality, timezone, lang))
    rows = (limits if quality is None else _without_verdict_reasons(limits, quality)).iter_rows(named=True)
    weighted += [(row["weight"], _sentence(row, timezone, lang)) for row in rows]
    warnings, remarks = ([words for weight, words in weighted if weight == kind] for kind in ("warning", "note"))
    return warnings, remarks


def _verdict(quality: pl.DataFrame, timezone: str, lang: str) -> Iterator[tuple[str, str]]:
    """Yield the verdict and then its reasons, each with its weight."""
    reasons = [_reason(row, timezone, lang) for row in quality.iter_rows(named=True) if row["verdict"] != "pass"]
    heads = {
        "pass": say(PASSED, lang),
        "warn": several(
            "Quality of the logs: warning, for {count} reason:",
            "Quality of the logs: warning, for {count} reasons:",
            len(reasons),
            lang,
        ),
        "fail": several(
            "Quality of the logs: failure, for {count} reason:",
            "Quality of the logs: failure, for {count} reasons:",
            len(reasons),
            lang,
        ),
    }
    for sentence in [heads[verdict(quality)], *reasons]:
        yield ("warning" if reasons else "note"), sentence


def _reason(row: Mapping[str, Any], timezone: str, lang: str) -> str:
    values = {name: _shown(row[name], timezone, lang) for name in ("count", "total", "first", "last")}
    return say(reason(row["check"], row["total"]), lang, examples=plain(", ".join(row["examples"])), **values)


def _without_verdict_reasons(limits: pl.DataFrame, quality: pl.DataFrame) -> pl.DataFrame:
    """Drop the limits that the verdict states; for deliveries too small or too recent for it, just say "no hit"."""
    stated = quality.filter(pl.col("verdict") != "pass")["check"].to_list()
    limit = pl.col("limit")
    rows = limits.filter(~limit.replace_strict(CHECKED, default=None).is_in(stated).fill_null(False))
    return rows.with_columns(limit=limit.replace({"tracking_missing": "no_hit"}))


def _sentence(row: Mapping[str, Any], timezone: str, lang: str) -> str:
    if row["limit"] == "missing":
        sentence = say(MISSING[row["table"]], lang)
        sections = ", ".join(row["concerns"])
        return say(CONCERNS, lang, sentence=sentence, sections=sections) if sections else sentence
    values = {name: _shown(row[name], timezone, lang) for name in ("count", "total", "at", "until")}
    state = say(STATES[row["code"]], lang) if row["code"] in STATES else str(row["code"])
    concerned = _concerned(row)
    return say(WORDS[row["limit"]], lang, state=state, deliveries=concerned, currencies=concerned, **values)


def _concerned(row: Mapping[str, Any]) -> str:
    """List the deliveries or currencies concerned, with an ellipsis if there are more."""
    names = [clipped(str(name), 60) for name in row["concerns"]]
    return ", ".join(
        [*names, "…"] if names and (row["count"] or 0) > len(names) and row["limit"] not in _ONE_CURRENCY else names
    )


def _shown(value: int | datetime | None, timezone: str, lang: str) -> str:
    return instant(value, timezone, lang=lang) if isinstance(value, datetime) else number(value, lang=lang)


def needs(report: str, words: Template) -> dict[str, list[str]]:
    """Return the tables that a report reads, each with the titles of the sections that read it, in their order.

    The list is empty if every section reads the table: the sentence is then about the whole report.
    """
    texts = notebook.section_texts(resources.find(f"{notebook.NOTEBOOKS}/{report}.ipynb"))
    read = {section.title: _tables(texts.get(section.name, ""), section, words) for section in words.section}
    tables = dict.fromkeys(table for tables_read in read.values() for table in sorted(tables_read))
    sections_of = {table: [title for title, tables_read in read.items() if table in tables_read] for table in tables}
    return {table: titles if len(titles) < len(read) else [] for table, titles in sections_of.items()}


def _tables(text: str, section: Section, template: Template) -> set[str]:
    """The tables read by the functions that a section calls and by the metrics that it, or its large figures, names."""
    called = _CALLED.findall(text)
    by_call = [table_needs(module, function) for module, function in called]
    figures: Mapping[str, Sequence[Any]] = {"row": template.tile, "look": template.look}
    shown = [each.metric for module, function in called if module == "tiles" for each in figures.get(function, [])]
    words = [*(section.metrics or []), *shown, *_WORD.findall(text)]
    return _union(by_call) | _union(metric_needs(word) for word in words if word in METRICS)


def _union(groups: Iterable[Iterable[str]]) -> set[str]:
    return {table for group in groups for table in group}
