"""The documentation: its code runs, its commands exist, and each quick start gives the figures of its story."""

import contextlib
import importlib.util
import re
import shlex
import subprocess
from pathlib import Path
from types import ModuleType

import click
import pytest

from trackkit.cli import app
from trackkit.sources import formats

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(page.read_text("utf-8")) if name == language]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quick_starts_give_the_figures_of_their_story(generate):
    """Each sample tells of ann, who opened and clicked, bob, who opened, and cleo, who bounced."""
    pages = dict(generate.quick_starts())
    told = {}
    for path, text in pages.items():
        figures = re.search(r"^\| delivered .*\n\|.*\n\| (.*) \|$", text, re.MULTILINE)
        if figures:
            told[Path(path).stem] = [cell.strip() for cell in figures[1].split("|")]
    whole = ["2", "1", "2", "1", "1", "0.5"]
    without_reason = ["2", "0", *whole[2:]]  # its bounces do not say whether they are hard
    hits_alone = ["", "", "2", "1", "", ""]
    others = {
        "adobe_access_log": ["", "", "2", "0", "", ""],  # what a click was, the table of links says
        "listmonk_access_log": hits_alone, "mailchimp_api": ["", "", "2", "1", "", ""],
        "mailchimp_webhooks": ["", "", "", "0", "", ""], "mautic_access_log": ["", "", "2", "", "", ""],
        "pardot": without_reason, "salesforce_ens": without_reason, "sparkpost_access_log": ["", "", "", "", "", ""],
    }  # fmt: skip
    assert told == {name: others.get(name, whole) for name in told}
    assert len(told) + 2 == len(formats()) - 3, (
        "each format but the platform's own has a page, two of them of databases"
    )
    assert all(f"({name}.md)" in pages["start/index.md"] for name in told)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_a_page_names_exists(page):
    for text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            for written in line.partition(" # ")[0].split("&&"):
                words = shlex.split(written)
                if words[:1] != ["trackkit"]:
                    continue
                command: click.Command = app
                context = click.Context(app, info_name="trackkit")
                rest = words[1:]
                while isinstance(command, click.Group):
                    name, command, rest = command.resolve_command(context, rest)
                    assert command is not None, line
                    context = click.Context(command, info_name=name, parent=context)
                command.make_context(command.name, [word for word in rest if word != "…"], parent=context.parent)


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> Path:
    """The folder of somebody who followed the tutorial, command by command."""
    folder = tmp_path_factory.mktemp("tutorial")
    with contextlib.chdir(folder):
        for line in "".join(blocks(ROOT / "docs" / "tutorial.md", "sh")).splitlines():
            words = shlex.split(line)
            if words[0] == "trackkit":
                app(words[1:], standalone_mode=False)
            else:
                subprocess.run(line, shell=True, check=True)
    return folder


def test_the_tutorial_ends_with_a_changed_report(followed):
    (page,) = (followed / "reports").glob("overview-7471418*.html")
    assert re.search(r">\s*Read\s*<", page.read_text("utf-8")) and (followed / "reports" / "index.html").exists()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_on_a_page_runs_from_top_to_bottom(page, followed, tmp_path):
    (tmp_path / "store").symlink_to(followed / "store")
    names: dict[str, object] = {}
    with contextlib.chdir(tmp_path):
        exec("import trackkit as tk\nstore = tk.open_store('store')", names)
        for text in blocks(page, "python"):
            code = compile(text, page.name, "exec")
            if page.stem not in ("spark", "exploring", "operate"):  # these have tests of their own
                exec(code, names)
