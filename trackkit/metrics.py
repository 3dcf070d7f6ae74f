"""Every indicator, declared once as data. `measure` computes them; documentation and checks are made from them.

There are seven formulas: `Count`, `Distinct`, `Total` and `Known` read the rows of one source; `Ratio`, `Difference`
and `Estimate` are made only of other metrics, so that a rate's parts stay visible and division comes last. A new
indicator is one block here and one example in `tests/spec/`.

Sources: `delivery` (one row per delivery), `message` (one row per message prepared, control addresses included unless
a formula excludes them), `event` (one row per counted hit, without those of control addresses).
"""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from trackkit.errors import RequestError, did_you_mean
from trackkit.listing import Listing
from trackkit.schema import IDENTITY

__all__ = [
    "ADOBE",
    "BREAKDOWNS",
    "METRICS",
    "OF_DELIVERIES",
    "Metric",
    "beyond_chance",
    "bounds_of",
    "breakdowns_of",
    "lineage",
    "made_of",
    "money_of",
    "sources_of",
    "version_of",
]
ADOBE = "adobe"  # the definition set of the names here
ERRORS = 3  # standard errors between two rates that differ: among a dozen of them, chance rarely gives as many
FENCE = 1.5  # times the distance of the quartiles beyond them, as in box plots
RECIPIENTS, PEOPLE, EVENTS, MESSAGES = "recipients", "people", "events", "messages"
CURRENCY, ARTICLES, RATIO = "currency", "articles", "ratio"
ONE_EACH = (MESSAGES, RECIPIENTS)  # units of which each message is one at most
WILSON, BOOTSTRAP = "wilson", "bootstrap"  # intervals of rates
BETTER, WORSE, NEUTRAL = "better", "worse", "neutral"

# The sources that have each breakdown column. A metric can be broken down by what all its sources have.
_OF_HITS = ("link_id", "link_label", "link_category", "hour", "day", "device", "operating_system")
_OF_AGENTS = ("operating_system_version", "browser", "browser_version", "message_format", "currency")
_OF_ACTIVITY = ("activity", "activity_rule")
_OF_CLOCK = ("week", "month", "weekday", "hour_of_day")
# What the delivery of a row is (`engine.attributes`): rows of every source have it.
OF_DELIVERIES = (
    "campaign",
    "campaign_label",
    "programme",
    "programme_label",
    "folder",
    "folder_label",
    "channel",
    "typology",
    "subject",
    "sender",
    "launch_day",
    "launch_week",
)
BREAKDOWNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("delivery_id", *OF_DELIVERIES), ("delivery", "message", "event")),
        "domain": ("message", "event"),
        "country": ("message", "event"),
        "failure_reason": ("message",),
        **dict.fromkeys((*_OF_HITS, *_OF_CLOCK, *_OF_AGENTS, *_OF_ACTIVITY), ("event",)),
    }
)

# Values derived from columns: each with the columns that it is made of, and its description.
VALUES: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        "amount": (("amount",), "amount"),
        "sale": (("amount",), "amount of 0 or more"),
        "refund": (("amount",), "amount below 0, less its sign"),
        "sold": (("amount", "articles"), "articles of 0 or more, but of refunds"),
    }
)
# Those in money: amounts in several currencies have no sum.
IN_MONEY = ("amount", "sale", "refund")

Condition = Mapping[str, tuple[object, ...]]
ALWAYS: Condition = MappingProxyType({})


def _condition_words(where: Condition) -> str:
    """Describe a condition: ` where event_type is clicked`."""
    parts = [f"{column} is {' or '.join(_value_word(value) for value in values)}" for column, values in where.items()]
    return f" where {' and '.join(parts)}" if parts else ""


def _column_words(column: str) -> str:
    return VALUES[column][1] if column in VALUES else column


def _value_word(value: object) -> str:
    return {"None": "unknown", "True": "true", "False": "false"}.get(str(value), str(value))


@dataclass(frozen=True)
class Count:
    """Rows that meet a condition."""

    where: Condition = field(default_factory=dict)

    def __str__(self) -> str:
        return f"count of rows{_condition_words(self.where)}"


@dataclass(frozen=True)
class Distinct:
    """Distinct known values of a column among rows that meet a condition, identified as in `schema.IDENTITY`."""

    column: str
    where: Condition = field(default_factory=dict)

    def __str__(self) -> str:
        return f"distinct {' and '.join(IDENTITY.get(self.column, (self.column,)))}{_condition_words(self.where)}"


@dataclass(frozen=True)
class Total:
    """Sum of a column, or of one of `VALUES`, over rows that meet a condition; null for several currencies."""

    column: str
    where: Condition = field(default_factory=dict)

    def __str__(self) -> str:
        return f"sum of {_column_words(self.column)}{_condition_words(self.where)}"


@dataclass(frozen=True)
class Known:
    """Rows that meet a condition and have a value of a column, or of one of `VALUES`."""

    column: str
    where: Condition = field(default_factory=dict)

    def __str__(self) -> str:
        return f"count of rows with {_column_words(self.column)}{_condition_words(self.where)}"


@dataclass(frozen=True)
class Ratio:
    """One metric divided by another; null when the denominator is 0 or unknown."""

    numerator: str
    denominator: str

    def __str__(self) -> str:
        return f"{self.numerator} / {self.denominator}"


@dataclass(frozen=True)
class Difference:
    """One metric less another, never below 0, computed for each delivery and then added up."""

    minuend: str
    subtrahend: str

    def __str__(self) -> str:
        return f"max(0, {self.minuend} - {self.subtrahend}) per delivery"


@dataclass(frozen=True)
class Estimate:
    """A count scaled up for messages that cannot be observed, computed for each delivery and then added up."""

    counted: str
    whole: str
    unseen: str

    def __str__(self) -> str:
        return f"round({self.counted} × {self.whole} / ({self.whole} - {self.unseen})) per delivery"


Formula = Count | Distinct | Total | Known | Ratio | Difference | Estimate


def where_of(formula: Formula) -> Condition:
    """Return the condition of a formula on rows; an empty one if it is made of other metrics."""
    return getattr(formula, "where", ALWAYS)


@dataclass(frozen=True, repr=False)
class Metric:
    """One indicator: its label, formula, definition, and where the definition comes from.

    Every page uses `label`. It is the platform's term (`platform_label`) if that is unambiguous; if the platform uses
    one term for two indicators, who is counted follows in brackets.
    """

    label: str
    formula: Formula
    definition: str
    reference: str
    differs: str = ""  # in what the indicator is not quite that of its reference
    source: str = ""
    unit: str = RATIO
    platform_label: str = ""
    higher_is: str = BETTER
    is_part: bool = True  # of a rate: whoever is in its numerator is in its denominator; else it has no interval
    by_default: bool = True  # measured where no metrics are named; those of other senders' definitions only by name
    name: str = ""  # its key in METRICS
    made_of: tuple["Metric", ...] = ()  # counts of one's own among its parts, which no registry knows

    @property
    def cited(self) -> str:
        """The reference, and in what the indicator differs from it."""
        return ", ".join(filter(None, [self.reference, self.differs]))

    @property
    def numerator(self) -> str | None:
        """The numerator of a ratio."""
        return self.formula.numerator if isinstance(self.formula, Ratio) else None

    @property
    def denominator(self) -> str | None:
        """The denominator of a ratio."""
        return self.formula.denominator if isinstance(self.formula, Ratio) else None

    @property
    def interval(self) -> str:
        """How a rate's interval is made, by what its parts count: `wilson`, `bootstrap`, or empty if it has none.

        Wilson's holds where each message of the denominator is in the numerator at most once, and messages are alike:
        shares of messages and recipients, those who clicked of those who opened among them, since a click implies an
        open. Events and people number several for one message, so that messages are drawn again (`engine.intervals`).
        Amounts, planned counts and estimates have none: no chance of recipients is in their spread.
        """
        if not isinstance(self.formula, Ratio) or not self.is_part:
            return ""
        top, bottom = METRICS[self.formula.numerator], METRICS[self.formula.denominator]
        if "delivery" in sources_of(self.name) or bottom.unit not in ONE_EACH:
            return ""
        if top.unit in ONE_EACH:
            return WILSON
        is_drawn = top.source == "event" and top.unit in (EVENTS, PEOPLE) and "is_refused" not in where_of(top.formula)
        return BOOTSTRAP if is_drawn else ""

    @property
    def parents(self) -> tuple[str, ...]:
        """The metrics this one is made of; none for a metric on rows."""
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
        """Whether it is a fraction, shown as a percentage."""
        return self.unit == RATIO

    def has_words(self, words: str) -> bool:
        """Return whether each of these words is in its name, label or definition."""
        text = " ".join([self.name, self.label, self.definition]).lower()
        return all(word in text for word in words.lower().split())

    def listing(self) -> Listing:
        """Return it as it is shown: its label and definition, then facts."""
        facts = {
            "formula": str(self.formula),
            "unit": f"{self.unit}; higher is {self.higher_is}",
            "by": ", ".join(breakdowns_of(self.name)) if self.name in METRICS else "",
            "reference": self.cited,
        }
        rows = [(name, text) for name, text in facts.items() if text]
        return Listing([f"{self.name}: {self.label}", self.definition], ["", ""], rows)

    def __repr__(self) -> str:
        return str(self.listing())

    def _repr_html_(self) -> str:
        return self.listing()._repr_html_()


IS_OPEN: Condition = {"event_type": ("opened",)}
IS_CLICK: Condition = {"event_type": ("clicked",)}
IS_CONFIRMED: Condition = {"event_type": ("opened", "clicked")}
# Visits of those who refused web tracking do not count; if refusals are unknown, all do.
ON_SITE: Condition = {"event_type": ("web_visited", "transaction")}
NOT_REFUSED: Condition = {"is_refused": (False, None)}
IS_VISIT: Condition = {**ON_SITE, **NOT_REFUSED}
IS_TRANSACTION: Condition = {"event_type": ("transaction",), **NOT_REFUSED}
IS_FAILED: Condition = {"status": ("failed",)}
NOT_SEED: Condition = {"is_seed": (False, None)}
SOFT_REASONS = (2, 3, 4, 5, 6, 20)
BOUNCE_REASONS = (1, *SOFT_REASONS)

INDICATORS = "Adobe Campaign Classic, Tracking indicators"
SUMMARY = "Adobe Campaign Classic, Delivery summary"
STATISTICS = "Adobe Campaign Classic, Delivery statistics"
# Where the indicators of other senders come from: their definition sets say more (`trackkit definitions`).
SENDGRID, MAILCHIMP = "SendGrid, glossary", "Mailchimp, About email campaign reports"
SPARKPOST = "SparkPost, Enterprise metrics definitions"
SALESFORCE = "Salesforce, Tracking rate differences between Marketing Cloud and Salesforce"

_DECLARED = {
    # ---- what was sent ----
    "targeted": Metric(
        label="Initial population",
        platform_label="Initial population",
        unit=RECIPIENTS,
        source="delivery",
        formula=Total("targeted"),
        higher_is=NEUTRAL,
        definition="Recipients in the target before any rule was applied.",
        reference=f"{SUMMARY}, properties/@totalTarget",
    ),
    "rejected": Metric(
        label="Messages rejected by the rule",
        platform_label="Messages rejected by the rule",
        unit=RECIPIENTS,
        source="delivery",
        formula=Total("rejected"),
        higher_is=WORSE,
        definition="Recipients dropped from the target by rules at analysis.",
        reference=f"{SUMMARY}, properties/@reject",
    ),
    "to_deliver": Metric(
        label="Messages to deliver",
        platform_label="Messages to be delivered",
        unit=MESSAGES,
        source="delivery",
        formula=Total("to_deliver"),
        higher_is=NEUTRAL,
        definition="Messages left to deliver after analysis.",
        reference=f"{INDICATORS}, properties/@toDeliver",
    ),
    "text_messages": Metric(
        label="Text messages",
        platform_label="Text",
        unit=MESSAGES,
        source="delivery",
        formula=Total("text_messages"),
        higher_is=NEUTRAL,
        definition="Messages sent in text format, whose opening cannot be seen.",
        reference=f"{INDICATORS}, properties/@text",
    ),
    "new_quarantines": Metric(
        label="New quarantines",
        platform_label="New quarantines",
        unit=RECIPIENTS,
        source="delivery",
        formula=Total("new_quarantines"),
        higher_is=WORSE,
        definition="Addresses put into quarantine following the delivery.",
        reference=f"{SUMMARY}, indicators/@newQuarantine",
    ),
    "processed": Metric(
        label="Messages processed",
        platform_label="Emails processed",
        unit=MESSAGES,
        source="message",
        formula=Count({"status": ("prepared", "failed", "delivered")}),
        higher_is=NEUTRAL,
        definition="Messages prepared, failed or delivered, control addresses included.",
        reference=f"{STATISTICS}, prepared + error + success",
    ),
    "delivered": Metric(
        label="Success (without control addresses)",
        platform_label="Success",
        unit=MESSAGES,
        source="message",
        formula=Count({"status": ("delivered",)} | dict(NOT_SEED)),
        definition="Messages delivered with success, control addresses left out.",
        reference=f"{INDICATORS}, indicators/@successWithoutSeeds",
    ),
    "delivered_with_seeds": Metric(
        label="Success (with control addresses)",
        platform_label="Success",
        unit=MESSAGES,
        source="message",
        formula=Count({"status": ("delivered",)}),
        definition="Messages delivered with success, those to control addresses included.",
        reference=f"{SUMMARY}, indicators/@success",
    ),
    "pending": Metric(
        label="Messages pending",
        platform_label="Pending",
        unit=MESSAGES,
        source="message",
        formula=Count({"status": ("pending", "in_progress")}),
        higher_is=WORSE,
        definition="Messages that are ready, or handed over, and of which nothing is known yet.",
        reference="Adobe Campaign Classic, Delivery statuses, 5 and 6",
    ),
    "cancelled": Metric(
        label="Messages canceled",
        platform_label="Delivery canceled",
        unit=MESSAGES,
        source="message",
        formula=Count({"status": ("cancelled",)}),
        higher_is=WORSE,
        definition="Messages canceled by an operator, or still pending at the deadline.",
        reference="Adobe Campaign Classic, Delivery statuses, 7",
    ),
    "failed": Metric(
        label="Errors",
        platform_label="Errors",
        unit=MESSAGES,
        source="message",
        formula=Count(IS_FAILED),
        higher_is=WORSE,
        definition="Messages that failed, at sending or by a later bounce.",
        reference=f"{SUMMARY}, indicators/@error",
    ),
    "hard_bounces": Metric(
        label="Hard bounces",
        platform_label="Hard bounces",
        unit=MESSAGES,
        source="message",
        formula=Count(dict(IS_FAILED) | {"failure_reason": (1,)}),
        higher_is=WORSE,
        definition="Failed messages whose recipient is unknown (reason 1).",
        reference=f"{STATISTICS}, @unknownUser",
    ),
    "soft_bounces": Metric(
        label="Soft bounces",
        platform_label="Soft bounces",
        unit=MESSAGES,
        source="message",
        formula=Count(dict(IS_FAILED) | {"failure_reason": SOFT_REASONS}),
        higher_is=WORSE,
        definition="Failed messages: invalid domain, unreachable, disabled, inbox full, not connected or rejected.",
        reference=f"{STATISTICS}, @unreachable + @mailBoxFull + @invalidDomain + @disabled + @notConnected + @refused",
    ),
    "complaints": Metric(
        label="Complaints",
        platform_label="Complaints",
        unit=MESSAGES,
        source="message",
        formula=Count({"is_complaint": (True,)}),
        higher_is=WORSE,
        definition="Messages reported as spam: failed with reason 8, or named by a complaint of a sender's own log.",
        reference=f"{INDICATORS}, @status=2 and msg/@failureReason=8",
    ),
    # ---- what recipients did ----
    "unique_opens": Metric(
        label="Opens (recipients)",
        platform_label="Opens",
        unit=RECIPIENTS,
        source="event",
        formula=Distinct("message_id"),
        definition="Targeted recipients with at least one hit of any kind, since whoever clicks has opened. Counted by "
        "message: a recipient of two counts twice.",
        reference=f"{INDICATORS}, @recipientOpen",
    ),
    "total_opens": Metric(
        label="Sum of opens",
        platform_label="Sum of opens",
        unit=EVENTS,
        source="event",
        formula=Count(IS_OPEN),
        definition="Displays of a message, repeated ones included.",
        reference=f"{INDICATORS}, @totalRecipientOpen",
    ),
    "estimated_unique_opens": Metric(
        label="Distinct opens for the population reached",
        platform_label="Distinct opens for the population reached",
        unit=RECIPIENTS,
        formula=Estimate("unique_opens", "to_deliver", "text_messages"),
        definition="Recipients who opened, scaled up for text messages, whose opening cannot be seen.",
        reference=f"{INDICATORS}, @estimatedRecipientOpen",
    ),
    "estimated_total_opens": Metric(
        label="Sum of opens for the population reached",
        platform_label="Sum of opens for the population reached",
        unit=EVENTS,
        formula=Estimate("total_opens", "to_deliver", "text_messages"),
        definition="Opens in all, scaled up for text messages, whose opening cannot be seen.",
        reference=f"{INDICATORS}, @estimatedTotalRecipientOpen",
    ),
    "unique_clicks": Metric(
        label="Recipient clicks",
        platform_label="Recipient clicks",
        unit=RECIPIENTS,
        source="event",
        formula=Distinct("message_id", IS_CLICK),
        definition="Targeted recipients with at least one click on a tracked link; opt-out and mirror page left out. "
        "Counted by message: a recipient of two counts twice.",
        reference=f"{INDICATORS}, @recipientClick",
    ),
    "unique_people_clicks": Metric(
        label="Distinct clicks for the population reached",
        platform_label="Distinct clicks for the population reached",
        unit=PEOPLE,
        source="event",
        formula=Distinct("person_id", IS_CLICK),
        definition="Distinct browsers that clicked: recipients and whoever a message was forwarded to; a browser that "
        "refuses cookies counts once for each click, or not at all where its log leaves the id empty.",
        reference=f"{INDICATORS}, @personClick",
    ),
    "total_clicks": Metric(
        label="Cumulated clicks",
        platform_label="Cumulated clicks",
        unit=EVENTS,
        source="event",
        formula=Count(IS_CLICK),
        definition="Clicks on tracked links, repeated ones included; opt-out and mirror page left out.",
        reference=f"{INDICATORS}, @totalRecipientClick",
    ),
    "unsubscribe_clicks": Metric(
        label="Clicks on the opt-out link",
        platform_label="Clicks on the opt-out link",
        unit=EVENTS,
        source="event",
        formula=Count({"event_type": ("unsubscribed",)}),
        higher_is=WORSE,
        definition="Clicks on a link of the opt-out type, which is not yet an unsubscription.",
        reference=f"{INDICATORS}, @optOut",
    ),
    "unsubscribed_recipients": Metric(
        label="Recipients who opted out",
        unit=RECIPIENTS,
        source="event",
        formula=Distinct("message_id", {"event_type": ("unsubscribed",)}),
        higher_is=WORSE,
        definition="Targeted recipients with at least one click on a link of the opt-out type, however many they made.",
        reference=f"{INDICATORS}, @optOut",
        differs="recipients in place of clicks",
    ),
    "mirror_page_clicks": Metric(
        label="Clicks on the mirror page link",
        platform_label="Clicks on the mirror page link",
        unit=EVENTS,
        source="event",
        formula=Count({"event_type": ("mirror_page",)}),
        higher_is=NEUTRAL,
        definition="Clicks on a link of the mirror-page type.",
        reference=f"{INDICATORS}, @mirrorPage",
    ),
    "estimated_forwards": Metric(
        label="Estimation of forwards",
        platform_label="Estimation of forwards",
        unit=PEOPLE,
        formula=Difference("unique_people_clicks", "unique_clicks"),
        higher_is=NEUTRAL,
        definition="People who clicked beyond the recipients who clicked; an upper bound, since browsers that refuse "
        "cookies count several times.",
        reference=f"{INDICATORS}, @forward",
    ),
    # ---- what they did on the site ----
    "web_visits": Metric(
        label="Visited pages",
        platform_label="Visited pages",
        unit=EVENTS,
        source="event",
        formula=Count(IS_VISIT),
        definition="Pages of the site displayed, transactions included; visitors who refused web tracking left out.",
        reference=f"{INDICATORS}, @totalWebPage",
    ),
    "refused_visits": Metric(
        label="Pages left out, web tracking refused",
        unit=EVENTS,
        source="event",
        formula=Count({**ON_SITE, "is_refused": (True,)}),
        higher_is=NEUTRAL,
        definition="Pages of the site displayed, transactions included, by visitors who refused web tracking: they are "
        "in no other figure of the site.",
        reference="Adobe Campaign Classic, Web application tracking opt-out",
    ),
    "transactions": Metric(
        label="Transactions",
        platform_label="Transactions",
        unit=EVENTS,
        source="event",
        formula=Count(IS_TRANSACTION),
        definition="Hits on links of the transaction type; visitors who refused web tracking left out.",
        reference=f"{INDICATORS}, @transaction",
    ),
    "transaction_amount": Metric(
        label="Total amount",
        platform_label="Total amount",
        unit=CURRENCY,
        source="event",
        formula=Total("amount", IS_TRANSACTION),
        definition="Known amounts of the transactions counted, refunds taken off; unknown over several currencies.",
        reference=f"{INDICATORS}, @amount",
    ),
    "sales": Metric(
        label="Sales",
        unit=EVENTS,
        source="event",
        formula=Known("sale", IS_TRANSACTION),
        definition="Transactions whose amount is known and not below 0.",
        reference=f"{INDICATORS}, @transaction",
        differs="of known amount, refunds apart",
    ),
    "sales_amount": Metric(
        label="Amount of sales",
        unit=CURRENCY,
        source="event",
        formula=Total("sale", IS_TRANSACTION),
        definition="Amounts of the sales; unknown over several currencies.",
        reference=f"{INDICATORS}, @amount",
        differs="refunds apart",
    ),
    "refunds": Metric(
        label="Refunds",
        unit=EVENTS,
        source="event",
        formula=Known("refund", IS_TRANSACTION),
        higher_is=WORSE,
        definition="Transactions whose amount is below 0.",
        reference=f"{INDICATORS}, @transaction",
        differs="refunds alone",
    ),
    "refunded_amount": Metric(
        label="Amount refunded",
        unit=CURRENCY,
        source="event",
        formula=Total("refund", IS_TRANSACTION),
        higher_is=WORSE,
        definition="Amounts of the refunds, without their sign; unknown over several currencies.",
        reference=f"{INDICATORS}, @amount",
        differs="refunds alone",
    ),
    "transaction_articles": Metric(
        label="Articles",
        platform_label="Articles",
        unit=ARTICLES,
        source="event",
        formula=Total("articles", IS_TRANSACTION),
        definition="Known articles of the transactions counted, those given back taken off.",
        reference=f"{INDICATORS}, @article",
    ),
    "articles_sold": Metric(
        label="Articles sold",
        unit=ARTICLES,
        source="event",
        formula=Total("sold", IS_TRANSACTION),
        definition="Known articles of the transactions counted, but of refunds.",
        reference=f"{INDICATORS}, @article",
        differs="refunds apart",
    ),
    "sales_of_articles": Metric(
        label="Sales of known articles",
        unit=EVENTS,
        source="event",
        formula=Known("sold", IS_TRANSACTION),
        definition="Transactions whose articles are known, but refunds.",
        reference=f"{INDICATORS}, @transaction",
        differs="of known articles, refunds apart",
    ),
    # ---- rates ----
    "delivery_rate": Metric(
        label="Success rate (without control addresses)",
        formula=Ratio("delivered", "to_deliver"),
        definition="Delivered messages out of messages to deliver.",
        reference=f"{SUMMARY}, Success",
    ),
    "rejection_rate": Metric(
        label="Rejection rate",
        formula=Ratio("rejected", "targeted"),
        higher_is=WORSE,
        definition="Rejected recipients out of targeted recipients.",
        reference=f"{SUMMARY}, Messages rejected by the rule",
    ),
    "progress_rate": Metric(
        label="Progress",
        formula=Ratio("processed", "to_deliver"),
        definition="Messages processed out of messages to deliver.",
        reference="Adobe Campaign Classic, list of deliveries, Processed",
    ),
    "acceptance_rate": Metric(
        label="Delivered rate (with control addresses)",
        formula=Ratio("delivered_with_seeds", "processed"),
        definition="Delivered messages, control addresses included, out of messages processed.",
        reference=f"{STATISTICS}, Delivered",
    ),
    "failure_rate": Metric(
        label="Error rate",
        formula=Ratio("failed", "to_deliver"),
        higher_is=WORSE,
        definition="Failed messages out of messages to deliver.",
        reference=f"{SUMMARY}, Errors",
    ),
    "processed_failure_rate": Metric(
        label="Error rate of messages processed",
        formula=Ratio("failed", "processed"),
        higher_is=WORSE,
        definition="Failed messages out of messages processed.",
        reference=f"{STATISTICS}, Errors",
    ),
    "new_quarantine_rate": Metric(
        label="New-quarantine rate",
        formula=Ratio("new_quarantines", "to_deliver"),
        higher_is=WORSE,
        definition="Addresses put into quarantine out of messages to deliver.",
        reference=f"{SUMMARY}, New quarantines",
    ),
    "open_rate": Metric(
        label="Open rate (recipients)",
        formula=Ratio("unique_opens", "delivered"),
        definition="Recipients who opened out of delivered messages.",
        reference=f"{INDICATORS}, Open and click-through rate",
    ),
    "click_rate": Metric(
        label="Click rate (people)",
        platform_label="Distinct clicks",
        formula=Ratio("unique_people_clicks", "delivered"),
        definition="People who clicked out of delivered messages; may exceed 1.",
        reference="Adobe Campaign Classic, URLs and click streams, Distinct clicks",
    ),
    "recipient_click_rate": Metric(
        label="Click rate (recipients)",
        formula=Ratio("unique_clicks", "delivered"),
        definition="Recipients who clicked out of delivered messages.",
        reference=f"{INDICATORS}, Open and click-through rate",
    ),
    "total_click_rate": Metric(
        label="Click rate (all clicks)",
        platform_label="Cumulated clicks",
        formula=Ratio("total_clicks", "delivered"),
        definition="Clicks in all out of delivered messages; may exceed 1.",
        reference="Adobe Campaign Classic, URLs and click streams, Cumulated clicks",
    ),
    "click_to_open_rate": Metric(
        label="Raw reactivity",
        platform_label="Raw reactivity",
        formula=Ratio("unique_clicks", "unique_opens"),
        definition="Recipients who clicked out of recipients who opened.",
        reference=f"{INDICATORS}, Raw reactivity",
    ),
    "estimated_click_to_open_rate": Metric(
        label="Estimated recipient reactivity",
        platform_label="Estimated recipient reactivity",
        formula=Ratio("unique_clicks", "estimated_unique_opens"),
        definition="Recipients who clicked out of the estimated recipients who opened.",
        reference=f"{INDICATORS}, Estimated recipient reactivity",
    ),
    "unsubscribe_rate": Metric(
        label="Opt-out click rate",
        formula=Ratio("unsubscribe_clicks", "delivered"),
        higher_is=WORSE,
        definition="Clicks on the opt-out link out of delivered messages.",
        reference=f"{INDICATORS}, Reception statistics",
    ),
    "recipient_unsubscribe_rate": Metric(
        label="Opt-out rate (recipients)",
        formula=Ratio("unsubscribed_recipients", "delivered"),
        higher_is=WORSE,
        definition="Recipients who opted out, out of delivered messages.",
        reference=f"{INDICATORS}, Reception statistics",
        differs="recipients in place of clicks",
    ),
    "complaint_rate": Metric(
        label="Complaint rate",
        formula=Ratio("complaints", "delivered"),
        higher_is=WORSE,
        definition="Complaints out of delivered messages.",
        reference=f"{INDICATORS}, Open and click-through rate",
    ),
    "hard_bounce_rate": Metric(
        label="Hard-bounce rate",
        formula=Ratio("hard_bounces", "processed"),
        higher_is=WORSE,
        definition="Hard bounces out of messages processed.",
        reference=STATISTICS,
    ),
    "soft_bounce_rate": Metric(
        label="Soft-bounce rate",
        formula=Ratio("soft_bounces", "processed"),
        higher_is=WORSE,
        definition="Soft bounces out of messages processed.",
        reference=STATISTICS,
    ),
    "average_transaction_amount": Metric(
        label="Average transaction amount",
        platform_label="Average transaction amount",
        unit=CURRENCY,
        formula=Ratio("sales_amount", "sales"),
        definition="Amount of sales per sale: refunds, and transactions of unknown amount, are in neither.",
        reference=f"{INDICATORS}, Web tracking",
    ),
    "average_articles_per_transaction": Metric(
        label="Average count of articles per transaction",
        platform_label="Average count of articles per transaction",
        unit=ARTICLES,
        formula=Ratio("articles_sold", "sales_of_articles"),
        definition="Articles sold per sale of known articles: refunds are in neither.",
        reference=f"{INDICATORS}, Web tracking",
    ),
    "amount_per_message": Metric(
        label="Average amount per message",
        platform_label="Average amount per message",
        unit=CURRENCY,
        formula=Ratio("transaction_amount", "to_deliver"),
        definition="Amount of transactions, refunds taken off, per message to deliver.",
        reference=f"{INDICATORS}, Web tracking",
    ),
    # ---- what other senders count (their definition sets choose among these, too) ----
    "sent_messages": Metric(
        label="Messages sent (without control addresses)",
        unit=MESSAGES,
        source="message",
        formula=Count({"status": ("delivered", "failed")} | dict(NOT_SEED)),
        higher_is=NEUTRAL,
        by_default=False,
        definition="Messages whose delivery was attempted: delivered or failed, control addresses left out.",
        reference=f"{SPARKPOST}, Sent",
    ),
    "bounces": Metric(
        label="Bounces",
        unit=MESSAGES,
        source="message",
        formula=Count(dict(IS_FAILED) | {"failure_reason": (None, 0, *BOUNCE_REASONS)} | dict(NOT_SEED)),
        higher_is=WORSE,
        by_default=False,
        definition="Failed messages that came back, hard, soft or for a reason unknown, control addresses left out; "
        "complaints and addresses never tried are none.",
        reference=f"{MAILCHIMP}, Bounced",
    ),
    "displayed_unique_opens": Metric(
        label="Opens by images (recipients)",
        unit=RECIPIENTS,
        source="event",
        formula=Distinct("message_id", IS_OPEN),
        by_default=False,
        definition="Targeted recipients whose message loaded its images at least once; a click alone is no open. "
        "Counted by message: a recipient of two counts twice.",
        reference=f"{SENDGRID}, Unique opens",
    ),
    "confirmed_unique_opens": Metric(
        label="Confirmed opens (recipients)",
        unit=RECIPIENTS,
        source="event",
        formula=Distinct("message_id", IS_CONFIRMED),
        by_default=False,
        definition="Targeted recipients whose message loaded its images or who clicked a tracked link; opt-out, mirror "
        "page and pages of the site alone are none.",
        reference=f"{SPARKPOST}, Unique Confirmed Opens",
    ),
    "unprefetched_unique_opens": Metric(
        label="Confirmed opens, prefetched ones left out (recipients)",
        unit=RECIPIENTS,
        source="event",
        formula=Distinct("message_id", dict(IS_CONFIRMED) | {"is_machine": (False, None)}),
        by_default=False,
        definition="Recipients of confirmed opens by hits of which the sender does not say that a machine made them; "
        "where it says nothing, all count.",
        reference=f"{SPARKPOST}, Open Rate, Unique Confirmed Non-prefetch Opens",
    ),
    "prefetched_only": Metric(
        label="Only prefetched (recipients)",
        unit=RECIPIENTS,
        formula=Difference("confirmed_unique_opens", "unprefetched_unique_opens"),
        higher_is=NEUTRAL,
        by_default=False,
        definition="Recipients of confirmed opens of which the sender says that machines made them all.",
        reference=f"{SPARKPOST}, Open Rate",
        differs="what it leaves out",
    ),
    "delivered_without_prefetched": Metric(
        label="Success without those only prefetched",
        unit=MESSAGES,
        formula=Difference("delivered", "prefetched_only"),
        by_default=False,
        definition="Messages delivered with success, without those that only machines opened.",
        reference=f"{SPARKPOST}, Accepted",
        differs="without prefetched",
    ),
    "displayed_open_rate": Metric(
        label="Open rate (by images)",
        formula=Ratio("displayed_unique_opens", "delivered"),
        by_default=False,
        definition="Recipients whose message loaded its images out of delivered messages.",
        reference=f"{SENDGRID}, Unique opens",
    ),
    "total_open_rate": Metric(
        label="Open rate (all opens)",
        formula=Ratio("total_opens", "delivered"),
        by_default=False,
        definition="Opens in all out of delivered messages; may exceed 1.",
        reference=f"{SENDGRID}, Opens",
    ),
    "sent_open_rate": Metric(
        label="Open rate (by images, of sent)",
        formula=Ratio("displayed_unique_opens", "sent_messages"),
        by_default=False,
        definition="Recipients whose message loaded its images out of messages sent, those that failed included.",
        reference=f"{SALESFORCE}, Open Rate",
    ),
    "unprefetched_open_rate": Metric(
        label="Open rate (confirmed, prefetched left out)",
        formula=Ratio("unprefetched_unique_opens", "delivered"),
        by_default=False,
        definition="Recipients of confirmed opens, without those only prefetched, out of delivered messages.",
        reference=f"{SPARKPOST}, Open Rate",
    ),
    "trackable_open_rate": Metric(
        label="Open rate (confirmed, of those not only prefetched)",
        formula=Ratio("unprefetched_unique_opens", "delivered_without_prefetched"),
        by_default=False,
        definition="Recipients of confirmed opens out of delivered messages, those only prefetched in neither.",
        reference=f"{SPARKPOST}, Open Rate",
        differs="without prefetched ones in the denominator, too",
    ),
    "sent_click_rate": Metric(
        label="Click rate (recipients, of sent)",
        formula=Ratio("unique_clicks", "sent_messages"),
        by_default=False,
        definition="Recipients who clicked out of messages sent, those that failed included.",
        reference=f"{SALESFORCE}, Click Rate",
    ),
    "displayed_click_to_open_rate": Metric(
        label="Clicks per open by images",
        formula=Ratio("unique_clicks", "displayed_unique_opens"),
        is_part=False,
        by_default=False,
        definition="Recipients who clicked out of those whose message loaded its images; clicks without an open are in "
        "the numerator alone, so that it may exceed 1.",
        reference=f"{SENDGRID}, Click-Through Rate (CTR)",
    ),
    "sent_delivery_rate": Metric(
        label="Delivered of sent",
        formula=Ratio("delivered", "sent_messages"),
        by_default=False,
        definition="Delivered messages out of messages sent, those that failed included.",
        reference=f"{SPARKPOST}, Accepted Rate",
    ),
    "bounce_rate": Metric(
        label="Bounce rate (of sent)",
        formula=Ratio("bounces", "sent_messages"),
        higher_is=WORSE,
        by_default=False,
        definition="Bounces out of messages sent.",
        reference=f"{SPARKPOST}, Soft, Hard, Block and Undetermined Bounce Rate",
    ),
    "sent_unsubscribe_rate": Metric(
        label="Opt-out rate (recipients, of sent)",
        formula=Ratio("unsubscribed_recipients", "sent_messages"),
        higher_is=WORSE,
        by_default=False,
        definition="Recipients who opted out, out of messages sent, those that failed included.",
        reference=f"{SALESFORCE}, Unsubscribe Rate",
    ),
}


class UnknownMetricError(RequestError, KeyError):
    """There is no metric of this name."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would quote it


class Metrics(Mapping[str, Metric]):
    """Metrics by name, to be read: shown, they are a short table, and `search` finds some."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._by_name = dict(metrics)

    def __getitem__(self, name: str) -> Metric:
        if name not in self._by_name:
            raise UnknownMetricError(f"There is no metric {name!r}.{did_you_mean(str(name), self._by_name)}")
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def search(self, words: str) -> "Metrics":
        """Return the metrics with all these words in their name, label or definition.

        >>> list(METRICS.search("opted out sent"))
        ['sent_unsubscribe_rate']
        """
        return Metrics({name: metric for name, metric in self.items() if metric.has_words(words)})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def listing(self) -> Listing:
        """Return the metrics as they are shown, without those that `measure` leaves out unless they are named."""
        shown = [metric for metric in self.values() if metric.by_default or len(self) <= _FEW]
        rows = [(metric.name, metric.label, metric.unit) for metric in shown]
        more = [f"And {len(self) - len(rows)} of other senders' definitions."] if len(rows) < len(self) else []
        head = f"{len(self)} metric{'s' * (len(self) != 1)}"
        return Listing([head], ["metric", "label", "unit"], rows, [*more, _HOW])

    def __repr__(self) -> str:
        return str(self.listing())

    def _repr_html_(self) -> str:
        return f'<div style="max-height:26em;overflow:auto">{self.listing()._repr_html_()}</div>'


class Registry(Metrics):
    """Our metrics, and those of one's own while they are known: a project's, and those that a question brings."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        super().__init__(metrics)
        self._shipped = dict(metrics)
        self._of_question: ContextVar[dict[str, Metric]] = ContextVar("metrics of a question")

    def is_shipped(self, name: str) -> bool:
        """Return whether it is one of ours."""
        return name in self._shipped

    @property
    def has_own(self) -> bool:
        """Whether it knows those of a project."""
        return len(self._by_name) > len(self._shipped)

    def adopt(self, own: Mapping[str, Metric]) -> None:
        """Know the metrics of a project from now on, instead of those of another."""
        self._by_name = {**self._shipped, **own}

    @contextmanager
    def having(self, own: Mapping[str, Metric]) -> Iterator[None]:
        """Know further metrics while a question is answered, in this thread only."""
        token = self._of_question.set({**self._of_question.get({}), **own})
        try:
            yield
        finally:
            self._of_question.reset(token)

    def __getitem__(self, name: str) -> Metric:
        return self._of_question.get({}).get(name) or super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._of_question.get({})

    def __iter__(self) -> Iterator[str]:
        return iter({**self._by_name, **self._of_question.get({})})

    def __len__(self) -> int:
        return len({**self._by_name, **self._of_question.get({})})


_FEW = 30
_HOW = 'METRICS["open_rate"] says what one of them means; METRICS.search("bounce") finds some; METRICS.md lists all.'
METRICS = Registry({name: replace(metric, name=name) for name, metric in _DECLARED.items()})


def own_among(values: Iterable[object]) -> dict[str, Metric]:
    """Return the metrics of one's own among values and lists of them, by name, with the counts they are made of.

    >>> mine = Metric("Mine", Ratio("unique_opens", "processed"), "", "", name="mine")
    >>> list(own_among(["open_rate", [mine]]))
    ['mine']
    """
    given = [each for value in values for each in (value if isinstance(value, list | tuple) else [value])]
    known = [one for each in given if isinstance(each, Metric) for one in (*each.made_of, each)]
    return {each.name: each for each in known if each.name not in METRICS or METRICS[each.name] != each}


def named(value: Any) -> Any:
    """Return a metric as its name, in a list too; anything else as it is.

    >>> named([METRICS["open_rate"], "delivered"])
    ['open_rate', 'delivered']
    """
    if isinstance(value, list | tuple):
        return [named(each) for each in value] if any(isinstance(each, Metric) for each in value) else value
    return value.name if isinstance(value, Metric) else value


PURCHASES = ("sales", "refunds")  # the counts behind every sum of money


def money_of(names: Iterable[str]) -> list[str]:
    """Return the names that are metrics in money.

    >>> money_of(["domain", "sales", "transaction_amount"])
    ['transaction_amount']
    """
    return [name for name in names if name in METRICS and METRICS[name].unit == CURRENCY]


def lineage(name: str, metrics: Mapping[str, Metric] = METRICS) -> tuple[str, ...]:
    """Return a metric's name, preceded by those of all its parts.

    >>> lineage("open_rate")
    ('unique_opens', 'delivered', 'open_rate')
    """
    parts: dict[str, None] = {}
    for parent in metrics[name].parents:
        parts.update(dict.fromkeys(lineage(parent, metrics)))
    return (*parts, name)


def version_of(name: str, metrics: Mapping[str, Metric] = METRICS) -> str:
    """Return the version of a metric's definition: it changes with its formula, or that of any of its parts.

    Words that only describe it do not count; the conditions of its formula, and the rows it is measured on, do.

    >>> len(version_of("open_rate")), version_of("open_rate") == version_of("click_rate")
    (8, False)
    """
    parts = [metrics[part] for part in lineage(name, metrics)]
    told = [f"{part.name} {part.source} {part.unit} {part.formula!r} {part.formula}" for part in parts]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]


def sources_of(name: str) -> frozenset[str]:
    """Return the sources of a metric's rows.

    >>> sorted(sources_of("open_rate"))
    ['event', 'message']
    """
    return frozenset(METRICS[part].source for part in lineage(name) if METRICS[part].source)


def bounds_of(name: str) -> tuple[str, str]:
    """Return the names of a rate's bounds.

    >>> bounds_of("open_rate")
    ('open_rate_low', 'open_rate_high')
    """
    return f"{name}_low", f"{name}_high"


def part_of(columns: Container[str], name: str, part: str) -> str:
    """Return the column with a part of a metric: the part's own, unless a frame counts it over fewer deliveries for it.

    A row over several deliveries has "delivered of open_rate" where the opens of some are unknown: what was delivered
    of the others (`analysis.unseen.measure_observed`).

    >>> part_of(["open_rate", "delivered"], "open_rate", "delivered")
    'delivered'
    """
    own = f"{part} of {name}"
    return own if own in columns else part


def beyond_chance(rate: Any, usual: Any, cases: Any) -> Any:
    """Return whether a rate of so many cases differs from another by three standard errors, which chance rarely does.

    Numbers, or expressions of polars. One case more or less is always chance.

    >>> beyond_chance(0.10, 0.30, 100), beyond_chance(0.25, 0.30, 100), beyond_chance(1 / 40, 0, 40)
    (True, False, False)
    """
    variance = (abs(usual * (1 - usual)) + 1 / cases) / cases
    return (rate - usual) ** 2 >= ERRORS**2 * variance


def usual_spread(median: float, lower: float, upper: float, cases: float | None) -> tuple[float, float]:
    """Return from where to where a figure is as usual: to the fences of its quartiles, or as far as chance reaches.

    `cases` are those of a rate; None for a count or an amount, of which chance is unknown.

    >>> [round(each, 3) for each in usual_spread(0.30, 0.28, 0.32, None)]
    [0.22, 0.38]
    >>> [round(each, 3) for each in usual_spread(0.50, 0.49, 0.51, 100)]
    [0.347, 0.653]
    """
    fence = FENCE * (upper - lower)
    variance = (abs(median * (1 - median)) + 1 / cases) / cases if cases else 0.0
    chance = ERRORS * variance**0.5
    return min(lower - fence, median - chance), max(upper + fence, median + chance)


def made_of(value: str) -> tuple[str, ...]:
    """Return the columns that a value is made of.

    >>> made_of("refund"), made_of("targeted")
    (('amount',), ('targeted',))
    """
    return VALUES[value][0] if value in VALUES else (value,)


def breakdowns_of(name: str, breakdowns: Mapping[str, tuple[str, ...]] = BREAKDOWNS) -> tuple[str, ...]:
    """Return what a metric can be broken down by: the columns that all its sources have.

    >>> [name for name in breakdowns_of("open_rate") if name not in OF_DELIVERIES]
    ['delivery_id', 'domain', 'country']
    """
    sources = sources_of(name)
    return tuple(column for column, carriers in breakdowns.items() if sources <= set(carriers))
