"""A model, a reference and what varies become the problem that a search is given."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from graph_metamers.digests import digest
from graph_metamers.errors import InputError, describe, listing
from graph_metamers.inputs import Graph, Inputs
from graph_metamers.measure import Match
from graph_metamers.probe import How, Layer, Session, Target
from graph_metamers.search import Problem
from graph_metamers.similarity import similarity
from graph_metamers.task import Task
from graph_metamers.vary import Block, Vary, blocks_of, random_inputs, vary_features

STARTS: Final = 9  # random starts at which a layer may move

Varies = Vary | dict[str, Vary] | None


@dataclass(frozen=True, eq=False)
class Opened:
    """A model opened on a reference, with what varies: what all layers and seeds share."""

    session: Session
    blocks: tuple[Block, ...]


@contextmanager
def opened(
    model: nn.Module,
    data: Graph | Inputs,
    vary: Any,
    how: How,
    task: Task | str | None = None,
) -> Generator[Opened]:
    """Open a model on the reference with all that varies, to which it responds as before.

    Raises:
        InputError: The model, the graph or what varies cannot be used.
    """
    given = Inputs.of(data)
    blocks = blocks_of(vary, given, vary_features)
    inputs = given
    for block in blocks:
        inputs = block.vary.prepared(inputs, block.at)
    for block in blocks:
        block.check(inputs)
    with ExitStack() as stack:
        session = stack.enter_context(Session(model, inputs, how, task, [b.at for b in blocks]))
        if inputs is not given:
            _check_same_response(model, given, session)
        yield Opened(session, blocks)


@torch.no_grad()
def _check_same_response(model: nn.Module, given: Inputs, session: Session) -> None:
    with Session(model, given, session.call) as before:
        outputs = before.output(before.inputs), session.output(session.inputs)
    if not _is_same(*outputs):
        raise InputError(
            f"{session.name} responds otherwise once its edges have weights of 1, as "
            "GCNConv(improved=True) does. Set data.edge_weight to what it was trained with."
        )


def pose(
    opened: Opened,
    layer: Layer,
    *,
    tol: float,
    index: Tensor | Sequence[int] | None = None,
    avoid: Sequence[Any] = (),
    null_graphs: Sequence[Any] = (),
) -> Problem:
    """The reference's activations become the targets.

    Raises:
        InputError: The layer cannot be matched: it is unknown, not finite, silent, random, or does
            not depend on what varies; or `tol`, `index`, `avoid` or `null_graphs` do not fit.
    """
    session, blocks = opened.session, opened.blocks
    inputs = session.inputs
    asked = session.targets(layer)
    with torch.no_grad():
        activations = session.activations(asked, inputs)
        for target, h in zip(asked, activations, strict=True):
            if not torch.isfinite(h).all():
                raise InputError(
                    f"The activation at {target.label} holds NaN or infinite entries on the "
                    "reference graph. Check the model's weights and data.x."
                )
        named = [f"The activation at {target.label}" for target in asked]
        _check_repeated(named, lambda: session.activations(asked, inputs), activations)
        _check_output(session)
        moved = _moved(session, blocks, asked, activations)
    kept = _usable(session, blocks, asked, activations, moved)
    targets = [asked[place] for place in kept]
    chosen = [activations[place] for place in kept]
    others = [_other_activations(session, targets, chosen, graph) for graph in null_graphs]
    match = Match(
        [target.label for target in targets],
        chosen,
        [session.units(target, h) for target, h in zip(targets, chosen, strict=True)],
        tol=tol,
        index=_index(index, inputs.device),
        others=others,
    )
    away = tuple(_avoided(blocks, inputs, graph) for graph in avoid)
    identity = digest(
        dict(session.model.state_dict()),
        inputs.graph.to_dict(),
        str(inputs.device),
        match.labels,
        [str(block) for block in blocks],
        session.call.text,
        _index(index, inputs.device),
        [other[block.at] for other in away for block in blocks],
    )
    return Problem(
        session=session,
        targets=targets,
        inputs=inputs,
        blocks=blocks,
        match=match,
        avoid=away,
        similarity=lambda other: similarity(blocks, inputs, other),
        identity=identity,
        null_errors=[match.fvu(h).mean(0) for h in others],
    )


def _index(index: Any, device: torch.device) -> Tensor | None:
    try:
        return None if index is None else torch.as_tensor(index, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            "index must hold numbers of rows or a mask of them, as a list or a tensor; got "
            f"{index!r}. Leave it out for all rows."
        ) from None


def _check_output(session: Session) -> None:
    # The output is scored at the end: say now if that cannot be.
    output = session.output(session.inputs)
    if output.isnan().any():
        raise InputError(
            f"The output of {session.name} holds NaN on the reference graph, so that "
            "no answer can be read from it. Check the model's weights and data.x."
        )
    what = f"The output of {session.name}"
    _check_repeated([what], lambda: [session.output(session.inputs)], [output])
    session.task.kept(output, output)  # says where it is no output of this task


def _check_repeated(names: list[str], run: Callable[[], list[Tensor]], once: list[Tensor]) -> None:
    """Raise where a second run gives other values, and say whether chance is why."""
    for name, h, other in zip(names, once, run(), strict=True):
        if _is_same(h, other):
            continue
        torch.manual_seed(0)  # of the session, which leaves no trace outside
        first = run()
        torch.manual_seed(0)
        if all(map(_is_same, first, run())):
            raise InputError(
                f"{name} differs between two runs on the same graph: the model draws random "
                "numbers in evaluation mode. Where it calls F.dropout, pass "
                "training=self.training."
            )
        raise InputError(
            f"{name} differs between two runs on the same graph: the model has a state that each "
            "call changes, such as a counter, a moving average or a cache. Hand in a copy whose "
            "forward leaves it as it is."
        )


def _is_same(once: Tensor, again: Tensor) -> bool:
    scale = float(once.nan_to_num(0, 0, 0).abs().max()) if once.numel() else 0.0
    return once.shape == again.shape and torch.allclose(
        once, again, rtol=1e-3, atol=1e-5 * scale, equal_nan=True
    )


def _moved(
    session: Session,
    blocks: tuple[Block, ...],
    targets: list[Target],
    reference: list[Tensor],
) -> list[bool]:
    """Which activations are others at some random start; of small graphs one may hit the same."""
    generator = torch.Generator().manual_seed(0)
    moved = [False] * len(targets)
    for _ in range(STARTS):
        start = random_inputs(blocks, session.inputs, generator)
        started = session.activations(targets, start)
        for place, (h, other) in enumerate(zip(reference, started, strict=True)):
            moved[place] |= h.shape != other.shape or not torch.equal(h, other)
        if all(moved):
            break
    return moved


def _usable(
    session: Session,
    blocks: tuple[Block, ...],
    targets: list[Target],
    reference: list[Tensor],
    moved: list[bool],
) -> list[int]:
    """Places of the targets that can be matched; of a layer of several tensors one is enough.

    Raises:
        InputError: A layer is silent on the reference, or does not depend on what varies.
    """
    fine = [m and bool(h.any()) for m, h in zip(moved, reference, strict=True)]
    for place, target in enumerate(targets):
        same = [i for i, t in enumerate(targets) if t.call == target.call and t.call is not None]
        if fine[place] or any(fine[i] for i in same):
            continue
        if not bool(reference[place].any()):
            raise InputError(
                f"The activation at {target.label} is zero everywhere "
                f"({describe(reference[place])}): every unit is off, so any graph that keeps them "
                "off matches. Choose another layer."
            )
        varies = ", ".join(f"{block.at}, {type(block.vary).__name__}" for block in blocks)
        names = listing(name for name in session.layers.names if name != target.label)
        raise InputError(
            f"The activation at {target.label} does not depend on what varies ({varies}): it is "
            f"the same with other values there. "
            f"{f'Choose another layer among {names}, or vary' if names else 'Vary'} another input "
            f"that the model reads: the data has {listing(session.inputs.keys)}."
        )
    return [place for place, each in enumerate(fine) if each]


def _other_activations(
    session: Session, targets: list[Target], reference: list[Tensor], graph: Any
) -> list[Tensor]:
    with torch.no_grad():
        found = session.activations(targets, Inputs.of(graph))
    shapes = [h.shape for h in reference]
    if [h.shape for h in found] != shapes:
        raise InputError(
            "null_graphs must hold graphs whose activations have the reference's shape "
            f"{[list(shape) for shape in shapes]}; one gives {[list(h.shape) for h in found]}. "
            "Leave it out."
        )
    return found


def _avoided(blocks: tuple[Block, ...], inputs: Inputs, graph: Any) -> Inputs:
    other = Inputs.of(graph)
    for block in blocks:
        if block.at not in other or other[block.at].shape != inputs[block.at].shape:
            raise InputError(
                f"avoid must hold graphs whose {block.at} has the reference's shape "
                f"{list(inputs[block.at].shape)}. Of a metamer m it is m.data."
            )
    return other
