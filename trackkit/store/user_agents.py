"""User agents in one vocabulary: what the platform's own table says of one, and what its text says, read the same.

The platform's words are kept where it has words ("Google Chrome", "PC"): the parser's are turned into them. What says
nothing ("Unknown", "Other", empty) is null. An operating system is a family and a version: "Windows 10" of an export
and "Windows NT 10.0" of a log line are both the family "Windows", version "10". A device is the model as the device
says it, without its maker: "SM-A546B" and "Samsung SM-A546B" are one phone.

What fetches images in a reader's place is a mail proxy, whatever it says of itself: it stays visible as a browser of
its own name, and tells neither device nor system.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

AGENT_COLUMNS = ("device", "operating_system", "operating_system_version", "browser", "browser_version")
LONGEST_AGENT = 1000  # characters of a user agent that are looked at: longer ones are attacks
_WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _named(section: str) -> dict[str, str]:
    """The name that each word of a section is read as."""
    return {word: name for name, words in _WORDS[section].items() for word in words}


SYSTEMS, COMPUTERS, DEVICES, BROWSERS, PROXIES = map(_named, ("systems", "computers", "devices", "browsers", "proxies"))
# A family, and what may follow it; any other text is a family of its own.
_FAMILY = "|".join(sorted(SYSTEMS, key=len, reverse=True))
_SYSTEM = rf"(?i)^({_FAMILY})(?:[\s/_-]+(nt|xp|vista|me|ce|server|\d+(?:[._]\d+)*)(?:\s+([\w.]+))?)?$"
# Makers are taken off a model with a number ("Samsung SM-A546B"), not off a name ("HTC One") or a bare number.
_OF_A_MAKER = rf"(?i)^(?:(?:{'|'.join(_WORDS['makers'])})[\s_-]+)+(\S.*)$"
_MOTO = r"^(?i:motorola)\s+([a-z](?:[\d(\s].*)?)$"  # the parser writes "moto g54" as "Motorola g54"
_IDENTIFIER = r"^(iPhone|iPad|iPod)\d+,\d+$"
_CODE = r"^[a-z]{1,4}-[a-z0-9]+$"
# How mail proxies are called: "GoogleImageProxy", "YahooMailProxy", "SeznamEmailProxy", and whoever else is called so.
_OF_A_PROVIDER = r"(?:gmail|google|yahoo!?|seznam|yandex|outlook) (?:e?mail|image) ?proxy"
_PROXY = rf"(?i)\b({_OF_A_PROVIDER}|\w*(?:mail|image)proxy)\b"
GMAIL = "GmailImageProxy"
# Before a reader opens a message, Gmail fetches as a browser that there never was.
_GMAIL_AHEAD = "Edge/12.246 Mozilla/5.0"
_BARE_MOZILLA = re.compile(r"Mozilla/(\d+)[.\d]*\s*")
_WEBKIT = re.compile(r"AppleWebKit/(\d+)")


def in_one_vocabulary(agents: pl.LazyFrame) -> pl.LazyFrame:
    """Return user agents in the words above: one row per user agent in and out, null where nothing is said.

    In: `user_agent`, `device`, `operating_system` (family and version in one text), `browser`, `browser_version`. A
    version of an operating system is its major one, of Windows also "8.1", of a Mac before 11 also "10.15"; of Linux
    the distribution. Only the major version of a browser is kept.

    An export says of Gmail's proxy only what that pretends to be, a Firefox 11 on Windows XP: nobody else is one.
    """
    told = [pl.col(name).str.strip_chars() for name in ("browser", "browser_version", "operating_system")]
    is_old = (told[0] == "Firefox") & told[1].str.contains(r"^11\b") & told[2].is_in(["Windows XP", "Windows NT 5.1"])
    is_ahead = told[0].str.contains("Edge") & (told[1] == "12.246")
    return _in_one_vocabulary(
        agents.with_columns(browser=pl.when(is_old | is_ahead).then(pl.lit(GMAIL)).otherwise("browser"))
    )


def _in_one_vocabulary(agents: pl.LazyFrame) -> pl.LazyFrame:
    texts = ("device", "operating_system", "browser", "browser_version")
    words = pl.col("operating_system")
    parts = [words.str.extract(_SYSTEM, group) for group in (1, 2, 3)]
    family = _renamed(parts[0], SYSTEMS)
    is_linux = words.is_in(_WORDS["linuxes"])
    named = pl.when(is_linux).then(pl.lit("Linux")).otherwise(pl.coalesce(family, words))
    version = pl.when(is_linux).then(words).otherwise(_version(family, parts[1], parts[2]))
    known = agents.with_columns(_told(pl.col(name)).alias(name) for name in texts)
    known = known.with_columns(operating_system=named, operating_system_version=version)
    major, browser = pl.col("browser_version").str.extract(r"^([^.]+)"), _renamed(pl.col("browser"), BROWSERS)
    return (
        _models(known.with_columns(proxy=_proxy()))
        .with_columns(device=_device(), browser=browser, browser_version=major)
        .with_columns(pl.when(pl.col("proxy").is_null()).then(name).alias(name) for name in AGENT_COLUMNS)
        .with_columns(browser=pl.coalesce("proxy", "browser"))
        .select("user_agent", *AGENT_COLUMNS)
    )


def parse_agents(texts: Iterable[str]) -> pl.DataFrame:
    """Parse user-agent texts: one row per text with device, operating system, browser and their major versions.

    A mail proxy stays visible as a browser, and has no device or system; a bare "Mozilla/5.0", which the mail
    proxies of Apple send, is "Mozilla".

    >>> parse_agents(["Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:115.0) Gecko/20100101 Firefox/115.0"]).row(0)[1:]
    ('PC', 'Windows', '10', 'Firefox', '115')
    """
    from ua_parser import parse  # 0.1 s of patterns: only a load needs them

    cut = {text: text[:LONGEST_AGENT] for text in texts}
    rows = [(text, *_parts(parse(short), short)) for text, short in cut.items()]
    names = ("user_agent", "device", "operating_system", "browser", "browser_version")
    parsed = pl.LazyFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    return _in_one_vocabulary(parsed).collect()


def _parts(result: Any, text: str) -> tuple[str | None, ...]:
    """Device, operating system with its version, browser and its version, as the parser says them."""
    device = result.device.family if result.device else None
    browser = (result.user_agent.family, result.user_agent.major) if result.user_agent else (None, None)
    if browser[0] == "Mobile Safari UI/WKWebView" and (found := _WEBKIT.search(text)):
        browser = (browser[0], found[1])
    elif found := _BARE_MOZILLA.fullmatch(text):
        browser = ("Mozilla", found[1])
    if found := re.search(_PROXY, text):
        return None, None, found[1], None
    if text.endswith(_GMAIL_AHEAD):
        return None, None, GMAIL, None
    if result.os is None:
        return device, None, *browser
    version = ".".join(filter(None, (result.os.major, result.os.minor)))
    return device, f"{result.os.family} {version}".strip(), *browser


def _told(words: pl.Expr) -> pl.Expr:
    words = words.str.strip_chars()
    return pl.when(~words.str.to_lowercase().is_in(_WORDS["untold"])).then(words)


def _renamed(words: pl.Expr, names: dict[str, str]) -> pl.Expr:
    return words.str.to_lowercase().replace_strict(names, default=words, return_dtype=pl.String)


def _version(family: pl.Expr, first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """The version by which systems differ: "10", "XP", "8.1", "Server 2012" of Windows, else the major number."""
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
    """The mail proxy that the browser or the device is, by the one name of each; null for all others."""
    proxy = pl.coalesce(pl.col("browser").str.extract(_PROXY), pl.col("device").str.extract(_PROXY))
    return _renamed(proxy.str.replace_all("[ !]", ""), PROXIES)


def _models(agents: pl.LazyFrame) -> pl.LazyFrame:
    """Devices without their maker and by one name; every Android that does not say which is an "Android"."""
    device, model = pl.col("device"), pl.col("model")
    has_number = model.str.contains("[0-9]") & model.str.contains("[A-Za-z]")
    no_model = device.str.to_lowercase().is_in(_WORDS["no_model"]) & (pl.col("operating_system") == "Android")
    return (  # step by step: in one expression, each step would be computed as often as the next one names it
        agents.with_columns(device.str.replace(_MOTO, "moto $1"))
        .with_columns(model=device.str.extract(_OF_A_MAKER))
        .with_columns(device=pl.when(has_number).then(model).otherwise(device))
        .with_columns(device=pl.coalesce(device.str.extract(_IDENTIFIER), _renamed(device, DEVICES)))
        .with_columns(pl.when(device.str.contains(_CODE)).then(device.str.to_uppercase()).otherwise(device))
        .with_columns(pl.when(no_model).then(pl.lit("Android")).otherwise(device).alias("device"))
    )


def _device() -> pl.Expr:
    """The device as named, else the computer that the operating system runs on; a Mac is no PC."""
    system, device = pl.col("operating_system"), pl.col("device")
    by_system = system.replace_strict(COMPUTERS, default=None, return_dtype=pl.String)
    is_mac = (device == "PC") & (system == "Mac OS")
    return pl.when(is_mac).then(pl.lit("Mac")).otherwise(pl.coalesce(device, by_system))
