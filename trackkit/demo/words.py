"""The words of the synthetic platform, from `words.toml`: an invented shop, its messages, names, domains, failures."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

_WORDS: dict[str, Any] = tomllib.loads(files("trackkit.demo").joinpath("words.toml").read_text("utf-8"))
SHOP, SITE, TRACKER = (str(_WORDS[name]) for name in ("shop", "site", "tracker"))
FIRST_NAMES: list[str] = _WORDS["first_names"]
LAST_NAMES: list[str] = _WORDS["last_names"]
DOMAINS: list[str] = _WORDS["domains"]
GOOGLE_PROXIED: list[str] = _WORDS["proxied_by_google"]
YAHOO_PROXIED: list[str] = _WORDS["proxied_by_yahoo"]
SCANNED: list[str] = _WORDS["scanned"]
COUNTRIES: list[tuple[str, float, int]] = _WORDS["countries"]
FAILURES: list[tuple[int, int, str, int]] = _WORDS["failures"]
COMPLAINT = len(FAILURES) - 1
EXCLUSION_RULES: dict[int, float] = {int(code): share for code, share in _WORDS["exclusion_rules"].items()}
NETWORKS: dict[str, float] = _WORDS["networks"]
PROGRAMMES: list[tuple[int, str, str]] = _WORDS["programmes"]
CAMPAIGNS: list[tuple[int, str, str, int, int]] = _WORDS["campaigns"]
FOLDERS: list[tuple[int, int, str, str]] = _WORDS["folders"]
BELONGING: dict[str, tuple[int, int]] = _WORDS["belonging"]
MAILBOXES: tuple[str, str] = tuple(_WORDS["mailboxes"])


@dataclass(frozen=True)
class Motif:
    """The words and colours of one message."""

    label: str
    subject: str
    title: str
    lead: str
    products: tuple[str, str, str, str]
    dark: str
    light: str


LETTERS, OFFERS = ([Motif(**words) for words in _WORDS[kind]] for kind in ("letters", "offers"))
HOSTILE, SILENT = (Motif(**_WORDS[kind]) for kind in ("hostile", "silent"))
