"""A page from a template, with the scripts that it holds itself."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from graph_metamers.errors import visible

TEMPLATES = Path(__file__).parent / "templates"


def rendered(template: str, **context: Any) -> str:
    """One of the templates, filled in; text is escaped and what is missing an error."""
    page = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(template)
    return visible(page.render(context))


@dataclass(frozen=True)
class Script:
    """A script for a page, and the hash by which the page allows it and no other.

    Attributes:
        text: What stands between the tags, all of it.
        source: How the page's Content-Security-Policy names it in `script-src`.
    """

    text: Markup
    source: str


def inline_script(name: str) -> Script:
    """One of the templates' scripts.

    >>> inline_script("table.js").source.startswith("'sha256-")
    True
    """
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"'sha256-{hashed}'")
