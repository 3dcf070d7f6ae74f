"""Whose notebooks and templates count: those of a named project, never those that happen to lie in a folder."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from trackkit import copies, resources
from trackkit.cli import app
from trackkit.errors import RequestError
from trackkit.project import VARIABLE, Project, current
from trackkit.report import REPORTS

TEMPLATE = "reports_templates/bounces.toml"


def trackkit(folder: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trackkit", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def worded(folder: Path, title: str) -> Path:
    """A template of one's own in a folder."""
    path = folder / TEMPLATE
    path.parent.mkdir(parents=True, exist_ok=True)
    shipped = (resources.shipped() / TEMPLATE).read_text("utf-8")
    path.write_text(re.sub(r'^title = ".*"', f'title = "{title}"', shipped, count=1, flags=re.MULTILINE), "utf-8")
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_project_is_found_upwards_and_files_outside_one_are_not_used(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worded(here, "Mine")
    assert REPORTS["bounces"].title != "Mine" and current() is None
    assert resources.not_used() == "Not used: reports_templates/ here; `trackkit init .` makes this folder a project."
    (here / "trackkit.toml").touch()
    (here / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(here / "a" / "b")
    assert REPORTS["bounces"].title == "Mine" and resources.not_used() == ""
    monkeypatch.setenv(VARIABLE, "")
    assert REPORTS["bounces"].title != "Mine"
    monkeypatch.chdir("/")
    monkeypatch.setenv(VARIABLE, str(here))
    assert REPORTS["bounces"].title == "Mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_project_of_another_user_must_be_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write to /tmp would decide what runs in /tmp/mine."""
    (here / "trackkit.toml").touch()
    os.chown(here / "trackkit.toml", 12345, -1)
    with pytest.raises(RequestError, match=r"belongs to another user: if you trust .*`--project"):
        current()
    monkeypatch.setenv(VARIABLE, str(here))
    assert current() is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('stroe = "x"', "key 'stroe': there is no such key. Did you mean 'store'?"),
        ('timezone = "Europe/Pari"', "there is no time zone 'Europe/Pari'. Did you mean 'Europe/Paris'?"),
        ('languages = "en"', "key 'languages': 'en' is not a list of names"),
        ("keep = 0", "key 'keep': '0' is not a whole number from 1"),
        ('templates = "none"', "key 'templates': there is no folder"),
        ("store =", "it is not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_the_nearest_word(here: Path, text: str, said: str) -> None:
    (here / "trackkit.toml").write_text(text)
    project = current()
    assert project
    with pytest.raises(RequestError, match=re.escape(said)):
        _ = project.templates


def test_commands_take_their_options_from_the_project_and_say_so(
    demo_store: Path, delivery: str, tmp_path: Path
) -> None:
    """A page made from another folder, as cron does, is the one made in the project's."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    elsewhere.mkdir()
    trackkit(tmp_path, "init", "project", "--only", "bounces")
    text = (project / "trackkit.toml").read_text("utf-8")
    settled = f'store = "{os.path.relpath(demo_store, project)}"\nout = "pages"\nlanguages = ["pt_BR", "en"]\n'
    (project / "trackkit.toml").write_text(f'{text}\n{settled}timezone = "Asia/Kathmandu"\nformats = ["html", "csv"]\n')
    worded(project, "Our own words")
    made = trackkit(elsewhere, "--project", project, "render", "bounces", "--delivery", delivery)
    assert made.stderr == f"Project {project}: its own {TEMPLATE}.\n"
    pages = [Path(elsewhere, line) for line in made.stdout.splitlines()]
    assert [page.suffix for page in pages] == [".html", ".zip"] and pages[0].parent.resolve() == project / "pages"
    page = pages[0].read_text("utf-8")
    assert "Our own words" in page and 'lang="pt-BR"' in page and "Asia/Kathmandu" in page
    other = trackkit(project, "render", "bounces", "--delivery", delivery, "--lang", "en", "--format", "html")
    assert 'lang="en"' in Path(project, other.stdout.strip()).read_text("utf-8")
    assert trackkit(project / "pages", "measure", "--metrics", "delivered", "--output", "csv").stdout.count("\n") > 1


def test_a_run_outside_a_project_says_what_it_does_not_use(demo_store: Path, delivery: str, tmp_path: Path) -> None:
    """The notebook of a shared folder is not run, nor is a module in it."""
    book = tmp_path / "notebooks" / "reports" / "bounces.ipynb"
    book.parent.mkdir(parents=True)
    book.write_text("not a notebook")
    (tmp_path / "altair.py").write_text("raise SystemExit('run')")
    code = "import sys; sys.path.remove('') if '' in sys.path else None; from trackkit.cli import main; main()"
    command = ["render", "bounces", "--store", str(demo_store), "--out", "out", "--delivery", delivery]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Not used: notebooks/ here; `trackkit init .`" in done.stderr and done.stdout.startswith("out/bounces-")
    assert trackkit(tmp_path, "--verbose", "reports").stderr.startswith(
        "No project: notebooks and templates as shipped."
    )


# ---- upgrades ----


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package, whose files a test may change as a new version would."""
    folder = tmp_path / "package"
    for name in ("reports_templates", "notebooks/reports"):
        (folder / name).mkdir(parents=True)
    for name in ("one", "two", "three", "four"):
        (folder / f"reports_templates/{name}.toml").write_text(f"{name} 1")
    (folder / "notebooks/reports/one.ipynb").write_text("{}")
    monkeypatch.setattr(copies, "shipped", lambda: folder)
    return folder


def test_an_upgrade_keeps_what_was_changed_and_names_what_both_changed(shipped: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    written, kept = copies.copy_out(project)
    assert len(written) == 6 and kept == [] and copies.upgrade(project) == []
    mine, theirs = project / "reports_templates", shipped / "reports_templates"
    (mine / "two.toml").write_text("two of mine")  # changed here alone
    (theirs / "one.toml").write_text("one 2")  # changed there alone
    (mine / "three.toml").write_text("three of mine")  # changed on both sides
    (theirs / "three.toml").write_text("three 2")
    (theirs / "four.toml").unlink()
    (theirs / "five.toml").write_text("five")  # new: the shipped one is used
    told = copies.upgrade(project)
    assert [re.sub(r"\S*/", "", sentence) for sentence in told] == [
        "Removed four.toml, which this version ships no more.",
        "Upgraded one.toml",
        "Kept three.toml: you changed it and so did this version; merge the new one, three.toml.new, by hand.",
    ]
    assert {path.name: path.read_text() for path in mine.iterdir()} == {
        "one.toml": "one 2", "two.toml": "two of mine", "three.toml": "three of mine", "three.toml.new": "three 2",
    }  # fmt: skip
    assert copies.upgrade(project) == [], "what was told once is the analyst's"
    assert copies.own_files(Project(project)) == ["reports_templates/three.toml", "reports_templates/two.toml"]


def test_a_copy_without_a_lock_is_taken_for_changed(shipped: Path, tmp_path: Path) -> None:
    """As in a folder that an earlier version of trackkit filled."""
    copies.copy_out(tmp_path / "project")
    (tmp_path / "project" / "trackkit.lock").unlink()
    (shipped / "reports_templates" / "one.toml").write_text("one 2")
    (told,) = copies.upgrade(tmp_path / "project")
    assert told.startswith("Kept ") and (tmp_path / "project/reports_templates/one.toml").read_text() == "one 1"
    digest = hashlib.sha256(b"two 1").hexdigest()[:16]
    assert (
        json.loads((tmp_path / "project/trackkit.lock").read_text())["shipped"]["reports_templates/two.toml"] == digest
    )


def test_one_report_is_copied_and_a_language_begun(here: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["init", ".", "--only", "bounces"]).output.split() == [
        "trackkit.toml", "notebooks/reports/bounces.ipynb", TEMPLATE,
    ]  # fmt: skip
    assert "Did you mean 'bounces'" in str(run(app, ["init", ".", "--only", "bouncs"]).exception)
    begun = run(app, ["init", "--language", "pt_BR"])
    assert re.fullmatch(r"\S+/reports_templates/locales/pt_BR.po: 0 sentences to translate.*\n", begun.output)
    assert "is no language" in str(run(app, ["init", "--language", "french"]).exception)
    assert "Nothing to upgrade" in run(app, ["init", "--upgrade"]).output
    shutil.rmtree(here / "reports_templates")
    (here / "trackkit.toml").unlink()
    assert "There is no trackkit.toml here or above" in str(run(app, ["init", "--upgrade"]).exception)
