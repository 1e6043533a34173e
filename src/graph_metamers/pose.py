"""A reference, a model and what varies become the problem that a search is given."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.digests import digest
from graph_metamers.errors import InputError, check_positive, describe, listing
from graph_metamers.probe import (
    Forward,
    LinearRead,
    Probe,
    Target,
    find_linear_read,
    record_flows,
)
from graph_metamers.probe.layers import duplicates
from graph_metamers.search import Problem
from graph_metamers.similarity import similarity
from graph_metamers.storage import graph_tensors
from graph_metamers.vary import Edges, EdgeWeights, Vary, soft_edges


def prepared(model: nn.Module, data: Data, vary: Vary | None, forward: Forward | None) -> Data:
    """The reference with all that varies, to which the model responds as before."""
    if not isinstance(vary, Vary) or not isinstance(data, Data):  # pyright: ignore[reportUnnecessaryIsInstance]
        return data  # what is wrong is said when the model is opened
    graph = vary.prepared(data)
    if graph is not data:
        outputs: list[Tensor] = []
        for each in (data, graph):
            with Probe(model, each, forward) as probe, torch.no_grad():
                outputs.append(probe.output(each))
        if not torch.allclose(*outputs, rtol=1e-3, atol=1e-5 * float(outputs[0].abs().max())):
            raise InputError(
                f"{type(model).__name__} responds otherwise once its edges have weights of 1, as "
                "GCNConv(improved=True) does. Set data.edge_weight to what it was trained with."
            )
    return graph


def pose(
    probe: Probe,
    targets: list[Target],
    vary: Vary,
    tol: float,
    method: str,
    forward: Forward | None = None,
) -> Problem:
    """The reference's activations become the targets."""
    check_positive("tol", tol)
    if not isinstance(vary, Vary):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            "vary must be a configured one such as BinaryFeatures(), ContinuousFeatures(), Edges() "
            f"or EdgeWeights(); got {vary!r}."
        )
    vary.check(probe.data)
    repeated = duplicates(targets)
    if repeated:
        raise InputError(f"layer names {repeated[0]} twice; name each layer once.")
    with torch.no_grad():
        # The output is scored at the end: say now if that cannot be.
        outputs = probe.output(probe.data), probe.output(probe.data)
        activations = probe.activations(targets, probe.data)
        again = probe.activations(targets, probe.data)
    for target, h, other in zip(targets, activations, again, strict=True):
        if not torch.isfinite(h).all():
            raise InputError(
                f"The activation at {target.label} holds NaN or infinite entries on the "
                "reference graph. Check the model's weights and data.x."
            )
        if not h.any():
            raise InputError(
                f"The activation at {target.label} is zero everywhere ({describe(h)}): every "
                "unit is off, so any graph that keeps them off matches. Choose another layer."
            )
        _check_repeated(f"The activation at {target.label}", h, other)
    if outputs[0].isnan().any():
        raise InputError(
            f"The output of {type(probe.model).__name__} holds NaN on the reference graph, so that "
            "no class can be read from it. Check the model's weights and data.x."
        )
    _check_repeated(f"The output of {type(probe.model).__name__}", *outputs)
    _check_dependence(probe, targets, activations, vary)
    functions = [target.function for target in targets]
    labels = [target.label for target in targets]

    def activate(graph: Data) -> list[Tensor]:
        with soft_edges(probe.model, graph):
            return probe.activations(targets, graph)

    @functools.cache
    @torch.enable_grad()  # whoever asks first
    def find_read() -> LinearRead | None:
        read = find_linear_read(probe, targets)
        return None if read is None else dataclasses.replace(read, activations=softly(read))

    def softly(read: LinearRead) -> Callable[..., list[Tensor]]:
        def activations(y: Tensor, graph: Data | None = None) -> list[Tensor]:
            with soft_edges(probe.model, graph or probe.data):
                return read.activations(y, graph)

        return activations

    graph = {name: value for name, value in probe.data.to_dict().items() if name != "x"}
    plain = {name: repr(value) for name, value in graph.items() if not isinstance(value, Tensor)}
    subject = digest(
        probe.model,
        graph_tensors(probe.data),
        plain,
        str(probe.data["x"].device),
        labels,
        functions,
        vary,
        forward,
    )
    return Problem(
        data=probe.data,
        vary=vary,
        targets=activations,
        activations=activate,
        tol=tol,
        find_read=find_read,
        similarity=lambda graph: similarity(vary, probe.data, graph),
        record=lambda run: record_flows(probe.model, run),
        subject=subject,
        identity=digest(subject, method),
    )


def _check_repeated(what: str, once: Tensor, again: Tensor) -> None:
    scale = float(once.nan_to_num(0, 0, 0).abs().max())
    if not torch.allclose(once, again, rtol=1e-3, atol=1e-5 * scale):
        raise InputError(
            f"{what} differs between two runs on the same graph: the model draws random numbers in "
            "evaluation mode. Where it calls F.dropout, pass training=self.training."
        )


def _check_dependence(
    probe: Probe, targets: list[Target], reference: list[Tensor], vary: Vary
) -> None:
    for target, moved in zip(targets, _moved(probe, targets, reference, vary), strict=True):
        if not moved:
            raise InputError(
                f"The activation at {target.label} does not depend on what varies "
                f"({type(vary).__name__}), so every such graph is a metamer there. "
                + _elsewhere(vary, [n for n in probe.layers.names if n != target.label])
            )


def _elsewhere(vary: Vary, names: list[str]) -> str:
    if isinstance(vary, EdgeWeights):
        return "The model may not use data.edge_weight: many take it and leave it unread."
    if isinstance(vary, Edges):
        return "The model may not read data.edge_index: where it takes adj_t, del data.adj_t."
    return f"Choose among {listing(names)}."


def _moved(
    probe: Probe, targets: list[Target], reference: list[Tensor], vary: Vary
) -> Iterator[bool]:
    generator = torch.Generator().manual_seed(0)
    if isinstance(vary, Edges):
        with torch.no_grad():
            activations = probe.activations(targets, Edges().random(probe.data, generator))
        yield from (not torch.equal(h, t) for h, t in zip(activations, reference, strict=True))
        return
    variable = vary.start(probe.data, generator)
    for h in probe.activations(targets, variable.render()):
        gradients: Sequence[Tensor | None] = (None,)
        if h.requires_grad:
            gradients = torch.autograd.grad(
                h.sum(), variable.parameters, allow_unused=True, retain_graph=True
            )
        yield any(gradient is not None for gradient in gradients)
