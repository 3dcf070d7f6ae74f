"""Hiding personal text before any of it is written anywhere; the class here hides nothing.

A source passes its text columns with what each may hold (schema.PERSONAL) before it makes ids of them and before they
are on disk, so that no id can be derived from an address either.
"""

from collections.abc import Mapping

import polars as pl


class Hiding:
    """Hides nothing; `store.pseudonyms` has the one that hides."""

    def rows(self, rows: pl.LazyFrame, kinds: Mapping[str, str]) -> pl.LazyFrame:
        """Return rows with the text columns of these kinds hidden, those that it has; streamed, in order."""
        return rows

    def name(self, text: str) -> str:
        """Return a file name with its personal parts hidden; different names stay different."""
        return text


def kinds_of(table: str) -> dict[str, str]:
    """Return what each text column of a canonical table's frame may hold, where its rows came from included."""
    from trackkit import schema

    return {"source_file": "id", **schema.TABLES[table].personal}
