"""One reader of the TOML files that people write: themes, lists, thresholds, templates, formats, retention.

Each file has a model. What does not fit is named by file, section and key, with the nearest word that would work. A
type says what would work in its `Field(description=…)`, which follows the fault.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from trackkit.errors import RequestError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)
SHOWN = 80  # characters of a wrong value
FROM_0, FROM_1 = range(2**63), range(1, 2**63)  # whole numbers that a parameter takes


class Strict(BaseModel):
    """Settings of a file: no key is ignored, none changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file, where, and what would work."""

    path: str
    section: str
    key: str
    message: str

    def __str__(self) -> str:
        place = [self.path, self.section and f"section {self.section!r}", self.key and f"key {self.key!r}"]
        return f"{', '.join(part for part in place if part)}: {self.message}"


def read(path: Path, model: type[Model]) -> Model:
    """Return the settings of a file, read again once it has changed; RequestError says the first thing wrong."""
    try:
        changed_at = path.stat().st_mtime_ns
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}.") from None
    return _read(path, model, changed_at)  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _read(path: Path, model: type[BaseModel], changed_at: int) -> BaseModel:
    found, problems = parse(path, model)
    if found is None:
        raise RequestError(str(problems[0]))
    return found


def parse(path: Path, model: type[Model], context: Any = None) -> tuple[Model | None, list[Problem]]:
    """Return the settings of a file, or all that is wrong with it, the likeliest cause first.

    `context` is what validators of the model are given.
    """
    written: dict[str, Any] = {}
    try:
        written = tomllib.loads(path.read_text("utf-8-sig"))
        return model.model_validate(written, context=context), []
    except ValidationError as error:
        # A misspelt key is the cause of the missing one; of a value that may have several shapes, the nearest is meant.
        # Of those, one that a validator of ours refused was of the right type.
        faults = sorted(error.errors(), key=_likelihood)
        return None, [_problem(path, model, written, dict(fault)) for fault in faults]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return None, [Problem(str(path), "", "", f"it is not TOML: {error}.")]
    except OSError as error:
        return None, [Problem(str(path), "", "", f"it cannot be read: {error.strerror}.")]


def _likelihood(fault: Mapping[str, Any]) -> tuple[bool, int, bool]:
    return fault["type"] == "missing", -len(fault["loc"]), fault["type"] != "value_error"


def _problem(path: Path, model: type[BaseModel], written: Any, fault: dict[str, Any]) -> Problem:
    keys = list(_keys(written, fault["loc"], fault["type"] in ("missing", "extra_forbidden")))
    known, advice = _expected(model, keys)
    section, within = _section(written, keys)
    message = _message(fault, str(keys[-1]) if keys else "", known, advice)
    return Problem(str(path), section, ".".join(map(str, within)), message)


def _keys(written: Any, location: Sequence[int | str], is_of_key: bool) -> Iterator[int | str]:
    """Yield what stands in the file of a place as pydantic names it: not the names of types that were tried."""
    for place, part in enumerate(location):
        is_item = isinstance(written, list) and isinstance(part, int) and part < len(written)
        if is_item or (isinstance(written, Mapping) and part in written):
            written = written[part]
        elif place < len(location) - 1 or not is_of_key:
            continue
        yield part


def _expected(model: Any, keys: list[int | str]) -> tuple[list[str], str]:
    """Return which keys may stand where the last one does, and what its type says would work."""
    level, known, advice = [model], [], ""
    for key in keys:
        models = [one for one in level if isinstance(one, type) and issubclass(one, BaseModel)]
        known = [name for one in models for name in one.model_fields]
        fields = [one.model_fields[key] for one in models if key in one.model_fields]
        inner = [get_args(one)[-1] for one in level if get_origin(one) in (dict, list, tuple)]
        advice = next((field.description for field in fields if field.description), "")
        level = []
        for one in [*(field.annotation for field in fields), *inner]:
            parts = list(_alternatives(one))
            level += [part for part, _ in parts]
            advice = advice or next((said for _, said in parts if said), "")
    return known, advice


def _alternatives(kind: Any) -> Iterator[tuple[Any, str]]:
    """Yield each type that a value may have, with what its `Field` says would work."""
    if get_origin(kind) is Annotated:
        of, *notes = get_args(kind)
        said = next((note.description for note in notes if isinstance(note, FieldInfo) and note.description), "")
        yield from ((one, said or inner) for one, inner in _alternatives(of))
    elif get_origin(kind) in (dict, list, tuple, Literal) or not get_args(kind):
        yield kind, ""
    else:
        for one in get_args(kind):
            yield from _alternatives(one)


def _section(written: Any, keys: list[int | str]) -> tuple[str, list[int | str]]:
    """Of `[[section]]` and `[[table]]`, the name that one of them has, or its number; and the keys within it."""
    if len(keys) < 2 or not isinstance(keys[1], int) or not isinstance(written[keys[0]], list):
        return "", keys
    one = written[keys[0]][keys[1]]
    name = one.get("name") if isinstance(one, Mapping) else None
    return (str(name or keys[1] + 1), keys[2:]) if keys[0] in ("section", "table") else ("", keys)


def _message(fault: dict[str, Any], word: str, known: list[str], advice: str) -> str:
    got = repr(str(fault["input"])[:SHOWN])
    match fault["type"]:
        case "extra_forbidden":
            return f"there is no such key.{did_you_mean(word, known)}"
        case "missing":
            return "it is needed and is not there."
        case "literal_error":
            words = re.findall(r"'([^']+)'", fault["ctx"]["expected"])
            return f"{got} is not known.{did_you_mean(str(fault['input']), words)}"
        case "value_error":
            text = str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
            return text if text.endswith("?") else f"{text}."
    return f"{got} is not {advice}." if advice else f"{fault['msg']}, got {got}."
