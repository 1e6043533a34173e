"""The fixed sentences of the page, from `templates/sentences.toml`."""

import math
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from graph_metamers.measure import DISTANCES
from graph_metamers.report.page import TEMPLATES
from graph_metamers.report.words import nulls_text
from graph_metamers.result import Metamer
from graph_metamers.task import as_task

SENTENCES: Final[dict[str, dict[str, dict[str, str]]]] = tomllib.loads(
    (TEMPLATES / "sentences.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Score:
    """A score explained.

    Attributes:
        title: Its name.
        symbol: What formulas and plots call it.
        meaning: What it is.
        reading: What is high and what is low.
        formula: Its definition.
        undefined: Why it has no value in a run.
    """

    title: str
    symbol: str = ""
    meaning: str = ""
    reading: str = ""
    formula: str = ""
    undefined: str = "undefined in at least one run"


def explained(name: str, m: Metamer) -> Score:
    """A score in words, with the nouns of a run."""
    distance = DISTANCES.get(name)
    if name in SENTENCES["scores"]:
        words = {key: _filled(text, m) for key, text in SENTENCES["scores"][name].items()}
        return Score(**words | ({"formula": distance.formula} if distance else {}))
    if distance is None:
        unknown = "A distance that is not registered where this page was written."
        return Score(name.replace("_", " ").capitalize(), meaning=unknown)
    most = "∞" if math.isinf(distance.high) else f"{distance.high:g}"
    more = {"high": "higher", "low": "lower"}[distance.alike]
    reading = f"the {more} the more alike; from {distance.low:g} to {most}".replace("-", "−")
    symbol = "" if distance.symbol == distance.formula else distance.symbol
    return Score(distance.title, symbol, "", reading, distance.formula)


def plot_words(name: str, m: Metamer) -> tuple[str, str]:
    """What a plot shows, for those who cannot see it, and its caption."""
    words = SENTENCES["plots"][name]
    return _filled(words["alt"], m), _filled(words["caption"], m)


def _filled(text: str, m: Metamer) -> str:
    if "{" not in text:
        return text
    words: dict[str, Any] = {
        "units": m.units,
        "nulls": nulls_text(m),
        "agreement": m.agreement,
        "answers": m.original.units(m.row_agreement).noun,
        "title": as_task(m.task).agreement_title,
    }
    return text.format(**words)
