"""How a command ends: one sentence on stderr, and an exit code."""

import os
import sys
from contextlib import suppress
from typing import Any

import click

from trackkit.errors import DataError, RequestError, TrackkitError
from trackkit.failures import refused_by_system
from trackkit.terminal import print_notice, print_text

CODES = (
    "Exit codes: 0 done, 1 trackkit stumbled, 2 the request is wrong or the system refused it, 3 the data is refused, "
    "4 a report failed, 5 the work is done but the quality of the logs is worse than --fail-on allows, 130 interrupted."
)


def exit_on_verdict(fail_on: str | None, verdict: str, done: str) -> None:
    """Exit with code 5 if the verdict is as bad as `fail_on` or worse; the message says that the work was done."""
    if is_worse(fail_on, verdict):
        print_notice(f"{done}, and the quality of the logs is {verdict!r}: --fail-on {fail_on} gives exit code 5.")
        raise click.exceptions.Exit(5)


def is_worse(fail_on: str | None, verdict: str) -> bool:
    """Whether a verdict is as bad as `fail_on` or worse; never without one."""
    from trackkit.quality import VERDICTS

    return bool(fail_on) and VERDICTS.index(verdict) >= VERDICTS.index(str(fail_on))


def exit_if_unread(report: Any) -> None:
    """Exit with code 3 if nothing of a source could be read; print each unreadable source or file with its reason."""
    unread_sources = {path: f"Nothing of {path!r} could be read: {why}" for path, why in report.failures.items()}
    for sentence in (unread_sources | report.unreadable).values():
        print_notice(f"Error: {sentence}")
    if unread_sources:
        raise click.exceptions.Exit(3)


def report_error(error: Exception) -> int:
    """Print an error in one sentence on stderr, and return its exit code."""
    if isinstance(error, click.exceptions.Abort):
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print_text(error.format_message(), sys.stderr)
        return 2
    if isinstance(error, click.ClickException):
        sentence, code = error.format_message(), 2
    elif isinstance(error, TrackkitError):
        sentence, code = str(error), error.exit_code
    else:
        sentence, code = f"trackkit stumbled: {type(error).__name__}: {error} (--debug shows where)", 1
    print_notice(f"Error: {sentence}")
    return code


def cause_of(error: Exception, store: str | None) -> Exception:
    """Return the cause in our own words: a refusal of the system or a damaged file of the store, else the error."""
    if isinstance(error, TrackkitError | click.ClickException | click.exceptions.Abort):
        return error
    from deltalake.exceptions import DeltaError
    from polars.exceptions import PolarsError

    refused = refused_by_system(error)
    if store is not None and isinstance(error, PolarsError | DeltaError | FileNotFoundError):
        from trackkit.store import open_store

        with suppress(RequestError):
            try:
                open_store(store).verify()
            except DataError as damage:
                return damage
    return refused or error


def flush() -> int:
    """Flush stdout, and return the exit code."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            return report_error(refused_by_system(error) or error)
    return 0
