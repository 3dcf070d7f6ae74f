"""Amounts of money as logs write them, and the currency beside them: whole columns at a time, null for no value.

A currency is its ISO code where its sign or its name says which one it is. Any other word stays as it is, in capitals:
`$` may be one of twenty, and then is not taken for another that is named.
"""

import polars as pl

from trackkit.schema import LARGEST_AMOUNT
from trackkit.sources.values import PERCENT, is_missing, named, number

TOO_LARGE = "larger than any amount can be"
_WORD = r"(?:[A-Za-z]{0,3}\p{Sc}|[A-Za-z]{3}|[Kk][rč]|zł)"
_DIGITS = r"[0-9][0-9.,' \x{a0}\x{202f}]*"
_BESIDE = (
    rf"^\s*(?P<sign>[+-]?)\s*(?P<before>{_WORD})?\s*(?P<minus>[+-]?)\s*(?P<digits>{_DIGITS})(?P<after>{_WORD})?\s*$"
)
_LARGE = r"(?i)^\s*[+-]?(?:inf(?:inity)?|[0-9]{16,}(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?e\+?[0-9]{2,})\s*$"
_LONGEST = 16  # letters of a word for a currency
_SIGNS = (
    "€=EUR EURO=EUR EUROS=EUR £=GBP US$=USD R$=BRL CA$=CAD AU$=AUD NZ$=NZD HK$=HKD MX$=MXN ₹=INR ₽=RUB ₩=KRW ₪=ILS "
    "₺=TRY ₴=UAH ₫=VND ₦=NGN ₱=PHP ฿=THB ZŁ=PLN KČ=CZK"
)
_NAMED = {sign: code for sign, code in (pair.split("=") for pair in _SIGNS.split())}
# What a URL makes of letters beyond ASCII that stand in amounts; the rest of `PERCENT` is one byte a letter.
_DECODED = {"%E2%82%AC": "€", "%C2%A3": "£", "%C2%A5": "¥", "%C2%A0": " ", "%E2%80%AF": " ", "%E2%88%92": "-"} | PERCENT


def decoded(text: pl.Expr) -> pl.Expr:
    """Return an amount, or a currency, of a URL as it was written."""
    return text.str.replace_many(list(_DECODED), list(_DECODED.values()), ascii_case_insensitive=True)


def amount(text: pl.Expr) -> pl.Expr:
    """Return an amount as a number, below 0 for a refund; null when it is none, is too large or reads in two ways.

    >>> texts = pl.DataFrame({"text": ["99.90", "€99.90", "-1.234,56 EUR", "R$ -5", "9e99", "5 apples"]})
    >>> texts.select(amount(pl.col("text"))).to_series().to_list()
    [99.9, 99.9, -1234.56, -5.0, None, None]
    """
    return text.map_batches(_amounts, return_dtype=pl.Float64, is_elementwise=True)


def is_too_large(text: pl.Expr) -> pl.Expr:
    """Whether text that is no amount is a number all the same."""
    return text.str.contains(_LARGE)


def currency(text: pl.Expr) -> pl.Expr:
    """Return the currency that a word or a sign names; null for nothing.

    >>> pl.DataFrame({"text": ["eur", "€", "R$", "$", " "]}).select(currency(pl.col("text"))).to_series().to_list()
    ['EUR', 'EUR', 'BRL', '$', None]
    """
    word = pl.when(~is_missing(text)).then(text.str.strip_chars().str.to_uppercase().str.head(_LONGEST))
    return pl.coalesce(named(word, _NAMED), word)


def currency_beside(text: pl.Expr) -> pl.Expr:
    """Return the currency that stands in the text of an amount, before or behind; null where none does.

    >>> pl.DataFrame({"text": ["5", "5 EUR", "-€5"]}).select(currency_beside(pl.col("text"))).to_series().to_list()
    [None, 'EUR', 'EUR']
    """
    part = _parts(text).struct
    return pl.coalesce(currency(part.field("before")), currency(part.field("after")))


def _amounts(texts: pl.Series) -> pl.Series:
    """Work out a column step by step: as one expression, polars would work each step out again for each use of it."""
    rows = pl.DataFrame({"text": texts}).with_columns(amount=number(pl.col("text")))
    odd = rows.filter(pl.col("amount").is_null()).select("text").unique().drop_nulls()
    if odd.height:
        has_one = pl.col("before").is_null() | pl.col("after").is_null()
        parts = odd.select("text", part=_parts(pl.col("text"))).unnest("part")
        digits = parts.select("text", digits=pl.when(has_one).then(pl.concat_str("sign", "minus", "digits")))
        told = digits.select("text", told=number(pl.col("digits")))
        rows = rows.join(told, on="text", how="left", maintain_order="left")
        rows = rows.with_columns(amount=pl.coalesce("amount", "told"))
    is_amount = pl.col("amount").abs() < LARGEST_AMOUNT
    return rows.select(pl.when(is_amount).then("amount").alias(texts.name)).to_series()


def _parts(text: pl.Expr) -> pl.Expr:
    return text.str.replace("\u2212", "-", literal=True).str.extract_groups(_BESIDE)
