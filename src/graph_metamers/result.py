"""Metamer: what a search found, with all that was measured of it, and its file."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import InputError
from graph_metamers.inputs import Inputs
from graph_metamers.measure import Outcome
from graph_metamers.similarity import symbols_of
from graph_metamers.storage import (
    load_tensors,
    pack_inputs,
    packed,
    save_tensors,
    unpack_inputs,
    unpacked,
)

SCHEMA = 5
COLUMNS = (
    *("layer", "vary", "search", "seed", "outcome", "reason", "fvu", "activation_error"),
    *("null_error", "p_value", "tol", "task", "units", "steps", "best_step", "seconds"),
)


@dataclass(frozen=True, eq=False, repr=False)
class Metamer:
    """A graph, or a batch of graphs, that a model takes for another, with all that was measured.

    Attributes:
        inputs: The metamer; see `data`.
        original: The graph that it is a metamer of; see `reference`.
        layer: The layer at which the activations are matched; several are joined by " + ".
        outcome: Whether it is a metamer: matched; not matched; trivial (only the reference);
            uninformative (unrelated graphs match as well, or nothing varies there); or impossible
            (it is proved that there is none). Of a batch: matched where 90 % of the graphs are.
        reason: Why, and the next step.
        fvu: The fraction of variance unexplained, the mean over layers and graphs; 0 is perfect,
            1 is as far as the mean row. NaN where the layer has one row and nothing beside it.
        activation_error: L_act (Eq. 5), the mean over layers and graphs; 0 is perfect.
        layer_errors: The FVU at each layer, the mean over the graphs.
        tol: FVU above which nothing is matched.
        p_value: Chance of an error as small in an unrelated graph; of a batch the mean.
        nulls: Errors of unrelated graphs, below all of which a match must be: `start`, of random
            starts; `other`, of graphs that were handed in. Of a batch the means over its graphs.
        task: How outputs were compared; see `graph_metamers.task`.
        agreement: What tables call the share of units whose answer stays.
        units: What the rows of the layer are: "nodes", "graphs", "pairs".
        scores: How similar the two graphs are in what varied: `feature_similarity` (Eq. 13); or
            `structure_similarity` (Eq. 16) with `edges_kept`, beside which alone it says
            something, `edge_jaccard`, `degree_distance` and `spectral_distance`; or
            `weight_similarity`. Then `prediction_match` (the share of units whose answer stays;
            for classes Eq. 14), for classes `consistency` (Eq. 15), for regressions
            `prediction_change` (mean change in spreads), `activation_correlation` (Pearson's),
            `activation_rank_correlation` (Spearman's), `activation_snr` in decibels, `node_match`
            (the share of rows that match beyond chance), `output_error` (Eq. 5 of what the model
            returns); and, with `start_` before the name, those of the random start.
        items: One row for each graph of a batch, ready for pandas: its `outcome`, `reason`, `fvu`,
            `activation_error`, `node_match`, similarity, `prediction_match` and `best_step`.
        row_errors: Error of each row, [rows], relative to the spread; None where layers have other
            numbers of rows.
        row_similarity: Feature similarity of each node, [nodes]; where edges varied, the share of
            its neighbours in either graph that it has in both.
        row_agreement: The share of its answer that stays, of each row of the output, [answers].
        history: Error of every step, the mean over the graphs, the start first.
        trail: Step, error and similarity of a few graphs on the way and of this one.
        steps: Steps taken.
        best_step: Step at which this graph was found; of a batch the last of all.
        seconds: Time that the search took.
        seed: Seed of the random start.
        vary: What varied, and how, in short.
        varied: The names of the inputs that varied, each with the kind of distance that compares
            it: "features", "structure" or "weights".
        search: How it was searched.
        notes: Further figures that the search gives, such as `pinned_nodes` of `Exact`.
    """

    inputs: Inputs
    original: Inputs
    layer: str
    outcome: Outcome
    reason: str
    fvu: float
    activation_error: float
    layer_errors: dict[str, float]
    tol: float
    p_value: float
    nulls: dict[str, Tensor]
    task: str
    agreement: str
    units: str
    scores: dict[str, float]
    items: list[dict[str, Any]]
    row_errors: Float[Tensor, " rows"] | None
    row_similarity: Float[Tensor, " nodes"]
    row_agreement: Float[Tensor, " answers"]
    history: list[float]
    trail: list[tuple[int, float, float]]
    steps: int
    best_step: int
    seconds: float
    seed: int
    vary: str
    varied: dict[str, str]
    search: str
    notes: dict[str, float]

    @property
    def data(self) -> Any:
        """The metamer in the author's own type: `model(m.data.x, m.data.edge_index)` just works."""
        return self.inputs.restored()

    @property
    def reference(self) -> Any:
        """The graph that it is a metamer of, in the author's own type."""
        return self.original.restored()

    @property
    def graphs(self) -> list[Any]:
        """The graphs of a batch one by one; of a graph alone itself."""
        return [self.inputs.single(place).restored() for place in range(self.inputs.graphs)]

    @property
    def matched(self) -> bool:
        """Whether the outcome is that it is a metamer."""
        return self.outcome is Outcome.MATCHED

    @property
    def null_error(self) -> float:
        """The least error of an unrelated graph."""
        return min(float(null.min()) for null in self.nulls.values())

    @property
    def symbols(self) -> dict[str, str]:
        """The scores that say in short how similar the graphs are, with their symbols."""
        return symbols_of(self.scores)

    def row(self) -> dict[str, Any]:
        """The figures as one flat dictionary: a row of an audit."""
        return {
            **{name: getattr(self, name) for name in COLUMNS},
            "outcome": str(self.outcome),
            "graphs": len(self.items),
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
        changed = {
            key: self.inputs[key]
            for key in self.inputs.keys
            if key not in self.original or not _same(self.inputs[key], self.original[key])
        }
        state |= {
            "schema": SCHEMA,
            "outcome": str(self.outcome),
            "original": pack_inputs(self.original),
            "inputs": packed(changed),
        }
        save_tensors(Path(path), state)

    def __repr__(self) -> str:
        similar = (f"{symbol} {self.scores[name]:.2f}" for name, symbol in self.symbols.items())
        many = f", {self.share_matched:.0%} of {len(self.items)} graphs"
        told = (
            f"FVU {self.fvu:.1e}" if self.fvu == self.fvu else f"Eq. 5 {self.activation_error:.1e}"
        )
        return (
            f"Metamer({self.layer}, {self.outcome.text}{many if len(self.items) > 1 else ''}, "
            f"{told}, {', '.join(similar)}, {self.agreement} {self.scores['prediction_match']:.2f})"
        )

    @property
    def share_matched(self) -> float:
        """The share of the graphs that are matched."""
        return sum(item["outcome"] == Outcome.MATCHED for item in self.items) / len(self.items)


def load(path: str | Path) -> Metamer:
    """Load a metamer that `Metamer.save` saved. Nothing in the file is ever run.

    Args:
        path: The file. Of the graphs it holds tensors, numbers and texts, on the CPU.

    Raises:
        InputError: The file is missing or no metamer.
    """
    state = load_tensors(Path(path), kind="a metamer saved by Metamer.save()")
    if "schema" not in state:
        raise InputError(f"'{path}' must be a metamer saved by Metamer.save(); it is not one.")
    if state["schema"] != SCHEMA:
        raise InputError(
            f"'{path}' was saved in format {state['schema']}; this version reads {SCHEMA}. "
            "Build the metamer again."
        )
    try:
        fields = {field.name: state[field.name] for field in dataclasses.fields(Metamer)}
        fields["outcome"] = Outcome(state["outcome"])
        fields["original"] = unpack_inputs(state["original"])
        fields["inputs"] = fields["original"].cloned().replaced(unpacked(state["inputs"]))
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


def _same(value: Tensor, other: Tensor) -> bool:
    return value is other or (
        value.shape == other.shape
        and value.dtype == other.dtype
        and value.layout == other.layout == torch.strided
        and torch.equal(value, other)
    )
