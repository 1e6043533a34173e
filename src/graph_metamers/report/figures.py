"""A plot as inline SVG that takes its ink from the page, light or dark."""

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.style
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from graph_metamers.errors import InputError
from graph_metamers.report.style import INK, MUTED, PAPER, RULE, styled

# Text stays text, in the page's own font; ids depend on nothing but the content.
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "graph-metamers", "axes.formatter.use_mathtext": 0}
DRAWN = {"svg", "defs", "g", "path", "clipPath", "rect", "use", "text", "tspan", "image"}
PAGE_COLORS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
}


def inline_svg(
    draw: Callable[[Axes], object], alt: str, name: str, width: float = 3.5, height: float = 2.7
) -> Markup:
    """Draw on axes of a figure of their own, and return it as an `<svg>` element.

    Args:
        draw: Draws on the axes it is given.
        alt: What the picture shows, for those who cannot see it.
        name: Unique on the page; keeps the ids of several pictures apart.
        width: In inches. Text is 8 points, so a figure this narrow is legible on a phone.
        height: In inches.
    """
    # The reader's page must not depend on the user's style; pyplot is never imported.
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # Only matplotlib's estimate of widths lacks the glyph; the browser has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(styled(figure.add_subplot()))
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True)
    return adapted(buffer.getvalue(), alt, name)


def plain_svg(path: Path) -> str:
    """An SVG file's text, without anything that runs or leads elsewhere.

    Raises:
        InputError: It is no SVG file.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"'{path}' must be an SVG picture ({error}). Remove it, and it is drawn anew."
        ) from error
    for element in root.iter():
        for child in list(element):
            if child.tag.rpartition("}")[2] not in DRAWN:
                element.remove(child)
        for name, value in list(element.items()):
            link = name.rpartition("}")[2] == "href"
            elsewhere = link and not value.startswith(("#", "data:image/png;"))
            if elsewhere or name.startswith("on"):
                del element.attrib[name]
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return ElementTree.tostring(root, encoding="unicode")


def adapted(svg: str, alt: str, name: str) -> Markup:
    """An SVG file's text as an element of a page: in its ink, and with ids of its own."""
    box = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r' font-family: [^;"]*;?', "", body)
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{name}-", body)
    for color, variable in PAGE_COLORS.items():
        body = body.replace(color, variable)
    opening = f'<svg class="plot" role="img" aria-label="{escape(alt)}" {box[0] if box else ""}>'
    return Markup(opening + re.sub(r"\n\s*", "\n", body))
