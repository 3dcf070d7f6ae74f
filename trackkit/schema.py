"""The canonical tables: the name, type and meaning of every column. Data only; nothing here reads or computes.

Instants are UTC, ids are text (they exceed 2^53, and arrive in hexadecimal), rates are fractions, null means unknown.
*Derived* columns are filled by `enrich` from the other tables and are never read from a source.
"""

from dataclasses import dataclass, replace

import polars as pl

from trackkit.language import translatable

INSTANT = pl.Datetime("us", "UTC")
# Amounts are added as decimals: a floating-point sum would depend on the order of the rows.
MONEY = pl.Decimal(38, 4)
LARGEST_AMOUNT = 1e15  # a larger value is no amount: the cost of the purchase is unknown

# Types of events. First, messages handed over to be sent: outcomes alone would be a delivery of failures only.
HANDED_OVER = ("queued", "sent", "delivered", "deferred")
_REFUSED = ("bounced", "rejected", "failed", "autoresponded")
_BY_READERS = ("opened", "clicked", "complained", "unsubscribed", "subscribed")
EVENT_TYPES = (*HANDED_OVER, *_REFUSED, *_BY_READERS, "mirror_page", "web_visited", "transaction", "unknown")
# What happened to a message or an address; everything else is a hit, that is, an act of a reader.
NO_HITS = (*HANDED_OVER, *_REFUSED, "complained", "subscribed")
HITS = tuple(name for name in EVENT_TYPES if name not in NO_HITS)
LINK_HITS = ("clicked", "unsubscribed", "mirror_page", "unknown")  # on links of messages, which scanners click
# Who was behind a hit: a person; a machine that may carry one; a machine without one (the rules: `trackkit.rules`).
ACTIVITIES = ("human", "proxy", "scanner")
PROXY_RULES = ("O1", "O2", "O3", "O4", "O5", "V1")
READ_RULES = ("O3", "O5")  # proxies that fetch when a person reads; the others fetch whether anybody does or not
ALL_TOLD = "nothing"  # in `delivery.untold`: all is reported; an earlier load may have listed gaps
LINK_TYPES = {1: "clicked", 2: "opened", 3: "unsubscribed", 4: "web_visited", 5: "transaction", 6: "mirror_page"}

# The platform's delivery-log status codes; 3 and 4 are success (spec, 1.8 and A5).
# "Not applicable" (accepted, not processed) has no documented code; ours is outside the range of a byte.
NOT_APPLICABLE = 1000
_STATUSES = "excluded delivered failed delivered delivered in_progress pending cancelled prepared"
STATUSES = dict(enumerate(_STATUSES.split())) | {NOT_APPLICABLE: "excluded"}
STATUS_CLASSES = ("excluded", "delivered", "failed", "in_progress", "pending", "cancelled", "prepared", "unknown")
# The platform's own names of the codes, and ours of the classes, where no code says more.
STATUS_WORDS = translatable(
    {
        0: "Ignored",
        1: "Sent",
        2: "Failed",
        3: "Taken into account by the service provider",
        4: "Received on the mobile",
        5: "Sent to the service provider",
        6: "Delivery pending",
        7: "Delivery canceled",
        8: "Prepared",
        NOT_APPLICABLE: "Not applicable",
    }
)
STATUS_LABELS = translatable(
    {
        "excluded": "Excluded",
        "delivered": "Delivered",
        "failed": "Failed",
        "in_progress": "In progress",
        "pending": "Delivery pending",
        "cancelled": "Delivery canceled",
        "prepared": "Prepared",
        "unknown": "Unknown",
    }
)
FAILURE_TYPES = {0: "not_defined", 1: "soft", 2: "hard", 3: "ignored"}
FAILURE_TYPE_LABELS = translatable({"not_defined": "Not defined", "soft": "Soft", "hard": "Hard", "ignored": "Ignored"})
FAILURE_REASONS = translatable(
    {
        0: "Not defined",
        1: "User unknown",
        2: "Invalid domain",
        3: "Unreachable",
        4: "Account disabled",
        5: "Inbox full",
        6: "Not connected",
        7: "Address not specified",
        8: "Address on denylist",
        9: "Address in quarantine",
        10: "Double",
        11: "Excluded by SQL rule",
        12: "Excluded after arbitration",
        14: "Bad-quality address",
        15: "Unqualified address",
        16: "Not eligible for the offers",
        17: "Target limited in size",
        20: "Rejected",
        25: "Error ignored",
        127: "Control address",
    }
)
FORMATS = ("html", "text")
MAIL_PROXY = translatable("Mail proxy")  # what reports call a browser that fetched images in a reader's place
BOUNCE_CLASSES = ("hard", "soft", "block", "undetermined")
FORMAT_LABELS = translatable({"html": "HTML", "text": "Text"})
MESSAGE_TYPES = translatable({0: "e-mail", 1: "SMS", 2: "phone", 3: "direct mail", 4: "fax", 40: "push", 120: "other"})
STATES = translatable(
    {
        0: "Being edited",
        11: "Targeting pending",
        12: "Counting in progress",
        13: "Arbitration in progress",
        15: "Target ready",
        21: "Personalization pending",
        22: "Personalization in progress",
        25: "Message finalized",
        37: "Personalization or count failed",
        45: "Ready to be delivered",
        51: "Start pending",
        55: "In progress",
        61: "Recovery pending",
        62: "Recovery in progress",
        71: "Pause requested",
        72: "Pause in progress",
        75: "Paused",
        85: "Stopped",
        87: "Failed",
        95: "Finished",
        100: "Deleted",
    }
)


@dataclass(frozen=True)
class Counter:
    """A counter that the platform keeps of a delivery: its column there, and the metric that we compute.

    With `reason`, the metric counts the messages that failed for it only.
    """

    column: str
    metric: str
    reason: int | None = None


# The platform's counters of a delivery (spec, 1.3), by our name for each.
COUNTERS = {
    "processed": Counter("iProcessed", "processed"),
    "success": Counter("iSuccess", "delivered_with_seeds"),
    "success_without_seeds": Counter("iSuccessWithoutSeeds", "delivered"),
    "error": Counter("iError", "failed"),
    "unknown_user": Counter("iUnknownUser", "failed", 1),
    "invalid_domain": Counter("iInvalidDomain", "failed", 2),
    "unreachable": Counter("iUnreachable", "failed", 3),
    "disabled": Counter("iDisabled", "failed", 4),
    "mail_box_full": Counter("iMailBoxFull", "failed", 5),
    "not_connected": Counter("iNotConnected", "failed", 6),
    "refused": Counter("iRefused", "failed", 20),
    "recipient_open": Counter("iRecipientOpen", "unique_opens"),
    "total_recipient_open": Counter("iTotalRecipientOpen", "total_opens"),
    "estimated_recipient_open": Counter("estimatedRecipientOpen", "estimated_unique_opens"),
    "estimated_total_recipient_open": Counter("estimatedTotalRecipientOpen", "estimated_total_opens"),
    "recipient_click": Counter("iRecipientClick", "unique_clicks"),
    "total_recipient_click": Counter("iTotalRecipientClick", "total_clicks"),
    "person_click": Counter("iPersonClick", "unique_people_clicks"),
    "opt_out": Counter("iOptOut", "unsubscribe_clicks"),
    "mirror_page": Counter("iMirrorPage", "mirror_page_clicks"),
    "forward": Counter("iForward", "estimated_forwards"),
    "total_web_page": Counter("iTotalWebPage", "web_visits"),
    "transaction": Counter("iTransaction", "transactions"),
    "amount": Counter("dAmount", "transaction_amount"),
    "article": Counter("iArticle", "transaction_articles"),
}
DELETED = 100  # the state of a deleted delivery


# The personal data that a text column may hold: the address of the person whom its row is of, an address that it only
# mentions (a sender's), an IP address, a URL in its query, an id as such (that of a person may be a hash of the
# address), and any other text all of these.
PERSONAL = ("address", "mention", "ip", "url", "person", "id", "text")
IDS_OF_PEOPLE = ("recipient_id",)


BITS = 30  # of `filled`, beside one that the store keeps for itself


@dataclass(frozen=True)
class Column:
    """One column of a canonical table."""

    name: str
    dtype: pl.DataType
    meaning: str
    derived: bool = False
    personal: str = ""  # one of PERSONAL, if neither type nor name implies it
    unit: str = ""  # of a number

    @property
    def measured_in(self) -> str:
        """The unit of its values; instants are UTC.

        >>> Column("occurred_at", INSTANT, "when").measured_in
        'UTC'
        """
        return "UTC" if self.dtype == INSTANT else self.unit

    @property
    def comment(self) -> str:
        """Its meaning and its unit.

        >>> Column("message_size", COUNT, "size of a message", unit="bytes").comment
        'size of a message; in bytes'
        """
        return self.meaning + (f"; in {self.measured_in}" if self.measured_in else "")

    @property
    def type_name(self) -> str:
        """Its type, as polars calls it.

        >>> Column("occurred_at", INSTANT, "when").type_name
        'Datetime'
        """
        return str(self.dtype.base_type())

    @property
    def words(self) -> tuple[str, ...]:
        """The words of an enumeration, in order; none for any other column."""
        return tuple(self.dtype.categories) if isinstance(self.dtype, pl.Enum) else ()


@dataclass(frozen=True)
class Table:
    """One canonical table: its grain, its key and its columns."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...] = ()
    beside: str = ""  # the table whose files state the rows of this one too

    def with_columns(self, *columns: Column) -> "Table":
        """Return the table with these columns."""
        return replace(self, columns=columns)

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column names and types, in order."""
        return {column.name: column.dtype for column in self.columns}

    @property
    def sourced(self) -> dict[str, pl.DataType]:
        """The columns that a source may fill: all except the derived ones."""
        return {column.name: column.dtype for column in self.columns if not column.derived}

    @property
    def gleaned(self) -> tuple[str, ...]:
        """The columns that files of other tables may fill too, as far as `filled` of a stored row has bits for them.

        A column's place is its bit, so that columns are only ever added at the end.

        >>> DELIVERY.gleaned[:2], DELIVERY.gleaned.index("delete_status"), len(DELIVERY.gleaned)
        (('internal_name', 'label'), 21, 30)
        """
        return tuple(name for name in self.sourced if name not in self.key)[:BITS]

    @property
    def derived(self) -> tuple[str, ...]:
        """The columns that `enrich` fills."""
        return tuple(column.name for column in self.columns if column.derived)

    @property
    def personal(self) -> dict[str, str]:
        """The personal data that each text column may hold (PERSONAL); by default an id, by its name, or any text.

        >>> SERVICE.personal, MESSAGE.personal["address"]
        ({'service_id': 'id', 'label': 'text'}, 'address')
        """
        texts = [column for column in self.columns if column.dtype == pl.String()]
        return {column.name: column.personal or self._personal(column.name) for column in texts}

    def _personal(self, name: str) -> str:
        if name in IDS_OF_PEOPLE:
            return "person"
        return "id" if name in self.key or name.endswith("_id") else "text"

    @property
    def dated_by(self) -> str:
        """The column that says when its rows are: the first of its instants; none without one.

        >>> EVENT.dated_by, SERVICE.dated_by
        ('occurred_at', '')
        """
        return next((column.name for column in self.columns if column.dtype == INSTANT), "")

    @property
    def by_delivery(self) -> bool:
        """Whether each row belongs to a delivery, so that a load replaces whole deliveries."""
        return "delivery_id" in self.schema and self.name in ("message", "event", "collapsed")


TEXT, COUNT, AMOUNT, FLAG = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()
CODE, NUMBER = pl.Int16(), pl.Int32()

DELIVERY = Table("delivery", "one row per delivery (one send action)", ("delivery_id",)).with_columns(
    Column("delivery_id", TEXT, "key of the delivery"),
    Column("internal_name", TEXT, "unique internal name"),
    Column("label", TEXT, "label shown to people"),
    Column("subject", TEXT, "subject of the message"),
    Column("message_type", CODE, "channel code, 0 e-mail"),
    Column("state", CODE, "state code, 95 finished"),
    Column("delivery_mode", CODE, "0 external, 1 bulk, 2 descriptive, 4 mid-sourcing"),
    Column("is_model", FLAG, "a template of deliveries, never sent"),
    Column("is_proof", FLAG, "a proof, left out of averages and totals"),
    Column("typology_id", TEXT, "typology, which the platform average compares within"),
    Column("contact_at", INSTANT, "planned contact instant"),
    Column("started_at", INSTANT, "first message sent"),
    Column("ended_at", INSTANT, "last message sent"),
    Column("validity_at", INSTANT, "deadline of the delivery"),
    Column("targeted", COUNT, "initial population", unit="recipients"),
    Column("rejected", COUNT, "recipients dropped by rules at analysis", unit="recipients"),
    Column("to_deliver", COUNT, "messages to deliver after analysis", unit="messages"),
    Column("text_messages", COUNT, "messages sent in text format, which cannot be open-tracked", unit="messages"),
    Column("new_quarantines", COUNT, "addresses quarantined following the delivery", unit="addresses"),
    Column("message_size", COUNT, "size of a message", unit="bytes"),
    Column(
        "sent",
        COUNT,
        "messages sent, as a source counts them that keeps no log of messages; else null",
        unit="messages",
    ),
    Column("untold", TEXT, "what no table of its source told: event types, `message`, or `nothing`; by spaces"),
    Column("delete_status", CODE, "0 there; else deleted, as a delivery in state 100 is: left out of all totals"),
    Column("campaign_id", TEXT, "the campaign that it belongs to"),
    Column("folder_id", TEXT, "the folder that it lies in"),
    Column("delivery_code", TEXT, "its code, which people give it"),
    Column("nature", TEXT, "its nature, as people class it"),
    Column("mapping_id", TEXT, "the target mapping: which table its recipients come from"),
    Column("sender_name", TEXT, "name of the sender that readers see"),
    Column("sender_address", TEXT, "address of the sender that readers see", personal="mention"),
    Column("web_validity_at", INSTANT, "end of its mirror page and of what its links lead to on the platform"),
    Column("last_modified_at", INSTANT, "last change in the platform"),
    Column("tracking_computed_at", INSTANT, "when the platform last computed its indicators of tracking"),
    Column("html_messages", COUNT, "messages sent in HTML"),
    Column("multipart_messages", COUNT, "messages sent in both formats"),
    Column("seeds_processed", COUNT, "messages to control addresses processed, as the platform counts them"),
    Column("handed_to_provider", COUNT, "SMS handed to the provider, as the platform counts them; never of e-mail"),
    Column("web_pages", COUNT, "web pages, as the platform counts them beside all visits; nothing documents how"),
)
LINK = Table("link", "one row per tracked link of a delivery; link_id is unique in a store", ("link_id",)).with_columns(
    Column("link_id", TEXT, "key of the tracked link"),
    Column("delivery_id", TEXT, "its delivery; null for links shared by all (the open, web tags)"),
    Column("type_code", CODE, "1 click, 2 open, 3 opt-out, 4 web, 5 transaction, 6 mirror page"),
    Column("label", TEXT, "label of the link"),
    Column("category", TEXT, "category of the link"),
    Column("url", TEXT, "original URL", personal="url"),
    Column("tag_id", TEXT, "web-tracking tag"),
    Column("occurrence", COUNT, "which occurrence of the URL in the content, from 1"),
    Column("offer_id", TEXT, "the offer that it shows; null: no offer"),
    Column("valid_until", INSTANT, "end of its validity: later hits do not reach its target"),
    Column("tracker_name", TEXT, "internal name of a tag of a web application"),
    Column("goal", TEXT, "target action of a tag: the name of the path that its step is on", personal="id"),
    Column("step", CODE, "stage of the tag on its path"),
    Column("web_application_id", TEXT, "the web application of a tag"),
    Column("has_parameters", FLAG, "its target takes values of each recipient"),
    Column("folder_id", TEXT, "the folder that it lies in"),
    Column("checksum", TEXT, "the platform's checksum of its URL; nothing documents how it is made"),
    Column("last_modified_at", INSTANT, "last change in the platform"),
)
MESSAGE = Table(
    "message", "one row per message prepared: one recipient of one delivery", ("delivery_id", "message_id")
).with_columns(
    Column("delivery_id", TEXT, "its delivery"),
    Column("message_id", TEXT, "its id, unique within the delivery (the platform's broadlog id)"),
    Column("recipient_id", TEXT, "its recipient; null when not linked"),
    Column("address", TEXT, "address used at sending time", personal="address"),
    Column("status_code", CODE, "the platform's status code"),
    Column("status_at", INSTANT, "last change of status: the sending instant of a sent message"),
    Column("is_seed", FLAG, "a control address, left out of success"),
    Column("failure_id", TEXT, "the shared failure message"),
    Column("service_id", TEXT, "the information service that it was sent for"),
    Column("last_modified_at", INSTANT, "last change in the platform, by which it purges"),
    Column("flags", TEXT, "a bit field of the platform; nothing documents it"),
    Column("public_id", TEXT, "the outgoing IP address, by its id in the platform, where its logs are extended so"),
    Column("told_domain", TEXT, "domain as its source tells it, maybe a class of domains, as Others"),
    Column("status", pl.Enum(STATUS_CLASSES), "what the status code means", derived=True),
    Column("domain", TEXT, "mail domain of the address, lower case", derived=True),
    Column("country", TEXT, "country code of the recipient", derived=True),
    Column("failure_type", CODE, "0 not defined, 1 soft, 2 hard, 3 ignored", derived=True),
    Column("failure_reason", CODE, "reason code of a failure", derived=True),
    Column("is_complaint", FLAG, "reported as spam: by its failure's reason, or by an event", derived=True),
    Column("is_implied", FLAG, "no table tells of it: events of its sending do", derived=True),
)
EVENT = Table("event", "one row per thing that happened to one message", ("event_id", "log_server")).with_columns(
    Column("delivery_id", TEXT, "its delivery; null when the hit belongs to none"),
    Column("message_id", TEXT, "its message in that delivery; null when unknown"),
    Column("occurred_at", INSTANT, "when it happened; null if the source does not say"),
    Column("event_id", TEXT, "the log id, decimal, without the server's prefix"),
    Column("log_server", TEXT, "the redirection server's prefix of the log id; null from table exports"),
    Column("recipient_id", TEXT, "its recipient, from the hit or from its message"),
    Column("person_id", TEXT, "browser identity (permanent cookie), lower case; null when refused or empty"),
    Column("link_id", TEXT, "the link hit"),
    Column("reported_type", pl.Enum(EVENT_TYPES), "the event type where the source itself says it"),
    Column("raw_event_type", TEXT, "the source's own word for the type, verbatim"),
    Column("message_format", pl.Enum(FORMATS), "format of the message part that was hit"),
    Column("user_agent", TEXT, "user agent as given: text, or the platform's hash"),
    Column("ip", TEXT, "address as logged; never shown in reports", personal="ip"),
    Column("address", TEXT, "e-mail address, bare and in lower case; never shown in reports", personal="address"),
    Column("source_type", TEXT, "origin of the hit in the platform's log; nothing documents its values"),
    Column("external_id", TEXT, "a further id in the platform's log; nothing documents it"),
    Column("vendor_id", TEXT, "the sender's own id of the event, where it gives one"),
    Column("bounce_class", pl.Enum(BOUNCE_CLASSES), "of a bounce: hard, soft, block (by policy), undetermined"),
    Column("bounce_reason", TEXT, "of a bounce: the sender's category, verbatim"),
    Column("diagnostic", TEXT, "what the receiving mail server said, verbatim"),
    Column("smtp_status", TEXT, "enhanced status code, as 5.1.1"),
    Column("is_machine", FLAG, "the sender says a machine did it; false: a person did; null: says nothing"),
    Column("machine_reason", TEXT, "why the sender thinks so: apple, gmail, generic, proxy_open"),
    Column("is_first", FLAG, "the sender says it is the first of its kind for the message"),
    Column("link_position", COUNT, "place of the link in the message, as the sender counts"),
    Column("tags", TEXT, "the sender's tags or categories, as a JSON array"),
    Column("attributes", TEXT, "what else the sender tells of the event, as a JSON object"),
    Column(
        "collapse_seconds", pl.Int32(), "window in which a repeated open counts once; 0 for exports", unit="seconds"
    ),
    Column("source", TEXT, "name of the format it was read from"),
    Column("source_file", TEXT, "file it was read from, relative to the source named", personal="id"),
    Column("source_row", COUNT, "line or row in that file, from 1; of a database table, its own number of the row"),
    Column("event_type", pl.Enum(EVENT_TYPES), "what happened: reported, or by the link's type", derived=True),
    Column("has_messages", FLAG, "what was sent in its delivery is known", derived=True),
    Column("domain", TEXT, "mail domain of the message's address, else of the event's", derived=True),
    Column("country", TEXT, "country code of the recipient", derived=True),
    Column("is_seed", FLAG, "the message went to a control address", derived=True),
    Column("link_label", TEXT, "label of the link", derived=True),
    Column("link_category", TEXT, "category of the link", derived=True),
    Column("url", TEXT, "original URL of the link", derived=True, personal="url"),
    Column(
        "amount", AMOUNT, "amount of a transaction, in `currency`; below 0, a refund", derived=True, unit="currency"
    ),
    Column("currency", TEXT, "currency of the amount, as EUR; null: the sender's one", derived=True),
    Column("articles", COUNT, "articles of a transaction", derived=True, unit="articles"),
    Column("tag_id", TEXT, "web-tracking tag", derived=True),
    Column("device", TEXT, "device family", derived=True),
    Column("operating_system", TEXT, "operating-system family", derived=True),
    Column("operating_system_version", TEXT, "version of the operating system, the major one", derived=True),
    Column("browser", TEXT, "browser family", derived=True),
    Column("browser_version", TEXT, "browser's major version", derived=True),
    Column("is_first_hit", FLAG, "the first hit of its message that counts; null: never marked", derived=True),
    Column("is_first_click", FLAG, "the first click of its message that counts", derived=True),
    Column("is_first_click_of_person", FLAG, "the first of its person's clicks in its delivery", derived=True),
    Column("message_number", NUMBER, "its message among those of its delivery, from 1; 0: says none", derived=True),
    Column("person_number", NUMBER, "its person among those of its delivery, from 1; 0: says none", derived=True),
    Column(
        "activity", pl.Enum(ACTIVITIES), "who was behind a hit; null: no hit, or loaded before this was", derived=True
    ),
    Column("activity_rule", TEXT, "the rule by which it is no plain human's, as C2; else null", derived=True),
)
# The columns that identify a message or a person: the id of a message is unique only within its delivery, since two
# deliveries may use the same one; a browser is the same in all deliveries.
IDENTITY = {"message_id": MESSAGE.key, "person_id": ("person_id",)}
# Within a delivery these numbers identify the same values, and are counted in half the time.
NUMBERS = {"message_id": "message_number", "person_id": "person_number"}
# What each flag of `event` marks once per delivery: a value of this column, among hits of this type (None: any).
FIRSTS: dict[str, tuple[str, str | None]] = {
    "is_first_hit": ("message_id", None),
    "is_first_click": ("message_id", "clicked"),
    "is_first_click_of_person": ("person_id", "clicked"),
}
# What a load computes for whole deliveries once their hits are reconciled.
MARKS = (*FIRSTS, *NUMBERS.values())
# What a load finds of a hit beside the others of its message and its delivery; removing others leaves it as it was.
ACTIVITY = ("activity", "activity_rule")
_REPEATED = "one row per repeated open set aside because it counts once with an earlier one"
COLLAPSED = Table("collapsed", _REPEATED, EVENT.key, EVENT.columns)
WEB_EVENT = Table("web_event", "one row per web hit that carries parameters", ("event_id",)).with_columns(
    Column("event_id", TEXT, "the log id of the hit"),
    Column("amount", AMOUNT, "amount of the transaction; below 0, a refund", unit="currency"),
    Column("currency", TEXT, "currency of the amount, as EUR; null where its source does not say"),
    Column("articles", COUNT, "articles of the transaction", unit="articles"),
    Column("tag_id", TEXT, "web-tracking tag"),
)
RECIPIENT = Table("recipient", "one row per recipient", ("recipient_id",)).with_columns(
    Column("recipient_id", TEXT, "key of the recipient"),
    Column("email", TEXT, "e-mail address, bare and in lower case", personal="address"),
    Column("email_format", CODE, "0 undefined, 1 text, 2 HTML"),
    Column("is_denylisted", FLAG, "no longer to be contacted"),
    Column("country", TEXT, "country code"),
)
FAILURE = Table("failure", "one row per failure message shared by many messages", ("failure_id",)).with_columns(
    Column("failure_id", TEXT, "key of the failure message"),
    Column("failure_type", CODE, "0 not defined, 1 soft, 2 hard, 3 ignored"),
    Column("failure_reason", CODE, "reason code"),
    Column("first_text", TEXT, "first text received from the mail server"),
    Column("text", TEXT, "the text that they share, variable parts masked"),
    Column("occurrences", COUNT, "how often it was received, as the platform counts up to 100,000"),
    Column("qualification", TEXT, "to qualify, keep or ignore, as the export writes it; no page gives its codes"),
    Column("rule_id", TEXT, "the rule that qualified it"),
    Column("first_address", TEXT, "the first address that it was received for", personal="mention"),
    Column("checksum", TEXT, "the platform's checksum (MD5) of its text"),
    Column("created_at", INSTANT, "when it was first received"),
    Column("last_modified_at", INSTANT, "last change in the platform"),
)
EXCLUSION = Table(
    "exclusion", "one row per recipient rejected from a delivery at analysis", ("delivery_id", "recipient_id", "rule")
).with_columns(
    Column("delivery_id", TEXT, "the delivery"),
    Column("recipient_id", TEXT, "the recipient rejected"),
    Column("rule", TEXT, "the rule that rejected it"),
)
USER_AGENT = Table("user_agent", "one row per user agent", ("user_agent",)).with_columns(
    Column("user_agent", TEXT, "text, or the platform's hash", personal="text"),
    Column("device", TEXT, "device family"),
    Column("operating_system", TEXT, "operating system, family and version in one text"),
    Column("browser", TEXT, "browser family"),
    Column("browser_version", TEXT, "browser's version"),
)
SUBSCRIPTION = Table(
    "subscription",
    "one row per act of subscribing to, or leaving, a service",
    ("service_id", "recipient_id", "occurred_at", "action"),
).with_columns(
    Column("service_id", TEXT, "the information service"),
    Column("recipient_id", TEXT, "who acted"),
    Column("action", CODE, "1 subscribe, 0 unsubscribe"),
    Column("occurred_at", INSTANT, "when"),
    Column("delivery_id", TEXT, "the delivery that led to it"),
)
SERVICE = Table("service", "one row per information service", ("service_id",)).with_columns(
    Column("service_id", TEXT, "key of the service"),
    Column("label", TEXT, "label shown to people"),
)
CAMPAIGN = Table("campaign", "one row per campaign", ("campaign_id",)).with_columns(
    Column("campaign_id", TEXT, "key of the campaign"),
    Column("internal_name", TEXT, "unique internal name"),
    Column("label", TEXT, "label shown to people"),
    Column("campaign_code", TEXT, "its code, which people give it"),
    Column("programme_id", TEXT, "the programme that it belongs to"),
    Column("folder_id", TEXT, "the folder that it lies in"),
    Column("started_at", INSTANT, "planned start"),
    Column("ended_at", INSTANT, "planned end"),
)
PROGRAMME = Table("programme", "one row per programme, which holds campaigns", ("programme_id",)).with_columns(
    Column("programme_id", TEXT, "key of the programme"),
    Column("internal_name", TEXT, "unique internal name"),
    Column("label", TEXT, "label shown to people"),
)
FOLDER = Table("folder", "one row per folder of the platform's tree", ("folder_id",)).with_columns(
    Column("folder_id", TEXT, "key of the folder"),
    Column("parent_id", TEXT, "the folder that it lies in; null at the top"),
    Column("internal_name", TEXT, "unique internal name"),
    Column("label", TEXT, "label shown to people"),
)
COUNTER = Table(
    "counter",
    "one row per delivery, counter of the platform and time when it was computed",
    ("delivery_id", "counter", "computed_at"),
    beside="delivery",
).with_columns(
    Column("delivery_id", TEXT, "the delivery"),
    Column("counter", TEXT, "the platform's counter, a key of `COUNTERS`"),
    Column("computed_at", INSTANT, "when the platform computed it, or last changed the delivery; null if not told"),
    Column("value", AMOUNT, "its value: a count, or a sum of money"),
    Column("source", TEXT, "name of the format it was read from"),
)
PAGE_HIT = Table(
    "page_hit",
    "one row per displayed page of a web application, and per tag where a page has several",
    ("occurred_at", "web_application", "goal", "page", "step", "tag_id", "person_id", "recipient_id"),
).with_columns(
    Column("occurred_at", INSTANT, "when"),
    Column("web_application", TEXT, "the web application"),
    Column("page", TEXT, "the page displayed"),
    Column("step", CODE, "stage of the page on its path"),
    Column("person_id", TEXT, "browser identity"),
    Column("recipient_id", TEXT, "who, when known"),
    Column("delivery_id", TEXT, "traffic source, when known"),
    Column("web_optout", CODE, "opt-out cookie: 0 allowed, 1 refused, null not chosen"),
    Column("goal", TEXT, "target action of the tag: the name of the path that the step is on"),
    Column("tag_id", TEXT, "web-tracking tag of the page"),
)
CONTENT = Table(
    "content", "one row per delivery and format: the message as sent", ("delivery_id", "message_format")
).with_columns(
    Column("delivery_id", TEXT, "the delivery"),
    Column("message_format", TEXT, "html or text"),
    Column("body", TEXT, "the message content with its tracked links"),
)
QUARANTINE = Table(
    "quarantine", "one row per line that could not be read", ("source_file", "source_row", "reason")
).with_columns(
    Column("source_file", TEXT, "file of the line, relative to the source named"),
    Column("source_row", COUNT, "line or row in that file, from 1"),
    Column("source", TEXT, "name of the format"),
    Column("reason", TEXT, "what was wrong, in words", personal="text"),
    Column("text", TEXT, "the line as it stood, at most 10,000 characters"),
)
PURGE = Table(
    "purge", "one row per delivery and table of which retention removed rows", ("delivery_id", "purged_table")
).with_columns(
    Column("delivery_id", TEXT, "the delivery"),
    Column("purged_table", TEXT, "the table, message or event: what is left of it there is not the whole"),
    Column("purged_before", INSTANT, "what happened before this instant was removed"),
    Column("purged_at", INSTANT, "when it was last removed"),
    Column("purged_rows", COUNT, "rows removed so far", unit="rows"),
)
KEPT_COUNT = Table(
    "kept_count",
    "one row per delivery and metric measured before the delivery's rows were removed",
    ("delivery_id", "metric"),
).with_columns(
    Column("delivery_id", TEXT, "the delivery"),
    Column("metric", TEXT, "name of the metric, a count or a sum"),
    Column("value", AMOUNT, "its value, as measured then"),
    Column("currency", TEXT, "of a sum of money, the currency that its amounts name; else null"),
    Column("measured_at", INSTANT, "when it was measured"),
)
_LOGS = (DELIVERY, LINK, MESSAGE, EVENT, COLLAPSED, WEB_EVENT)
_LISTS = (
    RECIPIENT,
    FAILURE,
    EXCLUSION,
    USER_AGENT,
    SUBSCRIPTION,
    SERVICE,
    PAGE_HIT,
    CONTENT,
    COUNTER,
    CAMPAIGN,
    PROGRAMME,
    FOLDER,
)
_OWN = (QUARANTINE, PURGE, KEPT_COUNT)
TABLES = {table.name: table for table in (*_LOGS, *_LISTS, *_OWN)}
