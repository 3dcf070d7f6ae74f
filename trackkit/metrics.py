"""The heart: every indicator declared once, as data. `measure` computes them; documentation and checks read them here.

A formula is made by seven helpers: `count`, `distinct`, `total`, `known` look at the rows of one source; `ratio`,
`difference` and `estimate` are made only of other metrics, so that a rate's parts stay visible and it divides last. A
new indicator is one block here and one example in `tests/spec/`.

Sources: `delivery` (one row per delivery), `message` (one row per message prepared, control addresses included unless
a formula says otherwise), `event` (one row per counted hit; those of control addresses are left out).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trackkit.schema import IDENTITY

RECIPIENTS, PEOPLE, EVENTS, MESSAGES = "recipients", "people", "events", "messages"
CURRENCY, ARTICLES, RATIO = "currency", "articles", "ratio"
BETTER, WORSE, NEUTRAL = "better", "worse", "neutral"

# Which sources carry each breakdown. A metric can be broken down by what all of its sources carry.
BREAKDOWNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "delivery_id": ("delivery", "message", "event"),
        "domain": ("message", "event"),
        "country": ("message", "event"),
        "failure_reason": ("message",),
        "link_id": ("event",),
        "link_label": ("event",),
        "link_category": ("event",),
        "hour": ("event",),
        "day": ("event",),
        "device": ("event",),
        "operating_system": ("event",),
        "operating_system_version": ("event",),
        "browser": ("event",),
        "browser_version": ("event",),
        "message_format": ("event",),
        "currency": ("event",),
    }
)

# Values to be added up that are more than a column: each with the columns that it is made of, and its words.
VALUES: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        "amount": (("amount",), "amount"),
        "sale": (("amount",), "amount of 0 or more"),
        "refund": (("amount",), "amount below 0, less its sign"),
        "sold": (("amount", "articles"), "articles of 0 or more, but of refunds"),
    }
)
# Of them, those in money: amounts of several currencies have no sum.
IN_MONEY = ("amount", "sale", "refund")

Condition = Mapping[str, tuple[object, ...]]
ALWAYS: Condition = MappingProxyType({})


def _words(where: Condition) -> str:
    """Say a condition in words: ` where event_type is clicked`."""
    parts = [f"{column} is {' or '.join(_value(value) for value in values)}" for column, values in where.items()]
    return f" where {' and '.join(parts)}" if parts else ""


def _value_words(column: str) -> str:
    return VALUES[column][1] if column in VALUES else column


def _value(value: object) -> str:
    return {"None": "unknown", "True": "true", "False": "false"}.get(str(value), str(value))


@dataclass(frozen=True)
class Count:
    """Rows that meet a condition."""

    where: Condition

    def __str__(self) -> str:
        return f"count of rows{_words(self.where)}"


@dataclass(frozen=True)
class Distinct:
    """Distinct known values of a column among rows that meet a condition, told apart by `schema.IDENTITY`."""

    column: str
    where: Condition

    def __str__(self) -> str:
        return f"distinct {' and '.join(IDENTITY.get(self.column, (self.column,)))}{_words(self.where)}"


@dataclass(frozen=True)
class Total:
    """Sum of a column, or of one of `VALUES`, over rows that meet a condition; null for several currencies."""

    column: str
    where: Condition

    def __str__(self) -> str:
        return f"sum of {_value_words(self.column)}{_words(self.where)}"


@dataclass(frozen=True)
class Known:
    """Rows that meet a condition and have a value of a column, or of one of `VALUES`."""

    column: str
    where: Condition

    def __str__(self) -> str:
        return f"count of rows with {_value_words(self.column)}{_words(self.where)}"


@dataclass(frozen=True)
class Ratio:
    """One metric divided by another; null when the denominator is 0 or unknown."""

    numerator: str
    denominator: str

    def __str__(self) -> str:
        return f"{self.numerator} / {self.denominator}"


@dataclass(frozen=True)
class Difference:
    """One metric less another, never below 0, worked out for each delivery and then added up."""

    minuend: str
    subtrahend: str

    def __str__(self) -> str:
        return f"max(0, {self.minuend} - {self.subtrahend}) per delivery"


@dataclass(frozen=True)
class Estimate:
    """A count scaled up for the messages that cannot be observed, for each delivery, and then added up."""

    counted: str
    whole: str
    unseen: str

    def __str__(self) -> str:
        return f"round({self.counted} × {self.whole} / ({self.whole} - {self.unseen})) per delivery"


Formula = Count | Distinct | Total | Known | Ratio | Difference | Estimate


@dataclass(frozen=True)
class Metric:
    """One indicator: what it is called, what it counts, how, and where its definition comes from.

    `label` is what every page calls it, and nothing else: the platform's word (`platform_label`) where that means one
    thing; where the platform has one word for two, who is counted stands in brackets.
    """

    name: str
    label: str
    unit: str
    formula: Formula
    definition: str
    reference: str
    source: str = ""
    platform_label: str = ""
    higher_is: str = NEUTRAL

    @property
    def numerator(self) -> str | None:
        """The metric divided, of a ratio."""
        return self.formula.numerator if isinstance(self.formula, Ratio) else None

    @property
    def denominator(self) -> str | None:
        """The metric divided by, of a ratio."""
        return self.formula.denominator if isinstance(self.formula, Ratio) else None

    @property
    def parents(self) -> tuple[str, ...]:
        """The metrics this one is made of; none for a metric that looks at rows."""
        match self.formula:
            case Ratio(numerator, denominator):
                return (numerator, denominator)
            case Difference(minuend, subtrahend):
                return (minuend, subtrahend)
            case Estimate(counted, whole, unseen):
                return (counted, whole, unseen)
        return ()

    @property
    def is_rate(self) -> bool:
        """Whether it is a share, shown as a percentage."""
        return self.unit == RATIO


def count(where: Condition = ALWAYS) -> Count:
    """Count rows that meet a condition, a mapping of column to the values allowed."""
    return Count(where)


def distinct(column: str, where: Condition = ALWAYS) -> Distinct:
    """Count the distinct known values of a column."""
    return Distinct(column, where)


def total(column: str, where: Condition = ALWAYS) -> Total:
    """Add up a column."""
    return Total(column, where)


def known(column: str, where: Condition = ALWAYS) -> Known:
    """Count the rows that have a value of a column."""
    return Known(column, where)


def ratio(numerator: str, denominator: str) -> Ratio:
    """Divide one metric by another."""
    return Ratio(numerator, denominator)


def difference(minuend: str, subtrahend: str) -> Difference:
    """Subtract one metric from another, delivery by delivery, never below 0."""
    return Difference(minuend, subtrahend)


def estimate(counted: str, whole: str, unseen: str) -> Estimate:
    """Scale a count up to the whole, delivery by delivery, for the part that cannot be observed."""
    return Estimate(counted, whole, unseen)


IS_OPEN: Condition = {"event_type": ("opened",)}
IS_CLICK: Condition = {"event_type": ("clicked",)}
# Of who refused web tracking nothing counts; where nothing says who did, everything.
ON_SITE: Condition = {"event_type": ("web_visited", "transaction")}
NOT_REFUSED: Condition = {"is_refused": (False, None)}
IS_VISIT: Condition = {**ON_SITE, **NOT_REFUSED}
IS_TRANSACTION: Condition = {"event_type": ("transaction",), **NOT_REFUSED}
IS_FAILED: Condition = {"status": ("failed",)}
NOT_SEED: Condition = {"is_seed": (False, None)}

INDICATORS = "Adobe Campaign Classic, Tracking indicators"
SUMMARY = "Adobe Campaign Classic, Delivery summary"
STATISTICS = "Adobe Campaign Classic, Delivery statistics"

_DECLARED = (
    # ---- what was sent ----
    Metric(
        name="targeted", label="Initial population", platform_label="Initial population", unit=RECIPIENTS,
        source="delivery", formula=total("targeted"),
        definition="Recipients in the target before any rule was applied.",
        reference=f"{SUMMARY}, properties/@totalTarget",
    ),
    Metric(
        name="rejected", label="Messages rejected by the rule", platform_label="Messages rejected by the rule",
        unit=RECIPIENTS, source="delivery", formula=total("rejected"), higher_is=WORSE,
        definition="Recipients dropped from the target by rules at analysis.",
        reference=f"{SUMMARY}, properties/@reject",
    ),
    Metric(
        name="to_deliver", label="Messages to deliver", platform_label="Messages to be delivered", unit=MESSAGES,
        source="delivery", formula=total("to_deliver"),
        definition="Messages left to deliver after analysis.",
        reference=f"{INDICATORS}, properties/@toDeliver",
    ),
    Metric(
        name="text_messages", label="Text messages", platform_label="Text", unit=MESSAGES, source="delivery",
        formula=total("text_messages"),
        definition="Messages sent in text format, whose opening cannot be seen.",
        reference=f"{INDICATORS}, properties/@text",
    ),
    Metric(
        name="new_quarantines", label="New quarantines", platform_label="New quarantines", unit=RECIPIENTS,
        source="delivery", formula=total("new_quarantines"), higher_is=WORSE,
        definition="Addresses put into quarantine following the delivery.",
        reference=f"{SUMMARY}, indicators/@newQuarantine",
    ),
    Metric(
        name="processed", label="Messages processed", platform_label="Emails processed", unit=MESSAGES,
        source="message", formula=count({"status": ("prepared", "failed", "delivered")}),
        definition="Messages prepared, failed or delivered, control addresses included.",
        reference=f"{STATISTICS}, prepared + error + success",
    ),
    Metric(
        name="delivered", label="Success (without control addresses)", platform_label="Success", unit=MESSAGES,
        source="message",
        formula=count({"status": ("delivered",)} | dict(NOT_SEED)), higher_is=BETTER,
        definition="Messages delivered with success, control addresses left out.",
        reference=f"{INDICATORS}, indicators/@successWithoutSeeds",
    ),
    Metric(
        name="delivered_with_seeds", label="Success (with control addresses)", platform_label="Success",
        unit=MESSAGES, source="message", formula=count({"status": ("delivered",)}), higher_is=BETTER,
        definition="Messages delivered with success, those to control addresses included.",
        reference=f"{SUMMARY}, indicators/@success",
    ),
    Metric(
        name="pending", label="Messages pending", platform_label="Pending", unit=MESSAGES, source="message",
        formula=count({"status": ("pending", "in_progress")}), higher_is=WORSE,
        definition="Messages that are ready, or handed over, and of which nothing is known yet.",
        reference="Adobe Campaign Classic, Delivery statuses, 5 and 6",
    ),
    Metric(
        name="cancelled", label="Messages cancelled", platform_label="Delivery cancelled", unit=MESSAGES,
        source="message", formula=count({"status": ("cancelled",)}), higher_is=WORSE,
        definition="Messages cancelled by an operator, or still pending at the deadline.",
        reference="Adobe Campaign Classic, Delivery statuses, 7",
    ),
    Metric(
        name="failed", label="Errors", platform_label="Errors", unit=MESSAGES, source="message",
        formula=count(IS_FAILED), higher_is=WORSE,
        definition="Messages that failed, at sending or by a later bounce.",
        reference=f"{SUMMARY}, indicators/@error",
    ),
    Metric(
        name="hard_bounces", label="Hard bounces", platform_label="Hard bounces", unit=MESSAGES, source="message",
        formula=count(dict(IS_FAILED) | {"failure_reason": (1,)}), higher_is=WORSE,
        definition="Failed messages whose recipient is unknown (reason 1).",
        reference=f"{STATISTICS}, @unknownUser",
    ),
    Metric(
        name="soft_bounces", label="Soft bounces", platform_label="Soft bounces", unit=MESSAGES, source="message",
        formula=count(dict(IS_FAILED) | {"failure_reason": (2, 3, 4, 5, 6, 20)}), higher_is=WORSE,
        definition="Failed messages: invalid domain, unreachable, disabled, mailbox full, not connected or refused.",
        reference=f"{STATISTICS}, @unreachable + @mailBoxFull + @invalidDomain + @disabled + @notConnected + @refused",
    ),
    Metric(
        name="complaints", label="Complaints", platform_label="Complaints", unit=MESSAGES, source="message",
        formula=count({"is_complaint": (True,)}), higher_is=WORSE,
        definition="Messages reported as spam: failed with reason 8, or named by a complaint of a sender's own log.",
        reference=f"{INDICATORS}, @status=2 and msg/@failureReason=8",
    ),
    # ---- what recipients did ----
    Metric(
        name="unique_opens", label="Opens (recipients)", platform_label="Opens", unit=RECIPIENTS, source="event",
        formula=distinct("message_id"), higher_is=BETTER,
        definition="Targeted recipients with at least one hit of any kind, since whoever clicks has opened. Counted by "
        "message: a recipient of two counts twice.",
        reference=f"{INDICATORS}, @recipientOpen",
    ),
    Metric(
        name="total_opens", label="Sum of opens", platform_label="Sum of opens", unit=EVENTS, source="event",
        formula=count(IS_OPEN), higher_is=BETTER,
        definition="Displays of a message, repeated ones included.",
        reference=f"{INDICATORS}, @totalRecipientOpen",
    ),
    Metric(
        name="estimated_unique_opens", label="Distinct opens for the population reached",
        platform_label="Distinct opens for the population reached", unit=RECIPIENTS, higher_is=BETTER,
        formula=estimate("unique_opens", "to_deliver", "text_messages"),
        definition="Recipients who opened, scaled up for text messages, whose opening cannot be seen.",
        reference=f"{INDICATORS}, @estimatedRecipientOpen",
    ),
    Metric(
        name="estimated_total_opens", label="Sum of opens for the population reached",
        platform_label="Sum of opens for the population reached", unit=EVENTS, higher_is=BETTER,
        formula=estimate("total_opens", "to_deliver", "text_messages"),
        definition="Opens in all, scaled up for text messages, whose opening cannot be seen.",
        reference=f"{INDICATORS}, @estimatedTotalRecipientOpen",
    ),
    Metric(
        name="unique_clicks", label="Recipient clicks", platform_label="Recipient clicks", unit=RECIPIENTS,
        source="event", formula=distinct("message_id", IS_CLICK), higher_is=BETTER,
        definition="Targeted recipients with at least one click on a tracked link; opt-out and mirror page left out. "
        "Counted by message: a recipient of two counts twice.",
        reference=f"{INDICATORS}, @recipientClick",
    ),
    Metric(
        name="unique_people_clicks", label="Distinct clicks for the population reached",
        platform_label="Distinct clicks for the population reached", unit=PEOPLE, source="event",
        formula=distinct("person_id", IS_CLICK), higher_is=BETTER,
        definition="Distinct browsers that clicked: recipients and whoever a message was forwarded to; "
        "a browser that refuses cookies counts once for each click.",
        reference=f"{INDICATORS}, @personClick",
    ),
    Metric(
        name="total_clicks", label="Cumulated clicks", platform_label="Cumulated clicks", unit=EVENTS, source="event",
        formula=count(IS_CLICK), higher_is=BETTER,
        definition="Clicks on tracked links, repeated ones included; opt-out and mirror page left out.",
        reference=f"{INDICATORS}, @totalRecipientClick",
    ),
    Metric(
        name="unsubscribe_clicks", label="Clicks on the opt-out link", platform_label="Clicks on the opt-out link",
        unit=EVENTS, source="event", formula=count({"event_type": ("unsubscribed",)}), higher_is=WORSE,
        definition="Clicks on a link of the opt-out type, which is not yet an unsubscription.",
        reference=f"{INDICATORS}, @optOut",
    ),
    Metric(
        name="unsubscribed_recipients", label="Recipients who opted out", unit=RECIPIENTS, source="event",
        formula=distinct("message_id", {"event_type": ("unsubscribed",)}), higher_is=WORSE,
        definition="Targeted recipients with at least one click on a link of the opt-out type, however many they made.",
        reference=f"{INDICATORS}, @optOut, recipients in place of clicks",
    ),
    Metric(
        name="mirror_page_clicks", label="Clicks on the mirror page link",
        platform_label="Clicks on the mirror page link", unit=EVENTS, source="event",
        formula=count({"event_type": ("mirror_page",)}),
        definition="Clicks on a link of the mirror-page type.",
        reference=f"{INDICATORS}, @mirrorPage",
    ),
    Metric(
        name="estimated_forwards", label="Estimation of forwards", platform_label="Estimation of forwards", unit=PEOPLE,
        formula=difference("unique_people_clicks", "unique_clicks"),
        definition="People who clicked beyond the recipients who clicked; an upper bound, "
        "since browsers that refuse cookies count several times.",
        reference=f"{INDICATORS}, @forward",
    ),
    # ---- what they did on the site ----
    Metric(
        name="web_visits", label="Visited pages", platform_label="Visited pages", unit=EVENTS, source="event",
        formula=count(IS_VISIT), higher_is=BETTER,
        definition="Pages of the site displayed, transactions included; visitors who refused web tracking left out.",
        reference=f"{INDICATORS}, @totalWebPage",
    ),
    Metric(
        name="refused_visits", label="Pages left out, web tracking refused", unit=EVENTS, source="event",
        formula=count({**ON_SITE, "is_refused": (True,)}),
        definition="Pages of the site displayed, transactions included, by visitors who refused web tracking: they are "
        "in no other figure of the site.",
        reference="Adobe Campaign Classic, Web application tracking opt-out",
    ),
    Metric(
        name="transactions", label="Transactions", platform_label="Transactions", unit=EVENTS, source="event",
        formula=count(IS_TRANSACTION), higher_is=BETTER,
        definition="Hits on links of the transaction type; visitors who refused web tracking left out.",
        reference=f"{INDICATORS}, @transaction",
    ),
    Metric(
        name="transaction_amount", label="Total amount", platform_label="Total amount", unit=CURRENCY,
        source="event", formula=total("amount", IS_TRANSACTION), higher_is=BETTER,
        definition="Known amounts of the transactions counted, refunds taken off; unknown over several currencies.",
        reference=f"{INDICATORS}, @amount",
    ),
    Metric(
        name="sales", label="Sales", unit=EVENTS, source="event", formula=known("sale", IS_TRANSACTION),
        higher_is=BETTER,
        definition="Transactions whose amount is known and not below 0.",
        reference=f"{INDICATORS}, @transaction, of known amount, refunds apart",
    ),
    Metric(
        name="sales_amount", label="Amount of sales", unit=CURRENCY, source="event",
        formula=total("sale", IS_TRANSACTION), higher_is=BETTER,
        definition="Amounts of the sales; unknown over several currencies.",
        reference=f"{INDICATORS}, @amount, refunds apart",
    ),
    Metric(
        name="refunds", label="Refunds", unit=EVENTS, source="event", formula=known("refund", IS_TRANSACTION),
        higher_is=WORSE,
        definition="Transactions whose amount is below 0.",
        reference=f"{INDICATORS}, @transaction, refunds alone",
    ),
    Metric(
        name="refunded_amount", label="Amount refunded", unit=CURRENCY, source="event",
        formula=total("refund", IS_TRANSACTION), higher_is=WORSE,
        definition="Amounts of the refunds, without their sign; unknown over several currencies.",
        reference=f"{INDICATORS}, @amount, refunds alone",
    ),
    Metric(
        name="transaction_articles", label="Articles", platform_label="Articles", unit=ARTICLES,
        source="event", formula=total("articles", IS_TRANSACTION), higher_is=BETTER,
        definition="Known articles of the transactions counted, those given back taken off.",
        reference=f"{INDICATORS}, @article",
    ),
    Metric(
        name="articles_sold", label="Articles sold", unit=ARTICLES, source="event",
        formula=total("sold", IS_TRANSACTION), higher_is=BETTER,
        definition="Known articles of the transactions counted, but of refunds.",
        reference=f"{INDICATORS}, @article, refunds apart",
    ),
    Metric(
        name="sales_of_articles", label="Sales of known articles", unit=EVENTS, source="event",
        formula=known("sold", IS_TRANSACTION), higher_is=BETTER,
        definition="Transactions whose articles are known, but refunds.",
        reference=f"{INDICATORS}, @transaction, of known articles, refunds apart",
    ),
    # ---- rates ----
    Metric(
        name="delivery_rate", label="Success rate (without control addresses)", unit=RATIO,
        formula=ratio("delivered", "to_deliver"),
        definition="Delivered messages out of messages to deliver.",
        reference=f"{SUMMARY}, Success", higher_is=BETTER,
    ),
    Metric(
        name="rejection_rate", label="Rejection rate", unit=RATIO, formula=ratio("rejected", "targeted"),
        definition="Rejected recipients out of targeted recipients.",
        reference=f"{SUMMARY}, Messages rejected by the rule", higher_is=WORSE,
    ),
    Metric(
        name="progress_rate", label="Progress", unit=RATIO, formula=ratio("processed", "to_deliver"),
        definition="Messages processed out of messages to deliver.",
        reference="Adobe Campaign Classic, list of deliveries, Processed", higher_is=BETTER,
    ),
    Metric(
        name="acceptance_rate", label="Delivered rate (with control addresses)", unit=RATIO,
        formula=ratio("delivered_with_seeds", "processed"),
        definition="Delivered messages, control addresses included, out of messages processed.",
        reference=f"{STATISTICS}, Delivered", higher_is=BETTER,
    ),
    Metric(
        name="failure_rate", label="Error rate", unit=RATIO, formula=ratio("failed", "to_deliver"),
        definition="Failed messages out of messages to deliver.",
        reference=f"{SUMMARY}, Errors", higher_is=WORSE,
    ),
    Metric(
        name="new_quarantine_rate", label="New-quarantine rate", unit=RATIO,
        formula=ratio("new_quarantines", "to_deliver"),
        definition="Addresses put into quarantine out of messages to deliver.",
        reference=f"{SUMMARY}, New quarantines", higher_is=WORSE,
    ),
    Metric(
        name="open_rate", label="Open rate (recipients)", unit=RATIO, formula=ratio("unique_opens", "delivered"),
        definition="Recipients who opened out of delivered messages.",
        reference=f"{INDICATORS}, Open and click-through rate", higher_is=BETTER,
    ),
    Metric(
        name="click_rate", label="Click rate (people)", unit=RATIO, platform_label="Distinct clicks",
        formula=ratio("unique_people_clicks", "delivered"),
        definition="People who clicked out of delivered messages; may exceed 1.",
        reference="Adobe Campaign Classic, URLs and click streams, Distinct clicks", higher_is=BETTER,
    ),
    Metric(
        name="recipient_click_rate", label="Click rate (recipients)", unit=RATIO,
        formula=ratio("unique_clicks", "delivered"),
        definition="Recipients who clicked out of delivered messages.",
        reference=f"{INDICATORS}, Open and click-through rate", higher_is=BETTER,
    ),
    Metric(
        name="total_click_rate", label="Click rate (all clicks)", unit=RATIO, platform_label="Cumulated clicks",
        formula=ratio("total_clicks", "delivered"),
        definition="Clicks in all out of delivered messages; may exceed 1.",
        reference="Adobe Campaign Classic, URLs and click streams, Cumulated clicks", higher_is=BETTER,
    ),
    Metric(
        name="click_to_open_rate", label="Raw reactivity", unit=RATIO, platform_label="Raw reactivity",
        formula=ratio("unique_clicks", "unique_opens"),
        definition="Recipients who clicked out of recipients who opened.",
        reference=f"{INDICATORS}, Raw reactivity", higher_is=BETTER,
    ),
    Metric(
        name="estimated_click_to_open_rate", label="Estimated recipient reactivity", unit=RATIO,
        platform_label="Estimated recipient reactivity", formula=ratio("unique_clicks", "estimated_unique_opens"),
        definition="Recipients who clicked out of the estimated recipients who opened.",
        reference=f"{INDICATORS}, Estimated recipient reactivity", higher_is=BETTER,
    ),
    Metric(
        name="unsubscribe_rate", label="Opt-out click rate", unit=RATIO,
        formula=ratio("unsubscribe_clicks", "delivered"),
        definition="Clicks on the opt-out link out of delivered messages.",
        reference=f"{INDICATORS}, Reception statistics", higher_is=WORSE,
    ),
    Metric(
        name="recipient_unsubscribe_rate", label="Opt-out rate (recipients)", unit=RATIO,
        formula=ratio("unsubscribed_recipients", "delivered"),
        definition="Recipients who opted out, out of delivered messages.",
        reference=f"{INDICATORS}, Reception statistics, recipients in place of clicks", higher_is=WORSE,
    ),
    Metric(
        name="complaint_rate", label="Complaint rate", unit=RATIO, formula=ratio("complaints", "delivered"),
        definition="Complaints out of delivered messages.",
        reference=f"{INDICATORS}, Open and click-through rate", higher_is=WORSE,
    ),
    Metric(
        name="hard_bounce_rate", label="Hard-bounce rate", unit=RATIO, formula=ratio("hard_bounces", "processed"),
        definition="Hard bounces out of messages processed.",
        reference=STATISTICS, higher_is=WORSE,
    ),
    Metric(
        name="soft_bounce_rate", label="Soft-bounce rate", unit=RATIO, formula=ratio("soft_bounces", "processed"),
        definition="Soft bounces out of messages processed.",
        reference=STATISTICS, higher_is=WORSE,
    ),
    Metric(
        name="average_transaction_amount", label="Average transaction amount", unit=CURRENCY,
        platform_label="Average transaction amount", formula=ratio("sales_amount", "sales"),
        definition="Amount of sales per sale: refunds, and transactions of unknown amount, are in neither.",
        reference=f"{INDICATORS}, Web tracking", higher_is=BETTER,
    ),
    Metric(
        name="average_articles_per_transaction", label="Average count of articles per transaction", unit=ARTICLES,
        platform_label="Average count of articles per transaction",
        formula=ratio("articles_sold", "sales_of_articles"),
        definition="Articles sold per sale of known articles: refunds are in neither.",
        reference=f"{INDICATORS}, Web tracking", higher_is=BETTER,
    ),
    Metric(
        name="amount_per_message", label="Average amount per message", unit=CURRENCY,
        platform_label="Average amount per message", formula=ratio("transaction_amount", "to_deliver"),
        definition="Amount of transactions, refunds taken off, per message to deliver.",
        reference=f"{INDICATORS}, Web tracking", higher_is=BETTER,
    ),
)  # fmt: skip

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _DECLARED})


PURCHASES = ("sales", "refunds")  # the counts of what every sum of money adds


def money_of(names: Iterable[str]) -> list[str]:
    """Return those of some names that are metrics in money.

    >>> money_of(["domain", "sales", "transaction_amount"])
    ['transaction_amount']
    """
    return [name for name in names if name in METRICS and METRICS[name].unit == CURRENCY]


def lineage(name: str) -> tuple[str, ...]:
    """Return a metric's name preceded by all that it is made of, parts first.

    >>> lineage("open_rate")
    ('unique_opens', 'delivered', 'open_rate')
    """
    parts: dict[str, None] = {}
    for parent in METRICS[name].parents:
        parts.update(dict.fromkeys(lineage(parent)))
    return (*parts, name)


def sources_of(name: str) -> frozenset[str]:
    """Return the sources that a metric's rows come from.

    >>> sorted(sources_of("open_rate"))
    ['event', 'message']
    """
    return frozenset(METRICS[part].source for part in lineage(name) if METRICS[part].source)


def made_of(value: str) -> tuple[str, ...]:
    """Return the columns that a value to be added up is made of.

    >>> made_of("refund"), made_of("targeted")
    (('amount',), ('targeted',))
    """
    return VALUES[value][0] if value in VALUES else (value,)


def breakdowns_of(name: str) -> tuple[str, ...]:
    """Return what a metric can be broken down by: the columns that all of its sources carry.

    >>> breakdowns_of("open_rate")
    ('delivery_id', 'domain', 'country')
    """
    needed = sources_of(name)
    return tuple(column for column, carriers in BREAKDOWNS.items() if needed <= set(carriers))
