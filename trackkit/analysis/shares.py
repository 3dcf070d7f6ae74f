"""Shares that are exact to the last bit."""

import polars as pl


def out_of(part: str, whole: str) -> pl.Expr:
    """Return part / whole, null where the whole is not above 0 or either is unknown.

    polars multiplies by the reciprocal when the whole is one constant, and 13 / 500 is then 0.026000000000000002: the
    whole is made a column of its own here.

    >>> pl.DataFrame({"part": [13]}).with_columns(whole=pl.lit(500)).select(out_of("part", "whole")).item()
    0.026
    """
    spread = pl.col(whole) + 0 * pl.col(part)
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / spread)
