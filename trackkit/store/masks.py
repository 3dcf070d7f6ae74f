"""Masking of personal data in texts, in every spelling: addresses, IP addresses, personal values in URLs."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable

import polars as pl

# An at sign: plain, in a URL (encoded once or more), in HTML, in JSON, and in full width.
AT = r"(?:@|%(?:25)*40|&#0*64;|&#[xX]0*40;|&commat;|\\u0040|\uff20)"
_LETTERS = r"[^\s@,;:<>\"'()\[\]{}=&?/|\\\uff20]"
_QUOTED = r"\\?\"[^\"\r\n]{1,64}\""
_RETURNED = rf"{_LETTERS}+=[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"  # bounces+ana=post.example@sender.example
LOCAL_PART = rf"(?:{_QUOTED}|{_RETURNED}|{_LETTERS}+(?:'{_LETTERS}+)*?)"
# The letters are greedy and include the percent sign; backtracking gives back an encoded at sign.
_ADDRESS = rf"{LOCAL_PART}({AT})"
_WHOLE = re.compile(rf"{LOCAL_PART}({AT})([\w.-]+)")
_WHOLE_ID = re.compile(r"[^\s@:/|]+@[^\s@:/|]+")
_IN_ID = re.compile(rf"({LOCAL_PART}){AT}([\w.-]+)")
_IPV4 = r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)"
WHOLE_IPV4 = rf"^{_IPV4}$"
_IPV4_IN_ID = re.compile(rf"(?<![\d.]){_IPV4}(?![\d.])")
_IPV4_IN_TEXT, _IPV4_IN_NAME = (rf"\b(\d{{1,3}}{dot}\d{{1,3}}{dot}\d{{1,3}}){dot}\d{{1,3}}\b" for dot in (r"\.", "-"))
_IPV6 = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?<=:)(?:\d{1,3}\.){3}\d{1,3})?(?![\w:]|\.\d)"
)
_AND = r"(?:&amp;|\\u0026|[?&;#])"
_EQUALS = r"(?:=|\\u003[dD])"
_URL = re.compile(r"\w+:(?:\\?/){2}[^\s\"'<>]+")
_PAIR = re.compile(rf"((?:[?&#]|&amp;|\\u0026)[^\s\"'<>=&;#?/\\]{{1,100}}{_EQUALS})([^\s\"'<>&#\\]+)")
_IN_TEXT = re.compile(f"(?P<url>{_URL.pattern})|{_PAIR.pattern}")
_PARTS = re.compile(f"({_AND})")
_ASKS = re.compile("[?#;]")
_LOGIN = re.compile(r"(?<=//)[^/@]*(?=@)")
_AT_IN_HTML = re.compile(r"&#0*64;|&#[xX]0*40;|&commat;")
_SEGMENT = re.compile(r"[A-Za-z0-9+_-]{8,}={0,2}")
# MD5, SHA-1, SHA-256, SHA-512: anybody can compute them of a known address.
DIGEST = r"^(?:[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})$"
_TEMPLATE = re.compile(r"<%.*%>|\{\{.*\}\}|\{%.*%\}|%%.*%%|\*\|.*\|\*|\[\[.*\]\]")  # filled in by the sender later
# A text without any of these is skipped.
AT_SIGNS = ["@", "40", "64;", "&commat;", "\uff20"]
ASKS = ["?", "#", "&", "\\u0026", "://", ":\\/\\/"]

Keyed = Callable[[str], str]  # a keyed hash of a text


def without_queries(text: str, keyed: Keyed) -> str:
    """Return a text without the values of queries and fragments in its URLs, or in what looks like part of one."""

    def masked(match: re.Match[str]) -> str:
        return without_query(match["url"], keyed) if match["url"] else match[2] + value(match[3], keyed)

    return _IN_TEXT.sub(masked, text)


def without_query(url: str, keyed: Keyed) -> str:
    """Return a URL with keyed hashes for the values of its query and fragment, so that different URLs stay different.

    Of an address the domain stays; names and templates stay.

    >>> without_query("https://shop.example/offer?email=ana%40x.example&token=T#top", lambda text: "~")
    'https://shop.example/offer?email=***%40x.example&token=~#~'
    """
    url = _AT_IN_HTML.sub("@", url)
    path = _ASKS.split(url, maxsplit=1)[0]
    hidden = _SEGMENT.sub(lambda match: _segment(match[0], keyed), _LOGIN.sub("***", path))
    parts = _PARTS.split(url[len(path) :])
    return hidden + "".join(part if place % 2 else _pair(part, keyed) for place, part in enumerate(parts))


def _pair(part: str, keyed: Keyed) -> str:
    match = re.match(rf"([^=]*?{_EQUALS})(.*)", part, re.DOTALL)
    return match[1] + value(match[2], keyed) if match else value(part, keyed)


def value(text: str, keyed: Keyed) -> str:
    """Return the mask of one value of a query."""
    if not text or _TEMPLATE.fullmatch(text):
        return text
    address = _WHOLE.fullmatch(text)
    return f"***{address[1]}{address[2]}" if address else keyed(text)


def _segment(text: str, keyed: Keyed) -> str:
    """Return the mask of one segment of a path; an address may follow another word, as in `u-YW5u…`."""
    if _is_address(text):
        return keyed(text)
    return "".join(keyed(part) if _is_address(part) else part for part in re.split("([-_])", text))


def _is_address(word: str) -> bool:
    """Whether a word is an address in Base64, or a digest."""
    try:
        plain = base64.b64decode(word.rstrip("=").replace("-", "+").replace("_", "/") + "===").decode()
    except (binascii.Error, ValueError):
        plain = ""
    return _WHOLE.search(plain) is not None or re.match(DIGEST, word) is not None


def without_ids(text: str, of: Keyed) -> str:
    """Return an id with a pseudonym for each address in it, so that different ids stay different."""
    if _WHOLE_ID.fullmatch(text.strip()):
        return of(text)
    return _IN_ID.sub(lambda match: of(f"{match[1]}@{match[2]}"), text)


def without_ips(text: str, keyed: Keyed) -> str:
    """Return an id with the ends of IP addresses hashed, so that different ids stay different."""
    return _IPV4_IN_ID.sub(lambda match: f"{network(match[0])}-{keyed(match[0])}", text)


def addresses(text: pl.Expr) -> pl.Expr:
    """Return texts with addresses reduced to their domain."""
    return text.str.replace_all(_ADDRESS, "***${1}")


def ips(text: pl.Expr) -> pl.Expr:
    """Return texts with IPv4 addresses, and host names made of them, cut to /24."""
    return text.str.replace_all(_IPV4_IN_TEXT, "${1}.0").str.replace_all(_IPV4_IN_NAME, "${1}-0")


def long_ips(text: str) -> str:
    """Return a text with IPv6 addresses cut to /48.

    >>> long_ips("from [2001:db8:1:2::7] at 08:01:00")
    'from [2001:db8:1::] at 08:01:00'
    """
    return _IPV6.sub(lambda match: network(match[0]) or match[0], text)


def network(address: str) -> str | None:
    """Return an IP address cut to /24 or /48; None for other texts."""
    try:
        ip = ipaddress.ip_address(address.strip())
    except ValueError:
        return None
    v4 = ip if ip.version == 4 else ip.ipv4_mapped
    return str(ipaddress.ip_network((v4 or ip, 24 if v4 else 48), strict=False).network_address)
