"""Definition sets: what each sender's words mean, on messages whose figures are worked out by hand."""

import inspect
from pathlib import Path

import polars as pl
import pytest

from tests.spec.golden import at, golden, tables
from tests.test_cli import trackkit
from trackkit.analysis import definitions
from trackkit.definition_sets import QUESTIONS, definition_set, shipped
from trackkit.engine.measure import measure
from trackkit.errors import RequestError
from trackkit.metrics import METRICS
from trackkit.report.template import by_definitions, template
from trackkit.show import findings
from trackkit.show.tables.definitions import side_by_side_table

# Ten messages to deliver: M1 to M8 delivered, M9 bounced hard, M10 refused for a complaint.
# M1 loads images by itself and clicks; M2 clicks alone; M3 and M4 were prefetched, M4 was opened by its reader, too;
# M5 loads images and opts out; M6 shows the mirror page alone; M7, M8: nothing.
HITS = [
    ("M1", "opened", False), ("M1", "opened", None), ("M1", "clicked", None), ("M2", "clicked", None),
    ("M3", "opened", True), ("M4", "opened", True), ("M4", "opened", False), ("M5", "opened", None),
    ("M5", "unsubscribed", None), ("M5", "unsubscribed", None), ("M6", "mirror_page", None),
]  # fmt: skip
REASONS = {"M9": 1, "M10": 8}
# By hand, as numerator and denominator of each question.
EXPECTED = {
    "adobe": {"open_rate": (6, 8), "click_rate": (2, 8), "click_to_open_rate": (2, 6), "bounce_rate": (2, 10),
              "unsubscribe_rate": (2, 8), "complaint_rate": (1, 8), "delivery_rate": (8, 10)},
    "sendgrid": {"open_rate": (4, 8), "click_rate": (2, 8), "click_to_open_rate": (2, 4), "bounce_rate": (1, 10),
                 "unsubscribe_rate": (1, 8), "complaint_rate": (1, 8), "delivery_rate": (8, 10)},
    "mailchimp": {"open_rate": (4, 8), "click_rate": (2, 8), "click_to_open_rate": (2, 4), "bounce_rate": (1, 10),
                  "unsubscribe_rate": (1, 8), "complaint_rate": (1, 8), "delivery_rate": (8, 10)},
    "sparkpost": {"open_rate": (4, 8), "click_rate": (2, 8), "click_to_open_rate": None, "bounce_rate": (1, 10),
                  "unsubscribe_rate": (2, 8), "complaint_rate": (1, 8), "delivery_rate": (8, 10)},
    "salesforce": {"open_rate": (4, 10), "click_rate": (2, 10), "click_to_open_rate": (2, 4), "bounce_rate": (1, 10),
                   "unsubscribe_rate": (1, 10), "complaint_rate": None, "delivery_rate": (8, 10)},
}  # fmt: skip
OURS = """
label = "Our house"

[words.open_rate]
metric = "sent_open_rate"
label = "Openers of all sent"

[words.sent]
metric = "sent_messages"

[words.read]
why = "nobody tells us who read it"
"""


@pytest.fixture(scope="module")
def delivery():
    messages = [
        {"delivery_id": "D", "message_id": f"M{number}", "is_seed": False, "domain": f"d{number % 2}.example",
         "status": "failed" if f"M{number}" in REASONS else "delivered", "failure_reason": REASONS.get(f"M{number}"),
         "is_complaint": f"M{number}" == "M10"}
        for number in range(1, 11)
    ]  # fmt: skip
    events = [
        {"delivery_id": "D", "event_id": str(number), "message_id": message, "event_type": kind, "is_machine": machine,
         "is_seed": False, "occurred_at": at(15, number), "domain": f"d{int(message[1:]) % 2}.example"}
        for number, (message, kind, machine) in enumerate(HITS)
    ]  # fmt: skip
    return tables(delivery=[{"delivery_id": "D", "to_deliver": 10}], message=messages, event=events)


@pytest.mark.parametrize("name", shipped())
def test_every_question_by_hand(delivery, name):
    answers = definitions.side_by_side(delivery, "D", name)
    found = {row["question"]: row["rate"] and (row["numerator"], row["denominator"]) for row in answers.to_dicts()}
    assert found == EXPECTED[name]
    rates = {row["question"]: row["rate"] for row in answers.to_dicts()}
    assert rates == {question: parts and parts[0] / parts[1] for question, parts in EXPECTED[name].items()}
    assert [row["question"] for row in answers.to_dicts() if row["why"]] == [
        question for question, parts in EXPECTED[name].items() if parts is None
    ]


@pytest.mark.parametrize("name", [name for name in shipped() if name != "adobe"])
def test_measure_answers_by_the_words_of_a_set(delivery, name):
    row = measure(delivery, [*QUESTIONS], definitions=name).row(0, named=True)
    assert list(row)[: 1 + len(QUESTIONS)] == ["delivery_id", *QUESTIONS]
    wanted = {question: parts and parts[0] / parts[1] for question, parts in EXPECTED[name].items()}
    assert {question: row[question] for question in QUESTIONS} == wanted


def test_what_cannot_be_observed_has_no_rate(delivery):
    hidden = {"D": {"opened": "only text was sent", "clicked": "no link"}}
    answers = definitions.side_by_side(delivery, "D", "sendgrid", hidden=hidden)
    assert answers.filter(pl.col("question") == "open_rate").select("rate", "why").row(0) == (
        None,
        "only text was sent",
    )


def test_prefetched_opens_by_hand(delivery):
    # Confirmed: M1 to M5; M3 by machines alone, so that four of seven remain.
    row = measure(delivery, "open_rate_without_prefetched", definitions="sparkpost").row(0, named=True)
    assert row == {
        "delivery_id": "D", "open_rate_without_prefetched": 4 / 7, "unique_confirmed_non_prefetch_opens": 4,
        "accepted": 8, "unique_confirmed_opens": 5, "prefetched_only": 1, "delivered_without_prefetched": 7,
    }  # fmt: skip
    # Odd numbers: M1 M3 M5 opened, M3 by machines alone; even: M2 and M4.
    by_domain = measure(delivery, "trackable_open_rate", by="domain")
    assert by_domain.select("domain", "unprefetched_unique_opens", "delivered_without_prefetched").rows() == [
        ("d0.example", 2, 4), ("d1.example", 2, 3),
    ]  # fmt: skip
    assert measure(delivery, "trackable_open_rate", by=[])["trackable_open_rate"].item() == 4 / 7


def test_parts_are_called_by_their_words(delivery):
    row = measure(delivery, "click_to_open_rate", definitions="sendgrid").row(0, named=True)
    assert row == {"delivery_id": "D", "click_to_open_rate": 0.5, "unique_clicks": 2, "unique_opens": 4}


def test_the_default_says_nothing_new():
    assert measure(golden(), definitions="adobe").equals(measure(golden()))
    assert not {name for name, metric in METRICS.items() if not metric.by_default} & set(measure(golden()).columns)
    assert "definitions" in inspect.signature(measure).parameters


def test_all_words_that_apply_where_none_is_named(delivery):
    columns = measure(delivery, by="link_id", definitions="sendgrid").columns
    assert columns[:4] == ["link_id", "unique_opens", "opens", "unique_clicks"] and "open_rate" not in columns


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (
            {"metrics": "open_rat", "definitions": "sendgrid"},
            "SendGrid has no word 'open_rat'. Did you mean 'open_rate'?",
        ),
        ({"metrics": "estimated_forwards", "definitions": "mailchimp"}, "Mailchimp has no word 'estimated_forwards'."),
        ({"definitions": "sendgird"}, "There is no definition set 'sendgird'. Did you mean 'sendgrid'?"),
        ({"definitions": "nowhere/ours.toml"}, "nowhere/ours.toml cannot be read"),
    ],
)
def test_what_is_unknown_is_refused(delivery, asked, error):
    with pytest.raises(RequestError) as raised:
        measure(delivery, **asked)
    assert str(raised.value).startswith(error)


def test_a_set_of_ones_own(delivery, tmp_path):
    path = tmp_path / "ours.toml"
    path.write_text(OURS, "utf-8")
    measured = measure(delivery, definitions=str(path))
    assert measured.to_dicts() == [
        {"delivery_id": "D", "open_rate": 0.4, "sent": 10, "read": None, "displayed_unique_opens": 4}
    ]
    beside = definitions.side_by_side(delivery, "D", also=str(path)).filter(pl.col("sender") == "Our house")
    assert beside.filter(pl.col("question") == "open_rate")["label"].item() == "Openers of all sent"
    assert set(beside.filter(pl.col("question") != "open_rate")["why"]) == {"this set does not define it"}


@pytest.mark.parametrize(
    ("wrong", "right", "error"),
    [
        ('metric = "sent_open_rate"', 'metric = "sent_open_rat"',
         "'words.open_rate.metric': there is no metric 'sent_open_rat'. Did you mean 'sent_open_rate'?"),
        ("why =", "whi =", "key 'words.read.whi': there is no such key. Did you mean 'why'?"),
        ('why = "nobody tells us who read it"', "", "'words.read': a word has either a metric, or why there is none."),
        ("[words.sent]", "[words.displayed_unique_opens]",
         "'open_rate' is made of the metric 'displayed_unique_opens', which is another word here: name it."),
    ],
)  # fmt: skip
def test_a_wrong_set_names_file_key_and_the_nearest_word(tmp_path, wrong, right, error):
    path = tmp_path / "ours.toml"
    path.write_text(OURS.replace(wrong, right), "utf-8")
    with pytest.raises(RequestError) as raised:
        definition_set(str(path))
    assert str(raised.value).startswith(str(path)) and str(raised.value).endswith(error)


@pytest.mark.parametrize("name", shipped())
def test_every_word_says_where_it_is_from(name):
    for word, meaning in definition_set(name).words.items():
        assert meaning.why or (meaning.label and meaning.tag), word
        assert not meaning.tag or meaning.tag == "K" or meaning.source, word


def test_the_finding_says_between_what_and_what_differs(delivery):
    answers = definitions.side_by_side(delivery, "D")
    assert findings.definitions_apart(answers) is None  # of eight messages, nothing is said
    many = answers.with_columns(pl.col("numerator", "denominator") * 10)
    text = "Open rate: between 40.0% and 75.0%, by definition: what is counted differs, and out of what"
    assert findings.definitions_apart(many).text == text
    two = many.filter(pl.col("definitions").is_in(["sendgrid", "salesforce"]))
    assert findings.definitions_apart(two).text.endswith("what differs is the denominator")
    alike = many.filter(pl.col("definitions") == "sendgrid")
    assert findings.definitions_apart(alike) is None


def test_the_table_has_a_row_for_each_question_and_says_why_there_is_none(delivery):
    shown = side_by_side_table(definitions.side_by_side(delivery, "D"))
    html = shown.as_raw_html()
    assert html.count("<tr") == 1 + len(QUESTIONS) and "4 of 10" in html and "“Click-through rate (CTR)”" in html
    assert "SparkPost&#39;s definitions have no such rate" in html
    assert len(shown.data["rows"]) == len(QUESTIONS) * len(shipped())


def test_a_template_under_a_set_has_its_rates_and_labels():
    plain = template("tracking_indicators")
    assert by_definitions(plain, "adobe") is plain
    under = by_definitions(plain, "sendgrid")
    assert [(tile.metric, tile.label) for tile in under.tile][1:4] == [
        ("displayed_open_rate", "Unique opens"), ("recipient_click_rate", "Unique clicks"),
        ("displayed_click_to_open_rate", "Click-through rate (CTR)"),
    ]  # fmt: skip
    section = under["open_and_click_through"]
    assert section.charted == ["displayed_open_rate", "recipient_click_rate"] and section.text == ""
    assert section.labels["complaint_rate"] == "Spam reports"
    assert "click_to_open_rate" not in by_definitions(plain, "sparkpost")["open_and_click_through"].metrics


def test_on_the_command_line(demo_store, tmp_path):
    asked = ["measure", "--store", demo_store, "--definitions", "sendgrid", "--metrics", "unique_opens,open_rate"]
    header = trackkit(*asked, "--output", "csv").stdout.splitlines()[0]
    assert header == "delivery_id,unique_opens,open_rate,delivered"
    assert "Click-through rate (CTR)" in trackkit("definitions", "--sets", "sendgrid").stdout
    wrong = Path(tmp_path, "ours.toml")
    wrong.write_text('label = "Ours"\n', "utf-8")
    done = trackkit(*asked[:3], "--definitions", wrong, code=2)
    assert f"{wrong}, key 'words': it is needed and is not there." in done.stderr
