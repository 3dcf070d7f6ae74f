"""The rules that tell machines from people: their names, versions and parameters, from a file that analysts edit.

A hit is `human`, `proxy` (a machine that may carry a person) or `scanner` (a machine without one). `store.activity`
applies the rules as deliveries are loaded; `analysis.machines` counts what each of them says.
"""

import hashlib
import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from trackkit import resources, toml
from trackkit.language import translatable
from trackkit.toml import Strict

LIST = "reports_templates/machines.toml"
# Every rule, in the order in which they are tried.
MEANINGS = translatable(
    {
        "O1": "Apple's mail privacy: images fetched whether read or not",
        "O2": "Apple's mail privacy, by its network",
        "O4": "Gmail fetches images ahead",
        "V1": "The sender says: opened by a machine",
        "O3": "Gmail's proxy, when the message is read",
        "O5": "Another provider's proxy, when the message is read",
        "V2": "The sender says: a machine without a person",
        "C4": "A program's user agent",
        "C3": "A link that no reader sees",
        "C8": "An opt-out link in a burst of clicks",
        "C2": "Most links of a message within seconds",
        "C1": "Clicked seconds after sending",
        "C5": "A network of scanners or data centres",
        "C6": "Two networks at once",
        "C7": "One network for many recipients of a domain",
        "O6": "Opened seconds after sending, beside a scanner's click",
    }
)

Weight = Annotated[float, Field(ge=0, le=10)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Whole = Annotated[int, Field(ge=1)]
Words = tuple[Annotated[str, Field(min_length=1)], ...]


class NamedRule(Strict):
    """Any rule: its version."""

    version: Whole


class AgentRule(NamedRule):
    """User agents."""

    agents: Words


class RangeRule(NamedRule):
    """A dated file of address ranges."""

    file: str = ""
    as_of: date | None = None
    unless: Words = ()

    @model_validator(mode="after")
    def _is_dated(self) -> Self:
        if self.file and self.as_of is None:
            raise ValueError("ranges change: give the date of the file, as in as_of = 2026-11-01")
        return self


class EarlyOpenRule(NamedRule):
    """Opens seconds after sending, beside a scanner's click."""

    seconds: Seconds
    near: Seconds
    weight: Weight
    near_weight: Weight


class EarlyClickRule(NamedRule):
    """Clicks seconds after sending."""

    seconds: Seconds
    weight: Weight
    late_seconds: Seconds
    late_weight: Weight
    batch_messages: Whole
    batch_weight: Weight


class BurstRule(NamedRule):
    """Many links within seconds."""

    links: Annotated[int, Field(ge=2)]
    share: Annotated[float, Field(gt=0, le=1)]
    seconds: Seconds
    pace: Seconds
    weight: Weight


class HiddenLinkRule(NamedRule):
    """Links that no reader sees."""

    links: Words = ()
    seconds: Seconds
    weight: Weight


class ProgramRule(AgentRule):
    """User agents of programs, and empty ones."""

    weight: Weight
    always: Words = ()
    empty_weight: Weight


class NetworkRule(NamedRule):
    """Files of address ranges of scanners and data centres."""

    scanners: str = ""
    datacentres: str = ""
    weight: Weight
    datacentre_weight: Weight


class NearRule(NamedRule):
    """Hits seconds apart."""

    seconds: Seconds
    weight: Weight


class CrowdRule(NamedRule):
    """One network for many recipients."""

    recipients: Annotated[int, Field(ge=2)]
    minutes: Whole
    weight: Weight


class ReasonRule(NamedRule):
    """Words of senders."""

    reasons: Words


class Rules(Strict):
    """The rules, by name."""

    enough: Annotated[float, Field(gt=0)]
    O1: AgentRule
    O2: RangeRule
    O3: AgentRule
    O4: AgentRule
    O5: AgentRule
    O6: EarlyOpenRule
    C1: EarlyClickRule
    C2: BurstRule
    C3: HiddenLinkRule
    C4: ProgramRule
    C5: NetworkRule
    C6: NearRule
    C7: CrowdRule
    C8: NamedRule
    V1: ReasonRule
    V2: NamedRule


def rules(path: Path | None = None) -> Rules:
    """Read the rules, the local copy before the shipped one: an attribute for each.

    Raises RequestError naming the file, the key and what would work.

    >>> rules().C1.seconds, rules().C2.links
    (10.0, 3)
    """
    return toml.read(path or resources.find(LIST), Rules)


def version() -> str:
    """Return a digest of the rules that loads follow now; notes and layout in their file do not count.

    >>> len(version())
    12
    """
    known = tomllib.loads(resources.find(LIST).read_text("utf-8"))
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:12]
