"""What the codes and the words of mail servers say of a bounce: whether it is permanent, and its cause.

Two axes that "hard" and "soft" mix up: a blocked sender and a full mailbox may be permanent, and the address is valid.
The list (`reports_templates/bounce_causes.toml`) is the analysts'; Rust's regular expressions take linear time.
"""

from datetime import date
from typing import Annotated, Literal

import polars as pl
from pydantic import AfterValidator, Field, StringConstraints

from trackkit import resources, toml
from trackkit.toml import Strict

LIST = "reports_templates/bounce_causes.toml"
PERMANENT, TRANSIENT, UNKNOWN = PERMANENCES = ("permanent", "persistent_transient", "unknown")
CAUSES = ("address", "mailbox", "system", "network", "protocol", "content", "policy", "unclassified")
UNCLASSIFIED = CAUSES[-1]
CLASSES = {"5": PERMANENT, "4": TRANSIENT}
_LONGEST = 2_000  # characters of a text that are read
# Addresses of people and of machines, whose digits are no codes.
_NO_CODES = r"[^\s@<>]*@[^\s<>]*|\b\d{1,3}(?:\.\d{1,3}){3,}\b|\[[0-9A-Fa-f:.]*\]"
_ENHANCED = r"([45]\.[0-7]\.\d{1,3})"
_BASIC = r"(?:^\W*|[;:(\[]\s*|\b(?:said|responded|replied|with|code|error|status)\s+)([45]\d\d)(?:[^\d.]|$)"


def _pattern(text: str) -> str:
    try:
        pl.select(pl.lit("").str.contains(f"(?i){text}"))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{text[:100]!r} is no pattern: {str(error).splitlines()[-1]}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
Detail = Annotated[str, StringConstraints(pattern=r"^[0-7]\.\d{1,3}$"), Field(description="a code, as '1.1'")]
Subject = Annotated[str, StringConstraints(pattern=r"^[0-7]$"), Field(description="a subject, 0 to 7")]
Basic = Annotated[str, StringConstraints(pattern=r"^[45]\d\d$"), Field(description="a basic code, as 550")]


class Meaning(Strict):
    """The cause that a code or a word stands for, and the platform's failure reasons that agree with it."""

    cause: Literal["address", "mailbox", "system", "network", "protocol", "content", "policy"]
    reasons: list[int]


class Said(Meaning):
    """Words, and the codes that they overrule; without any, words that count where no code tells the cause."""

    words: Pattern
    beside: tuple[Detail, ...] = ()


class CauseList(Strict):
    """The analysts' list of codes and words."""

    as_of: date
    sources: list[str]
    subjects: dict[Subject, Meaning]
    codes: dict[Detail, Meaning]
    basic: dict[Basic, Meaning]
    said: list[Said]

    @property
    def meanings(self) -> list[Meaning]:
        """All meanings in one order, by which `_numbered` refers to them."""
        return [*self.subjects.values(), *self.codes.values(), *self.basic.values(), *self.said]


def cause_list() -> CauseList:
    """Read the analysts' list, the local copy before the shipped one.

    Raises RequestError naming the file, the key and what would work.

    >>> cause_list().codes["2.2"].reasons
    [5]
    """
    return toml.read(resources.find(LIST), CauseList)


def with_axes(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Add what a failure's code and text say: `permanence`, `cause`, `reasons` of the platform that agree, and `code`.

    In: `smtp_status` and `text`, texts or null. `reasons` is null where the cause is unclassified; `code` is the
    enhanced code, else the basic one, of the text if the status is neither.

    >>> rows = pl.LazyFrame({"smtp_status": [None, "5.0.0"], "text": ["552 5.2.2 over quota", "550 rejected"]})
    >>> with_axes(rows).select("permanence", "cause", "reasons", "code").collect().rows()
    [('permanent', 'mailbox', [5], '5.2.2'), ('permanent', 'unclassified', None, '5.0.0')]
    """
    listed = cause_list()
    status = pl.col("smtp_status").str.strip_chars()
    bare = pl.col("text").str.head(_LONGEST).str.replace_all(_NO_CODES, " ")
    of_text = [bare.str.extract(rf"{before}{_ENHANCED}\b") for before in (r"\b[45]\d\d[ \-#(]+", r"(?:^|[^\d./])")]
    basic = pl.coalesce(status.str.extract(r"^([45]\d\d)$"), bare.str.extract(f"(?i){_BASIC}"))
    enhanced = pl.coalesce(status.str.extract(rf"^{_ENHANCED}$"), *of_text)
    found = rows.with_columns(enhanced=enhanced, basic=basic, bare=bare).with_columns(number=_numbered(listed))
    meanings = listed.meanings
    numbers = list(range(len(meanings)))
    cause = pl.col("number").replace_strict(numbers, [each.cause for each in meanings], default=UNCLASSIFIED)
    reasons = pl.Series([each.reasons for each in meanings], dtype=pl.List(pl.Int16))
    code = pl.coalesce("enhanced", "basic")
    return found.with_columns(
        permanence=code.str.head(1).replace_strict(CLASSES, default=UNKNOWN, return_dtype=pl.String),
        cause=cause,
        reasons=pl.lit(reasons.implode()).list.get(pl.col("number"), null_on_oob=True),
        code=code,
    ).drop("enhanced", "basic", "bare", "number")


def _numbered(listed: CauseList) -> pl.Expr:
    """The place of the meaning among all of the list; null if neither code nor words tell."""
    sizes = (len(listed.subjects), len(listed.codes), len(listed.basic))
    detail = pl.col("enhanced").str.slice(2)
    first_said = sum(sizes)
    said = list(enumerate(listed.said, first_said))
    return pl.coalesce(
        *(pl.when(_says(each), detail.is_in(each.beside)).then(number) for number, each in said if each.beside),
        _place(detail, listed.codes, sizes[0]),
        _place(detail.str.head(1), listed.subjects, 0),
        *(pl.when(_says(each)).then(number) for number, each in said if not each.beside),
        _place(pl.col("basic"), listed.basic, sizes[0] + sizes[1]),
        pl.lit(None, pl.Int32),
    )


def _says(said: Said) -> pl.Expr:
    return pl.col("bare").str.contains(f"(?i){said.words}")


def _place(key: pl.Expr, known: dict[str, Meaning], first: int) -> pl.Expr:
    places = dict(zip(known, range(first, first + len(known)), strict=True))
    return key.replace_strict(places, default=None, return_dtype=pl.Int32)
