"""Metamer: what a search found, with all that was measured of it, and its file."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.digests import digest
from graph_metamers.errors import InputError
from graph_metamers.measure import Verdict, p_value
from graph_metamers.search import Status
from graph_metamers.similarity import symbols_of
from graph_metamers.storage import load_tensors, pack_graph, save_tensors, unpack_graph

SCHEMA = 3


@dataclass(frozen=True, eq=False, repr=False)
class Metamer:
    """A graph that a model takes for another, with all that was measured of it.

    Attributes:
        data: The metamer; `model(metamer.data.x, metamer.data.edge_index)` just works.
        reference: The graph that it is a metamer of.
        layer: The layer at which the activations are matched; several are joined by " + ".
        verdict: Whether it is a metamer: matched, not matched, or impossible (it is proved that
            there is none); `verdict.remedy` says what to do about it.
        status: How the search ended, and `status.remedy` what to do about that.
        activation_error: L_act of the metamer (Eq. 5), the mean over the layers; 0 is perfect.
        layer_errors: L_act at each layer.
        tol: Activation error above which nothing is matched.
        nulls: Activation errors of unrelated graphs, below all of which a match must be: `start`,
            of random starts; `permuted`, of the reference's activations with its nodes permuted;
            `other`, of graphs that were handed in.
        scores: How similar the two graphs are in what varied: `feature_similarity` (Eq. 13); or
            `structure_similarity` (Eq. 16) with `edges_kept`, beside which alone it says
            something, `edge_jaccard`, `degree_distance` and `spectral_distance`; or
            `weight_similarity`. Then `prediction_match` (Eq. 14), `consistency` (Eq. 15),
            `activation_correlation` (Pearson's), `activation_rank_correlation` (Spearman's),
            `activation_snr` in decibels, `node_match` (the share of nodes that match beyond
            chance, which gives 1 %), `output_error` (Eq. 5 of what the model returns); and, with
            `start_` before the name, those of the random start, with which to compare them.
        node_errors: Activation error of each node, [nodes]; None where the activation has no
            row for each node.
        node_similarity: Feature similarity of each node, [nodes]; where edges varied, the share
            of its neighbours in either graph that it has in both.
        predictions_agree: Whether the predicted class is the same, [nodes]; None where the
            output has no row for each node.
        history: Activation error of every graph on the way, the start first.
        trail: Step, activation error and similarity of a few graphs on the way and of this one:
            `feature_similarity`, `edges_kept` or `weight_similarity`.
        steps: Steps taken.
        best_step: Step at which this graph was found.
        seconds: Time that the search took.
        seed: Seed of the random start.
        vary: What varied.
        search: How it was searched.
        notes: Further figures that the search gives, such as `pinned_nodes` of `Exact`; where
            edges varied, `isomorphic`: 1 if the graph is the reference with equal nodes
            exchanged, a trivial metamer, 0 if not, NaN if that is not known; `unchanged`, 1, where
            features or weights are the reference's to rounding.
    """

    data: Data
    reference: Data
    layer: str
    verdict: Verdict
    status: Status
    activation_error: float
    layer_errors: dict[str, float]
    tol: float
    nulls: dict[str, Tensor]
    scores: dict[str, float]
    node_errors: Float[Tensor, " nodes"] | None
    node_similarity: Float[Tensor, " nodes"]
    predictions_agree: Tensor | None
    history: list[float]
    trail: list[tuple[int, float, float]]
    steps: int
    best_step: int
    seconds: float
    seed: int
    vary: str
    search: str
    notes: dict[str, float]

    @property
    def matched(self) -> bool:
        """Whether the verdict is that it is a metamer."""
        return self.verdict is Verdict.MATCHED

    @property
    def shortfall(self) -> str:
        """Why it is no metamer, and what to do about it; empty if it is one."""
        if self.verdict is Verdict.MATCHED:
            return ""
        failed = self.verdict is Verdict.NOT_MATCHED and self.status is not Status.MATCHED
        how = self.status if failed else self.verdict
        return f"{how.replace('_', ' ')}. {how.remedy}"

    @property
    def p_value(self) -> float:
        """Chance of an activation error as small in an unrelated graph, by the strictest null."""
        return max(p_value(self.activation_error, null) for null in self.nulls.values())

    @property
    def null_activation_error(self) -> float:
        """The least activation error of an unrelated graph."""
        return min(float(null.min()) for null in self.nulls.values())

    @property
    def symbols(self) -> dict[str, str]:
        """The scores that say in short how similar the graphs are, with their symbols."""
        return symbols_of(self.scores)

    @property
    def trivial(self) -> bool:
        """Whether this is only the reference, as it is or with equal nodes exchanged."""
        return 1 in (self.notes.get("isomorphic"), self.notes.get("unchanged"))

    def row(self) -> dict[str, Any]:
        """The figures as one flat dictionary: a row of an audit."""
        return {
            "layer": self.layer,
            "vary": self.vary,
            "search": self.search,
            "seed": self.seed,
            "verdict": str(self.verdict),
            "status": str(self.status),
            "activation_error": self.activation_error,
            "null_activation_error": self.null_activation_error,
            "p_value": self.p_value,
            "tol": self.tol,
            "steps": self.steps,
            "best_step": self.best_step,
            "seconds": self.seconds,
            **self.scores,
            **self.notes,
            "layer_errors": dict(self.layer_errors),
        }

    def save(self, path: str | Path) -> None:
        """Save to a file that `graph_metamers.load` reads. Holds tensors and plain values only.

        Raises:
            InputError: The place cannot be written to.
        """
        state = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        reference, graph = self.reference.to_dict(), self.data.to_dict()
        changed = {k: v for k, v in graph.items() if not _same(v, reference.get(k))}
        state |= {
            "schema": SCHEMA,
            "verdict": str(self.verdict),
            "status": str(self.status),
            "reference": pack_graph(self.reference),
            "data": pack_graph(Data.from_dict(changed)),
        }
        save_tensors(Path(path), state)

    def __repr__(self) -> str:
        similar = (f"{symbol} {self.scores[name]:.2f}" for name, symbol in self.symbols.items())
        ended = "" if self.status is Status.MATCHED else f" ({self.status})"
        return (
            f"Metamer({self.layer}, {self.verdict.text}{ended}, error {self.activation_error:.1e}, "
            f"{', '.join(similar)}, S_match {self.scores['prediction_match']:.2f})"
        )


def load(path: str | Path) -> Metamer:
    """Load a metamer that `Metamer.save` saved. Nothing in the file is ever run.

    Args:
        path: The file. Of the graphs it holds tensors, numbers and texts, on the CPU.

    Raises:
        InputError: The file is missing or no metamer.
    """
    state = load_tensors(Path(path), kind="a metamer saved by Metamer.save()")
    names = {field.name for field in dataclasses.fields(Metamer)}
    schema = state.get("schema") if isinstance(state, dict) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if schema is not None and schema != SCHEMA:
        raise InputError(
            f"'{path}' was saved in format {schema}; this version reads {SCHEMA}. "
            "Build the metamer again."
        )
    if schema is None or not names <= state.keys():
        raise InputError(f"'{path}' must be a metamer saved by Metamer.save(); it is not one.")
    try:
        fields = {name: state[name] for name in names}
        fields["verdict"] = Verdict(state["verdict"])
        fields["status"] = Status(state["status"])
        fields["reference"] = unpack_graph(state["reference"])
        fields["data"] = unpack_graph(state["reference"] | state["data"])
        return Metamer(**fields)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"'{path}' must be a metamer saved by Metamer.save(); it is a damaged one."
        ) from error


def setting(value: Any) -> str:
    """A settings object with those of its fields that are not the default.

    >>> from graph_metamers.search import Adam
    >>> setting(Adam(steps=200)), setting(Adam())
    ('Adam(steps=200)', 'Adam')
    """
    if not dataclasses.is_dataclass(value):
        return type(value).__name__
    shown = [
        f"{field.name}={getattr(value, field.name)!r}"
        for field in dataclasses.fields(value)
        if getattr(value, field.name) != field.default
    ]
    return type(value).__name__ + (f"({', '.join(shown)})" if shown else "")


def _same(value: Any, other: Any) -> bool:
    if not isinstance(value, Tensor) or not isinstance(other, Tensor):
        return value is other or (isinstance(value, bool | int | float | str) and value == other)
    return value is other or digest(value) == digest(other)
