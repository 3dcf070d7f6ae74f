"""Formats of several tables as TOML: what a user's own gives, and how a wrong one is refused."""

from pathlib import Path

import polars as pl
import pytest

from tests.test_cli import trackkit
from trackkit.errors import RequestError
from trackkit.sources import read
from trackkit.sources.table_formats import all_table_formats, read_table_format

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "formats.md").read_text("utf-8").partition("## Formats of several tables")[2]
EXAMPLE = GUIDE.partition("```toml\n")[2].partition("```")[0]


def written(folder: Path, text: str) -> Path:
    place = folder / "formats" / "warehouse_crm.toml"
    place.parent.mkdir(exist_ok=True)
    place.write_text(text, "utf-8")
    return place


def test_the_example_of_the_guide_reads_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trackkit.toml").touch()
    written(tmp_path, EXAMPLE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mailings.csv").write_text("Primary key,name\n5,Spring\n", "utf-8")
    (tmp_path / "in" / "sendings.csv").write_text(
        "Mailing (Primary key),person,status,reason\n5,7,delivered,\n5,8,FAILED,full\n5,,Sent,\n", "utf-8"
    )
    load = read(tmp_path / "in", tmp_path / "staging")
    deliveries = load.frames["delivery"].select("delivery_id", "label", "is_model", "is_proof").collect()
    assert deliveries.rows() == [("5", "Spring", False, False)]
    messages = load.frames["message"].select("message_id", "status_code", "failure_id").collect()
    assert messages.rows() == [("5:7", 1, None), ("5:8", 2, "full")]
    assert load.quarantine["reason"].to_list() == ["no recipient_id (column 'person')"]
    assert [one.format for one in load.report.sources] == ["warehouse_crm", "warehouse_crm"]


def test_a_format_may_be_named_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mailings.csv").write_text("@id,name\n5,Spring\n", "utf-8")
    load = read(tmp_path / "mailings.csv", tmp_path / "staging", format=str(written(tmp_path, EXAMPLE)))
    assert load.frames["delivery"].select("delivery_id", "label").collect().rows() == [("5", "Spring")]


WRONG = [
    ("label =", "labell =", "section 'mailings': there is no column 'labell' of delivery. Did you mean 'label'?"),
    ("is_proof = false", 'is_proof = "lable is null"', "section 'mailings': 'is_proof' is made of 'lable'"),
    ("is_proof = false", 'is_proof = "case when case"', "is no SQL expression"),
    ('"titles.key"', '"titles.kye"', "there are no titles 'kye'. Did you mean 'key'?"),
    ('2 = ["Failed"]', '2 = ["sent"]', "'sent' is code 1 and 2"),
    ('table = "message"', 'table = "mesage"', "there is no table 'mesage'. Did you mean 'message'?"),
    ('table = "message"', 'like = "mailing"', "no table 'mailing' stands above. Did you mean 'mailings'?"),
    ('required = ["delivery_id"]', 'required = ["delivery"]', "'required' names 'delivery', which is no column here"),
    ("is_proof = false", 'is_proof = { function = "digst", of = "label" }', "Did you mean 'digest'?"),
    (
        "is_proof = false",
        'is_proof = { function = "code", of = "label", words = "state" }',
        "there are no words 'state'",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG, ids=[said for *_, said in WRONG])
def test_a_wrong_map_is_refused_in_words(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    place = written(tmp_path, EXAMPLE.replace(right, wrong, 1))
    with pytest.raises(RequestError) as error:
        read_table_format(place)
    assert said in str(error.value) and "warehouse_crm.toml" in str(error.value)
    assert "?." not in str(error.value)


def test_check_looks_at_the_users_formats_of_tables(tmp_path: Path) -> None:
    written(tmp_path, EXAMPLE.replace("label =", "labell =", 1))
    (tmp_path / "trackkit.toml").touch()
    assert "there is no column 'labell'" in trackkit("check", cwd=tmp_path, code=2).stderr


def test_a_table_like_another_has_what_it_does_not_say_anew(tmp_path: Path) -> None:
    more = '[[table]]\nname = "archive"\nlike = "sendings"\n[table.columns]\nreason = ["why"]\n'
    archive = read_table_format(written(tmp_path, EXAMPLE + more)).maps["archive"]
    assert archive.table == "message" and archive.stems == ("archive",)
    headers = {one.column: one.headers for one in archive.fields}
    assert headers["reason"] == ("why",) and headers["recipient_id"] == ("person",)
    linked = ("Mailing", "Mailing (Primary key)", "Mailing (id)", "Mailing (foreign key)")
    assert headers["delivery_id"] == ("iMailingId", *linked)
    made = pl.DataFrame({"delivery_id": ["5"], "recipient_id": ["7"]}).select(archive.derive["message_id"])
    assert made.to_series().to_list() == ["5:7"]


def test_every_format_of_the_package_makes_its_maps() -> None:
    assert {"adobe_export", "mailchimp"} <= set(all_table_formats())
    assert {"listmonk", "mautic"} <= set(all_table_formats("database"))
    for one in (*all_table_formats().values(), *all_table_formats("database").values()):
        assert list(one.maps) == [table.name for table in one.table]
