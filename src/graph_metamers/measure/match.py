"""Match: what must stay, by how much it is missed, and what that makes of a graph."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graph_metamers.errors import InputError, check_positive, describe
from graph_metamers.units import Units

Activations = Sequence[Float[Tensor, "..."]]
ByGraph = Float[Tensor, "layers graphs"]

TINY, HUGE = 1e-30, 1e30  # squared norms that float32 sums hold without loss


class Outcome(StrEnum):
    """What a search found. Each comes with a reason that names the next step."""

    MATCHED = "matched"
    NOT_MATCHED = "not_matched"
    TRIVIAL = "trivial"
    UNINFORMATIVE = "uninformative"
    IMPOSSIBLE = "impossible"

    @property
    def text(self) -> str:
        """The outcome in words.

        >>> Outcome.NOT_MATCHED.text
        'not matched'
        """
        return self.value.replace("_", " ")


@dataclass(frozen=True, eq=False)
class Tap:
    """One tensor that must match."""

    label: str  # the layer that it is from
    target: Float[Tensor, "rows units"]  # h, what must match, in the precision of the search
    units: Units  # what these rows stand for
    rows: Int[Tensor, " rows"] | None  # which rows of the activation these are; None: all
    spread: float  # mean over **all** rows of the activation of ‖h_v − h̄‖², h̄ their mean
    size: float  # mean over these rows of ‖h_v‖²
    precision: torch.dtype  # of the activation itself

    def of(self, h: Tensor) -> Float[Tensor, "rows units"]:
        """The rows that must match, of another graph's activation."""
        flat = as_rows(h).to(self.target.dtype)
        return flat if self.rows is None else flat[self.rows]


class Match:
    """The activations that must stay, and the tolerance.

    The error of a graph is the **fraction of variance unexplained**,

        FVU_g = mean_{v in g} ‖h'_v − h_v‖² / mean_v ‖h_v − h̄‖²,

    the first mean over the rows of graph g that must match, the second over all rows of the
    reference, h̄ their mean. 0 is a perfect match, 1 is as far as the mean row, 2 as far as another
    row. A constant added to each unit, a common scale and permuted units change nothing. Eq. 5,
    L_act = ‖h' − h‖² / ‖h‖², is the paper's and is what searches lower: for one layer and one
    graph the two differ by a constant factor. Of several layers it is weighed so that its mean
    falls where that of the FVU does.

    Args:
        labels: A name for each activation.
        activations: The reference's, one tensor a layer.
        units: What the rows of each stand for.
        tol: FVU at or below which a graph can count as matched.
        index: Rows that must match, as numbers or a mask; None: all.
        others: Activations of other graphs, for a layer with one row: the mean and the spread are
            then taken over them and the reference.

    Example:
        >>> h = torch.tensor([[0.0], [2.0]])
        >>> units = Units("node", "", torch.zeros(2, dtype=torch.long), 1)
        >>> match = Match(["conv"], [h], [units], tol=0.01)
        >>> match.fvu([torch.tensor([[0.0], [3.0]])]), match.activation_errors([h + 1])
        (tensor([[0.5000]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
    """

    def __init__(
        self,
        labels: Sequence[str],
        activations: Activations,
        units: Sequence[Units],
        *,
        tol: float,
        index: Tensor | None = None,
        others: Sequence[Activations] = (),
    ) -> None:
        check_positive("tol", tol)
        self.tol = float(tol)
        self.taps = [
            _tap(label, h, unit, index, [other[place] for other in others])
            for place, (label, h, unit) in enumerate(zip(labels, activations, units, strict=True))
        ]
        for tap in self.taps:
            _check_rows_of_each_graph(tap)
        if index is not None and len({(unit.noun, len(unit)) for unit in units}) > 1:
            nouns = " and ".join(dict.fromkeys(f"{len(unit)} {unit.noun}" for unit in units))
            raise InputError(
                f"index names rows of one layer, and these have {nouns}. Name one layer or tensor, "
                f"such as '{labels[0]}'."
            )
        self._prepare()

    def _prepare(self) -> None:
        self.graphs = self.taps[0].units.graphs
        self.norms = torch.stack([t.units.total(t.target.square()) for t in self.taps])
        counts = torch.stack([t.units.counts for t in self.taps]).double()
        spreads = torch.tensor([t.spread for t in self.taps], dtype=torch.float64)
        spreads = spreads.to(counts.device)[:, None]
        self._rooms = counts * spreads  # what an FVU of one is, in squares
        silent = self.norms == 0
        fallback = torch.where(self._rooms > 0, self._rooms, 1.0)
        self.norms = torch.where(silent, fallback.to(self.norms), self.norms)
        # Where there is no spread, only Eq. 5 can be given, and searches go by it.
        ratios = self.norms.double() / self._rooms
        self._ratios = ratios if self.by_fvu else torch.ones_like(ratios)
        if len(self.taps) > 1:  # weighed so that what searches lower falls where the FVU falls
            mean = self._ratios.mean(0)
            self.norms = self.norms * (mean / self._ratios).to(self.norms)
            self._ratios = mean.expand_as(self._ratios)
        self._scales = [len(self.taps) * norms for norms in self.norms]
        if self.graphs > 1:  # else one number stands for all rows
            pairs = zip(self._scales, self.taps, strict=True)
            self._scales = [scales[tap.units.graph] for scales, tap in pairs]

    @property
    def labels(self) -> list[str]:
        """The layers' names."""
        return [tap.label for tap in self.taps]

    @property
    def by_fvu(self) -> bool:
        """Whether the error is the FVU; else there is no spread, and it is Eq. 5."""
        return all(tap.spread > 0 for tap in self.taps)

    # ------------------------------------------------------------------ what searches lower

    def parts(self, activations: Activations, *, chosen: bool = False) -> ByGraph:
        """Eq. 5 at each layer and graph, in the precision of the search, with its gradient.

        `chosen` says that the activations are those of the rows that must match already.
        """
        squares = [
            tap.units.total(((h if chosen else tap.of(h)) - tap.target).square())
            for tap, h in zip(self.taps, activations, strict=True)
        ]
        sums = squares[0][None] if len(squares) == 1 else torch.stack(squares)
        return sums / self.norms

    def loss(self, activations: Activations) -> Float[Tensor, " graphs"]:
        """The mean of `parts` over the layers: what a search lowers, for each graph."""
        return self.mean(self.parts(activations))

    def mean(self, parts: ByGraph) -> Float[Tensor, " graphs"]:
        """The mean over the layers."""
        return parts[0] if len(parts) == 1 else parts.mean(0)

    def errors(self, parts: ByGraph) -> Float[Tensor, " graphs"]:
        """The FVU of each graph, the mean over the layers, from the `parts` of a search."""
        return self.mean(parts.detach().double() * self._ratios)

    def residual(self, activations: Activations) -> Float[Tensor, " entries"]:
        """(h' − h) / ‖h_g‖ of all layers in one vector; its squared norm is the sum of `loss`."""
        scaled = [
            ((tap.of(h) - tap.target) / scale.sqrt().view(-1, 1)).reshape(-1)
            for tap, h, scale in zip(self.taps, activations, self._scales, strict=True)
        ]
        return torch.cat(scaled)

    def graph_of_residual(self) -> Int[Tensor, " entries"]:
        """The graph of each entry of the residual."""
        parts = [t.units.graph.repeat_interleave(t.target.shape[1]) for t in self.taps]
        return torch.cat(parts)

    def probes(self, generator: torch.Generator, count: int = 1) -> list[Tensor]:
        """Random signs for the activations, scaled so that their squares' mean is the curvature.

        E[Jᵀξ ξᵀJ] = JᵀJ / ‖h_g‖² for ξ = ±1 / √(count · layers · ‖h_g‖²), zero in rows that need
        not match.
        """
        drawn: list[Tensor] = []
        for tap, scale in zip(self.taps, self._scales, strict=True):
            signs = torch.randint(0, 2, tap.target.shape, generator=generator).to(tap.target)
            drawn.append(signs.mul_(2).sub_(1) * ((count * scale) ** -0.5).view(-1, 1))
        return drawn

    def chosen(self, activations: Activations) -> list[Tensor]:
        """The rows that must match, of all layers."""
        return [tap.of(h) for tap, h in zip(self.taps, activations, strict=True)]

    # ------------------------------------------------------------------ what is reported

    def squares(self, activations: Activations) -> list[Float[Tensor, " rows"]]:
        """‖h'_v − h_v‖² of each row that must match, in float64."""
        return [
            (tap.of(h.detach()).double() - tap.target.double()).square().sum(1)
            for tap, h in zip(self.taps, activations, strict=True)
        ]

    def fvu(self, activations: Activations) -> ByGraph:
        """The fraction of variance unexplained, summed in float64; NaN where there is no spread."""
        sums = [
            tap.units.total(rows)
            for tap, rows in zip(self.taps, self.squares(activations), strict=True)
        ]
        return torch.where(self._rooms > 0, torch.stack(sums) / self._rooms, torch.nan)

    def activation_errors(self, activations: Activations) -> ByGraph:
        """Eq. 5 at each layer and graph, ‖h' − h‖² / ‖h‖², summed in float64.

        Of a graph that is silent, ‖h‖ = 0, the spread takes the place of its size.
        """
        found = [
            tap.units.total(rows) / torch.where(size > 0, size, room)
            for tap, rows, room in zip(
                self.taps, self.squares(activations), self._rooms, strict=True
            )
            for size in [tap.units.total(tap.target.double().square())]
        ]
        return torch.stack(found)

    def by_row(self, activations: Activations) -> Float[Tensor, " rows"] | None:
        """The error of each row, ‖h'_v − h_v‖² / spread, the mean over the layers.

        None where the layers have other numbers of rows. Without a spread the mean of ‖h_v‖² takes
        its place.
        """
        if len({len(tap.target) for tap in self.taps}) > 1:
            return None
        pairs = zip(self.taps, self.squares(activations), strict=True)
        return torch.stack([rows / (tap.spread or tap.size) for tap, rows in pairs]).mean(0)

    def of(self, graphs: Int[Tensor, " some"]) -> "Match":
        """The same for some of the graphs, in their order."""
        match = object.__new__(Match)
        match.tol, match.taps = self.tol, [_restricted(tap, graphs) for tap in self.taps]
        match._prepare()
        return match


def as_rows(h: Tensor) -> Float[Tensor, "rows units"]:
    """An activation as a matrix: what has one number a row has one unit."""
    if h.dim() == 2:
        return h
    return h.reshape(len(h), -1) if h.dim() else h.reshape(1, 1)


def _tap(
    label: str, h: Tensor, units: Units, index: Tensor | None, others: Sequence[Tensor]
) -> Tap:
    flat = as_rows(h.detach())
    beside = others if len(flat) == 1 else ()
    everything = torch.cat([flat, *(as_rows(other.detach()) for other in beside)]).double()
    centred = everything - everything[0]  # so that equal rows have no spread to rounding
    spread = float((centred - centred.mean(0)).square().sum(1).mean())
    rows = None if index is None else _numbers(index, len(flat), label)
    chosen = flat if rows is None else flat[rows]
    exact = chosen.double().square().sum()
    if chosen.dtype not in (torch.float32, torch.float64):
        chosen = chosen.float()
    if chosen.dtype == torch.float32 and not TINY <= float(exact) <= HUGE:
        chosen = chosen.double()
    size = float(exact) / max(1, len(chosen))
    kept = units if rows is None else units.of(rows)
    return Tap(label, chosen, kept, rows, spread, size, h.dtype)


def _numbers(index: Tensor, rows: int, label: str) -> Tensor:
    """Row numbers of an index or a mask."""
    numbers = index.nonzero().view(-1) if index.dtype == torch.bool else index
    whole = not numbers.is_floating_point() and numbers.dim() == 1 and len(numbers) > 0
    fits = index.dtype != torch.bool or len(index) == rows
    if not whole or not fits or int(numbers.min()) < 0 or int(numbers.max()) >= rows:
        raise InputError(
            f"index must name rows of {label}, 0 to {rows - 1}, or be a mask of as many; got "
            f"{index.tolist() if index.numel() < 10 else describe(index)}."
        )
    return numbers.long().unique()


def _check_rows_of_each_graph(tap: Tap) -> None:
    without = (tap.units.counts == 0).nonzero().view(-1).tolist()
    if not without:
        return
    if tap.units.level == "row":
        raise InputError(
            f"The rows of {tap.label} are neither nodes nor edges nor graphs of the batch, so that "
            "no graph has an error of its own there. Choose another layer, or one graph alone."
        )
    chosen = "index names no row" if tap.rows is not None else "there is no row"
    raise InputError(
        f"Of graph {without[0]} of the batch {chosen} of {tap.label}, so that it has no error "
        "there. Name one, or leave the graph out of the batch."
    )


def _restricted(tap: Tap, graphs: Tensor) -> Tap:
    kept, units = tap.units.only(graphs)
    if tap.rows is not None:
        raise InputError("Rows of single graphs of a batch cannot be named; leave index= out.")
    return replace(tap, target=tap.target[kept], units=units)
