"""What a node's activation sees: of its aggregated features, or of its receptive field."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graph_metamers.errors import InputError
from graph_metamers.measure.rank import singular_values
from graph_metamers.probe import record_flows
from graph_metamers.theory.jacobian import Reading, backward, rounding

ENTRIES = 1 << 24  # of Jacobians that are held at a time
Values = Float[Tensor, "nodes units"]  # singular values, largest first


def of_nodes(model: nn.Module, read: Reading, label: str, chosen: Int[Tensor, " nodes"]) -> Values:
    """Singular values of each Df(x̃_v)."""
    h, flows = _recorded(model, read, read.y)
    suits = len(flows) == 1 and h.requires_grad
    through = _contents_map(model, read) if suits else None
    if through is None or not _reads_own_sum(h, flows[0].offset):
        raise InputError(
            f"of='node' needs a layer at which a node's activation depends on one sum of "
            f"features, its own; {label} does not. Use of='receptive_field'."
        )
    through = read.projected(through.T).double()  # from directions of x̃ to the sums
    by_unit: list[Tensor] = []
    for unit in range(h.shape[1]):
        seed = torch.zeros_like(h)
        seed[:, unit] = 1.0
        by_unit.append(backward(h, flows[0].offset, seed)[chosen.to(h.device)])
    values: list[Tensor] = []
    entries = h.shape[1] * max(by_unit[0].shape[1], *through.shape)
    for part in torch.arange(len(chosen), device=h.device).split(max(1, ENTRIES // entries)):
        jacobians = torch.stack([gradient[part] for gradient in by_unit], dim=1).double()
        jacobians = jacobians @ through  # [nodes, units, directions]
        values.append(singular_values(jacobians @ jacobians.mT).cpu())
    return torch.cat(values)


def _recorded(model: nn.Module, read: Reading, y: Tensor) -> tuple[Tensor, list[Any]]:
    (h,), flows = record_flows(model, lambda: [read.activate(y)])
    return h, flows


def _contents_map(model: nn.Module, read: Reading) -> Float[Tensor, "columns channels"] | None:
    """M of what each node sends, y_u M + b; None where that is something else."""

    def contents(y: Tensor) -> Tensor:
        (flow,) = _recorded(model, read, y)[1]
        return flow.contents

    with torch.no_grad():
        offset = contents(torch.zeros_like(read.y))[0]
        rows: list[Tensor] = []
        for part in torch.eye(read.y.shape[1]).to(read.y).split(len(read.y)):
            units = torch.zeros_like(read.y)
            units[: len(part)] = part
            rows.append(contents(units)[: len(part)] - offset)
        through, sent = torch.cat(rows), contents(read.y)
        rest = sent - offset - read.y @ through
    return through if float(rest.norm()) <= rounding(read.y) * float(sent.norm()) else None


def _reads_own_sum(h: Tensor, offset: Tensor) -> bool:
    """Whether ∂h_u/∂z_v is zero for u ≠ v, tried on random combinations of all rows."""
    generator = torch.Generator().manual_seed(0)
    units = torch.randn(1, h.shape[1], generator=generator).to(h)
    nodes = torch.randn(len(h), 1, generator=generator).to(h)
    own = nodes * backward(h, offset, units.expand_as(h))
    rest = own - backward(h, offset, nodes * units)
    return float(rest.norm()) <= rounding(h) * float(own.norm())


def fields_of(read: Reading, chosen: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The nodes that each chosen one depends on: at the reference or at random features.

    A unit that is off at the reference, and so has no derivative, is on at some of them.
    """
    noise = [torch.randn(read.y.shape, generator=generator).to(read.y) for _ in range(2)]
    scale = read.y.std() if float(read.y.std()) > 0 else 1.0
    matters = slice(None) if read.factor is None else read.factor.any(dim=1)  # not maps of zeros
    depends = [torch.zeros(len(read.y), dtype=torch.bool) for _ in chosen]
    for point in (read.y, *(scale * draw for draw in noise)):
        y = point.clone().requires_grad_()
        h = read.activate(y)
        units = torch.randn(h.shape[1], generator=generator).to(h)
        for place, node in enumerate(chosen.tolist()):
            seed = torch.zeros_like(h)
            seed[node] = units
            depends[place] |= backward(h, y, seed)[:, matters].any(dim=1).cpu()
    return [each.nonzero().view(-1) for each in depends]


def of_fields(read: Reading, fields: list[Tensor], chosen: Int[Tensor, " nodes"]) -> Values:
    """Singular values of each ∂h_v/∂X."""
    y = read.y.clone().requires_grad_()
    h = read.activate(y)
    values: list[Tensor] = []
    for node, field in zip(chosen.tolist(), fields, strict=True):
        rows: list[Tensor] = []
        for unit in range(h.shape[1]):
            seed = torch.zeros_like(h)
            seed[node, unit] = 1.0
            rows.append(read.projected(backward(h, y, seed)[field.to(h.device)]).reshape(-1))
        jacobian = torch.stack(rows).double()  # [units, its nodes · directions]
        values.append(singular_values(jacobian @ jacobian.T).cpu())
    return torch.stack(values)
