"""What an exchange of edges promises: first order and curvature at the sums of messages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.probe.flows import Flow, record_flows
from graph_metamers.search.exchange import MOST, trusted
from graph_metamers.search.gradient import backward
from graph_metamers.search.problem import Problem
from graph_metamers.vary.rewiring import Exchanges, Rewiring

FIRST, KEPT = 8, 32  # gradients of random combinations drawn at first, and averaged over

Factor = Callable[[Tensor], Tensor]  # of degrees


class Gains:
    """The model's response to exchanges of edges, to second order, at the graph last looked at.

    Attributes:
        width: Channels of all sums together.
        known: Whether there is anything to go by: a PyG convolution that gradients reach.
    """

    def __init__(self, problem: Problem, rewiring: Rewiring) -> None:
        self._problem, self._rewiring = problem, rewiring
        self.known, self.width = False, 0
        one = torch.ones(1, dtype=torch.float64, device=rewiring.pairs.device)
        self._kappa = {2: one, 1: one}  # by how many pairs an exchange changes
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
        self,
        run: Callable[[], list[Tensor]],
        edges: Tensor,
        generator: torch.Generator,
    ) -> None:
        """Differentiate at the present edges; draw a fresh probe of the curvature.

        Args:
            run: The activations at these edges.
            edges: The edges as the model is given them, [2, edges].
            generator: Draws the probes.
        """
        match, rewiring = self._problem.match, self._rewiring
        with torch.enable_grad():
            activations, flows = record_flows(self._problem.session.model, run)
            flows = [flow for flow in flows if _is_over(flow, edges, rewiring)]
            activations = match.chosen(activations)
            self.known = bool(flows) and all(h.requires_grad for h in activations)
            if not self.known:
                return
            offsets = [flow.offset for flow in flows]
            self.width = sum(offset.shape[1] for offset in offsets)
            parts = match.parts(activations, chosen=True)
            loss = match.mean(parts)
            self._gradients = _gradients([loss.sum() if len(loss) > 1 else loss[0]], offsets)
            if not self._drawn:
                self._curvature = [torch.zeros_like(offset) for offset in offsets]
            for _ in range(1 if self._drawn else FIRST):
                self._drawn += 1
                drawn = match.probes(generator)
                for old, probe in zip(
                    self._curvature, _gradients(activations, offsets, drawn), strict=True
                ):
                    old += (probe.square() - old) / min(self._drawn, KEPT)
        received = torch.bincount(edges[1], minlength=rewiring.receivers)
        sent = received
        if rewiring.offset:
            sent = torch.bincount(edges[0], minlength=rewiring.senders)
        self._flows = [_Flow.of(flow, sent, received) for flow in flows]

    def of(self, exchanges: Exchanges) -> Float[Tensor, " exchanges"]:
        """The change of the error that each exchange promises: negative is a gain."""
        kappa = self._kappa[len(exchanges.slots)].to(self._gradients[0])
        total = self._gradients[0].new_zeros(len(exchanges))
        receivers = exchanges.receivers - self._rewiring.offset
        for v, comes, goes in zip(receivers, exchanges.comes, exchanges.goes, strict=True):
            for flow, gradient, curvature in zip(
                self._flows, self._gradients, self._curvature, strict=True
            ):
                delta = flow.moved(v, comes, goes)
                total += ((delta * curvature[v] * kappa + gradient[v]) * delta).sum(1)
        return total

    def learn(self, exchanges: Exchanges, promised: float, came: float) -> None:
        """Trust the curvature less when a promise was not kept, more when it was."""
        if promised < 0:
            kind = len(exchanges.slots)
            kept = torch.full_like(self._kappa[kind], came / promised)
            self._kappa[kind] = trusted(self._kappa[kind], kept, most=MOST)


def _is_over(flow: Flow, edges: Tensor, rewiring: Rewiring) -> bool:
    """Whether what flows does so along these edges, loops of the convolution's own beside them."""
    sizes = len(flow.contents) == rewiring.senders and len(flow.sums) == rewiring.receivers
    if not sizes or flow.edges.shape[1] < edges.shape[1]:
        return False
    if torch.equal(flow.edges[:, : edges.shape[1]], edges):
        return True
    # A convolution that adds loops first takes away those that are there.
    proper = edges[:, edges[0] != edges[1]]
    return torch.equal(flow.edges[:, : proper.shape[1]], proper)


@dataclass(frozen=True, eq=False)
class _Flow:
    """z_v = q(d_v) Σ_u p(d_u) s_u, ready to be moved."""

    sent: Float[Tensor, "padded channels"]  # p(d_u) s_u; zeros at the end, where no node sends
    sums: Float[Tensor, "receivers channels"]
    scales: Float[Tensor, "3 receivers"]  # q(d_v − 1), q(d_v), q(d_v + 1)

    @classmethod
    def of(cls, flow: Flow, senders: Tensor, receivers: Tensor) -> "_Flow":
        send, receive = _separated(flow, senders, receivers)
        sent = flow.contents * send(senders).unsqueeze(1)
        scales = [receive(receivers + change) for change in (-1, 0, 1)]
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
    found = backward(
        outputs, offsets, weights, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return [gradient.detach() for gradient in found]


def _separated(flow: Flow, senders: Tensor, receivers: Tensor) -> tuple[Factor, Factor]:
    """Factors c_uv taken for a product p(d_u) q(d_v) of powers of degrees and of degrees + 1."""

    def powers(d: Tensor) -> Tensor:
        return torch.stack([d.clamp(min=1).double(), d.clamp(min=0).double() + 1], dim=1).log()

    source, target = flow.edges
    size = flow.factors.double().abs()
    proper = ((source != target) & (size > 1e-12)).nonzero().view(-1)
    fit, sign = size.new_zeros(5), 1.0
    if len(proper):
        sent, received = powers(senders), powers(receivers)
        ones = sent.new_ones(len(proper), 1)
        known = torch.cat([ones, sent[source[proper]], received[target[proper]]], dim=1)
        # A little ridge: log d and log (d + 1) are nearly the same.
        ridge = 1e-9 * len(proper) * torch.eye(5, dtype=known.dtype, device=known.device)
        fit = torch.linalg.solve(known.T @ known + ridge, known.T @ size[proper].log())
        sign = float(flow.factors[proper].sum().sign())

    def send(d: Tensor) -> Tensor:
        return (sign * (fit[0] + powers(d) @ fit[1:3]).exp()).to(flow.contents)

    def receive(d: Tensor) -> Tensor:
        return (powers(d) @ fit[3:]).exp().to(flow.contents)

    return send, receive
