"""The table of one delivery under the definitions of several senders."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from great_tables import GT
from markupsafe import Markup

from trackkit.definition_sets import NOT_DEFINED, QUESTION_LABELS
from trackkit.language import said, say, translatable
from trackkit.show.cells import NOT_LOADED, Cell, fraction, label_of, presented, require, unavailable
from trackkit.show.data import DataField, table_data
from trackkit.show.definitions import mark
from trackkit.show.wording import percent, plain

__all__ = ["side_by_side_table"]
WORDS = translatable(
    {
        "question": "Question",
        "sender": "Sender",
        "label": "The sender's word",
        "rate": "Rate",
        "numerator": "Numerator",
        "denominator": "Denominator",
        "counted": "Counted",
        "of": "Out of",
        "why": "Why there is none",
        "source": "Source of the definition",
    }
)


def side_by_side_table(compared: pl.DataFrame, lang: str = "en") -> GT:
    """Show one delivery under each definition set: a row per question, a column per set.

    In: the frame of `definitions.side_by_side`. A cell has the rate, its parts as numbers and in words, and the
    sender's own word. RequestError for another frame.

    >>> table = side_by_side_table(tk.definitions.side_by_side(store, delivery))
    >>> [each["label"] for each in table.data["columns"]][:4]
    ['Question', 'Sender', "The sender's word", 'Rate']
    """
    require(["question", "sender", "rate", "numerator_metric", "denominator_metric", "why", "note"], compared.columns)
    questions = compared["question"].unique(maintain_order=True)
    rows: dict[str, dict[str, Cell]] = {name: {"question": say(QUESTION_LABELS[name], lang)} for name in questions}
    for row in compared.iter_rows(named=True):
        rows[row["question"]][row["definitions"]] = _cell(row, lang)
    senders = dict(compared.select("definitions", "sender").unique(maintain_order=True).iter_rows())
    columns = {"question": say(WORDS["question"], lang), **senders}
    return presented(list(rows.values()), columns, [], _data(compared, lang))


def _cell(row: Mapping[str, Any], lang: str) -> Cell:
    if row["rate"] is None:
        is_empty = row["numerator"] is not None and row["denominator"] == 0
        why = row["why"] or ("{denominator} is 0" if is_empty else NOT_LOADED if row["metric"] else NOT_DEFINED)
        return unavailable(why, lang, denominator=_words(row, lang)[1])
    parts = fraction(row["numerator"], row["denominator"], lang)
    shown = percent(row["rate"], lang=lang, of=row["denominator"])
    label = Markup('<span lang="en" translate="no">“{}”</span> {}')
    label = label.format(plain(row["label"] or row["metric"]), mark(row["metric"], lang))
    cell = Markup('<b>{}</b><span class="tk-of">{}</span><span class="tk-of tk-words"{}>{}<br>{}</span>')
    note = Markup(' title="{}"').format(plain(say(row["note"], lang))) if row["note"] else ""
    return cell.format(shown, parts, note, " / ".join(_words(row, lang)), label)


def _words(row: Mapping[str, Any], lang: str) -> tuple[str, str]:
    top, bottom = row["numerator_metric"], row["denominator_metric"]
    return label_of(top, lang) if top else "", label_of(bottom, lang) if bottom else ""


def _data(compared: pl.DataFrame, lang: str) -> dict[str, Any]:
    words = said(WORDS, lang)
    kinds = {"rate": "share", "numerator": "count", "denominator": "count"}
    fields = [DataField(name, words[name], kinds.get(name, "text")) for name in WORDS]  # type: ignore[arg-type]
    rows = [
        row
        | {"question": say(QUESTION_LABELS[row["question"]], lang), "why": row["why"] and say(row["why"], lang)}
        | dict(zip(("counted", "of"), _words(row, lang), strict=True))
        for row in compared.iter_rows(named=True)
    ]
    return table_data("definitions", fields, [{name: row[name] for name in WORDS} for row in rows])
