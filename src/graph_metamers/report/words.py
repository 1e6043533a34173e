"""The words that plots, tables and pages share; the sentences are in `templates/sentences.toml`."""

import math
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graph_metamers.measure import DISTANCES, Outcome
from graph_metamers.report.page import TEMPLATES
from graph_metamers.result import Metamer
from graph_metamers.similarity import PROGRESS
from graph_metamers.task import as_task

NULLS: Final = {"start": "random starts", "other": "other graphs"}
SENTENCES: Final[dict[str, dict[str, dict[str, str]]]] = tomllib.loads(
    (TEMPLATES / "sentences.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Score:
    """A score explained: its name, what plots call it, what it is, and what is high and low."""

    title: str
    symbol: str = ""
    meaning: str = ""
    reading: str = ""
    formula: str = ""
    undefined: str = "undefined in at least one run"


@dataclass(frozen=True)
class Kind:
    """What is told of a kind of input that may vary.

    Attributes:
        noun: What varied.
        stays: What stayed.
        caution: What its similarity does not show.
        why: The reason.
        picture: What rows and columns of a picture are.
        together: The score of all rows together.
        row: How a row is compared with its own in the reference; empty where it cannot be.
    """

    noun: str
    stays: str
    caution: str
    why: str
    picture: str
    together: str = ""
    row: str = ""


KINDS: Final = {name: Kind(**words) for name, words in SENTENCES["kinds"].items()}


def kinds_of(metamers: Iterable[Metamer]) -> list[Kind]:
    """The kinds of all that varied, each once."""
    return [KINDS[name] for name in dict.fromkeys(k for m in metamers for k in m.varied.values())]


def first_kind(m: Metamer) -> Kind:
    """The kind of the first input that varied."""
    return KINDS[next(iter(m.varied.values()))]


def compared_units(m: Metamer) -> str:
    """What the rows of `Metamer.row_similarity` are."""
    inputs, at = m.original, next(iter(m.varied))
    if not at.endswith("edge_index"):
        return inputs.units_of(at).noun
    return " and ".join(f"{kind} nodes".strip() for kind in dict.fromkeys(inputs.ends(at)))


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
        "nulls": " and ".join(f"{len(null)} {NULLS[name]}" for name, null in m.nulls.items()),
        "agreement": m.agreement,
        "answers": m.original.units(m.row_agreement).noun,
        "title": as_task(m.task).agreement_title,
    }
    return text.format(**words)


def outcome_of(m: Metamer, graph: int | None = None) -> Outcome:
    """The outcome of a run, or of one graph of its batch."""
    return m.outcome if graph is None else Outcome(m.items[graph]["outcome"])


def noun(m: Metamer, graph: int | None = None) -> str:
    """What a run ended at: only what matched is a metamer."""
    return "metamer" if outcome_of(m, graph) is Outcome.MATCHED else "graph found"


def error(m: Metamer) -> float:
    """The error that decides: FVU, or Eq. 5 where the layer has no spread."""
    return m.fvu if math.isfinite(m.fvu) else m.activation_error


def error_name(group: Sequence[Metamer]) -> str:
    """What `error` is in these runs."""
    by_fvu = any(math.isfinite(m.fvu) for m in group)
    return "FVU" if by_fvu else "activation error (Eq. 5)"


def similarity_name(m: Metamer) -> str:
    """The score that says best how similar the graph is, as the run's trail does."""
    kind = next(iter(m.varied.values()))
    return PROGRESS.get(kind) or next(iter(m.symbols))


def similarity_symbol(m: Metamer) -> str:
    """That score's symbol; of inputs of several kinds the mean is of all of theirs."""
    return "similarity" if len(set(m.varied.values())) > 1 else m.symbols[similarity_name(m)]


def run_title(m: Metamer, show: str, graph: int | None = None) -> str:
    """The title of a picture of one run, or of one graph of its batch."""
    if show == "reference":
        return "Reference"
    what = "Difference" if show == "difference" else noun(m, graph).capitalize()
    return f"{what}, seed {m.seed}: {outcome_of(m, graph).text}"
