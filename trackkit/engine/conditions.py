"""A SQL condition of a question, checked before anything is read: its columns, its types, and that it is a condition.

`sqlglot` reads the SQL; what is not a plain test of a row's columns is refused in words, since a condition that means
something else than its reader thinks answers without a word: `day >= 2026-10-01` is a subtraction.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from trackkit import schema
from trackkit.clock import moment
from trackkit.errors import RequestError, did_you_mean

_MADE = {"day": pl.Date(), "hour": pl.Datetime("us", "UTC")}
_CAN = "Tests are =, <>, <, <=, >, >=, IN, BETWEEN, LIKE and IS NULL, joined by AND, OR and NOT"
_EXAMPLES = {"text": "'post.example'", "number": "5", "date": "'2026-10-01'", "instant": "'2026-10-01 09:00'"}
_LIKE = {"%": ".*", "_": "."}
_SHOWN = 200  # characters of a condition in a sentence
_PARTS = {"this", "expression", "expressions", "low", "high", "negate"}  # of a test; with another one it means another


def condition(written: str, columns: Mapping[str, Any], timezone: str) -> pl.Expr:
    """Return a SQL condition as an expression that is true, false or null for each row.

    `columns` are those that may be tested; dates and instants are written as ISO text, in `timezone`.
    Raises RequestError for what is no condition, an unknown column, and values that its type cannot be compared with.

    >>> str(condition("day >= '2026-10-01'", {"day": ()}, "UTC"))
    '[(col("day")) >= (2026-10-01)]'
    """
    return _Condition(written, columns, timezone).read()


class _Condition:
    """One condition being read."""

    def __init__(self, written: str, columns: Mapping[str, Any], timezone: str) -> None:
        from sqlglot import exp  # 0.2 s, that only a condition spends

        self.written, self.columns, self.timezone = written, columns, timezone
        self.exp = exp
        self.joins: dict[type, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
            exp.And: lambda one, other: one & other,
            exp.Or: lambda one, other: one | other,
        }
        self.comparisons: dict[type, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
            exp.EQ: lambda one, other: one == other,
            exp.NEQ: lambda one, other: one != other,
            exp.GT: lambda one, other: one > other,
            exp.GTE: lambda one, other: one >= other,
            exp.LT: lambda one, other: one < other,
            exp.LTE: lambda one, other: one <= other,
            exp.NullSafeEQ: lambda one, other: one.eq_missing(other),
            exp.NullSafeNEQ: lambda one, other: one.ne_missing(other),
        }

    def read(self) -> pl.Expr:
        from sqlglot import parse
        from sqlglot.errors import SqlglotError

        if not isinstance(self.written, str):
            raise self._refused("it is no text")
        try:
            trees = parse(self.written, dialect="postgres")
            if len(trees) != 1 or trees[0] is None:
                raise self._refused("it is not one condition")
            return self._test(trees[0])
        except RecursionError:
            raise self._refused("it is nested too deeply; many values are tested as domain IN ('a', 'b')") from None
        except SqlglotError as error:
            raise self._refused(f"it is no SQL: {str(error).splitlines()[0][:_SHOWN]}") from None

    def _refused(self, why: str) -> RequestError:
        hint = "Try \"domain = 'post.example'\"."
        return RequestError(f"The condition {_short(self.written)} is not understood: {why}. {hint}")

    def _test(self, node: Any) -> pl.Expr:
        """What is true or false of a row."""
        if further := {name for name, value in node.args.items() if value} - _PARTS:
            raise self._refused(f"{node.sql(dialect='postgres')!r} has {', '.join(sorted(further))}. {_CAN}")
        found = self._test_of_several(node)
        return ~found if node.args.get("negate") else found

    def _test_of_several(self, node: Any) -> pl.Expr:
        """A test joined of others, or of values that are compared."""
        exp = self.exp
        if isinstance(node, exp.Paren):
            return self._test(node.this)
        if isinstance(node, exp.Not):
            return ~self._test(node.this)
        if join := self.joins.get(type(node)):
            return join(self._test(node.left), self._test(node.right))
        if compare := self.comparisons.get(type(node)):
            return compare(*self._alike(node.left, node.right))
        if isinstance(node, exp.Between):
            value, low, high = self._alike(node.this, node.args["low"], node.args["high"])
            return (value >= low) & (value <= high)
        if isinstance(node, exp.In) and node.expressions:
            value, *known = self._alike(node.this, *node.expressions)
            return pl.any_horizontal(value == each for each in known)
        return self._test_of_one(node)

    def _test_of_one(self, node: Any) -> pl.Expr:
        """A test of one value: LIKE, IS NULL, a column that is true or false."""
        exp = self.exp
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
            return self._value(node.this)[0].is_null()
        if isinstance(node, exp.Like | exp.ILike):
            value, pattern = self._value(node.this, node), node.expression
            if value[1] == "text" and isinstance(pattern, exp.Literal) and pattern.is_string:
                return value[0].str.contains(_pattern(pattern.this, isinstance(node, exp.ILike)))
            raise self._refused("LIKE tests text with text, as in domain LIKE '%.example'")
        if isinstance(node, exp.Boolean):
            return pl.lit(node.this)
        said = f"{node.sql(dialect='postgres')!r} is neither true nor false of a row"
        raise self._refused(f"{said}. {_CAN}")

    def _alike(self, *nodes: Any) -> list[pl.Expr]:
        """Values to be compared: all of one kind, ISO text being a date or an instant beside one."""
        read = [self._value(node) for node in nodes]
        kinds = {kind for _, kind, _ in read}
        timed = next((kind for kind in ("instant", "date") if kind in kinds), None)
        if timed:
            read = [self._timed(timed, one) for one in read]
        kinds = {kind for _, kind, _ in read}
        if len(kinds) > 1:
            whose = next((one for one in read if one[2].startswith("column")), read[0])
            other = next(one for one in read if one[1] != whose[1])
            is_text = whose[1] == "text" and other[1] == "number" and not other[2].startswith("column")
            written = repr(other[2]) if is_text else _EXAMPLES[whose[1]]
            raise self._refused(f"{whose[2]} is {whose[1]}, and {other[2]} is not; write it as {written}")
        return [value for value, _, _ in read]

    def _value(self, node: Any, inside: Any = None) -> tuple[pl.Expr, str, str]:
        """A value of a row or of the question: the expression, its kind, and its words."""
        exp = self.exp
        if isinstance(node, exp.Paren):
            return self._value(node.this, inside)
        if isinstance(node, exp.Column) and not node.table:
            return self._column(node.name, node.this.quoted)
        if isinstance(node, exp.Literal) and node.is_string:
            return pl.lit(node.this), "text", repr(node.this)
        if isinstance(node, exp.Literal | exp.Neg) and (number := _number(node)) is not None:
            return pl.lit(number), "number", str(number)
        if isinstance(node, exp.Cast):
            return self._cast(node)
        if isinstance(node, exp.Lower | exp.Upper):
            value, kind, words = self._value(node.this)
            if kind == "text":
                changed = value.str.to_lowercase() if isinstance(node, exp.Lower) else value.str.to_uppercase()
                return changed, kind, words
        said = (inside or node).sql(dialect="postgres")
        raise self._refused(f"{said!r} is no column, text or number. {_CAN}; dates are text, as '2026-10-01'")

    def _column(self, name: str, is_quoted: bool) -> tuple[pl.Expr, str, str]:
        if name not in self.columns:
            quotes = f" Text stands in single quotes: '{name}'." if is_quoted else ""
            near = did_you_mean(name, self.columns)
            raise RequestError(f"There is no column to filter by {name!r}.{near}{quotes}")
        dtype = _MADE.get(name) or schema.EVENT.schema.get(name) or schema.MESSAGE.schema[name]
        kind = "number" if dtype.is_numeric() else {pl.Date: "date", pl.Datetime: "instant"}.get(type(dtype), "text")
        value = pl.col(name).cast(pl.String) if isinstance(dtype, pl.Enum) else pl.col(name)
        return value, kind, f"column {name!r}"

    def _cast(self, node: Any) -> tuple[pl.Expr, str, str]:
        """CAST to text, a whole number, a date or a timestamp."""
        value, kind, words = self._value(node.this)
        to = "" if node.to.expressions else node.to.this.name  # VARCHAR(3) would cut
        if to in ("VARCHAR", "TEXT"):
            return value.cast(pl.String), "text", words
        if to in ("INT", "BIGINT") and kind in ("text", "number"):
            if not words.startswith("column") and not words.strip("'").lstrip("-").isdecimal():
                raise self._refused(f"{words} is no whole number")
            return value.cast(pl.Int64, strict=False), "number", words
        wanted = {"DATE": "date", "TIMESTAMP": "instant", "TIMESTAMPTZ": "instant"}.get(to)
        if wanted and kind == "text":
            return self._timed(wanted, (value, kind, words))
        raise self._refused(f"{node.sql(dialect='postgres')!r} cannot be worked out of a row")

    def _timed(self, kind: str, one: tuple[pl.Expr, str, str]) -> tuple[pl.Expr, str, str]:
        """A value beside a date or an instant: text of the question is read as one."""
        value, own, words = one
        if own != "text" or words.startswith("column"):
            return (value.cast(pl.Date), kind, words) if (own, kind) == ("instant", "date") else one
        try:
            at = datetime.fromisoformat(words[1:-1])
        except ValueError:
            raise self._refused(f"{words} is no {kind}; write it as {_EXAMPLES[kind]}") from None
        if kind == "instant":
            return pl.lit(moment(words[1:-1], self.timezone, f"The condition {self.written!r}")), kind, words
        if at != datetime.combine(at.date(), datetime.min.time()):
            raise self._refused(f"{words} is an instant, and 'day' is a date; write it as {_EXAMPLES[kind]}")
        return pl.lit(date(at.year, at.month, at.day)), kind, words


def _number(node: Any) -> int | float | None:
    """The number that a literal states; None for other text."""
    try:
        return int(node.sql()) if node.sql().lstrip("-").isdigit() else float(node.sql())
    except ValueError:
        return None


def _pattern(like: str, any_case: bool) -> str:
    """The regular expression of a LIKE pattern; after a backslash a mark stands for itself."""
    marks = re.findall(r"(?s)\\.|.", like)
    return ("(?si)" if any_case else "(?s)") + f"^{''.join(_LIKE.get(one) or re.escape(one[-1]) for one in marks)}$"


def _short(written: object) -> str:
    """The start of a condition, as a sentence quotes it."""
    whole = repr(written)
    return whole if len(whole) <= _SHOWN else f"{whole[:_SHOWN]}…"
