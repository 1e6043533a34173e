"""Relaxed edges in memory O(block): the paper's relaxation of a random block of node pairs."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError, check_count, check_positive
from graph_metamers.progress import Watch
from graph_metamers.search.base import (
    Best,
    Problem,
    Search,
    Solution,
    Status,
    check_relaxation,
    features,
)
from graph_metamers.search.checkpoint import Checkpoint
from graph_metamers.vary import Edges, Vary
from graph_metamers.vary.largest import largest
from graph_metamers.vary.operators import WEIGHT, straight_through
from graph_metamers.vary.rewiring import Pairs, Rewiring


@dataclass(frozen=True)
class Blocks(Search):
    """Gradient descent on soft values of a random block of node pairs, renewed on the way.

    The relaxation of Eqs. 11–12, of a block of pairs in place of all n(n − 1)/2: the reference's
    number of largest P = sigmoid(s · A_soft) in the block are the edges, the gradient goes
    straight through P, Adam moves A_soft. After every `renew` steps the half of the other pairs
    with the least P is replaced by fresh random pairs whose P is just below the threshold. This
    is the idea of PRBCD (Geisler et al. 2021); PyG's `PRBCDAttack` starts at the reference, flips
    edges up to a budget and needs a model that takes `edge_weight`, so it is not used here.

    Needs PyG convolutions that soft edges reach (see `graph_metamers.vary.operator_of`).
    Memory O(block · channels).

    Args:
        lr: Learning rate at the start; it falls to zero linearly.
        steps: Steps at most.
        block: How many pairs of nodes are in the block, as a multiple of the reference's edges.
        renew: Steps between two renewals.
        stop_at_tol: End as soon as the activation error is at or below `tol`.

    Raises:
        InputError: A setting is out of range, or (on use) something other than freely chosen
            edges varies, or soft edges do not reach the layer.

    Example:
        >>> Blocks(steps=100)
        Blocks(lr=0.05, steps=100, block=8, renew=10, stop_at_tol=False)
    """

    lr: float = 0.05
    steps: int = 500
    block: int = 8
    renew: int = 10
    stop_at_tol: bool = False

    name: ClassVar[str] = "blocks"

    def __post_init__(self) -> None:
        check_positive("lr", self.lr)
        for setting in ("steps", "renew"):
            check_count(setting, getattr(self, setting))
        check_count("block", self.block, least=2)

    def check(self, vary: Vary) -> None:
        if not isinstance(vary, Edges) or vary.degrees != "free":
            raise InputError(
                "Blocks keeps the number of edges and no degrees: it needs "
                f"vary=Edges(degrees='free'); got {vary!r}. Use search='auto'."
            )

    def choose(self, problem: Problem) -> Search:
        self.check(problem.vary)
        block = _Block(problem, self, torch.Generator().manual_seed(0))
        check_relaxation(problem, block.render(), block.kept())
        return super().choose(problem)

    def run(
        self,
        problem: Problem,
        generator: torch.Generator,
        *,
        checkpoint: Path | None = None,
        watch: Watch | None = None,
    ) -> Solution:
        self.check(problem.vary)
        saving = Checkpoint(checkpoint, problem)
        block = _Block(problem, self, generator)
        read = problem.find_read()
        y = None if read is None else features(problem.data) @ read.weight
        best, history = Best(problem.data), list[float]()
        saved = saving.resumed(block.soft.device)
        if saved is not None:
            block.resume(saved["block"])
            generator.set_state(saved["generator"].cpu())
            best.resume(saved["best"])
            history.extend(saved["history"])

        status = None
        while status is None:
            step = len(history)
            graph = block.render()
            loss = (
                problem.error(graph)
                if read is None
                else problem.mean_error(read.activations(y, graph))
            )
            history.append(float(loss.detach()))
            saving.see(step, history[-1], block.kept)
            if not history[-1] >= best.error:
                best.offer(block.kept(), history[-1], step)
            status = self._ended(history, best.error, problem.tol)
            if watch is not None:
                watch(step, self.steps, best.error)
            if status is None:
                (gradient,) = torch.autograd.grad(loss, block.soft)
                block.move(gradient, self.lr * (1 - step / self.steps))
                if (step + 1) % self.renew == 0:
                    block.renew(generator)
                saving.offer(
                    lambda: {
                        "block": block.state(),
                        "generator": generator.get_state(),
                        "best": best.state(),
                        "history": history,
                    }
                )

        saving.remove()
        return Solution(
            graph=best.graph,
            error=best.error,
            status=status,
            history=history,
            steps=len(history) - 1,
            best_step=best.step,
            seconds=saving.seconds,
            trail=saving.trail,
        )

    def _ended(self, history: list[float], best: float, tol: float) -> Status | None:
        if not history[-1] < float("inf"):
            return Status.MATCHED if best <= tol else Status.NONFINITE
        if best == 0 or (best <= tol and self.stop_at_tol):
            return Status.MATCHED
        if len(history) <= self.steps:
            return None
        return Status.MATCHED if best <= tol else Status.BUDGET_SPENT


class _Block:
    """Pairs of nodes with soft values, and Adam's moments of these."""

    def __init__(self, problem: Problem, search: Blocks, generator: torch.Generator) -> None:
        self._vary = cast(Edges, problem.vary)
        self._rewiring = Rewiring(problem.data)
        self._count = self._rewiring.pairs.shape[1]
        self._vary.scatter(self._rewiring, generator)
        x: Tensor = problem.data["x"]
        self.pairs = self._fresh(self._rewiring.pairs, search.block * self._count, generator)
        noise = torch.randn(self.pairs.shape[1], generator=generator, dtype=x.dtype)
        self.soft = noise.to(x.device)
        self.soft[: self._count] = 0.5 + self.soft[: self._count].abs() + self.soft.max()
        self.soft.requires_grad_()
        self._moments = torch.zeros(3, len(self.soft), dtype=x.dtype, device=x.device)

    def render(self) -> Data:
        """All pairs of the block, those that are no edges with weight 0."""
        hard = torch.zeros_like(self.soft)
        hard[largest(self.soft, self._count)] = 1
        weight = straight_through(self.soft, hard, self._vary.slope)
        graph = self._rewiring.graph(self.pairs)
        loops = graph["edge_index"].shape[1] - self._ways * self.pairs.shape[1]
        graph[WEIGHT] = torch.cat([weight] * self._ways + [weight.new_ones(loops)])
        return graph

    @property
    def _ways(self) -> int:
        return 2 if self._rewiring.undirected else 1

    def kept(self) -> Data:
        """The plain graph at the current soft values."""
        return self._rewiring.graph(self.pairs[:, largest(self.soft, self._count)])

    @torch.no_grad()
    def move(self, gradient: Tensor, lr: float) -> None:
        """A step of Adam; each pair counts its own steps, since it came."""
        mean, square, count = self._moments
        count += 1
        mean.lerp_(gradient, 0.1)
        square.lerp_(gradient.square(), 0.001)
        corrected = (square / (1 - 0.999**count)).sqrt() + 1e-12
        self.soft -= lr * (mean / (1 - 0.9**count)) / corrected

    @torch.no_grad()
    def renew(self, generator: torch.Generator) -> None:
        """Fresh pairs for the half of those that are no edges and least likely to become some."""
        keep = (len(self.soft) + self._count) // 2
        order = largest(self.soft, keep)
        pairs = self._fresh(self.pairs[:, order], len(self.soft), generator)
        threshold = self.soft[largest(self.soft, self._count)].min()
        soft = torch.full_like(self.soft[: pairs.shape[1]], float(threshold))
        # Just below the threshold, so that a few steps decide.
        soft -= 0.1 * torch.rand(len(soft), generator=generator).to(soft)
        soft[:keep] = self.soft[order]
        moments = torch.zeros_like(self._moments[:, : len(soft)])
        moments[:, :keep] = self._moments[:, order]
        self.pairs, self._moments = pairs, moments
        self.soft = soft.requires_grad_()

    def _fresh(self, pairs: Pairs, count: int, generator: torch.Generator) -> Int[Tensor, "2 more"]:
        """These pairs and random others behind, about `count` together."""
        rewiring = self._rewiring
        drawn = torch.randint(rewiring.nodes, (2, count - pairs.shape[1]), generator=generator)
        drawn = drawn.to(pairs.device)
        fine = drawn[0] != drawn[1]
        if self._vary.keep < 1:
            fine &= ~rewiring.in_reference(drawn)
        keys = rewiring.keys(drawn).masked_fill(~fine, -1)
        fine &= ~torch.isin(keys, rewiring.keys(pairs))
        new = keys[fine].unique()
        return torch.cat([pairs, torch.stack([new // rewiring.nodes, new % rewiring.nodes])], dim=1)

    def state(self) -> dict[str, Float[Tensor, "*some"] | Pairs]:
        """What a resumed search needs."""
        return {"pairs": self.pairs, "soft": self.soft.detach(), "moments": self._moments}

    def resume(self, state: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.pairs, self._moments = state["pairs"], state["moments"]
        self.soft = state["soft"].clone().requires_grad_()
