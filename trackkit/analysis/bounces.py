"""Messages that failed: by reason and domain, in either order, the mail servers' messages, and what these say.

Types are the platform's seven failure reasons. Failures for another reason have the type "Other", which is there only
if there are any, so that types always add up to all failed messages.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import polars as pl

from trackkit.analysis.causes import CAUSES, PERMANENCES, with_axes
from trackkit.analysis.caveats import without_log
from trackkit.analysis.domains import by_class
from trackkit.engine.completeness import purged
from trackkit.engine.deliveries import Deliveries, asked_about, of_deliveries, statuses_are_unknown
from trackkit.engine.measure import measure_together, quotient
from trackkit.engine.snapshot import Measurable
from trackkit.errors import RequestError, did_you_mean
from trackkit.language import translatable
from trackkit.metrics import METRICS, Count
from trackkit.schema import FAILURE_REASONS, MESSAGE

__all__ = ["axes", "bounces", "failures"]

REASONS = (1, 2, 3, 4, 5, 6, 20)
OTHER = translatable("Other")
UNKNOWN = translatable("(unknown)")
TYPES = [*(FAILURE_REASONS[reason] for reason in REASONS), OTHER]
ROWS = pl.Enum(["group", "detail", "seven", "total"])
WAYS = {"type": ("type", "domain"), "domain": ("domain", "type")}
FAILURES: dict[str, Any] = {"reason": pl.String, "failure_type": pl.Int16, "first_text": pl.String}
FAILURES |= {"messages": pl.Int64, "failed": pl.Int64, "share": pl.Float64}
AXES: dict[str, Any] = {"permanence": pl.Enum(PERMANENCES), "cause": pl.Enum(CAUSES)}
AXES |= {"messages": pl.Int64, "failed": pl.Int64, "share": pl.Float64, "codes": pl.List(pl.String)}
AXES |= {"agree": pl.Int64, "disagree": pl.Int64, "platform": pl.List(pl.String)}
AXIS = ["permanence", "cause"]
FAILING, MOST_CODES = ("bounced", "failed", "rejected"), 5
COLUMNS = "row type domain errors contribution_of contribution breakdown_of breakdown"


def bounces(
    tables: Measurable, delivery: Deliveries = None, by: Annotated[str, WAYS] = "type", top: int = 10
) -> pl.DataFrame:
    """Return the failed messages of deliveries by type, or by domain, and each group by the other: see `row`.

    Rows, in the order of the platform's types and of the domains with most failures: `row` is "group" (one type, or one
    domain), "detail" (a type in a domain; only those that failed), "seven" (the platform's total of its seven types;
    only by type, beside an "Other"), "total" (all failed messages). Columns: `type` and `domain` (a class of
    `domains.by_class` of the `top`), null where the row is about all; `errors`, messages; `contribution`, errors out of
    `contribution_of`: all errors, for a detail those of its group; `breakdown`, errors out of `breakdown_of`: all
    messages processed, by domain those of that domain. Shares are null when nothing failed or was processed; every
    count is null if no message log was loaded or all statuses are unknown, and so is the number processed in a domain
    if only failures of any of the deliveries were logged. Control addresses count. Raises RequestError for an unknown
    delivery or `by`.

    >>> bounces(store).select("row", "type", "errors").rows()[-1]
    ('total', None, 3)
    """
    if by not in WAYS:
        raise RequestError(f"Bounces are not grouped by {by!r}.{did_you_mean(str(by), WAYS)}")
    ids = asked_about(tables, delivery)
    messages = _processed(tables, ids, top)
    if not tables.has("message") or statuses_are_unknown(tables, ids):
        return _unknown_rows(by)
    errors = messages.filter(pl.col("type").is_not_null())
    rows = pl.concat([_groups(errors, messages, by), _details(errors, by), _totals(errors, by)], how="diagonal")
    rows = _with_breakdown_of(rows, messages, by)
    if without_log(tables, ids).difference(purged(tables)["delivery_id"]):
        rows = _without_domain_totals(tables, ids, rows, by)
    return _with_shares(rows)


def failures(tables: Measurable, delivery: Deliveries = None, top: int = 10) -> pl.DataFrame:
    """Return the `top` messages of mail servers behind the failures of deliveries, the most frequent first.

    Columns: `reason` (the platform's word), `failure_type` (its code, 1 soft, 2 hard), `first_text` (as received:
    text of a log), `messages`, `failed` (all failed messages), `share` (messages / failed). Those without a failure
    message go by their reason; unknown ones are null, and one row is all null when no log of messages was loaded.
    Raises RequestError for an unknown delivery.

    >>> failures(store).select("reason", "messages", "failed").row(0)
    ('Unreachable', 1, 3)
    """
    ids = asked_about(tables, delivery)
    if not tables.has("message"):
        return pl.DataFrame([{}], schema=FAILURES)
    texts = tables.scan("failure").select("failure_id", "first_text")
    keys = ["reason", "failure_type", "first_text"]
    return (
        of_deliveries(tables, "message", ids)
        .filter(pl.col("status") == "failed")
        .join(texts, on="failure_id", how="left")
        .with_columns(reason=pl.col("failure_reason").replace_strict(FAILURE_REASONS, default=None))
        .group_by(*keys, "failure_id")
        .agg(messages=pl.len().cast(pl.Int64))
        .with_columns(failed=pl.col("messages").sum())
        .with_columns(share=quotient("messages", "failed"))
        .sort("messages", *keys, "failure_id", descending=[True, False, False, False, False], nulls_last=True)
        .head(top)
        .select(*FAILURES)
        .collect()
    )


def axes(tables: Measurable, delivery: Deliveries = None) -> Annotated[pl.DataFrame, list(AXES)]:
    """Return the failed messages of deliveries by what mail servers said: whether it is permanent, and its cause.

    One row per `permanence` ("permanent", "persistent_transient", "unknown") and `cause` that occurs ("address",
    "mailbox", "system", "network", "protocol", "content", "policy", "unclassified"), in these orders; only "permanent"
    and "address" means an invalid address. By the enhanced code of the last bounce or of its text, else the words, else
    the basic code (`causes`). Columns: `messages`, `failed` (all failed messages), `share` (messages / failed), `codes`
    (the five most frequent), `agree` and `disagree` (messages whose platform reason is, or is not, one that goes with
    the cause; the rest are unclassified or without a reason), `platform` (its words where it disagrees, the most
    frequent first). One row is all null when no log of messages was loaded. Raises RequestError for an unknown
    delivery, or a wrong list of causes.

    >>> axes(store).select("permanence", "cause", "messages", "failed").rows()
    [('permanent', 'address', 2, 3), ('permanent', 'network', 1, 3)]
    """
    ids = asked_about(tables, delivery)
    if not tables.has("message"):
        return pl.DataFrame([{}], schema=AXES)
    number, reason = pl.col("messages"), pl.col("failure_reason")
    is_judged = pl.col("reasons").is_not_null() & (reason > 0).fill_null(False)
    agrees = is_judged & pl.col("reasons").list.contains(reason)
    word = reason.replace_strict(FAILURE_REASONS, default=OTHER, return_dtype=pl.String)
    rows = with_axes(_failed_texts(tables, ids)).collect()
    rows = rows.with_columns(agrees=agrees, otherwise=pl.when(is_judged & ~agrees).then(word))
    counts = rows.group_by(AXIS).agg(
        number.sum(),
        agree=number.filter("agrees").sum(),
        disagree=number.filter(pl.col("otherwise").is_not_null()).sum(),
    )
    for name, column in {"codes": "code", "platform": "otherwise"}.items():
        counts = counts.join(_most_frequent(rows, column, name), on=AXIS, how="left")
    counts = counts.with_columns(pl.col("codes", "platform").fill_null([]), failed=number.sum())
    counts = counts.with_columns(share=quotient("messages", "failed"))
    return counts.select(pl.col(name).cast(dtype) for name, dtype in AXES.items()).sort(AXIS)


def _failed_texts(tables: Measurable, ids: Sequence[str] | None) -> pl.LazyFrame:
    """The failed messages by what is known of each: `smtp_status`, `text`, `failure_reason`, `messages`."""
    texts = tables.scan("failure").select("failure_id", "first_text")
    at = pl.col("occurred_at")
    last = [pl.col(name).sort_by(at, nulls_last=False).drop_nulls().last() for name in ("smtp_status", "diagnostic")]
    events = of_deliveries(tables, "event", ids).filter(pl.col("event_type").cast(pl.String).is_in(FAILING))
    events = events.filter(pl.col("message_id").is_not_null()).group_by(MESSAGE.key).agg(last)
    return (
        of_deliveries(tables, "message", ids)
        .filter(pl.col("status") == "failed")
        .join(events, on=MESSAGE.key, how="left")
        .join(texts, on="failure_id", how="left")
        .group_by("smtp_status", "failure_reason", text=pl.coalesce("diagnostic", "first_text"))
        .agg(messages=pl.len())
    )


def _most_frequent(rows: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """The most frequent values of a column as the list `name`, one row per permanence and cause."""
    counts = rows.filter(pl.col(column).is_not_null()).group_by(*AXIS, column).agg(pl.col("messages").sum())
    ordered = counts.sort("messages", column, descending=[True, False])
    return ordered.group_by(AXIS).agg(pl.col(column).head(MOST_CODES).alias(name))


def _processed(tables: Measurable, ids: Sequence[str] | None, top: int) -> pl.DataFrame:
    """Counts of messages processed, sorted by domain: `domain`, `type` (null if not failed), `messages`."""
    formula = METRICS["processed"].formula
    assert isinstance(formula, Count)
    status = pl.col("status").cast(pl.String)
    words: Mapping[int, str] = {reason: FAILURE_REASONS[reason] for reason in REASONS}
    kind = pl.col("failure_reason").replace_strict(words, default=OTHER, return_dtype=pl.String)
    classed = by_class(tables, ids, top, ranked_by="failures").scan("message")
    return (
        classed.filter(status.is_in(formula.where["status"]))
        .group_by("domain", type=pl.when(status == "failed").then(kind))
        .agg(messages=pl.len().cast(pl.Int64))
        .sort("domain", nulls_last=True)
        .with_columns(pl.col("domain").cast(pl.String).fill_null(UNKNOWN))
        .collect()
    )


def _groups(errors: pl.DataFrame, messages: pl.DataFrame, by: str) -> pl.DataFrame:
    """One row per type, failed or not, or per domain that a message was processed for."""
    counts = errors.group_by(by).agg(errors=pl.col("messages").sum())
    names = _types(errors) if by == "type" else messages["domain"].unique(maintain_order=True).to_list()
    groups = pl.DataFrame({by: names}, schema={by: pl.String})
    rows = groups.join(counts, on=by, how="left", maintain_order="left").with_columns(pl.col("errors").fill_null(0))
    return rows.with_columns(row=pl.lit("group", ROWS), contribution_of=pl.lit(errors["messages"].sum(), pl.Int64))


def _types(errors: pl.DataFrame) -> list[str]:
    """The seven types, with "Other" if something failed for another reason."""
    return TYPES if OTHER in errors["type"] else TYPES[:-1]


def _details(errors: pl.DataFrame, by: str) -> pl.DataFrame:
    group, other = WAYS[by]
    order = errors["domain"].unique(maintain_order=True).to_list()
    places = {"type": pl.Enum(TYPES), "domain": pl.Enum(order)}
    return (
        errors.sort(pl.col(group).cast(places[group]), pl.col(other).cast(places[other]))
        .select(group, other, errors="messages", row=pl.lit("detail", ROWS))
        .with_columns(contribution_of=pl.col("errors").sum().over(group))
    )


def _totals(errors: pl.DataFrame, by: str) -> pl.DataFrame:
    count = errors["messages"].sum()
    rows = [("total", count)]
    if by == "type" and OTHER in errors["type"]:
        rows.insert(0, ("seven", errors.filter(pl.col("type") != OTHER)["messages"].sum()))
    totals = pl.DataFrame(rows, schema={"row": ROWS, "errors": pl.Int64}, orient="row")
    return totals.with_columns(contribution_of=pl.lit(count, pl.Int64))


def _with_breakdown_of(rows: pl.DataFrame, messages: pl.DataFrame, by: str) -> pl.DataFrame:
    """Add `breakdown_of`: all messages processed, or those of the row's domain."""
    processed = pl.lit(messages["messages"].sum(), pl.Int64)
    if by == "type":
        return rows.with_columns(breakdown_of=processed)
    by_domain = messages.group_by("domain").agg(breakdown_of=pl.col("messages").sum())
    joined = rows.join(by_domain, on="domain", how="left", maintain_order="left")
    return joined.with_columns(pl.col("breakdown_of").fill_null(processed))


def _without_domain_totals(tables: Measurable, ids: Sequence[str] | None, rows: pl.DataFrame, by: str) -> pl.DataFrame:
    """Where only failures are logged, the number of messages processed is unknown by domain."""
    processed = measure_together(tables, ["processed"], ids)["processed"].item()
    is_of_all = pl.lit(by == "type") | (pl.col("row") == "total")
    return rows.with_columns(breakdown_of=pl.when(is_of_all).then(pl.lit(processed, pl.Int64)))


def _with_shares(rows: pl.DataFrame) -> pl.DataFrame:
    shares = {name: quotient("errors", f"{name}_of") for name in ("contribution", "breakdown")}
    return rows.with_columns(**shares).select(COLUMNS.split())


def _unknown_rows(by: str) -> pl.DataFrame:
    """The rows that are always there, with null counts."""
    rows = [{"row": "group", "type": kind} for kind in TYPES[:-1] if by == "type"] + [{"row": "total"}]
    schema: dict[str, Any] = {"row": ROWS, "type": pl.String, "domain": pl.String}
    counts = dict.fromkeys(("errors", "contribution_of", "breakdown_of"), pl.Int64)
    return _with_shares(pl.DataFrame(rows, schema=schema | counts, orient="row"))
