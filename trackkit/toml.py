"""One reader of the TOML files that people write: themes, lists, thresholds, templates, formats, retention.

Each file has a model. Errors name file, section and key, and the nearest valid word. The `Field(description=…)` of a
type says what would be valid, and is appended to the error.
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
    """A model of settings: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Problem:
    """One error in a file: where, what, and what would be valid."""

    path: str
    section: str
    key: str
    message: str

    def __str__(self) -> str:
        place = [self.path, self.section and f"section {self.section!r}", self.key and f"key {self.key!r}"]
        return f"{', '.join(part for part in place if part)}: {self.message}"


def read(path: Path, model: type[Model]) -> Model:
    """Return the settings of a file, cached until it changes; RequestError states the first error."""
    try:
        changed_at = path.stat().st_mtime_ns
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}.") from None
    return _read(path, model, changed_at)  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _read(path: Path, model: type[BaseModel], changed_at: int) -> BaseModel:
    settings, problems = parse(path, model)
    if settings is None:
        raise RequestError(str(problems[0]))
    return settings


def parse(path: Path, model: type[Model], context: Any = None) -> tuple[Model | None, list[Problem]]:
    """Return the settings of a file, or its errors, the likeliest cause first; `context` is for the validators."""
    settings: dict[str, Any] = {}
    try:
        settings = tomllib.loads(path.read_text("utf-8-sig"))
        return model.model_validate(settings, context=context), []
    except ValidationError as error:
        # A misspelt key also causes a missing one. Of a value that may have several types, the deepest error is of the
        # intended one, and an error from one of our validators means that the type was right.
        faults = sorted(error.errors(), key=_likelihood)
        return None, [_problem(path, model, settings, dict(fault)) for fault in faults]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return None, [Problem(str(path), "", "", f"it is not TOML: {error}.")]
    except OSError as error:
        return None, [Problem(str(path), "", "", f"it cannot be read: {error.strerror}.")]


def _likelihood(fault: Mapping[str, Any]) -> tuple[bool, int, bool]:
    return fault["type"] == "missing", -len(fault["loc"]), fault["type"] != "value_error"


def _problem(path: Path, model: type[BaseModel], settings: Any, fault: dict[str, Any]) -> Problem:
    keys = list(_keys(settings, fault["loc"], fault["type"] in ("missing", "extra_forbidden")))
    known, advice = _expected(model, keys)
    section, keys_within = _section(settings, keys)
    message = _message(fault, str(keys[-1]) if keys else "", known, advice)
    return Problem(str(path), section, ".".join(map(str, keys_within)), message)


def _keys(value: Any, location: Sequence[int | str], is_of_key: bool) -> Iterator[int | str]:
    """Yield the parts of pydantic's location that are in the file, without the names of types it tried."""
    for depth, part in enumerate(location):
        is_item = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_item or (isinstance(value, Mapping) and part in value):
            value = value[part]
        elif depth < len(location) - 1 or not is_of_key:
            continue
        yield part


def _expected(model: Any, keys: list[int | str]) -> tuple[list[str], str]:
    """Return the valid keys in place of the last one, and the description of its type."""
    level, known, advice = [model], [], ""
    for key in keys:
        models = [type_ for type_ in level if isinstance(type_, type) and issubclass(type_, BaseModel)]
        known = [name for model in models for name in model.model_fields]
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        inner = [get_args(type_)[-1] for type_ in level if get_origin(type_) in (dict, list, tuple)]
        advice = next((field.description for field in fields if field.description), "")
        level = []
        for annotation in [*(field.annotation for field in fields), *inner]:
            alternatives = list(_alternatives(annotation))
            level += [type_ for type_, _ in alternatives]
            advice = advice or next((description for _, description in alternatives if description), "")
    return known, advice


def _alternatives(kind: Any) -> Iterator[tuple[Any, str]]:
    """Yield each type that a value may have, with its description."""
    if get_origin(kind) is Annotated:
        type_, *notes = get_args(kind)
        description = next((note.description for note in notes if isinstance(note, FieldInfo) and note.description), "")
        yield from ((alternative, description or inner) for alternative, inner in _alternatives(type_))
    elif get_origin(kind) in (dict, list, tuple, Literal) or not get_args(kind):
        yield kind, ""
    else:
        for alternative in get_args(kind):
            yield from _alternatives(alternative)


def _section(settings: Any, keys: list[int | str]) -> tuple[str, list[int | str]]:
    """Return the name of a `[[section]]`, `[[table]]` or `[[group]]`, or else its number, and the keys within it."""
    if len(keys) < 2 or not isinstance(keys[1], int) or not isinstance(settings[keys[0]], list):
        return "", keys
    item = settings[keys[0]][keys[1]]
    name = item.get("name") if isinstance(item, Mapping) else None
    return (str(name or keys[1] + 1), keys[2:]) if keys[0] in ("section", "table", "group") else ("", keys)


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
