"""Adobe Campaign Classic: the tables of an instance folder, and message content, mapped declaratively.

Headers are given as SQL names (whose plain form follows from them) and XPath names; how they are written does not
matter beyond their letters and digits. References are section 1 of the platform's data model.
"""

from pathlib import Path

import polars as pl

from trackkit import schema
from trackkit.sources import values
from trackkit.sources.files import Found
from trackkit.sources.hiding import Hiding, kinds_of
from trackkit.sources.maps import Field, TableMap
from trackkit.sources.report import SourceReport
from trackkit.sources.staging import Staged, handed_on, quarantine_frame

EXPORT, CONTENT = "adobe_export", "adobe_content"

_LINK_WORDS = {"email click": 1, "e-mail click": 1, "click": 1, "open": 2, "opt-out": 3, "web": 4, "transaction": 5,
               "mirror page": 6}  # fmt: skip
_STATUS_WORDS = {"ignored": 0, "sent": 1, "failed": 2, "taken into account by the service provider": 3,
                 "received on mobile": 4, "sent to the service provider": 5, "pending": 6, "delivery cancelled": 7,
                 "prepared": 8, "ready": 8}  # fmt: skip
_FAILURE_TYPE_WORDS = {"not defined": 0, "soft": 1, "hard": 2, "ignored": 3}
_STATE_WORDS = {name.lower(): code for code, name in schema.STATES.items()}
_CHANNEL_WORDS = {"e-mail": 0, "email": 0, "sms": 1, "phone": 2, "direct mail": 3, "fax": 4}
_REASON_WORDS = {name.lower(): code for code, name in schema.FAILURE_REASONS.items()}
_FORMAT_WORDS = {"undefined": 0, "unknown": 0, "text": 1, "html": 2}
_ACTION_WORDS = {"subscribe": 1, "subscription": 1, "unsubscribe": 0, "unsubscription": 0}
# As in the raw log, a hyphen is no browser, and letters may come in either case.
_PERSON = pl.when(pl.col("person_id") != "-").then(pl.col("person_id").str.to_lowercase())


def _id(column: str, *headers: str, required: bool = False, table: str = "") -> Field:
    return Field(column, "id", headers, required, table=table)


def _text(column: str, *headers: str, table: str = "") -> Field:
    return Field(column, "text", headers, table=table)


def _count(column: str, *headers: str) -> Field:
    return Field(column, "count", headers)


def _code(column: str, words: dict[str, int], *headers: str, table: str = "", required: bool = False) -> Field:
    return Field(column, "code", headers, required, words=words, table=table)


def _at(column: str, *headers: str) -> Field:
    return Field(column, "instant", headers)


def _flag(column: str, *headers: str) -> Field:
    return Field(column, "flag", headers)


_DELIVERY = TableMap(
    "delivery", EXPORT, "delivery", stems=("delivery", "deliveries", "nmsdelivery"),
    fields=(
        _id("delivery_id", "iDeliveryId", "@id", "delivery_id", required=True),
        _text("internal_name", "sInternalName", "@internalName"),
        _text("label", "sLabel", "@label", "[delivery/@label]"),
        _text("subject", "sSubject", "@subject", "mailParameters/subject"),
        _code("message_type", _CHANNEL_WORDS, "iMessageType", "@messageType"),
        _code("state", _STATE_WORDS, "iState", "@state"),
        _code("delivery_mode", {}, "iDeliveryMode", "@deliveryMode"),
        _flag("is_model", "iIsModel", "@isModel"), _flag("is_proof", "iFCP", "@FCP"),
        _id("typology_id", "iTypologyId", "@typology-id"),
        _at("contact_at", "tsContact", "@contactDate", "scheduling/@contactDate"),
        _at("started_at", "tsBroadStart", "@broadStart"), _at("ended_at", "tsBroadEnd", "@broadEnd"),
        _at("validity_at", "tsValidity", "@validityDate", "scheduling/@validityDate"),
        _count("targeted", "iTotalTarget", "@totalTarget", "properties/@totalTarget"),
        _count("rejected", "iReject", "@reject", "properties/@reject"),
        _count("to_deliver", "iToDeliver", "@toDeliver", "properties/@toDeliver"),
        _count("text_messages", "iText", "@text", "properties/@text", "indicators/@text"),
        _count("new_quarantines", "iNewQuarantine", "@newQuarantine", "indicators/@newQuarantine"),
        _count("message_size", "iMessageSize", "@messageSize", "properties/@messageSize"),
    ),
)  # fmt: skip
_LINK = TableMap(
    "tracking_url", EXPORT, "link", stems=("tracking_url", "trackingurl", "nmstrackingurl"),
    fields=(
        _id("link_id", "iTrackingUrlId", "@id", "trackingUrl-id", "url-id", required=True),
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id"),
        _code("type_code", _LINK_WORDS, "iType", "@type", "url/@type"),
        _text("label", "sLabel", "@label", "url/@label"), _text("category", "sCategory", "@category", "url/@category"),
        _text("url", "sSource", "@source", "url/@source"), _text("tag_id", "sTagId", "@tagId", "@tag-id", "url/@tagId"),
        _count("occurrence", "iOccurrence", "@occurrence"),
    ),
    unknown_type=pl.when(~pl.col("type_code").is_in(list(schema.LINK_TYPES))).then(pl.col("type_code").cast(pl.String)),
)  # fmt: skip
# A failure qualified on the message itself, without the table of failure messages: its own kind of failure message.
_INLINED_FAILURE = pl.format(
    "inlined {}/{}", pl.col("failure.failure_type").fill_null(0), pl.col("failure.failure_reason").fill_null(0)
)
_MESSAGE = TableMap(
    "broadlog", EXPORT, "message", stems=("broadlog", "broadlogrcp", "nmsbroadlogrcp", "nmsbroadlog", "delivery_log"),
    fields=(
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id", required=True),
        _id("message_id", "iBroadLogId", "@id", "@broadLog-id", "message_id", required=True),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id"),
        _text("address", "sAddress", "@address"), _code("status_code", _STATUS_WORDS, "iStatus", "@status"),
        _at("status_at", "tsEvent", "@eventDate"), _flag("is_seed", "iIsSeed", "@isSeed", "seed"),
        _id("failure_id", "iMsgId", "@msg-id", "msg/@id"),
        _code("failure_type", _FAILURE_TYPE_WORDS, "iFailureType", "@failureType", "msg/@failureType",
              table="failure"),
        _code("failure_reason", _REASON_WORDS, "iFailureReason", "@failureReason", "msg/@failureReason",
              table="failure"),
        _text("first_text", "sMessage", "sFirstText", "msg/@firstText", "@message", "msg/@text", table="failure"),
    ),
    derive={
        "failure_id": pl.when(
            pl.col("failure_id").is_null()
            & ((pl.col("failure.failure_type") > 0) | (pl.col("failure.failure_reason") > 0))
        ).then(_INLINED_FAILURE).otherwise(pl.col("failure_id")),
    },
)  # fmt: skip
_FAILURE = TableMap(
    "broadlog_msg", EXPORT, "failure", stems=("broadlog_msg", "broadlogmsg", "nmsbroadlogmsg"),
    fields=(
        _id("failure_id", "iBroadLogMsgId", "@id", "broadLogMsg-id", "msg-id", required=True),
        _code("failure_type", _FAILURE_TYPE_WORDS, "iFailureType", "@failureType"),
        _code("failure_reason", _REASON_WORDS, "iFailureReason", "@failureReason"),
        _text("first_text", "sFirstText", "@firstText", "sText", "@text"),
    ),
)  # fmt: skip
_EXCLUSION = TableMap(
    "exclusion", EXPORT, "exclusion", stems=("exclusion", "exclusions", "excludelogrcp", "nmsexcludelogrcp"),
    fields=(
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id", required=True),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id"),
        _text("rule", "sRule", "@rule", "msg/@failureReason", "iFailureReason"),
    ),
)  # fmt: skip
_RECIPIENT = TableMap(
    "recipient", EXPORT, "recipient", stems=("recipient", "recipients", "nmsrecipient"),
    fields=(
        _id("recipient_id", "iRecipientId", "@id", "@recipient-id", required=True),
        _text("email", "sEmail", "@email", "recipient/@email"),
        _code("email_format", _FORMAT_WORDS, "iEmailFormat", "@emailFormat"),
        _flag("is_denylisted", "iBlackList", "@blackList"),
        _text("country", "sCountryCode", "@countryCode", "location/@countryCode"),
    ),
    derive={"country": pl.when(pl.col("country") != "XX").then(pl.col("country"))},
)  # fmt: skip
_TYPE_CODE = values.code(pl.col("raw_event_type"), _LINK_WORDS)
_REPORTED = (
    pl.when(pl.col("link_id") == "1").then(pl.lit("opened"))
    .when(pl.col("raw_event_type").is_not_null())
    .then(values.named(pl.col("link.type_code"), schema.LINK_TYPES).fill_null("unknown"))
)  # fmt: skip
_AGENT_PARTS = [f"user_agent.{part}" for part in ("browser", "browser_version", "operating_system", "device")]
_EVENT = TableMap(
    "tracking_log", EXPORT, "event",
    stems=("tracking_log", "trackinglog", "trackinglogrcp", "nmstrackinglogrcp", "tracking_archive", "archive"),
    fields=(
        _id("event_id", "iTrackingLogId", "@id", "trackingLog-id", required=True),
        _at("occurred_at", "tsLog", "@logDate"), _id("link_id", "iUrlId", "@url-id", "url/@id", "iTrackingUrlId"),
        _id("message_id", "iBroadLogId", "@broadLog-id", "broadLog/@id"),
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id"),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id"),
        _text("person_id", "sSourceId", "@source-id", "@sourceId", "Requester UUID"),
        _text("raw_event_type", "url/@type", "url-type", "iType", "@type"),
        _text("user_agent", "sUserAgent", "userAgent/@text"),
        _id("user_agent_hash", "iUserAgent", "@userAgent", "@user-agent", "userAgent/@hashKey", "iHashKey"),
        # In no column of their own: derived below.
        _code("type_code", {}, table="link"), _id("delivery_id", table="link"),
        _text("label", "url/@label", table="link"), _text("category", "url/@category", table="link"),
        _text("url", "url/@source", table="link"), _text("tag_id", "url/@tagId", "url/@tag-id", table="link"),
        _text("internal_name", "delivery/@internalName", table="delivery"),
        _text("label", "delivery/@label", table="delivery"),
        _text("email", "recipient/@email", "sEmail", "@email", table="recipient"),
        _text("country", "recipient/@countryCode", "recipient/location/@countryCode", table="recipient"),
        _text("browser", "userAgent/@browserName", "sBrowserName", table="user_agent"),
        _text("browser_version", "userAgent/@browserVersion", "sBrowserVersion", table="user_agent"),
        _text("operating_system", "userAgent/@OSName", "sOSName", table="user_agent"),
        _text("device", "userAgent/@device", "sDevice", table="user_agent"),
    ),
    derive={
        "person_id": _PERSON,
        # Parsed parts without a text or a hash make a key of their own.
        "user_agent": pl.coalesce(
            "user_agent", "user_agent_hash",
            pl.when(pl.any_horizontal(pl.col(_AGENT_PARTS).is_not_null()))
            .then(pl.concat_str(_AGENT_PARTS, separator=" | ", ignore_nulls=True)),
        ),
        "link.type_code": _TYPE_CODE, "reported_type": _REPORTED,
        # The open and the web tags are shared by all deliveries.
        "link.delivery_id": pl.when(
            (pl.col("link_id") != "1") & ~pl.col("link.type_code").fill_null(1).is_in([2, 4, 5])
        ).then(pl.col("delivery_id")),
    },
    unknown_type=pl.when(pl.col("reported_type") == "unknown").then(pl.col("raw_event_type")),
)  # fmt: skip
_USER_AGENT = TableMap(
    "user_agent", EXPORT, "user_agent", stems=("user_agent", "useragent", "nmsuseragent"),
    fields=(
        _id("user_agent", "iHashKey", "@hashKey", required=True), _text("browser", "sBrowserName", "@browserName"),
        _text("browser_version", "sBrowserVersion", "@browserVersion"),
        _text("operating_system", "sOSName", "@OSName", "sOSFamilly", "@OSFamilly"),
        _text("device", "sDevice", "@device"),
    ),
)  # fmt: skip
_WEB_EVENT = TableMap(
    "web_tracking_log", EXPORT, "web_event", stems=("web_tracking_log", "webtrackinglog", "nmswebtrackinglog"),
    fields=(
        _id("event_id", "iTrackingLogId", "@trackingLog-id", "trackingLog/@id", "@id", required=True),
        Field("amount", "amount", ("dAmount", "@amount")), _count("articles", "iArticle", "@article"),
        _text("tag_id", "sTagId", "@tagId", "@tag-id"),
    ),
)  # fmt: skip
_SUBSCRIPTION = TableMap(
    "subscription_history", EXPORT, "subscription", stems=("subscription_history", "subhisto", "nmssubhisto"),
    fields=(
        _id("service_id", "iServiceId", "@service-id", "service/@id", required=True),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id", required=True),
        _code("action", _ACTION_WORDS, "iAction", "@action", required=True), _at("occurred_at", "tsDate", "@date"),
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id"),
    ),
)  # fmt: skip
_SERVICE = TableMap(
    "service", EXPORT, "service", stems=("service", "services", "nmsservice"),
    fields=(_id("service_id", "iServiceId", "@id", "@service-id", required=True), _text("label", "sLabel", "@label")),
)  # fmt: skip
_PAGE_HIT = TableMap(
    "web_page_hit", EXPORT, "page_hit", stems=("web_page_hit", "webpagehit", "page_hit"),
    fields=(
        _at("occurred_at", "tsLog", "@logDate"),
        Field("web_application", "text", ("sWebAppName", "@webAppName", "webApp/@name"), required=True),
        _text("page", "sPageName", "@pageName"), _code("step", {}, "iStep", "@step"),
        _text("person_id", "sSourceId", "@source-id", "@sourceId"),
        _id("recipient_id", "iRecipientId", "@recipient-id"), _id("delivery_id", "iDeliveryId", "@delivery-id"),
        _code("web_optout", {}, "iOptOut", "acoptout", "@optOut"),
    ),
    derive={"person_id": _PERSON},
)  # fmt: skip
MAPS = (
    _DELIVERY, _LINK, _MESSAGE, _FAILURE, _EXCLUSION, _RECIPIENT, _EVENT, _USER_AGENT, _WEB_EVENT, _SUBSCRIPTION,
    _SERVICE, _PAGE_HIT,
)  # fmt: skip

_SUFFIXES = {".html": "html", ".htm": "html", ".txt": "text"}


def is_content(found: Found) -> bool:
    """Return whether a file is the content of a message: `content/<delivery id>.html` or `.txt`."""
    return found.path.parent.name == "content" and found.path.suffix.lower() in _SUFFIXES


def stage_content(found: Found, hiding: Hiding) -> Staged:
    """Read the content of one message: one row, or one refusal when the file's name is no delivery id."""
    report = SourceReport(found.relative, CONTENT, "content", read=1)
    name, refusal = found.path.stem, []
    if not (name.lstrip("0").isdigit() and name.isascii()):
        refusal = [(1, f"the file name {name[:100]!r} is not a delivery id", "")]
        report.quarantined = 1
    row = {"delivery_id": name.lstrip("0"), "message_format": _SUFFIXES[found.path.suffix.lower()],
           "body": _body(found.path, report), "source_file": found.relative, "source_row": 1}  # fmt: skip
    types = {column: pl.Int64 if column == "source_row" else pl.String for column in handed_on("content")}
    content = pl.LazyFrame([] if refusal else [row], schema=types)
    return Staged(report, {"content": hiding.rows(content, kinds_of("content"))}, quarantine_frame(refusal, report))


def _body(path: Path, report: SourceReport) -> str:
    written = path.read_bytes()
    try:
        return written.decode("utf-8-sig")
    except UnicodeDecodeError:
        report.assumptions.append("the text is not UTF-8 and was read as Latin-1")
        return written.decode("latin-1")
