"""User agents in one vocabulary, whether from the platform's own table or parsed from their text.

The parser's names are mapped to the platform's ("Google Chrome", "PC"); "Unknown", "Other" and empty are null. An
operating system is a family and a version: "Windows 10" of an export and "Windows NT 10.0" of a log line are both
"Windows", "10". A device is its model without the maker: "SM-A546B" and "Samsung SM-A546B" are one phone.

A mail proxy, which fetches images for the reader, is a browser of its own name, without device or system.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

AGENT_COLUMNS = ("device", "operating_system", "operating_system_version", "browser", "browser_version")
LONGEST_AGENT = 1000  # characters that are parsed; longer user agents are attacks
_WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _names_of(section: str) -> dict[str, str]:
    """Map each word of a section to its name."""
    return {word: name for name, words in _WORDS[section].items() for word in words}


SYSTEMS, COMPUTERS, DEVICES, BROWSERS, PROXIES = map(
    _names_of, ("systems", "computers", "devices", "browsers", "proxies")
)
# A family and its version; any other text is a family of its own.
_FAMILY = "|".join(sorted(SYSTEMS, key=len, reverse=True))
_SYSTEM = rf"(?i)^({_FAMILY})(?:[\s/_-]+(nt|xp|vista|me|ce|server|\d+(?:[._]\d+)*)(?:\s+([\w.]+))?)?$"
# Makers are removed from a model with a number ("Samsung SM-A546B"), not from "HTC One" or a bare number.
_OF_A_MAKER = rf"(?i)^(?:(?:{'|'.join(_WORDS['makers'])})[\s_-]+)+(\S.*)$"
_MOTO = r"^(?i:motorola)\s+([a-z](?:[\d(\s].*)?)$"  # the parser writes "moto g54" as "Motorola g54"
_IDENTIFIER = r"^(iPhone|iPad|iPod)\d+,\d+$"
_CODE = r"^[a-z]{1,4}-[a-z0-9]+$"
# Mail proxies: "GoogleImageProxy", "YahooMailProxy", "SeznamEmailProxy", and any other …MailProxy.
_OF_A_PROVIDER = r"(?:gmail|google|yahoo!?|seznam|yandex|outlook) (?:e?mail|image) ?proxy"
_PROXY = rf"(?i)\b({_OF_A_PROVIDER}|\w*(?:mail|image)proxy)\b"
GMAIL = "GmailImageProxy"
# Gmail prefetches images, before the reader opens the message, as this impossible browser.
_GMAIL_AHEAD = "Edge/12.246 Mozilla/5.0"
_BARE_MOZILLA = re.compile(r"Mozilla/(\d+)[.\d]*\s*")
_WEBKIT = re.compile(r"AppleWebKit/(\d+)")


def in_one_vocabulary(agents: pl.LazyFrame) -> pl.LazyFrame:
    """Return user agents in this vocabulary, one row each, null where unknown.

    In: `user_agent`, `device`, `operating_system` (family and version in one text), `browser`, `browser_version`.
    Versions are major ones, but "8.1" of Windows, "10.15" of older Macs, and of Linux the distribution. In exports,
    Gmail's proxy appears as what it pretends to be: Firefox 11 on Windows XP.
    """
    stated = [pl.col(name).str.strip_chars() for name in ("browser", "browser_version", "operating_system")]
    is_old = (
        (stated[0] == "Firefox") & stated[1].str.contains(r"^11\b") & stated[2].is_in(["Windows XP", "Windows NT 5.1"])
    )
    is_ahead = stated[0].str.contains("Edge") & (stated[1] == "12.246")
    return _in_one_vocabulary(
        agents.with_columns(browser=pl.when(is_old | is_ahead).then(pl.lit(GMAIL)).otherwise("browser"))
    )


def _in_one_vocabulary(agents: pl.LazyFrame) -> pl.LazyFrame:
    texts = ("device", "operating_system", "browser", "browser_version")
    words = pl.col("operating_system")
    parts = [words.str.extract(_SYSTEM, group) for group in (1, 2, 3)]
    family = _renamed(parts[0], SYSTEMS)
    is_linux = words.is_in(_WORDS["linuxes"])
    system = pl.when(is_linux).then(pl.lit("Linux")).otherwise(pl.coalesce(family, words))
    version = pl.when(is_linux).then(words).otherwise(_version(family, parts[1], parts[2]))
    known = agents.with_columns(_or_null(pl.col(name)).alias(name) for name in texts)
    known = known.with_columns(operating_system=system, operating_system_version=version)
    major, browser = pl.col("browser_version").str.extract(r"^([^.]+)"), _renamed(pl.col("browser"), BROWSERS)
    return (
        _models(known.with_columns(proxy=_proxy()))
        .with_columns(device=_device(), browser=browser, browser_version=major)
        .with_columns(pl.when(pl.col("proxy").is_null()).then(name).alias(name) for name in AGENT_COLUMNS)
        .with_columns(browser=pl.coalesce("proxy", "browser"))
        .select("user_agent", *AGENT_COLUMNS)
    )


def parse_agents(texts: Iterable[str]) -> pl.DataFrame:
    """Parse user-agent texts, one row per text; a bare "Mozilla/5.0", which Apple's mail proxies send, is "Mozilla".

    >>> parse_agents(["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101 Firefox/115.0"]).row(0)[1:]
    ('PC', 'Windows', '10', 'Firefox', '115')
    """
    from ua_parser import parse  # takes 0.1 s, and only a load needs it

    shortened = {text: text[:LONGEST_AGENT] for text in texts}
    rows = [(text, *_parts(parse(short), short)) for text, short in shortened.items()]
    names = ("user_agent", "device", "operating_system", "browser", "browser_version")
    parsed = pl.LazyFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return _in_one_vocabulary(parsed).collect()


def _parts(result: Any, text: str) -> tuple[str | None, ...]:
    """Device, operating system with version, browser and version, from a parser's result."""
    device = result.device.family if result.device else None
    browser = (result.user_agent.family, result.user_agent.major) if result.user_agent else (None, None)
    if browser[0] == "Mobile Safari UI/WKWebView" and (match := _WEBKIT.search(text)):
        browser = (browser[0], match[1])
    elif match := _BARE_MOZILLA.fullmatch(text):
        browser = ("Mozilla", match[1])
    if match := re.search(_PROXY, text):
        return None, None, match[1], None
    if text.endswith(_GMAIL_AHEAD):
        return None, None, GMAIL, None
    if result.os is None:
        return device, None, *browser
    version = ".".join(filter(None, (result.os.major, result.os.minor)))
    return device, f"{result.os.family} {version}".strip(), *browser


def _or_null(words: pl.Expr) -> pl.Expr:
    words = words.str.strip_chars()
    return pl.when(~words.str.to_lowercase().is_in(_WORDS["untold"])).then(words)


def _renamed(words: pl.Expr, names: dict[str, str]) -> pl.Expr:
    return words.str.to_lowercase().replace_strict(names, default=words, return_dtype=pl.String)


def _version(family: pl.Expr, first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """The version of a system: "10", "XP", "8.1", "Server 2012" of Windows, else the major number."""
    numbers = first.str.replace_all("_", ".")
    major = numbers.str.extract(r"^(\d+)")
    other_nt = pl.concat_str(pl.lit("NT "), second)
    nt = second.replace_strict(_WORDS["windows_nt"], default=other_nt, return_dtype=pl.String)
    is_nt, is_server = (first.str.to_lowercase() == word for word in ("nt", "server"))
    server = pl.concat_str(pl.lit("Server"), second, separator=" ", ignore_nulls=True)
    numbered = pl.when(major.is_null()).then(first.str.to_uppercase()).otherwise(numbers.str.replace(r"\.0$", ""))
    word = pl.when(first.str.to_lowercase() == "vista").then(pl.lit("Vista")).otherwise(numbered)
    of_windows = pl.when(is_nt).then(pl.coalesce(nt, pl.lit("NT"))).when(is_server).then(server).otherwise(word)
    of_mac = pl.when(major == "10").then(numbers.str.extract(r"^(\d+(?:\.\d+)?)")).otherwise(major)
    return pl.when(family == "Windows").then(of_windows).when(family == "Mac OS").then(of_mac).otherwise(major)


def _proxy() -> pl.Expr:
    """The name of the mail proxy, from browser or device; null for all others."""
    proxy = pl.coalesce(pl.col("browser").str.extract(_PROXY), pl.col("device").str.extract(_PROXY))
    return _renamed(proxy.str.replace_all("[ !]", ""), PROXIES)


def _models(agents: pl.LazyFrame) -> pl.LazyFrame:
    """Devices by one name, without their maker; an Android of unknown model is "Android"."""
    device, model = pl.col("device"), pl.col("model")
    has_number = model.str.contains("[0-9]") & model.str.contains("[A-Za-z]")
    no_model = device.str.to_lowercase().is_in(_WORDS["no_model"]) & (pl.col("operating_system") == "Android")
    return (  # in steps: nested in one expression, each would be computed every time it is named
        agents.with_columns(device.str.replace(_MOTO, "moto $1"))
        .with_columns(model=device.str.extract(_OF_A_MAKER))
        .with_columns(device=pl.when(has_number).then(model).otherwise(device))
        .with_columns(device=pl.coalesce(device.str.extract(_IDENTIFIER), _renamed(device, DEVICES)))
        .with_columns(pl.when(device.str.contains(_CODE)).then(device.str.to_uppercase()).otherwise(device))
        .with_columns(pl.when(no_model).then(pl.lit("Android")).otherwise(device).alias("device"))
    )


def _device() -> pl.Expr:
    """The device, else the computer of the operating system; a Mac is no PC."""
    system, device = pl.col("operating_system"), pl.col("device")
    by_system = system.replace_strict(COMPUTERS, default=None, return_dtype=pl.String)
    is_mac = (device == "PC") & (system == "Mac OS")
    return pl.when(is_mac).then(pl.lit("Mac")).otherwise(pl.coalesce(device, by_system))
