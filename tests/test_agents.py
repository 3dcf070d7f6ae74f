"""User agents in one vocabulary: the platform's table and the parser's reading of the text say the same words."""

from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from trackkit.demo.clients import PEOPLE_CLIENTS
from trackkit.store.lake import Lake
from trackkit.store.layout import stored_schema
from trackkit.store.user_agents import AGENT_COLUMNS, in_one_vocabulary, parse_agents

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101 Firefox/115.3"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPAD = "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WINDOWS, ("PC", "Windows", "10", "Firefox", "115")),
        ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/119.0",
         ("PC", "Linux", "Ubuntu", "Firefox", "119")),
        (f"{MAC} Version/16.1 Safari/605.1.15", ("Mac", "Mac OS", "10.15", "Safari", "16")),
        (MAC, ("Mac", "Mac OS", "10.15", "AppleWebKit", "605")),
        (f"{IPAD} Version/16.0 Mobile/15E148 Safari/604.1", ("iPad", "iOS", "16", "Safari", "16")),
        (f"{IPAD} Mobile/15E148", ("iPad", "iOS", "16", "AppleWebKit", "605")),
        ("Mozilla/5.0 (Linux; Android 13; SM-G991B) AppleWebKit/537.36 Chrome/119.0 Mobile Safari/537.36",
         ("SM-G991B", "Android", "13", "Google Chrome", "119")),
        ("Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko",
         ("PC", "Windows", "8.1", "MS Internet Explorer", "11")),
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
         (None, None, None, "GmailImageProxy", None)),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
         (None, None, None, "YahooMailProxy", None)),
        ("curl/8.1", (None, None, None, "Curl", "8")),
        ("Mozilla/5.0", (None, None, None, "Mozilla", "5")),
        ("=cmd|'/c calc'!A1", (None, None, None, None, None)),
    ],
)  # fmt: skip
def test_a_user_agent_is_parsed(text: str, expected: tuple[str | None, ...]) -> None:
    assert parse_agents([text]).row(0) == (text, *expected)


def test_a_huge_user_agent_costs_no_more_than_a_long_one() -> None:
    assert parse_agents([WINDOWS + "x" * 1_000_000]).row(0)[1:] == ("PC", "Windows", "10", "Firefox", "115")


def told(**words: str) -> dict[str, str | None]:
    """One row of the platform's table, read."""
    names = ("user_agent", "device", "operating_system", "browser", "browser_version")
    row = pl.LazyFrame([{"user_agent": "1", **words}], schema=dict.fromkeys(names, pl.String))
    return in_one_vocabulary(row).collect().row(0, named=True)


@pytest.mark.parametrize(
    ("text", "family", "version"),
    [
        ("Windows 10", "Windows", "10"), ("Windows XP", "Windows", "XP"), ("windows vista", "Windows", "Vista"),
        ("Windows NT 6.1", "Windows", "7"), ("Windows NT 10.0", "Windows", "10"),
        ("Windows NT 4.0", "Windows", "NT 4.0"),
        ("Windows NT", "Windows", "NT"), ("Windows 2000", "Windows", "2000"), ("Windows ME", "Windows", "ME"),
        ("Windows 8.1", "Windows", "8.1"), ("Windows Server 2012", "Windows", "Server 2012"),
        (" Windows ", "Windows", None), ("Windows Phone 10.0", "Windows Phone", "10"),
        ("Mac OS", "Mac OS", None), ("Mac OS X", "Mac OS", None), ("Mac OS X 10_15_7", "Mac OS", "10.15"),
        ("macOS 14.1", "Mac OS", "14"), ("OS X / iOS (Apple)", "OS X / iOS (Apple)", None),
        ("iOS 18_6", "iOS", "18"), ("iPhone OS 3.1", "iOS", "3"), ("iPadOS 17", "iOS", "17"),
        ("Android 4.0.3", "Android", "4"), ("Linux", "Linux", None), ("Fedora", "Linux", "Fedora"),
        ("Unix", "Unix", None), ("Windows for <b>", "Windows for <b>", None),
        ("Unknown", None, None), ("", None, None), ("other", None, None),
    ],
)  # fmt: skip
def test_an_operating_system_is_a_family_and_a_version(text: str, family: str | None, version: str | None) -> None:
    found = told(operating_system=text)
    assert (found["operating_system"], found["operating_system_version"]) == (family, version)


def test_a_mac_is_no_pc_and_words_that_say_nothing_are_null() -> None:
    assert told(device="PC", operating_system="Mac OS")["device"] == "Mac"
    assert told(device="PC", operating_system="Windows 7")["device"] == "PC"
    assert told(operating_system="Windows 7")["device"] == "PC"
    assert told(device="Unknown", operating_system="iOS 18")["device"] is None
    assert told(browser="Unknown", browser_version="Unknown")["browser"] is None
    assert told(browser=" Safari", browser_version=" 5.1 ")["browser_version"] == "5"


def test_the_table_and_the_text_of_a_user_agent_agree() -> None:
    """The demo names each of its people's clients as the platform would, independently of any parser."""
    own = [
        {"user_agent": one.text, "device": one.device, "operating_system": one.system, "browser": one.browser,
         "browser_version": one.version} for one in PEOPLE_CLIENTS
    ]  # fmt: skip
    told_by_table = in_one_vocabulary(pl.LazyFrame(own)).collect().sort("user_agent")
    parsed = parse_agents([one.text for one in PEOPLE_CLIENTS]).sort("user_agent")
    for name in ("device", "operating_system", "browser"):
        assert told_by_table[name].to_list() == parsed[name].to_list()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.sampled_from(["Windows NT ", "Mac OS X ", "server "]))
def test_no_text_is_refused_and_reading_twice_says_the_same(text: str) -> None:
    found = told(device=text, operating_system=text, browser=text, browser_version=text)
    again = told(**{name: found[name] for name in ("device", "operating_system", "browser", "browser_version")})
    kept = ("device", "operating_system", "browser", "browser_version")
    assert [again[name] for name in kept] == [found[name] for name in kept]
    assert parse_agents([text]).height == 1


def test_a_store_from_before_a_column_takes_it_up(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    columns = stored_schema("event")
    old = pl.DataFrame({name: [None] for name in columns if name != "operating_system_version"}, schema_overrides={
        name: dtype for name, dtype in columns.items() if name != "operating_system_version"})  # fmt: skip
    old = old.with_columns(delivery_id=pl.lit("7"), event_id=pl.lit("1"), bucket=pl.lit(1, pl.Int32))
    write_deltalake(f"{tmp_path}/event", old, partition_by=["bucket"])
    new = pl.DataFrame({name: [None] for name in columns}, schema_overrides=columns).with_columns(
        delivery_id=pl.lit("8"), event_id=pl.lit("2"), bucket=pl.lit(2, pl.Int32), operating_system_version=pl.lit("10")
    )
    lake.replace("event", [new], [2])
    rows = lake.scan("event", lake.open("event").version()).select("event_id", "operating_system_version").collect()
    assert sorted(rows.rows()) == [("1", None), ("2", "10")]
    assert set(AGENT_COLUMNS) <= set(columns)


@pytest.mark.parametrize(
    ("text", "table", "device"),
    [
        ("Linux; Android 14; SM-A546B", "SM-A546B", "SM-A546B"),
        ("Linux; Android 14; SM-A546B", "Samsung SM-A546B", "SM-A546B"),
        ("Linux; Android 14; SAMSUNG SM-A546B", "SAMSUNG-SM-A546B", "SM-A546B"),
        ("Linux; Android 13; moto g54", "moto g54", "moto g54"), ("Linux; Android 9; LM-G710", "LM-G710", "LM-G710"),
        ("Linux; Android 14; Redmi Note 13", "Xiaomi Redmi Note 13", "Redmi Note 13"),
        ("Linux; Android 9; ONEPLUS A6013", "OnePlus ONEPLUS A6013", "A6013"),
        ("Linux; Android 11; VOG-L29", "Huawei VOG-L29", "VOG-L29"),
        ("Linux; Android 8.0; HTC One", "HTC One", "HTC One"),
        ("Linux; Android 9; Nokia 3310", "Nokia 3310", "Nokia 3310"),
        ("Linux; Android 10; K", "K", "Android"), ("Android 15; Mobile; rv:144.0", "Generic Smartphone", "Android"),
        ("iPhone; CPU iPhone OS 18_6 like Mac OS X", "Apple iPhone", "iPhone"),
        ("Macintosh; Intel Mac OS X 10_15_7", "Macintosh", "Mac"), ("Windows NT 10.0; Win64; x64", "Desktop", "PC"),
    ],
)  # fmt: skip
def test_one_device_has_one_name_on_both_paths(text: str, table: str, device: str) -> None:
    chrome = f"Mozilla/5.0 ({text}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
    firefox = f"Mozilla/5.0 ({text}) Gecko/144.0 Firefox/144.0"
    parsed = parse_agents([firefox if "rv:" in text else chrome]).row(0, named=True)
    own = told(device=table, operating_system=f"{parsed['operating_system']} 9", browser="Chrome Mobile")
    assert (parsed["device"], own["device"], own["browser"]) == (device, device, "Google Chrome")


PROXIED = [
    ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "GmailImageProxy"),
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
     "Safari/537.36 Edge/12.246 Mozilla/5.0", "GmailImageProxy"),
    ("Mozilla/5.0 (compatible; YahooMailProxy; https://help.example/)", "YahooMailProxy"),
    ("YahooMailProxy; https://help.example/", "YahooMailProxy"),
    ("Mozilla/5.0 (compatible; SeznamEmailProxy/3.0; +https://help.example/)", "SeznamEmailProxy"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name"), PROXIED)
def test_a_mail_proxy_is_neither_a_device_nor_a_system(text: str, name: str) -> None:
    assert parse_agents([text]).row(0)[1:] == (None, None, None, name, None)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ({"device": "YahooMailProxy", "operating_system": "Unknown", "browser": "Unknown"}, "YahooMailProxy"),
        ({"device": "PC", "operating_system": "Windows XP", "browser": "Firefox", "browser_version": "11"},
         "GmailImageProxy"),
        ({"device": "PC", "operating_system": "Windows XP", "browser": "Firefox", "browser_version": "11.0"},
         "GmailImageProxy"),
        ({"device": "PC", "operating_system": "Windows XP", "browser": "GoogleImageProxy"}, "GmailImageProxy"),
        ({"device": "Spider", "browser": "Yahoo! Mail Proxy", "browser_version": "5"}, "YahooMailProxy"),
    ],
)  # fmt: skip
def test_the_platforms_table_knows_the_same_proxies(words: dict[str, str], name: str) -> None:
    found = told(**words)
    assert [found[column] for column in AGENT_COLUMNS] == [None, None, None, name, None]


def test_an_old_firefox_that_is_no_proxy_stays_one() -> None:
    assert told(device="PC", operating_system="Windows 7", browser="Firefox", browser_version="11")["device"] == "PC"
    assert told(operating_system="Windows XP", browser="Firefox", browser_version="115")["browser"] == "Firefox"
    line = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko/20100101 Firefox/11.0"
    assert parse_agents([line]).row(0)[1:] == ("PC", "Windows", "XP", "Firefox", "11")
