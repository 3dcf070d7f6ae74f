"""Adobe Campaign Classic: the tables of an instance folder, and message content, mapped declaratively.

Headers are given as SQL names (whose plain form follows from them), XPath names and titles of columns (English,
Portuguese, French); how they are written does not matter beyond their letters and digits. References are section 1 of
the platform's data model; words that stand for codes are in `codes`.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from trackkit import schema
from trackkit.sources import codes, files, money, values
from trackkit.sources.files import Found
from trackkit.sources.hiding import Hiding, kinds_of
from trackkit.sources.maps import Field, TableMap, unknown
from trackkit.sources.report import SourceReport
from trackkit.sources.staging import Staged, handed_on, quarantine_frame

EXPORT, CONTENT = "adobe_export", "adobe_content"

# The titles of columns, as the export assistant and the lists of the console write them.
_KEY = ("Primary key", "Chave primária", "Clé primaire")
_LABEL = ("Label", "Rótulo", "Etiqueta", "Libellé")
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


def _linked(*names: str) -> tuple[str, ...]:
    """Return the titles that the key of a linked table may have: its name, alone or with the word for its key."""
    return (*names, *(f"{name} ({key})" for name in names for key in (*_KEY, "id", "foreign key")))


_DELIVERY_NAME = ("Delivery", "Entrega", "Diffusion")
_DELIVERY_KEY = _linked(*_DELIVERY_NAME)
_RECIPIENT_KEY = _linked("Recipient", "Destinatário", "Destinataire")
_SERVICE_KEY = _linked("Service", "Information service", "Serviço", "Serviço de informação", "Service d'information")
_FAILURE_TYPE = ("Failure type", "Error type", "Tipo de falha", "Tipo de erro", "Type d'échec", "Type d'erreur")
_FAILURE_REASON = ("Failure reason", "Reason", "Motivo da falha", "Motivo", "Razão", "Raison", "Raison de l'échec")
_TRACKER = ("sTrackerName", "@trackerName", "url/@trackerName")  # a tag without an id goes by its internal name
_FIRST_TEXT = ("First text", "Primeiro texto", "Premier texte")
# Whether the delivery of a log's row is still there, where the export of the log says so.
_STANDING = (
    _code("state", codes.STATE, "delivery/@state", table="delivery"),
    _code("delete_status", codes.DELETE_STATUS, "delivery/@deleteStatus", table="delivery"),
)

_DELIVERY = TableMap(
    "delivery", EXPORT, "delivery", stems=("delivery", "deliveries", "nmsdelivery"),
    fields=(
        _id("delivery_id", "iDeliveryId", "@id", "delivery_id", *_KEY, required=True),
        _text("internal_name", "sInternalName", "@internalName", "Nome interno", "Nom interne"),
        _text("label", "sLabel", "@label", "[delivery/@label]", *_LABEL),
        _text("subject", "sSubject", "@subject", "mailParameters/subject", "Assunto", "Objet"),
        _code("message_type", codes.CHANNEL, "iMessageType", "@messageType", "Channel", "Delivery channel", "Canal",
              "Tipo de mensagem", "Type de message"),
        _code("state", codes.STATE, "iState", "@state", "Status", "Estado", "Statut", "Etat"),
        _code("delivery_mode", codes.DELIVERY_MODE, "iDeliveryMode", "@deliveryMode", "Modo de entrega",
              "Mode de diffusion"),
        _flag("is_model", "iIsModel", "@isModel", "Template", "Modelo", "Modèle"),
        _flag("is_proof", "iFCP", "@FCP", "Proof", "Prova", "Bon à tirer"),
        _id("typology_id", "iTypologyId", "@typology-id"),
        _at("contact_at", "tsContact", "@contactDate", "scheduling/@contactDate", "Data de contato", "Date de contact"),
        _at("started_at", "tsBroadStart", "@broadStart"), _at("ended_at", "tsBroadEnd", "@broadEnd"),
        _at("validity_at", "tsValidity", "@validityDate", "scheduling/@validityDate"),
        _count("targeted", "iTotalTarget", "@totalTarget", "properties/@totalTarget", "Initial population",
               "Público inicial", "População inicial", "Population initiale"),
        _count("rejected", "iReject", "@reject", "properties/@reject", "Messages rejected by the rule",
               "Mensagens rejeitadas pela regra", "Messages rejetés par règle"),
        _count("to_deliver", "iToDeliver", "@toDeliver", "properties/@toDeliver", "Messages to deliver",
               "Messages to be delivered", "Mensagens a entregar", "Mensagens a serem entregues",
               "Messages à diffuser"),
        _count("text_messages", "iText", "@text", "properties/@text", "indicators/@text"),
        _count("new_quarantines", "iNewQuarantine", "@newQuarantine", "indicators/@newQuarantine", "New quarantines",
               "Novos em quarentena", "Mises en quarantaine"),
        _count("message_size", "iMessageSize", "@messageSize", "properties/@messageSize"),
        _code("delete_status", codes.DELETE_STATUS, "iDeleteStatus", "@deleteStatus", "Delete status",
              "Deletion status", "Status de exclusão", "Statut de suppression", "Deleted", "Excluído", "Excluída",
              "Supprimé", "Supprimée"),
    ),
)  # fmt: skip
_LINK = TableMap(
    "tracking_url", EXPORT, "link", stems=("tracking_url", "trackingurl", "nmstrackingurl"),
    fields=(
        _id("link_id", "iTrackingUrlId", "@id", "trackingUrl-id", "url-id", *_KEY, required=True),
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id", *_DELIVERY_KEY),
        _code("type_code", codes.LINK_TYPE, "iType", "@type", "url/@type", "Tipo"),
        _text("label", "sLabel", "@label", "url/@label", *_LABEL),
        _text("category", "sCategory", "@category", "url/@category", "Categoria", "Catégorie"),
        _text("url", "sSource", "@source", "url/@source", "Source URL", "URL de origem", "URL source"),
        _text("tag_id", "sTagId", "@tagId", "@tag-id", "url/@tagId"),
        _text("tag_id", *_TRACKER), _count("occurrence", "iOccurrence", "@occurrence", "Ocorrência"),
    ),
    unknown_type=pl.col(unknown("type_code")),
)  # fmt: skip
# A failure qualified on the message itself, without the table of failure messages: its own kind of failure message.
_INLINED_FAILURE = pl.format(
    "inlined {}/{}", pl.col("failure.failure_type").fill_null(0), pl.col("failure.failure_reason").fill_null(0)
)
_MESSAGE = TableMap(
    "broadlog", EXPORT, "message", stems=("broadlog", "broadlogrcp", "nmsbroadlogrcp", "nmsbroadlog", "delivery_log"),
    family="broadlog",
    fields=(
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id", *_DELIVERY_KEY, required=True),
        _id("message_id", "iBroadLogId", "@id", "@broadLog-id", "message_id", *_KEY, required=True),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id", *_RECIPIENT_KEY),
        _text("address", "sAddress", "@address", "Endereço", "Adresse"),
        _code("status_code", codes.STATUS, "iStatus", "@status", "Delivery status", "Estado", "Statut"),
        _at("status_at", "tsEvent", "@eventDate", "Event date", "Date", "Data do evento", "Data",
            "Date de l'événement"),
        _flag("is_seed", "iIsSeed", "@isSeed", "seed", "Seed address", "Endereço de teste", "Adresse de contrôle"),
        _id("failure_id", "iMsgId", "@msg-id", "msg/@id"),
        _code("failure_type", codes.FAILURE_TYPE, "iFailureType", "@failureType", "msg/@failureType", *_FAILURE_TYPE,
              table="failure"),
        _code("failure_reason", codes.FAILURE_REASON, "iFailureReason", "@failureReason", "msg/@failureReason",
              *_FAILURE_REASON, table="failure"),
        _text("first_text", "sMessage", "sFirstText", "msg/@firstText", "@message", "msg/@text", *_FIRST_TEXT,
              table="failure"), *_STANDING,
    ),
    derive={
        "failure_id": pl.when(
            pl.col("failure_id").is_null()
            & ((pl.col("failure.failure_type") > 0) | (pl.col("failure.failure_reason") > 0))
        ).then(_INLINED_FAILURE).otherwise(pl.col("failure_id")),
    },
)  # fmt: skip
_FAILURE = TableMap(
    "broadlog_msg", EXPORT, "failure", stems=("broadlog_msg", "broadlogmsg", "nmsbroadlogmsg"), family="broadlogmsg",
    fields=(
        _id("failure_id", "iBroadLogMsgId", "@id", "broadLogMsg-id", "msg-id", *_KEY, required=True),
        _code("failure_type", codes.FAILURE_TYPE, "iFailureType", "@failureType", *_FAILURE_TYPE),
        _code("failure_reason", codes.FAILURE_REASON, "iFailureReason", "@failureReason", *_FAILURE_REASON),
        _text("first_text", "sFirstText", "@firstText", *_FIRST_TEXT, "sText", "@text"),
    ),
)  # fmt: skip
_EXCLUSION = TableMap(
    "exclusion", EXPORT, "exclusion", stems=("exclusion", "exclusions", "excludelogrcp", "nmsexcludelogrcp"),
    family="excludelog",
    fields=(
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id", *_DELIVERY_KEY, required=True),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id", *_RECIPIENT_KEY),
        _text("rule", "sRule", "@rule", "msg/@failureReason", "iFailureReason", *_FAILURE_REASON, "Regra", "Règle"),
    ),
    # A reason in any spelling is one rule; its code, and an analyst's own rule, stay as they are.
    derive={
        "rule": pl.when(~pl.col("rule").str.contains(r"^\s*\d+\s*$")).then(
            values.named(values.code(pl.col("rule"), codes.FAILURE_REASON), schema.FAILURE_REASONS)
        ).fill_null(pl.col("rule")),
    },
)  # fmt: skip
_RECIPIENT = TableMap(
    "recipient", EXPORT, "recipient", stems=("recipient", "recipients", "nmsrecipient"),
    fields=(
        _id("recipient_id", "iRecipientId", "@id", "@recipient-id", *_KEY, required=True),
        _text("email", "sEmail", "@email", "recipient/@email", "Email address", "Endereço de email", "Adresse email"),
        _code("email_format", codes.EMAIL_FORMAT, "iEmailFormat", "@emailFormat", "Formato de email",
              "Formato do email", "Format d'email", "Format des emails"),
        _flag("is_denylisted", "iBlackList", "@blackList", "No longer contact", "Do not contact",
              "No longer contact this recipient", "Não entrar mais em contato", "Ne plus contacter"),
        _text("country", "sCountryCode", "@countryCode", "location/@countryCode", "Código do país", "Code pays"),
    ),
    derive={"country": pl.when(pl.col("country") != "XX").then(pl.col("country"))},
)  # fmt: skip
_TYPE_CODE = values.code(pl.col("raw_event_type"), codes.LINK_TYPE)
_REPORTED = (
    pl.when(pl.col("link_id") == "1").then(pl.lit("opened"))
    .when(pl.col("raw_event_type").is_not_null())
    .then(values.named(pl.col("link.type_code"), schema.LINK_TYPES).fill_null("unknown"))
)  # fmt: skip
_AGENT_PARTS = [f"user_agent.{part}" for part in ("browser", "browser_version", "operating_system", "device")]
_EVENT_DATE = ("tsLog", "@logDate", "Log date", "Date", "Data do log", "Data", "Date du log")
_PERSON_KEY = ("Requester UUID", "UUID do solicitante", "UUID du demandeur", "UUID de l'internaute")
_EVENT = TableMap(
    "tracking_log", EXPORT, "event",
    stems=("tracking_log", "trackinglog", "trackinglogrcp", "nmstrackinglogrcp", "tracking_archive", "archive"),
    family="trackinglog",
    fields=(
        _id("event_id", "iTrackingLogId", "@id", "trackingLog-id", *_KEY, required=True),
        _at("occurred_at", *_EVENT_DATE),
        _id("link_id", "iUrlId", "@url-id", "url/@id", "iTrackingUrlId",
            *(name for name in _linked("URL", "Tracked URL", "URL rastreado", "URL trackée") if name != "URL")),
        _id("message_id", "iBroadLogId", "@broadLog-id", "broadLog/@id",
            *_linked("Delivery log", "Log de entrega", "Log da entrega", "Log do delivery", "Log de diffusion")),
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id", *_DELIVERY_KEY),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id", *_RECIPIENT_KEY),
        _text("person_id", "sSourceId", "@source-id", "@sourceId", *_PERSON_KEY),
        _text("raw_event_type", "url/@type", "url-type", "iType", "@type", "Tipo"),
        _text("user_agent", "sUserAgent", "userAgent/@text"),
        _id("user_agent_hash", "iUserAgent", "@userAgent", "@user-agent", "userAgent/@hashKey", "iHashKey"),
        # In no column of their own: derived below.
        _code("type_code", {}, table="link"), _id("delivery_id", table="link"),
        _text("label", "url/@label", *_LABEL, table="link"), _text("category", "url/@category", table="link"),
        _text("url", "url/@source", table="link"), _text("tag_id", "url/@tagId", "url/@tag-id", table="link"),
        _text("tag_id", *_TRACKER, table="link"),
        _text("internal_name", "delivery/@internalName", table="delivery"),
        _text("label", "delivery/@label", table="delivery"), *_STANDING,
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
# A list of the Tracking tab, saved as it is shown: no keys, and deliveries and recipients by their names.
_NAMED = pl.concat_str("delivery_id", "recipient_id", separator=":")
_TRACKING_LIST = TableMap(
    "tracking_list", EXPORT, "event", stems=("tracking_list", *_EVENT.stems), by_name=True,
    fields=(
        Field("occurred_at", "instant", _EVENT_DATE, required=True),
        Field("raw_event_type", "text", ("Type", "Tipo", "url/@type"), required=True),
        _text("delivery_id", *_DELIVERY_NAME), _text("label", *_DELIVERY_NAME, table="delivery"),
        _text("recipient_id", "Recipient", "Destinatário", "Destinataire"),
        _text("person_id", *_PERSON_KEY), _code("type_code", {}, table="link"),
        _text("label", *_LABEL, "url/@label", table="link"),
    ),
    derive={
        "person_id": _PERSON, "message_id": _NAMED, "link.type_code": _TYPE_CODE,
        "link_id": pl.when(pl.col("link.type_code") == 2).then(pl.lit("1")).otherwise(
            pl.concat_str(pl.col("delivery_id").fill_null(""), values.digest("link.label"), separator=":")),
        "link.delivery_id": pl.when(pl.col("link_id") != "1").then(pl.col("delivery_id")),
        "reported_type": _REPORTED,
        "event_id": pl.lit("sha256:") + values.digest("occurred_at", "raw_event_type", "link.label", "delivery_id",
                                                      "recipient_id", "person_id"),
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
    family="webtrackinglog",
    fields=(
        _id("event_id", "iTrackingLogId", "@trackingLog-id", "trackingLog/@id", "@id", *_KEY, required=True),
        Field("amount", "amount", ("dAmount", "@amount")), _count("articles", "iArticle", "@article"),
        _text("tag_id", "sTagId", "@tagId", "@tag-id"),
        # The platform keeps no currency: a column that was added, or what stands beside the number.
        _text("currency", "sCurrency", "@currency", "sCurrencyCode", "@currencyCode", "Moeda", "Devise"),
        _text("amount_text", "dAmount", "@amount"),
    ),
    derive={"currency": pl.coalesce(money.currency(pl.col("currency")), money.currency_beside(pl.col("amount_text")))},
)  # fmt: skip
_SUBSCRIPTION = TableMap(
    "subscription_history", EXPORT, "subscription", stems=("subscription_history", "subhisto", "nmssubhisto"),
    fields=(
        _id("service_id", "iServiceId", "@service-id", "service/@id", *_SERVICE_KEY, required=True),
        _id("recipient_id", "iRecipientId", "@recipient-id", "recipient/@id", *_RECIPIENT_KEY, required=True),
        _code("action", codes.SUBSCRIPTION, "iAction", "@action", "Ação", required=True),
        _at("occurred_at", "tsDate", "@date", "Data"),
        _id("delivery_id", "iDeliveryId", "@delivery-id", "delivery/@id", *_DELIVERY_KEY),
    ),
)  # fmt: skip
_SERVICE = TableMap(
    "service", EXPORT, "service", stems=("service", "services", "nmsservice"),
    fields=(
        _id("service_id", "iServiceId", "@id", "@service-id", *_KEY, required=True),
        _text("label", "sLabel", "@label", *_LABEL),
    ),
)  # fmt: skip
_PAGE_HIT = TableMap(
    "web_page_hit", EXPORT, "page_hit", stems=("web_page_hit", "webpagehit", "page_hit"),
    fields=(
        _at("occurred_at", "tsLog", "@logDate"),
        Field("web_application", "text", ("sWebAppName", "@webAppName", "webApp/@name"), required=True),
        _text("page", "sPageName", "@pageName"), _code("step", {}, "iStep", "@step"),
        _text("person_id", "sSourceId", "@source-id", "@sourceId"),
        _id("recipient_id", "iRecipientId", "@recipient-id"), _id("delivery_id", "iDeliveryId", "@delivery-id"),
        _code("web_optout", codes.WEB_OPTOUT, "iOptOut", "acoptout", "@optOut"),
        _text("goal", "sGoal", "@goal", "url/@goal", "Target action", "Ação de destino", "Action cible"),
        _text("tag_id", "sTagId", "@tagId", "@tag-id", "url/@tagId"), _text("tag_id", *_TRACKER),
    ),
    derive={"person_id": _PERSON},
)  # fmt: skip
MAPS = (
    _DELIVERY, _LINK, _MESSAGE, _FAILURE, _EXCLUSION, _RECIPIENT, _EVENT, _TRACKING_LIST, _USER_AGENT, _WEB_EVENT,
    _SUBSCRIPTION, _SERVICE, _PAGE_HIT,
)  # fmt: skip
MAPS = tuple(replace(one, key_titles=_KEY) for one in MAPS)

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
    body, encoding = files.text(path)
    if encoding:
        report.assumptions.append(f"the text is not UTF-8 and was read as {encoding}")
    return body
