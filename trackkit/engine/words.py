"""Measuring by the words of a definition set: the registry's metrics measured, and called as the sender does."""

from collections.abc import Callable, Sequence

import polars as pl

from trackkit.definition_sets import DefinitionSet, definition_set
from trackkit.engine.joins import Joins
from trackkit.metrics import bounds_of, breakdowns_of, lineage

LEAST = "delivered"  # measured where no word that was asked for can be


def by_words(
    definitions: str,
    words: str | Sequence[str] | None,
    by: str | Sequence[str],
    measured: Callable[[list[str]], pl.DataFrame],
    joins: Joins,
) -> pl.DataFrame:
    """Return what `measured` answers for the metrics behind words of a set, by default all that apply.

    Out: its breakdowns, the words in the order asked (null where the set says that these data cannot tell), then the
    parts of rates, each by its word, else by its registered name. RequestError for a word that the set does not have.
    """
    chosen, groups = definition_set(definitions), [by] if isinstance(by, str) else list(by)
    asked = _applicable(chosen, groups, joins) if words is None else chosen.require(words)
    metrics = [metric for word in asked if (metric := chosen.words[word].metric)]
    frame = measured(list(dict.fromkeys(metrics)) or [LEAST])
    named = {column.meta.output_name(): column for word in asked for column in _columns(frame, chosen, word)}
    parts = {chosen.name_of(part): pl.col(part) for metric in metrics for part in lineage(metric)[:-1]}
    others = [column.alias(name) for name, column in parts.items() if name not in named]
    return frame.select(*groups, *named.values(), *others)


def _columns(frame: pl.DataFrame, chosen: DefinitionSet, word: str) -> list[pl.Expr]:
    """A word's column and the bounds beside it; null where the set has no metric for it."""
    metric = chosen.words[word].metric
    if metric is None:
        return [pl.lit(None, pl.Float64 if word.endswith("_rate") else pl.Int64).alias(word)]
    names = zip((metric, *bounds_of(metric)), (word, *bounds_of(word)), strict=True)
    return [pl.col(name).alias(called) for name, called in names if name in frame.columns]


def _applicable(chosen: DefinitionSet, groups: Sequence[str], joins: Joins) -> list[str]:
    metrics, known = {word: meaning.metric for word, meaning in chosen.words.items()}, joins.breakdowns
    return [word for word, metric in metrics.items() if not metric or set(groups) <= set(breakdowns_of(metric, known))]
