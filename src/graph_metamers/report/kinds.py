"""What is told and drawn of each kind of input that may vary: one table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes

from graph_metamers.report.glossary import SENTENCES
from graph_metamers.report.pictures import Crop, plot_features
from graph_metamers.report.structure import adjacency, plot_adjacency, plot_degrees
from graph_metamers.result import Metamer


@dataclass(frozen=True)
class Kind:
    """How one kind of input is told and drawn.

    Attributes:
        crop: The part of both graphs that the pictures show.
        plot: Draws one of the three pictures.
        noun: What varied.
        stays: What stayed.
        caution: What its similarity does not show.
        why: The reason.
        picture: What rows and columns of a picture are.
        together: The score of all rows together.
        row: How a row is compared with its own in the reference; empty where it cannot be.
        curves: Further plots, by name.
    """

    crop: Callable[..., Crop]
    plot: Callable[..., Axes]
    noun: str
    stays: str
    caution: str
    why: str
    picture: str
    together: str = ""
    row: str = ""
    curves: tuple[tuple[str, Callable[..., Axes]], ...] = ()


WORDS: Final[dict[str, Any]] = SENTENCES["kinds"]
KINDS: Final = {
    "features": Kind(Crop.of, plot_features, **WORDS["features"]),
    "structure": Kind(
        adjacency, plot_adjacency, **WORDS["structure"], curves=(("degrees", plot_degrees),)
    ),
    "weights": Kind(adjacency, plot_adjacency, **WORDS["weights"]),
}


def first_kind(m: Metamer) -> Kind:
    """The kind of the first input that varied."""
    return KINDS[next(iter(m.varied.values()))]


def kinds_of(metamers: Iterable[Metamer]) -> list[Kind]:
    """The kinds of all that varied, each once."""
    return [KINDS[name] for name in dict.fromkeys(k for m in metamers for k in m.varied.values())]


def compared_units(m: Metamer) -> str:
    """What the rows of `Metamer.row_similarity` are."""
    inputs, at = m.original, next(iter(m.varied))
    if not at.endswith("edge_index"):
        return inputs.units_of(at).noun
    return " and ".join(f"{kind} nodes".strip() for kind in dict.fromkeys(inputs.ends(at)))
