"""The page of all definitions: every metric with its meaning, what it is made of, and where that comes from."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trackkit import __version__, resources
from trackkit.language import SOURCE, require_language, speech, tag
from trackkit.metrics import METRICS
from trackkit.report.html_page import policy
from trackkit.report.template import SKIN
from trackkit.show.definitions import entries
from trackkit.show.theme import page_style, theme

PAGE = "definitions.html.j2"
SCRIPT = "glossary.js"


def glossary_name(lang: str = "en") -> str:
    """Return the file name of the page in a language.

    >>> glossary_name(), glossary_name("pt_BR")
    ('glossary.html', 'glossary-pt_BR.html')
    """
    return "glossary.html" if lang == SOURCE else f"glossary-{lang}.html"


def write_glossary(folder: Path, lang: str = "en") -> Path:
    """Write the page of all definitions beside the reports of a run, in one piece, and return its path.

    It loads nothing, and runs only the script of its filter, named by its hash in its content-security policy. Raises
    RequestError for an unknown language.
    """
    environment = Environment(
        loader=FileSystemLoader([str(place) for place in resources.folders(SKIN)]),
        autoescape=True,
        undefined=StrictUndefined,
    )
    environment.globals |= speech(require_language(lang))
    script = resources.find(f"{SKIN}/{SCRIPT}").read_text("utf-8")
    page = {
        "policy": policy([script]),
        "script": Markup(script),
        "style": Markup(page_style(theme())),
        "glossary": entries(METRICS, lang),
        "version": __version__,
        "lang": tag(lang),
    }
    return resources.write_whole(folder / glossary_name(lang), environment.get_template(PAGE).render(page=page))
