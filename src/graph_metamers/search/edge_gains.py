"""What an exchange of edges promises: first order and curvature at the sums of messages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.probe.flows import Flow
from graph_metamers.search.base import Problem, signs
from graph_metamers.vary.rewiring import Exchanges

FIRST, KEPT = 8, 32  # gradients of random combinations drawn at first, and averaged over

Factor = Callable[[Tensor], Tensor]  # of degrees


class Gains:
    """The model's response to exchanges of edges, to second order, at the graph last looked at.

    Attributes:
        width: Channels of all sums together.
        known: Whether there is anything to go by: a PyG convolution that gradients reach.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.known, self.width = False, 0
        self._kappa = {2: 1.0, 1: 1.0}  # by how many pairs an exchange changes
        self._drawn = 0
        self._curvature: list[Tensor] = []

    def state(self) -> dict[str, Any]:
        """What a resumed search needs."""
        return {"kappa": self._kappa, "drawn": self._drawn, "curvature": self._curvature}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self._kappa, self._drawn = state["kappa"], state["drawn"]
        self._curvature = state["curvature"]

    def look(
        self, run: Callable[[Data], list[Tensor]], graph: Data, generator: torch.Generator
    ) -> None:
        """Differentiate at `graph`; draw a fresh probe of the curvature.

        Args:
            run: The activations of a graph.
            graph: Where.
            generator: Draws the probes.
        """
        problem = self._problem
        with torch.enable_grad():
            activations, flows = problem.record(lambda: run(graph))
            # A pooled graph has other nodes.
            flows = [flow for flow in flows if len(flow.contents) == len(graph["x"])]
            self.known = bool(flows) and all(h.requires_grad for h in activations)
            if not self.known:
                return
            offsets = [flow.offset for flow in flows]
            self.width = sum(offset.shape[1] for offset in offsets)
            loss = problem.mean_error(activations)
            self._gradients = _gradients([loss], offsets)
            if not self._drawn:
                self._curvature = [torch.zeros_like(offset) for offset in offsets]
            for _ in range(1 if self._drawn else FIRST):
                self._drawn += 1
                drawn = [
                    signs(h, generator) * (len(activations) * norm) ** -0.5
                    for h, norm in zip(activations, problem.norms, strict=True)
                ]
                for old, probe in zip(
                    self._curvature, _gradients(activations, offsets, drawn), strict=True
                ):
                    old += (probe.square() - old) / min(self._drawn, KEPT)
        degree = torch.bincount(graph["edge_index"][1], minlength=len(graph["x"]))
        self._flows = [_Flow.of(flow, degree) for flow in flows]

    def of(self, exchanges: Exchanges) -> Float[Tensor, " exchanges"]:
        """The change of the error that each exchange promises: negative is a gain."""
        kappa = self._kappa[len(exchanges.slots)]
        total = self._gradients[0].new_zeros(len(exchanges))
        for v, comes, goes in zip(
            exchanges.receivers, exchanges.comes, exchanges.goes, strict=True
        ):
            for flow, gradient, curvature in zip(
                self._flows, self._gradients, self._curvature, strict=True
            ):
                delta = flow.moved(v, comes, goes)
                total += ((delta * curvature[v] * kappa + gradient[v]) * delta).sum(1)
        return total

    def learn(self, exchanges: Exchanges, promised: float, came: float) -> None:
        """Trust the curvature less when a promise was not kept, more when it was."""
        if not promised < 0:
            return
        kind, kept = len(exchanges.slots), came / promised
        if kept > 0.6:
            self._kappa[kind] = max(0.5, 0.8 * self._kappa[kind])
        elif kept < 0.3:
            self._kappa[kind] = min(100.0, 1.3 * self._kappa[kind])


@dataclass(frozen=True, eq=False)
class _Flow:
    """z_v = q(d_v) Σ_u p(d_u) s_u, ready to be moved."""

    sent: Float[Tensor, "padded channels"]  # p(d_u) s_u; zeros at the end, where no node sends
    sums: Float[Tensor, "nodes channels"]
    scales: Float[Tensor, "3 nodes"]  # q(d_v − 1), q(d_v), q(d_v + 1)

    @classmethod
    def of(cls, flow: Flow, degree: Tensor) -> "_Flow":
        send, receive = _separated(flow, degree)
        sent = flow.contents * send(degree).unsqueeze(1)
        scales = [receive(degree + change) for change in (-1, 0, 1)]
        return cls(torch.cat([sent, torch.zeros_like(sent[:1])]), flow.sums, torch.stack(scales))

    def moved(self, v: Tensor, comes: Tensor, goes: Tensor) -> Float[Tensor, "some channels"]:
        """How z_v moves when the messages of some nodes come and of others go (-1: of none)."""
        change = (comes >= 0).long() - (goes >= 0).long()
        scale = self.scales[change + 1, v].unsqueeze(1)
        delta = (self.sent[comes] - self.sent[goes]) * scale
        if bool(change.any()):
            delta = delta + (scale / self.scales[1, v].unsqueeze(1) - 1) * self.sums[v]
        return delta


def _gradients(
    outputs: list[Tensor], offsets: list[Tensor], weights: list[Tensor] | None = None
) -> list[Tensor]:
    found = torch.autograd.grad(
        outputs, offsets, weights, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return [gradient.detach() for gradient in found]


def _separated(flow: Flow, degree: Tensor) -> tuple[Factor, Factor]:
    """Factors c_uv taken for a product p(d_u) q(d_v) of powers of degrees and of degrees + 1."""

    def powers(d: Tensor) -> Tensor:
        return torch.stack([d.clamp(min=1).double(), d.clamp(min=0).double() + 1], dim=1).log()

    source, target = flow.edges
    size = flow.factors.double().abs()
    proper = ((source != target) & (size > 1e-12)).nonzero().view(-1)
    fit, sign = size.new_zeros(5), 1.0
    if len(proper):
        logs = powers(degree)
        ones = logs.new_ones(len(proper), 1)
        known = torch.cat([ones, logs[source[proper]], logs[target[proper]]], dim=1)
        # A little ridge: log d and log (d + 1) are nearly the same.
        ridge = 1e-9 * len(proper) * torch.eye(5, dtype=known.dtype, device=known.device)
        fit = torch.linalg.solve(known.T @ known + ridge, known.T @ size[proper].log())
        sign = float(flow.factors[proper].sum().sign())

    def send(d: Tensor) -> Tensor:
        return (sign * (fit[0] + powers(d) @ fit[1:3]).exp()).to(flow.contents)

    def receive(d: Tensor) -> Tensor:
        return (powers(d) @ fit[3:]).exp().to(flow.contents)

    return send, receive
