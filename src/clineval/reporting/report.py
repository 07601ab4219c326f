"""One self-contained page that a clinician can read, made from what lies in a results folder."""

import base64
import hashlib
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from clineval.evaluation.curves import Curves
from clineval.evaluation.curves import curves as curves_of
from clineval.files import write_whole
from clineval.reporting.artefacts import Artefacts, read_artefacts
from clineval.reporting.content import content

FILE = "report.html"
HERE = Path(__file__).parent


def write_report(folder: Path, *, curves: Curves | None = None) -> Path:
    """Write ``report.html`` from the artefacts in ``folder``; sections without their artefact are left out.

    Parameters
    ----------
    curves : what ``evaluation.curves`` made of the folder's table, where it is at hand; else made anew.

    Raises
    ------
    InputError : the table or the evaluation is missing, of another schema, or altered since it was written.
    """
    artefacts = read_artefacts(folder)
    drawn = curves if curves is not None else curves_of(artefacts.table, artefacts.evaluation)
    path = folder / FILE
    write_whole(path, render(artefacts, drawn))
    return path


def render(artefacts: Artefacts, curves: Curves) -> str:
    """The page as text; the same artefacts give the same text."""
    style, script = _asset("report.css"), _asset("report.js")
    page = _template().render(
        **content(artefacts, curves),
        style=Markup(style),
        script=Markup(script),
        policy=content_policy(style=style, script=script),
    )
    return page


def content_policy(*, style: str, script: str) -> str:
    """What a browser may do with the page: its style and script by their hashes, embedded images, no more."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
        f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja")
