"""User agents in one vocabulary: what the platform's own table says of one, and what its text says, read the same.

The platform's words are kept where it has words ("Google Chrome", "PC"): the parser's are turned into them. What says
nothing ("Unknown", "Other", empty) is null. An operating system is a family and a version: "Windows 10" of an export
and "Windows NT 10.0" of a log line are both the family "Windows", version "10". A device is the model as the device
says it, without its maker: "SM-A546B" and "Samsung SM-A546B" are one phone.

What fetches images in a reader's place is a mail proxy, whatever it says of itself: it stays visible as a browser of
its own name, and tells neither device nor system.
"""

import re
from collections.abc import Iterable
from typing import Any

import polars as pl

AGENT_COLUMNS = ("device", "operating_system", "operating_system_version", "browser", "browser_version")
LONGEST_AGENT = 1000  # characters of a user agent that are looked at: longer ones are attacks
UNTOLD = (
    "",
    "-",
    "unknown",
    "other",
    "others",
    "none",
    "null",
    "n/a",
    "undefined",
    "unknown device",
    "unknown browser",
)

LINUXES = (
    "Ubuntu", "Fedora", "Debian", "Red Hat", "SUSE", "Linux Mint", "Arch Linux", "Gentoo", "CentOS", "Mandriva",
    "Slackware", "PCLinuxOS", "Kubuntu",
)  # fmt: skip
SYSTEMS = {
    "windows": "Windows", "windows phone": "Windows Phone", "android": "Android", "linux": "Linux",
    "ios": "iOS", "iphone os": "iOS", "ipados": "iOS", "chrome os": "Chrome OS",
    "mac os x": "Mac OS", "mac os": "Mac OS", "macos": "Mac OS", "os x": "Mac OS", "macintosh": "Mac OS",
    "chromeos": "Chrome OS", "cros": "Chrome OS", "gnu/linux": "Linux", "ipad os": "iOS",
}  # fmt: skip
WINDOWS_NT = {
    "5.0": "2000", "5.1": "XP", "5.2": "XP", "6.0": "Vista", "6.1": "7", "6.2": "8", "6.3": "8.1", "10.0": "10",
}  # fmt: skip
# A family, and what may follow it; any other text is a family of its own.
_SYSTEM = (
    r"(?i)^(" + "|".join(sorted(SYSTEMS, key=len, reverse=True)) + r")"
    r"(?:[\s/_-]+(nt|xp|vista|me|ce|server|\d+(?:[._]\d+)*)(?:\s+([\w.]+))?)?$"
)  # fmt: skip
# ua-parser names no device for most computers; the platform says PC or Mac, by the operating system.
COMPUTERS = {"Mac OS": "Mac"} | dict.fromkeys(
    ("Windows", "Linux", "Chrome OS", "FreeBSD", "OpenBSD", "NetBSD", "Solaris"), "PC"
)
DEVICES = {
    "pc": "PC", "windows pc": "PC", "linux pc": "PC", "desktop": "PC", "computer": "PC", "personal computer": "PC",
    "mac": "Mac", "macintosh": "Mac", "apple mac": "Mac", "apple macintosh": "Mac",
    "iphone": "iPhone", "apple iphone": "iPhone", "ipad": "iPad", "apple ipad": "iPad", "ipod": "iPod",
    "ipod touch": "iPod", "apple ipod": "iPod", "apple ipod touch": "iPod",
    "spider": "Spider", "generic smartphone": "Generic Smartphone", "generic tablet": "Generic Tablet",
}  # fmt: skip
# An Android that does not say which: Chrome calls every model "K", Firefox says nothing.
NO_MODEL = (
    "k", "android", "generic smartphone", "generic tablet", "generic android", "generic_android",
    "generic_android_tablet", "android phone", "android tablet", "android mobile", "smartphone", "tablet", "mobile",
)  # fmt: skip
# Makers that the parser writes before a model, and exports sometimes do. They are taken off a model with a number
# ("Samsung SM-A546B"), not off a name ("HTC One") or a bare number ("Nokia 3310").
_MAKERS = (
    "acer|alcatel|amazon|apple|archos|asus|blackberry|bq|cubot|doogee|fairphone|google|honor|htc|huawei|infinix|itel|"
    "lenovo|lge?|meizu|micromax|motorola|nokia|nothing|oneplus|oppo|oukitel|panasonic|positivo|realme|samsung|sharp|"
    "sonyericsson|sony|tcl|tecno|ulefone|umidigi|vivo|vodafone|wiko|xiaomi|zte"
)
_OF_A_MAKER = rf"(?i)^(?:(?:{_MAKERS})[\s_-]+)+(\S.*)$"
_MOTO = r"^(?i:motorola)\s+([a-z](?:[\d(\s].*)?)$"  # the parser writes "moto g54" as "Motorola g54"
_IDENTIFIER = r"^(iPhone|iPad|iPod)\d+,\d+$"
_CODE = r"^[a-z]{1,4}-[a-z0-9]+$"
BROWSERS = {
    "chrome": "Google Chrome", "chrome mobile": "Google Chrome", "chrome mobile ios": "Google Chrome",
    "chrome mobile webview": "Google Chrome", "firefox mobile": "Firefox", "firefox ios": "Firefox",
    "edge": "Microsoft Edge", "edge mobile": "Microsoft Edge", "ie": "MS Internet Explorer",
    "ie mobile": "MS Internet Explorer", "thunderbird": "Mozilla Thunderbird", "opera mobile": "Opera",
    "opera mini": "Opera", "mobile safari": "Safari", "curl": "Curl", "mozilla firefox": "Firefox",
    "google chrome mobile": "Google Chrome", "ms edge": "Microsoft Edge", "edge chromium": "Microsoft Edge",
    "internet explorer": "MS Internet Explorer", "microsoft internet explorer": "MS Internet Explorer",
    "msie": "MS Internet Explorer", "safari mobile": "Safari", "apple safari": "Safari",
    "samsung browser": "Samsung Internet", "samsungbrowser": "Samsung Internet", "microsoft outlook": "Outlook",
    "ms outlook": "Outlook",
    # What the platform calls AppleWebKit is Apple Mail (see `analysis.audience`): no browser says so little.
    "apple mail": "AppleWebKit", "mobile safari ui/wkwebview": "AppleWebKit",
}  # fmt: skip
# How mail proxies are called: "GoogleImageProxy", "YahooMailProxy", "SeznamEmailProxy", and whoever else is called so.
_PROXY = (
    r"(?i)\b((?:gmail|google|yahoo!?|seznam|yandex|outlook) (?:e?mail|image) ?proxy|"
    r"\w*(?:mail|image)proxy)\b"
)
GMAIL = "GmailImageProxy"
PROXIES = {"googleimageproxy": GMAIL, "gmailimageproxy": GMAIL, "yahoomailproxy": "YahooMailProxy"}
# Before a reader opens a message, Gmail fetches as a browser that there never was.
_GMAIL_AHEAD = "Edge/12.246 Mozilla/5.0"
_BARE_MOZILLA = re.compile(r"Mozilla/(\d+)[.\d]*\s*")
_WEBKIT = re.compile(r"AppleWebKit/(\d+)")


def in_one_vocabulary(agents: pl.LazyFrame) -> pl.LazyFrame:
    """Return user agents in the words above: one row per user agent in and out, `AGENT_COLUMNS`, text not told null.

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
    told = [_told(pl.col(name)).alias(name) for name in ("device", "operating_system", "browser", "browser_version")]
    words = pl.col("operating_system")
    parts = [words.str.extract(_SYSTEM, group) for group in (1, 2, 3)]
    family = _renamed(parts[0], SYSTEMS)
    is_linux = words.is_in(LINUXES)
    named = pl.when(is_linux).then(pl.lit("Linux")).otherwise(pl.coalesce(family, words))
    version = pl.when(is_linux).then(words).otherwise(_version(family, parts[1], parts[2]))
    known = agents.with_columns(told).with_columns(operating_system=named, operating_system_version=version)
    return (
        _models(known.with_columns(proxy=_proxy()))
        .with_columns(device=_device(), browser=_renamed(pl.col("browser"), BROWSERS),
                      browser_version=pl.col("browser_version").str.extract(r"^([^.]+)"))
        .with_columns(pl.when(pl.col("proxy").is_null()).then(name).alias(name) for name in AGENT_COLUMNS)
        .with_columns(browser=pl.coalesce("proxy", "browser"))
        .select("user_agent", *AGENT_COLUMNS)
    )  # fmt: skip


def parse_agents(texts: Iterable[str]) -> pl.DataFrame:
    """Parse user-agent texts: one row per text with device, operating system, browser and their major versions.

    A mail proxy stays visible as a browser, and tells no device or system; a bare "Mozilla/5.0", which the mail
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
    return pl.when(~words.str.to_lowercase().is_in(UNTOLD)).then(words)


def _renamed(words: pl.Expr, names: dict[str, str]) -> pl.Expr:
    return words.str.to_lowercase().replace_strict(names, default=words, return_dtype=pl.String)


def _version(family: pl.Expr, first: pl.Expr, second: pl.Expr) -> pl.Expr:
    """The version to tell systems apart by: "10", "XP", "8.1", "Server 2012" of Windows, else the major number."""
    numbers = first.str.replace_all("_", ".")
    major = numbers.str.extract(r"^(\d+)")
    nt = second.replace_strict(WINDOWS_NT, default=pl.concat_str(pl.lit("NT "), second), return_dtype=pl.String)
    is_nt, is_server = (first.str.to_lowercase() == word for word in ("nt", "server"))
    of_windows = (
        pl.when(is_nt).then(pl.coalesce(nt, pl.lit("NT")))
        .when(is_server).then(pl.concat_str(pl.lit("Server"), second, separator=" ", ignore_nulls=True))
        .when(first.str.to_lowercase() == "vista").then(pl.lit("Vista"))
        .when(major.is_null()).then(first.str.to_uppercase())
        .otherwise(numbers.str.replace(r"\.0$", ""))
    )  # fmt: skip
    of_mac = pl.when(major == "10").then(numbers.str.extract(r"^(\d+(?:\.\d+)?)")).otherwise(major)
    return pl.when(family == "Windows").then(of_windows).when(family == "Mac OS").then(of_mac).otherwise(major)


def _proxy() -> pl.Expr:
    """The mail proxy that the browser or the device is, by the one name of each; null for all others."""
    found = pl.coalesce(pl.col("browser").str.extract(_PROXY), pl.col("device").str.extract(_PROXY))
    return _renamed(found.str.replace_all("[ !]", ""), PROXIES)


def _models(agents: pl.LazyFrame) -> pl.LazyFrame:
    """Devices without their maker and by one name; every Android that does not say which is an "Android"."""
    device, model = pl.col("device"), pl.col("model")
    has_number = model.str.contains("[0-9]") & model.str.contains("[A-Za-z]")
    no_model = device.str.to_lowercase().is_in(NO_MODEL) & (pl.col("operating_system") == "Android")
    return (  # step by step: in one expression, each step would be computed as often as the next one names it
        agents.with_columns(device.str.replace(_MOTO, "moto $1"))
        .with_columns(model=device.str.extract(_OF_A_MAKER))
        .with_columns(device=pl.when(has_number).then(model).otherwise(device))
        .with_columns(device=pl.coalesce(device.str.extract(_IDENTIFIER), _renamed(device, DEVICES)))
        .with_columns(pl.when(device.str.contains(_CODE)).then(device.str.to_uppercase()).otherwise(device))
        .with_columns(pl.when(no_model).then(pl.lit("Android")).otherwise(device).alias("device"))
    )


def _device() -> pl.Expr:
    """The device as told, else the computer that the operating system runs on; a Mac is no PC."""
    system, device = pl.col("operating_system"), pl.col("device")
    by_system = system.replace_strict(COMPUTERS, default=None, return_dtype=pl.String)
    is_mac = (device == "PC") & (system == "Mac OS")
    return pl.when(is_mac).then(pl.lit("Mac")).otherwise(pl.coalesce(device, by_system))
