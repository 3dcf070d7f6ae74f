"""docs/operate.md: each recipe is well formed, and its commands have the options that they use."""

import configparser
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from trackkit.arguments import for_click
from trackkit.cli import app
from trackkit.settings import Settings

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "operate.md").read_text("utf-8")
FIELD = r"(?:\*|\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)(?:/\d+)?"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found


def commands(text: str) -> list[list[str]]:
    """The calls of trackkit in a text: of shells, and as lists of words."""
    text = text.replace(" 2>>", " >>")
    plain = [shlex.split(line) for line in re.findall(r"(?<![\w/`\"-])trackkit ((?:[\w./:=-]|[ ,])+)", text)]
    listed = re.findall(r'"trackkit", ((?:"[^"]*"(?:, )?)+)', text) + re.findall(r"(?:args: |CMD )\[(.*)\]", text)
    return [*plain, *(re.findall(r'"([^"]*)"', words) for words in listed)]


def resolved(words: list[str]) -> None:
    """Fail as click does if a command or one of its options is not there; nothing is run."""
    group: Any = app
    context = click.Context(app, info_name="trackkit")
    rest = app.make_parser(context).parse_args(for_click(words))[1]
    while isinstance(group, click.Group) and rest:
        name, command, rest = group.resolve_command(context, rest)
        assert command, name
        group, context = command, click.Context(command, info_name=name, parent=context)
        _, rest, _ = command.make_parser(context).parse_args(list(rest))


SHELL = [*blocks("cron"), *blocks("ini"), *blocks("yaml"), *blocks("dockerfile"), *blocks("python")]
SHELL += re.findall(r"(?m)^    (trackkit .*?)(?:#.*)?$", TEXT) + re.findall(r"`(trackkit [^`]+)`", TEXT)
CALLS = [words for text in SHELL for words in commands(text)]


def test_there_are_commands_to_be_checked() -> None:
    assert len(CALLS) > 15 and {"run", "ingest", "store", "init", "check"} <= {
        word for words in CALLS for word in words
    }


@pytest.mark.parametrize("words", CALLS, ids=" ".join)
def test_every_command_and_option_is_there(words: list[str]) -> None:
    resolved(words)
    with pytest.raises(click.ClickException):
        resolved([*words, "--no-such-option"])


def test_the_settings_are_those_of_a_project() -> None:
    (text,) = blocks("toml")
    assert Settings.model_validate(tomllib.loads(text)).languages == ["en", "pt_BR"]


def test_the_lines_of_cron_are_lines_of_cron() -> None:
    (text,) = blocks("cron")
    for line in text.splitlines():
        assert re.fullmatch(rf"[A-Z]+=\S+|(?:{FIELD} ){{5}}\S.*", line) and "%" not in line, line
    for cron in re.findall(r'(?:cron|schedule|cron_schedule)[=:] ?"([^"]+)"', TEXT):
        assert re.fullmatch(rf"{FIELD}(?: {FIELD}){{4}}", cron), cron


def test_units_are_units(tmp_path: Path) -> None:
    for text in blocks("ini"):
        name = re.match(r"# /etc/systemd/system/(\S+)", text)
        assert name
        (tmp_path / name[1]).write_text(text)
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(text)
        assert "Unit" in parser
    if shutil.which("systemd-analyze"):
        units = sorted(map(str, tmp_path.iterdir()))
        done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
        assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line], done.stderr


def test_workflows_and_jobs_are_yaml() -> None:
    actions, job = map(yaml.safe_load, blocks("yaml"))
    assert actions["jobs"]["run"]["steps"] and actions[True]["schedule"][0]["cron"]  # YAML reads `on` as true
    assert job["kind"] == "CronJob" and job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]


def test_recipes_in_python_compile() -> None:
    for text in blocks("python"):
        compile(text, "operate.md", "exec")


def test_the_codes_are_those_of_the_help() -> None:
    from trackkit.exit_codes import CODES

    listed = re.findall(r"(?m)^\| (\d+) \|", TEXT)
    assert listed == re.findall(r"(\d+) [a-z]", CODES) == ["0", "1", "2", "3", "4", "5", "130"]
