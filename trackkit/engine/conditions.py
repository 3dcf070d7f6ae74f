"""A SQL condition of a question, checked before anything is read: its columns, its types, and that it is a condition.

`sqlglot` parses the SQL. Anything but a plain test of a row's columns is refused with a message, since a condition that
is not what its author meant would silently give wrong figures: `day >= 2026-10-01` is a subtraction.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from trackkit import schema
from trackkit.clock import moment
from trackkit.engine.backends import CLOCK
from trackkit.errors import RequestError, did_you_mean
from trackkit.metrics import OF_DELIVERIES

_DERIVED = CLOCK | dict.fromkeys(OF_DELIVERIES, pl.String()) | dict.fromkeys(("launch_day", "launch_week"), pl.Date())
_SUPPORTED = "Tests are =, <>, <, <=, >, >=, IN, BETWEEN, LIKE and IS NULL, joined by AND, OR and NOT"
ALL_KNOWN: Mapping[str, pl.DataType] = MappingProxyType({})
_KINDS = {pl.Date: "date", pl.Datetime: "instant", pl.Boolean: "true or false"}
_EXAMPLES = {"text": "'post.example'", "number": "5", "date": "'2026-10-01'", "instant": "'2026-10-01 09:00'"}
_EXAMPLES |= {"true or false": "TRUE"}
_LIKE = {"%": ".*", "_": "."}
_QUOTED_LENGTH = 200  # characters of a condition quoted in an error
_PARTS = {"this", "expression", "expressions", "low", "high", "negate"}  # any further one changes what a test means


def conditions(
    written: str | pl.Expr, columns: Mapping[str, Any], timezone: str, types: Mapping[str, pl.DataType] = ALL_KNOWN
) -> list[pl.Expr]:
    """Return a condition, of SQL or polars, as expressions that must all be true for a row; each true, false or null.

    `columns` are those that may be tested, `types` those of columns that no table has; dates and instants in SQL are
    written as ISO text, in `timezone`, and instants in polars are of that zone.
    Raises RequestError for what is no condition, an unknown column, and values that its type cannot be compared with.

    >>> [str(test) for test in conditions("day >= '2026-10-01' AND NOT weekday = 7", {"day": (), "weekday": ()}, "UTC")]
    ['[(col("day")) >= (2026-10-01)]', '[(col("weekday")) == (dyn int: 7)].not()']
    """
    if isinstance(written, pl.Expr):
        return [_expression(written, columns, timezone, types)]
    return _Condition(written, columns, timezone, types).read()


class _Condition:
    """Reads one condition."""

    def __init__(
        self, written: str, columns: Mapping[str, Any], timezone: str, types: Mapping[str, pl.DataType]
    ) -> None:
        from sqlglot import exp  # takes 0.2 s to import

        self.written, self.columns, self.timezone = written, columns, timezone
        self.types, self.exp = types, exp
        self.joins: dict[type, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
            exp.And: lambda left, right: left & right,
            exp.Or: lambda left, right: left | right,
        }
        self.comparisons: dict[type, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
            exp.EQ: lambda left, right: left == right,
            exp.NEQ: lambda left, right: left != right,
            exp.GT: lambda left, right: left > right,
            exp.GTE: lambda left, right: left >= right,
            exp.LT: lambda left, right: left < right,
            exp.LTE: lambda left, right: left <= right,
            exp.NullSafeEQ: lambda left, right: left.eq_missing(right),
            exp.NullSafeNEQ: lambda left, right: left.ne_missing(right),
        }

    def read(self) -> list[pl.Expr]:
        from sqlglot import parse
        from sqlglot.errors import SqlglotError

        if not isinstance(self.written, str):
            raise self._error("it is no text")
        try:
            trees = parse(self.written, dialect="postgres")
            if len(trees) != 1 or trees[0] is None:
                raise self._error("it is not one condition")
            return [self._test(node) for node in self._parts(trees[0])]
        except RecursionError:
            raise self._error("it is nested too deeply; many values are tested as domain IN ('a', 'b')") from None
        except SqlglotError as error:
            raise self._error(f"it is no SQL: {str(error).splitlines()[0][:_QUOTED_LENGTH]}") from None

    def _parts(self, node: Any) -> Iterator[Any]:
        """The tests that AND joins."""
        inner = node.unnest()
        if isinstance(inner, self.exp.And):
            yield from (*self._parts(inner.left), *self._parts(inner.right))
        else:
            yield node

    def _error(self, why: str) -> RequestError:
        hint = "Try \"domain = 'post.example'\"."
        return RequestError(f"The condition {_short(self.written)} is not understood: {why}. {hint}")

    def _test(self, node: Any) -> pl.Expr:
        """A test that is true or false for a row."""
        if further := {name for name, value in node.args.items() if value} - _PARTS:
            raise self._error(f"{node.sql(dialect='postgres')!r} has {', '.join(sorted(further))}. {_SUPPORTED}")
        test = self._compound_test(node)
        return ~test if node.args.get("negate") else test

    def _compound_test(self, node: Any) -> pl.Expr:
        """A test made of other tests, or of values that are compared."""
        exp = self.exp
        if isinstance(node, exp.Paren):
            return self._test(node.this)
        if isinstance(node, exp.Not):
            return ~self._test(node.this)
        if join := self.joins.get(type(node)):
            return join(self._test(node.left), self._test(node.right))
        if compare := self.comparisons.get(type(node)):
            return compare(*self._comparable(node.left, node.right))
        if isinstance(node, exp.Between):
            value, low, high = self._comparable(node.this, node.args["low"], node.args["high"])
            return (value >= low) & (value <= high)
        if isinstance(node, exp.In) and node.expressions:
            value, *values = self._comparable(node.this, *node.expressions)
            return pl.any_horizontal(value == allowed for allowed in values)
        return self._single_test(node)

    def _single_test(self, node: Any) -> pl.Expr:
        """A test of one value: LIKE, IS NULL, a column that is true or false."""
        exp = self.exp
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
            return self._value(node.this)[0].is_null()
        if isinstance(node, exp.Like | exp.ILike):
            value, pattern = self._value(node.this, node), node.expression
            if value[1] == "text" and isinstance(pattern, exp.Literal) and pattern.is_string:
                return value[0].str.contains(_pattern(pattern.this, isinstance(node, exp.ILike)))
            raise self._error("LIKE tests text with text, as in domain LIKE '%.example'")
        if isinstance(node, exp.Is) and isinstance(node.expression, exp.Boolean):
            tested, truth = self._comparable(node.this, node.expression)
            return tested.eq_missing(truth)
        if isinstance(node, exp.Boolean | exp.Column) and self._value(node)[1] == "true or false":
            return self._value(node)[0]
        raise self._error(f"{node.sql(dialect='postgres')!r} is neither true nor false of a row. {_SUPPORTED}")

    def _comparable(self, *nodes: Any) -> list[pl.Expr]:
        """Values to be compared, all of one kind; ISO text beside a date or an instant is read as one."""
        values = [self._value(node) for node in nodes]
        kinds = {kind for _, kind, _ in values}
        time_kind = next((kind for kind in ("instant", "date") if kind in kinds), None)
        if time_kind:
            values = [self._as_time(time_kind, value) for value in values]
        kinds = {kind for _, kind, _ in values}
        if len(kinds) > 1:
            first = next((value for value in values if value[2].startswith("column")), values[0])
            other = next(value for value in values if value[1] != first[1])
            is_text = first[1] == "text" and other[1] == "number" and not other[2].startswith("column")
            written = repr(other[2]) if is_text else _EXAMPLES[first[1]]
            raise self._error(f"{first[2]} is {first[1]}, and {other[2]} is not; write it as {written}")
        return [expr for expr, _, _ in values]

    def _value(self, node: Any, inside: Any = None) -> tuple[pl.Expr, str, str]:
        """A column or a literal."""
        exp = self.exp
        if isinstance(node, exp.Paren):
            return self._value(node.this, inside)
        if isinstance(node, exp.Column) and not node.table:
            return self._column(node.name, node.this.quoted)
        if isinstance(node, exp.Boolean):
            return pl.lit(node.this), "true or false", str(node.this).upper()
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
        sql = (inside or node).sql(dialect="postgres")
        raise self._error(f"{sql!r} is no column, text or number. {_SUPPORTED}; dates are text, as '2026-10-01'")

    def _column(self, name: str, is_quoted: bool) -> tuple[pl.Expr, str, str]:
        if name not in self.columns:
            quotes = f" Text stands in single quotes: '{name}'." if is_quoted else ""
            near = did_you_mean(name, self.columns)
            raise RequestError(f"There is no column to filter by {name!r}.{near}{quotes}")
        dtype = self.types.get(name) or _type_of(name)
        kind = "number" if dtype.is_numeric() else _KINDS.get(type(dtype), "text")
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
                raise self._error(f"{words} is no whole number")
            return value.cast(pl.Int64, strict=False), "number", words
        time_kind = {"DATE": "date", "TIMESTAMP": "instant", "TIMESTAMPTZ": "instant"}.get(to)
        if time_kind and kind == "text":
            return self._as_time(time_kind, (value, kind, words))
        raise self._error(f"{node.sql(dialect='postgres')!r} cannot be worked out of a row")

    def _as_time(self, kind: str, value: tuple[pl.Expr, str, str]) -> tuple[pl.Expr, str, str]:
        """A value compared with a date or an instant: a text literal is read as one."""
        expr, own_kind, words = value
        if own_kind != "text" or words.startswith("column"):
            return (expr.cast(pl.Date), kind, words) if (own_kind, kind) == ("instant", "date") else value
        try:
            at = datetime.fromisoformat(words[1:-1])
        except ValueError:
            raise self._error(f"{words} is no {kind}; write it as {_EXAMPLES[kind]}") from None
        if kind == "instant":
            return pl.lit(moment(words[1:-1], self.timezone, f"The condition {self.written!r}")), kind, words
        if at != datetime.combine(at.date(), datetime.min.time()):
            raise self._error(f"{words} is an instant, and a date is compared; write it as {_EXAMPLES[kind]}")
        return pl.lit(date(at.year, at.month, at.day)), kind, words


def _expression(
    written: pl.Expr, columns: Mapping[str, Any], timezone: str, known: Mapping[str, pl.DataType]
) -> pl.Expr:
    """A condition of polars, checked against columns without rows, where a test of each row has no value."""
    quoted = f"The condition {_short(str(written))}"
    if not (names := written.meta.root_names()):
        raise RequestError(f"{quoted} tests no column. Try pl.col('domain') == 'post.example'.")
    for name in names:
        if name not in columns:
            raise RequestError(f"There is no column to filter by {name!r}.{did_you_mean(name, columns)}")
    types = {name: known.get(name) or _by_the_clock(_type_of(name), timezone) for name in names}
    try:
        tested = pl.DataFrame(schema=types).select(written)
    except PolarsError as error:
        raise RequestError(f"{quoted} is not understood: {str(error).splitlines()[0][:_QUOTED_LENGTH]}.") from None
    if tested.dtypes != [pl.Boolean()]:
        kinds = ", ".join(map(str, tested.dtypes))
        raise RequestError(f"{quoted} is neither true nor false of a row: it is {kinds}. Compare it with something.")
    if tested.height:
        raise RequestError(f"{quoted} tests all rows together, and a condition tests each by itself.")
    return written


def _by_the_clock(dtype: pl.DataType, timezone: str) -> pl.DataType:
    """The type of a column as it is asked about: instants are those of the clock of a time zone."""
    return pl.Datetime("us", timezone) if isinstance(dtype, pl.Datetime) else dtype


def _type_of(name: str) -> pl.DataType:
    return _DERIVED.get(name) or schema.EVENT.schema.get(name) or schema.MESSAGE.schema[name]


def _number(node: Any) -> int | float | None:
    """The number that a literal states; None for other text."""
    try:
        return int(node.sql()) if node.sql().lstrip("-").isdigit() else float(node.sql())
    except ValueError:
        return None


def _pattern(like: str, any_case: bool) -> str:
    """The regular expression for a LIKE pattern; a backslash escapes the next character."""
    tokens = re.findall(r"(?s)\\.|.", like)
    regex = "".join(_LIKE.get(token) or re.escape(token[-1]) for token in tokens)
    return f"{'(?si)' if any_case else '(?s)'}^{regex}$"


def _short(written: object) -> str:
    """The start of a condition, as errors quote it."""
    quoted = repr(written)
    return quoted if len(quoted) <= _QUOTED_LENGTH else f"{quoted[:_QUOTED_LENGTH]}…"
