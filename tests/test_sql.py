"""Every metric and every breakdown against SQL in DuckDB, written from the spec over the raw files themselves.

The SQL shares nothing with trackkit: it reads the CSV files and raw log lines of a random instance, joins and counts.
"""

import duckdb
import polars as pl
import pytest

from tests.instance import write_instance
from trackkit.analysis.domains import by_class
from trackkit.engine.measure import measure
from trackkit.metrics import BREAKDOWNS, METRICS, Distinct, breakdowns_of
from trackkit.store import open_store

VIEWS = """
CREATE VIEW url AS SELECT * FROM read_csv('{0}/tracking_url.csv', all_varchar=true);
CREATE VIEW raw AS SELECT
    ('0x' || substr(column00, 4))::BIGINT AS id, column01::TIMESTAMP AS moment, ('0x' || column02)::BIGINT AS message,
    ('0x' || column03)::BIGINT AS delivery, ('0x' || column04)::BIGINT AS url, column06 AS person, column07 AS fmt,
    column09 AS agent
    FROM read_csv('{0}/redir/log/*.log', delim='\t', header=false, all_varchar=true, quote='', escape='');
CREATE VIEW tab AS SELECT iTrackingLogId::BIGINT AS id, tsLog::TIMESTAMP AS moment, iBroadLogId::BIGINT AS message,
    iDeliveryId::BIGINT AS delivery, iUrlId::BIGINT AS url, sSourceId AS person, NULL AS fmt, iUserAgent AS agent
    FROM read_csv('{0}/tracking_log.csv', all_varchar=true);
CREATE TABLE log AS SELECT id, any_value(moment) AS moment, any_value(message) AS message,
    any_value(delivery) AS delivery,
    any_value(url) AS url, any_value(person) AS person, max(fmt) AS fmt, any_value(agent) AS agent
    FROM (SELECT * FROM raw UNION ALL SELECT * FROM tab) GROUP BY id;
CREATE VIEW kind AS SELECT iDeliveryId AS delivery_id, nullif(iOperationId, '0') AS campaign,
    c.sLabel AS campaign_label, nullif(c.iProgramId, '') AS programme, p.sLabel AS programme_label,
    d.iFolderId AS folder, f.sLabel AS folder_label, iTypologyId AS typology,
    CASE iMessageType WHEN '0' THEN 'e-mail' WHEN '1' THEN 'SMS' ELSE nullif(iMessageType, '') END AS channel,
    nullif(sSubject, '') AS subject, coalesce(nullif(sFromAddress, ''), nullif(sFromName, '')) AS sender,
    coalesce(nullif(tsBroadStart, ''), nullif(tsContact, ''))::DATE AS launch_day,
    date_trunc('week', coalesce(nullif(tsBroadStart, ''), nullif(tsContact, ''))::TIMESTAMP)::DATE AS launch_week
    FROM read_csv('{0}/delivery.csv', all_varchar=true) d
    LEFT JOIN read_csv('{0}/campaign.csv', all_varchar=true) c USING (iOperationId)
    LEFT JOIN read_csv('{0}/programme.csv', all_varchar=true) p USING (iProgramId)
    LEFT JOIN read_csv('{0}/folder.csv', all_varchar=true) f ON d.iFolderId = f.iFolderId;
CREATE VIEW delivery AS SELECT k.*, iTotalTarget::BIGINT AS targeted,
    iReject::BIGINT AS rejected, iToDeliver::BIGINT AS to_deliver, iText::BIGINT AS text_messages,
    iNewQuarantine::BIGINT AS new_quarantines
    FROM read_csv('{0}/delivery.csv', all_varchar=true) d
    JOIN kind k ON d.iDeliveryId = k.delivery_id WHERE iFCP <> '1' AND iIsModel <> '1';
CREATE TABLE message AS SELECT b.iBroadLogId AS id, k.*, b.iStatus AS status,
    b.iIsSeed AS seed, nullif(b.iRecipientId, '0') AS recipient,
    nullif(lower(split_part(coalesce(b.sAddress, ''), '@', 2)), '') AS domain,
    CASE WHEN r.sCountryCode NOT IN ('', 'XX') THEN r.sCountryCode END AS country,
    f.iFailureReason::BIGINT AS failure_reason
    FROM read_csv('{0}/broadlog.csv', all_varchar=true) b
    LEFT JOIN read_csv('{0}/recipient.csv', all_varchar=true) r ON b.iRecipientId = r.iRecipientId
    LEFT JOIN read_csv('{0}/broadlog_msg.csv', all_varchar=true) f ON b.iMsgId = f.iBroadLogMsgId
    JOIN kind k ON b.iDeliveryId = k.delivery_id
    WHERE b.iDeliveryId IN (SELECT delivery_id FROM delivery);
CREATE TABLE hit AS SELECT k.*,
    CASE WHEN l.message <> 0 THEN l.delivery || ' ' || l.message END AS msg,
    CASE WHEN l.person NOT IN ('', '-') THEN lower(l.person) END AS person,
    CASE WHEN l.url = 1 THEN 2 ELSE u.iType::INT END AS type, l.url::VARCHAR AS link_id,
    u.sLabel AS link_label, u.sCategory AS link_category,
    date_trunc('hour', l.moment) AS hour, l.moment::DATE AS day,
    l.moment::DATE - (isodow(l.moment)::INT - 1) AS week, make_date(year(l.moment), month(l.moment), 1) AS month,
    isodow(l.moment)::INT AS weekday, hour(l.moment)::INT AS hour_of_day,
    CASE l.fmt WHEN 'h' THEN 'html' WHEN 't' THEN 'text' END AS message_format,
    m.domain, m.country, m.recipient, l.moment, w.dAmount::DOUBLE AS amount, w.sCurrency AS currency,
    w.iArticle::BIGINT AS articles,
    CASE WHEN a.sDevice = 'PC' AND a.sOSName LIKE 'Mac%' THEN 'Mac' ELSE a.sDevice END AS device,
    split_part(a.sOSName, ' ', 1) || CASE WHEN a.sOSName LIKE 'Mac%' THEN ' OS' ELSE '' END AS operating_system,
    nullif(split_part(replace(replace(a.sOSName, 'Mac OS X', 'Mac_'), 'Mac OS', 'Mac_'), ' ', 2), '')
        AS operating_system_version,
    a.sBrowserName AS browser, a.sBrowserVersion AS browser_version,
    'human' AS activity, NULL::VARCHAR AS activity_rule -- no proxy among the agents, and hits are hours apart
    FROM log l
    JOIN kind k ON l.delivery::VARCHAR = k.delivery_id
    LEFT JOIN url u ON l.url = u.iTrackingUrlId::BIGINT
    LEFT JOIN message m ON l.message = m.id::BIGINT AND l.delivery::VARCHAR = m.delivery_id
    LEFT JOIN read_csv('{0}/web_tracking_log.csv', all_varchar=true) w ON l.id = w.iTrackingLogId::BIGINT
    LEFT JOIN read_csv('{0}/user_agent.csv', all_varchar=true) a ON l.agent = a.iHashKey
    WHERE coalesce(m.seed, '0') = '0' AND l.delivery::VARCHAR IN (SELECT delivery_id FROM delivery);
CREATE TABLE choice AS SELECT CASE WHEN sSourceId NOT IN ('', '-') THEN lower(sSourceId)
    ELSE 'recipient ' || nullif(iRecipientId, '0') END AS visitor,
    coalesce(nullif(tsLog, '')::TIMESTAMP, '0001-01-01') AS since, iOptOut::INT AS chosen
    FROM read_csv('{0}/web_page_hit.csv', all_varchar=true) WHERE iOptOut IN ('0', '1');
CREATE TABLE event AS SELECT *, type IN (4, 5) AND (
    (SELECT max(chosen) FROM choice c WHERE c.visitor = h.visitor AND since =
        (SELECT max(since) FROM choice d WHERE d.visitor = h.visitor)) = 1
    OR (SELECT max(chosen) FROM choice c WHERE c.visitor = h.visitor AND since =
        (SELECT max(since) FROM choice d WHERE d.visitor = h.visitor AND d.since <= h.moment)) = 1
    ) IS TRUE AS refused FROM (SELECT *, coalesce(person, 'recipient ' || recipient) AS visitor FROM hit) h;
"""
UNIQUES = {name for name, metric in METRICS.items() if isinstance(metric.formula, Distinct)}
UNKNOWN = -1  # rows, of which none says whose it is


def distinct(column: str, condition: str) -> str:
    """Return the SQL of a distinct count; `UNKNOWN` where no row that counts has a value."""
    is_unknown = f"count(*) FILTER ({condition}) > 0 AND count({column}) FILTER ({condition}) = 0"
    return f"CASE WHEN {is_unknown} THEN {UNKNOWN} ELSE count(DISTINCT {column}) FILTER ({condition}) END"


BOUGHT = "type = 5 AND NOT refused"


def worth(value: str, known: str = "") -> str:
    """Return the SQL of a sum over purchases: 0 without any, unknown where none has a value."""
    is_unknown = f"count({known or value}) FILTER ({BOUGHT}) = 0"
    return f"CASE WHEN count(*) FILTER ({BOUGHT}) = 0 THEN 0 WHEN {is_unknown} THEN NULL " \
           f"ELSE sum({value}) FILTER ({BOUGHT}) END"  # fmt: skip


def in_one_currency(sql: str, counted: str = "amount IS NOT NULL") -> str:
    """Return the SQL of a sum of money, which there is none of over several currencies, but where nothing counts."""
    is_none = f"count(*) FILTER ({BOUGHT} AND {counted}) = 0"
    is_one = f"count(DISTINCT currency) FILTER ({BOUGHT} AND amount IS NOT NULL) < 2"
    return f"CASE WHEN {is_none} OR {is_one} THEN {sql} END"


COUNTED = {
    "delivery": {name: f"sum({name})::BIGINT" for name in
                 ("targeted", "rejected", "to_deliver", "text_messages", "new_quarantines")},
    "message": {
        "processed": "count(*) FILTER (status IN ('1','3','4','2','8'))",
        "delivered": "count(*) FILTER (status IN ('1','3','4') AND seed = '0')",
        "failed": "count(*) FILTER (status = '2')",
        "hard_bounces": "count(*) FILTER (status = '2' AND failure_reason = 1)",
        "soft_bounces": "count(*) FILTER (status = '2' AND failure_reason IN (2, 3, 4, 5, 6, 20))",
        "complaints": "count(*) FILTER (status = '2' AND failure_reason = 8)",
        "delivered_with_seeds": "count(*) FILTER (status IN ('1','3','4'))",
        "pending": "count(*) FILTER (status IN ('5', '6'))",
        "cancelled": "count(*) FILTER (status = '7')",
        "sent_messages": "count(*) FILTER (status IN ('1','2','3','4') AND seed = '0')",
        "bounces": "count(*) FILTER (status = '2' AND seed = '0' "
                   "AND coalesce(failure_reason, 0) IN (0, 1, 2, 3, 4, 5, 6, 20))",
    },
    "event": {
        "unique_opens": distinct("msg", "true"),
        "total_opens": "count(*) FILTER (type = 2)",
        "unique_clicks": distinct("msg", "type = 1"),
        "unique_people_clicks": distinct("person", "type = 1"),
        "total_clicks": "count(*) FILTER (type = 1)",
        "unsubscribe_clicks": "count(*) FILTER (type = 3)",
        "mirror_page_clicks": "count(*) FILTER (type = 6)",
        "web_visits": "count(*) FILTER (type IN (4, 5) AND NOT refused)",
        "refused_visits": "count(*) FILTER (refused)",
        "transactions": "count(*) FILTER (type = 5 AND NOT refused)",
        "transaction_amount": in_one_currency(worth("amount", "amount")),
        "transaction_articles": worth("articles", "articles") + "::BIGINT",
        "unsubscribed_recipients": distinct("msg", "type = 3"),
        "displayed_unique_opens": distinct("msg", "type = 2"),
        "confirmed_unique_opens": distinct("msg", "type IN (1, 2)"),
        "unprefetched_unique_opens": distinct("msg", "type IN (1, 2)"),  # the raw tables flag no machine
        "sales": f"count(*) FILTER ({BOUGHT} AND amount >= 0)",
        "refunds": f"count(*) FILTER ({BOUGHT} AND amount < 0)",
        "sales_of_articles": f"count(*) FILTER ({BOUGHT} AND articles >= 0 AND (amount < 0) IS NOT TRUE)",
        "sales_amount": in_one_currency(
            worth("CASE WHEN amount >= 0 THEN amount ELSE 0 END", "amount"), "amount >= 0"
        ),
        "refunded_amount": in_one_currency(
            worth("CASE WHEN amount < 0 THEN -amount ELSE 0 END", "amount"), "amount < 0"
        ),
        "articles_sold": worth(
            "CASE WHEN articles >= 0 AND (amount < 0) IS NOT TRUE THEN articles ELSE 0 END", "articles"
        ) + "::BIGINT",
    },
}  # fmt: skip
ZERO = {name for source in ("message", "event") for name in COUNTED[source]}
WORTH = ("transaction_amount", "transaction_articles", "sales_amount", "refunded_amount", "articles_sold")
RATES = {
    "delivery_rate": ("delivered", "to_deliver"), "open_rate": ("unique_opens", "delivered"),
    "click_rate": ("unique_people_clicks", "delivered"), "recipient_click_rate": ("unique_clicks", "delivered"),
    "total_click_rate": ("total_clicks", "delivered"), "click_to_open_rate": ("unique_clicks", "unique_opens"),
    "estimated_click_to_open_rate": ("unique_clicks", "estimated_unique_opens"),
    "unsubscribe_rate": ("unsubscribe_clicks", "delivered"), "complaint_rate": ("complaints", "delivered"),
    "hard_bounce_rate": ("hard_bounces", "processed"), "soft_bounce_rate": ("soft_bounces", "processed"),
    "average_transaction_amount": ("sales_amount", "sales"),
    "average_articles_per_transaction": ("articles_sold", "sales_of_articles"),
    "recipient_unsubscribe_rate": ("unsubscribed_recipients", "delivered"),
    "amount_per_message": ("transaction_amount", "to_deliver"),
    "rejection_rate": ("rejected", "targeted"), "progress_rate": ("processed", "to_deliver"),
    "acceptance_rate": ("delivered_with_seeds", "processed"), "failure_rate": ("failed", "to_deliver"),
    "processed_failure_rate": ("failed", "processed"),
    "new_quarantine_rate": ("new_quarantines", "to_deliver"),
    "displayed_open_rate": ("displayed_unique_opens", "delivered"), "total_open_rate": ("total_opens", "delivered"),
    "sent_open_rate": ("displayed_unique_opens", "sent_messages"), "bounce_rate": ("bounces", "sent_messages"),
    "unprefetched_open_rate": ("unprefetched_unique_opens", "delivered"),
    "sent_click_rate": ("unique_clicks", "sent_messages"), "sent_delivery_rate": ("delivered", "sent_messages"),
    "displayed_click_to_open_rate": ("unique_clicks", "displayed_unique_opens"),
    "sent_unsubscribe_rate": ("unsubscribed_recipients", "sent_messages"),
}  # fmt: skip
NO_FLAGS = ("prefetched_only", "delivered_without_prefetched", "trackable_open_rate")  # the raw tables flag no machine


@pytest.fixture(scope="module", params=[1, 2], ids=lambda seed: f"seed {seed}")
def both(request, tmp_path_factory):
    """The same random instance as a trackkit store and as DuckDB views on its raw files."""
    folder = write_instance(tmp_path_factory.mktemp("sql") / "raw", seed=request.param, is_shared=request.param > 1)
    store = open_store(str(folder.parent / "store"))
    store.ingest(str(folder), collapse_minutes=0)
    connection = duckdb.connect()
    connection.execute(VIEWS.format(folder))
    return store, connection


def _by_sql(connection, columns: tuple[str, ...], source: str) -> pl.DataFrame:
    aggregates = ", ".join(f"{sql} AS {name}" for name, sql in COUNTED[source].items())
    keys = ", ".join(columns)
    return connection.sql(f"SELECT {keys}, {aggregates} FROM {source} GROUP BY {keys}").pl()


def _expected(connection, columns: tuple[str, ...]) -> pl.DataFrame:
    """All that SQL can count for a breakdown, rates divided from those counts."""
    carriers = [source for source in COUNTED if all(source in BREAKDOWNS[column] for column in columns)]
    joined = _by_sql(connection, columns, carriers[0])
    for source in carriers[1:]:
        other = _by_sql(connection, columns, source)
        joined = joined.join(other, on=columns, how="full", coalesce=True, nulls_equal=True)
    joined = joined.with_columns(pl.col(name).fill_null(0) for name in ZERO & set(joined.columns)
                                 if name not in WORTH)  # fmt: skip
    joined = joined.with_columns(pl.col(name).replace(UNKNOWN, None) for name in UNIQUES & set(joined.columns))
    if "delivery_id" in columns or "event" not in carriers:
        joined = _estimated(joined)
    elif "delivery" in carriers:
        joined = joined.join(_added_over_deliveries(connection, columns), on=columns, how="left", nulls_equal=True)
    else:
        forwards = connection.sql(
            f"SELECT {', '.join(columns)}, sum(CASE WHEN people >= 0 AND clickers >= 0 "
            f"THEN greatest(0, people - clickers) END)::BIGINT AS estimated_forwards "
            f"FROM (SELECT {', '.join(columns)}, delivery_id, "
            f"{distinct('person', 'type = 1')} AS people, {distinct('msg', 'type = 1')} AS clickers "
            f"FROM event GROUP BY ALL) GROUP BY ALL"
        ).pl()
        joined = joined.join(forwards, on=columns, how="left", nulls_equal=True)
    return joined.with_columns(
        # by a column: by one number, polars multiplies with its reciprocal
        pl.when(pl.col(below) > 0).then(pl.col(above).cast(float) / (pl.col(below) + 0.0 * pl.col(above))).alias(name)
        for name, (above, below) in RATES.items()
        if {above, below} <= set(joined.columns)
    )


def _added_over_deliveries(connection, columns: tuple[str, ...]) -> pl.DataFrame:
    """The estimates, which are made for each delivery and then added; unknown where none has one."""
    each = _expected(connection, ("delivery_id",))
    names = [name for name in each.columns if name.startswith("estimated_") and not name.endswith("_rate")]
    named = each.join(connection.sql("SELECT * FROM kind").pl(), on="delivery_id")
    return named.group_by(columns).agg(pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()) for name in names)


def _estimated(joined: pl.DataFrame) -> pl.DataFrame:
    if "unique_clicks" in joined.columns:
        forwards = (pl.col("unique_people_clicks") - pl.col("unique_clicks")).clip(lower_bound=0)
        joined = joined.with_columns(estimated_forwards=forwards)
    if {"to_deliver", "unique_opens"} <= set(joined.columns):
        scaled = "floor({0} * to_deliver / (to_deliver - text0) + 0.5)"
        cases = [
            f"CASE WHEN to_deliver > text0 THEN {scaled.format(name)} WHEN to_deliver = text0 THEN 0 END::BIGINT "
            f"AS estimated_{name}"
            for name in ("unique_opens", "total_opens")
        ]
        known = "(SELECT *, coalesce(text_messages, 0) AS text0 FROM joined)"
        joined = duckdb.sql(f"SELECT *, {', '.join(cases)} FROM {known}").pl()
    return joined


@pytest.mark.parametrize("column", BREAKDOWNS)
def test_every_metric_by_every_breakdown(both, column):
    store, connection = both
    expected = _expected(connection, (column,))
    names = [name for name in METRICS if column in breakdowns_of(name) and name not in NO_FLAGS]
    measured = measure(store, names, by=column)
    assert set(names) <= set(expected.columns), "the SQL lacks a metric"
    assert _rows(measured, column, names) == _rows(expected, column, names)


SEVERAL = [("delivery_id", "domain"), ("day", "link_label", "device"), ("domain", "country")]
SEVERAL += [("campaign", "channel"), ("programme", "day"), ("folder", "domain"), ("delivery_id", "sender", "weekday")]


@pytest.mark.parametrize("columns", SEVERAL)
def test_several_breakdowns_at_once(both, columns):
    store, connection = both
    expected = _expected(connection, columns)
    names = [name for name in METRICS if set(columns) <= set(breakdowns_of(name)) and name not in NO_FLAGS]
    assert _rows(measure(store, names, by=columns), columns, names) == _rows(expected, columns, names)


WHERE = ["", "device = 'PC'", "domain = 'd1.example' OR browser IS NULL", "country = 'none'", "campaign = '12'"]
WHERE += ["programme IS NULL", "channel = 'e-mail' AND domain = 'd1.example'", "folder = '21' OR device = 'PC'"]
WHERE += ["launch_week < '2026-02-25' AND weekday = 1 AND hour_of_day BETWEEN 3 AND 9", "subject = '=1+1'"]


@pytest.mark.parametrize("where", WHERE)
def test_totals_over_deliveries(both, where):
    store, connection = both
    aggregates = ", ".join(f"{sql} AS {name}" for name, sql in COUNTED["event"].items())
    expected = connection.sql(f"SELECT {aggregates} FROM event WHERE {where or 'true'}").pl()
    expected = expected.with_columns(pl.col(name).replace(UNKNOWN, None) for name in UNIQUES & set(expected.columns))
    found = measure(store, list(COUNTED["event"]), by=[], where=where)
    assert found.row(0, named=True) == pytest.approx(expected.row(0, named=True))


@pytest.mark.parametrize("where", ["campaign = '12'", "programme IS NULL AND domain <> 'gmail.com'"])
@pytest.mark.parametrize("by", ["delivery_id", "channel", "link_label"])
def test_groups_under_a_condition_on_deliveries(both, by, where):
    store, connection = both
    aggregates = ", ".join(f"{sql} AS {name}" for name, sql in COUNTED["event"].items())
    expected = connection.sql(f"SELECT {by}, {aggregates} FROM event WHERE {where} GROUP BY 1").pl()
    expected = expected.with_columns(pl.col(name).replace(UNKNOWN, None) for name in UNIQUES & set(expected.columns))
    found = measure(store, list(COUNTED["event"]), by=by, where=where).filter(pl.col("unique_opens") != 0)
    assert _rows(found, by, list(COUNTED["event"])) == _rows(expected, by, list(COUNTED["event"]))


# Spec 3.7, the screen of domains: a class of the analysts' list, else the registered domain; the largest, then Others.
SCREEN = """
CREATE OR REPLACE VIEW classed AS SELECT *, CASE WHEN domain IN ('gmail.com', 'googlemail.com') THEN 'Gmail'
    WHEN domain = 'orange.fr' THEN 'Orange' WHEN domain = 'news.d0.example' THEN 'd0.example' ELSE domain END AS class
    FROM message WHERE delivery_id = '{key}';
CREATE OR REPLACE VIEW placed AS SELECT class, count(*) OVER () AS many,
    row_number() OVER (ORDER BY count(*) DESC, max(hits) DESC, class) AS place FROM classed c LEFT JOIN (
        SELECT m.class AS of, count(*) AS hits FROM log l JOIN classed m ON l.message = m.id::BIGINT
            AND l.delivery::VARCHAR = m.delivery_id GROUP BY ALL
    ) ON of = class WHERE class IS NOT NULL GROUP BY class;
CREATE OR REPLACE VIEW shown AS SELECT class, CASE WHEN many <= {top} + 1 OR place <= {top} THEN class ELSE 'Others' END
    AS name, least(place, {top} + 1) AS place FROM placed;
CREATE OR REPLACE VIEW screen_message AS SELECT c.* EXCLUDE (domain), s.name AS domain
    FROM classed c LEFT JOIN shown s USING (class);
CREATE OR REPLACE VIEW screen_event AS SELECT e.* EXCLUDE (domain), m.domain
    FROM event e LEFT JOIN screen_message m ON e.msg = m.delivery_id || ' ' || m.id WHERE e.delivery_id = '{key}';
"""
OF_DOMAINS = ["processed", "acceptance_rate", "hard_bounce_rate", "soft_bounce_rate", "delivered", "unique_opens",
              "open_rate", "unique_people_clicks", "click_rate", "unsubscribe_clicks", "unsubscribe_rate"]  # fmt: skip


@pytest.mark.parametrize("top", [2, 10])
@pytest.mark.parametrize("key", ["1", "2", "4"])
def test_the_screen_of_domains(both, key, top):
    store, connection = both
    connection.execute(SCREEN.format(key=key, top=top))
    counted = []
    for source in ("message", "event"):
        aggregates = ", ".join(f"{sql} AS {name}" for name, sql in COUNTED[source].items())
        counted.append(connection.sql(f"SELECT domain, {aggregates} FROM screen_{source} GROUP BY domain").pl())
    expected = counted[0].join(counted[1], on="domain", how="full", coalesce=True, nulls_equal=True).fill_null(0)
    expected = expected.with_columns(
        pl.when(pl.col(below) > 0).then(pl.col(above).cast(float) / pl.col(below).cast(float)).alias(name)
        for name, (above, below) in RATES.items()
        if name in OF_DOMAINS
    )
    found = measure(by_class(store, key, top), OF_DOMAINS, by="domain", delivery=key)
    assert _rows(found, "domain", OF_DOMAINS) == _rows(expected, "domain", OF_DOMAINS)
    placed = connection.sql("SELECT name FROM shown GROUP BY name ORDER BY min(place)").fetchall()
    order = [name for (name,) in placed]
    assert [name for name in found["domain"] if name is not None] == order
    assert order[-1] == "Others" if top == 2 else {"Gmail", "Orange", "d0.example"} <= set(order)


def _rows(frame: pl.DataFrame, keys: str | tuple[str, ...], names: list[str]) -> dict[tuple, dict[str, object]]:
    """Rows by group; amounts to a millionth, since the order of adding floats is free; all else to the last digit."""
    keys = (keys,) if isinstance(keys, str) else keys
    shown = frame.with_columns(pl.col(key).cast(pl.String) for key in keys if frame.schema[key] == pl.Enum)
    shown = shown.with_columns(pl.col(key).dt.replace_time_zone(None).cast(pl.Datetime("us"))
                               for key in keys if isinstance(frame.schema[key], pl.Datetime))  # fmt: skip
    return {tuple(row[key] for key in keys): {name: row[name] for name in names} for row in shown.to_dicts()}
