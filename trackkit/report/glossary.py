"""The page of all definitions, by subject: what each metric means, is made of, and where that comes from."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trackkit import __version__, resources
from trackkit.language import SOURCE, require_language, say, speech, tag, translatable
from trackkit.metrics import METRICS, where_of
from trackkit.report.html_page import policy
from trackkit.report.template import SKIN
from trackkit.show.definitions import entries
from trackkit.show.theme import page_style, theme

PAGE = "definitions.html.j2"
SCRIPT = "glossary.js"


SUBJECTS = translatable(
    {
        "sending": "Sending and bounces",
        "opens": "Opens",
        "clicks": "Clicks",
        "refusals": "Opt-outs and complaints",
        "site": "Site & sales",
        "others": "Other senders' definitions",
    }
)
OF_HITS = {"opened": "opens", "clicked": "clicks", "mirror_page": "clicks", "unsubscribed": "refusals"}


def glossary_name(lang: str = "en") -> str:
    """Return the file name of the page in a language.

    >>> glossary_name(), glossary_name("pt_BR")
    ('glossary.html', 'glossary-pt_BR.html')
    """
    return "glossary.html" if lang == SOURCE else f"glossary-{lang}.html"


def subject_of(name: str) -> str:
    """Return what a metric is about, of `SUBJECTS`: what it counts, or its numerator does.

    >>> subject_of("open_rate"), subject_of("complaint_rate"), subject_of("amount_per_message")
    ('opens', 'refusals', 'site')
    """
    metric = METRICS[name]
    if not metric.by_default:
        return "others"
    while metric.parents:
        metric = METRICS[metric.parents[0]]
    where = where_of(metric.formula)
    if metric.source in ("delivery", "message"):
        return "refusals" if "is_complaint" in where else "sending"
    return OF_HITS.get(str(next(iter(where.get("event_type", ("opened",))))), "site")


def _by_subject(lang: str) -> list[dict[str, Any]]:
    """The definitions by what they are about; subjects without any are left out."""
    groups: dict[str, list[str]] = {key: [] for key in SUBJECTS}
    for name in METRICS:
        groups[subject_of(name)].append(name)
    return [
        {"key": key, "title": say(SUBJECTS[key], lang), "glossary": entries(names, lang)}
        for key, names in groups.items()
        if names
    ]


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
        "groups": _by_subject(lang),
        "count": len(METRICS),
        "version": __version__,
        "lang": tag(lang),
    }
    return resources.write_whole(folder / glossary_name(lang), environment.get_template(PAGE).render(page=page))
