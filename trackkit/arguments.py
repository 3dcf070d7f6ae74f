"""What is typed at the prompt, made ready for click and read: lists, name=value, the deliveries and scopes meant."""

from collections.abc import Iterator
from typing import Any

from trackkit.errors import RequestError

_MULTI_VALUE = {"--delivery": "--delivery", "--scope": "--scope", "--join": "--join", "-p": "-p", "--parameter": "-p"}
_COMMANDS_WITH_ARGUMENT = ("render", "preview")


def for_click(given: list[str]) -> list[str]:
    """Return arguments for click: --project and --verbose first, and one value for each option.

    >>> for_click(["run", "--project", "mine", "--delivery", "1", "2"])
    ['--project', 'mine', 'run', '--delivery', '1', '--delivery', '2']
    """
    first, rest, words = [], [], iter(given)
    for word in words:
        if word == "--project":
            first += [word, *([value] if (value := next(words, None)) is not None else [])]
        elif word in ("--verbose", "--debug") or word.startswith("--project="):
            first.append(word)
        else:
            rest.append(word)
    return [*first, *_repeat_options(rest)]


def _repeat_options(arguments: list[str]) -> list[str]:
    """Let one option take several values: `--delivery 1 2` becomes `--delivery 1 --delivery 2`.

    >>> _repeat_options(["measure", "--delivery", "1", "2", "--store", "s"])
    ['measure', '--delivery', '1', '--delivery', '2', '--store', 's']
    """
    expanded: list[str] = []
    option, value_count = None, 0
    takes_report = bool(arguments) and arguments[0] in _COMMANDS_WITH_ARGUMENT
    for index, word in enumerate(arguments):
        if word.startswith("-") and len(word) > 1:
            option, value_count = _MULTI_VALUE.get(word), 0
        elif option is not None:
            report_follows = takes_report and index > 1 and arguments[1].startswith("-")
            if value_count and not report_follows:
                expanded.append(option)
            value_count += 1
        expanded.append(word)
    return expanded


def comma_list(words: str | None) -> list[str] | None:
    """Split at commas.

    >>> comma_list("a, b"), comma_list(""), comma_list(None)
    (['a', 'b'], [], None)
    """
    return None if words is None else [word.strip() for word in words.split(",") if word.strip()]


def assignments(texts: tuple[str, ...], what: str = "A parameter", form: str = "name=value") -> dict[str, str]:
    """Read `name=value` texts; RequestError for one without a =.

    >>> assignments(("top=5", "where=a=b"))
    {'top': '5', 'where': 'a=b'}
    """
    for text in texts:
        if "=" not in text:
            raise RequestError(f"{what} is given as {form}, not {text!r}.")
    return dict(text.split("=", 1) for text in texts)


def named_deliveries(tables: Any, delivery: tuple[str, ...], scope: tuple[str, ...]) -> list[str] | None:
    """Return the deliveries named by their ids or by scopes; None for all that count."""
    from trackkit.engine.scope import PLATFORM, each_of

    found = each_of(tables, scope)
    if scope and not found:
        raise RequestError(f"There is no {' and no '.join(scope)} in which a delivery counts.")
    if not delivery and any(each.kind == PLATFORM for each in found):
        return None
    return list(dict.fromkeys([*delivery, *(name for each in found for name in each.deliveries)])) or None


def subjects(store: str, delivery: tuple[str, ...], scope: tuple[str, ...]) -> Iterator[tuple[str | None, str | None]]:
    """Yield what pages are asked for: each delivery, then each scope; or one page on neither."""
    from trackkit.engine.scope import GROUPS, every
    from trackkit.store import open_store

    yield from ((name, None) for name in delivery)
    for text in scope:
        found = [each.text for each in every(open_store(store).snapshot(), text)] if text in GROUPS else [text]
        if not found:
            raise RequestError(f"There is no {text} in which a delivery counts.")
        yield from ((None, each) for each in found)
    if not (delivery or scope):
        yield None, None


def store_of(arguments: list[str]) -> str | None:
    """Find the value of `--store` in arguments that may be wrong otherwise, else the store of the project."""
    from trackkit.project_options import setting

    padded = [*arguments, ""]
    return next((padded[index + 1] for index, word in enumerate(arguments) if word == "--store"), setting("store"))
