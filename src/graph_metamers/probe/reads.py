"""The linear maps through which layers read the features, found in any model and verified."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from graph_metamers.inputs import Inputs
from graph_metamers.probe.layers import Target
from graph_metamers.probe.session import Session

Reads = Mapping[str, Tensor]  # Y = X W of each feature matrix, by its name


@dataclass(frozen=True, eq=False)
class LinearRead:
    """Activations that depend on feature matrices X only through X W.

    Whatever a graph layer does with its neighbours, where it meets the features it multiplies
    them by weights, W = [W_1 … W_K], one for each such map. Two graphs with equal X W are the
    same to every layer behind; and a change of one entry of X is a change of one row of X W.

    Attributes:
        weights: W of each feature matrix, [features, units], by its name.
        activations: The activations as a function of all X W, differentiable, on the reference's
            edges or those of inputs that are given. It costs a forward with `units` features in
            place of all of them.
        picks: What takes the place of the model's weights when it is given X W: by the names of
            the weights, in the order of their columns in W.
    """

    weights: Mapping[str, Tensor]
    activations: Callable[..., list[Tensor]]  # (Reads, inputs: Inputs | None = None)
    picks: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    @property
    def weight(self) -> Tensor:
        """W, where there is one feature matrix."""
        (weight,) = self.weights.values()
        return weight

    def of(self, inputs: Inputs) -> dict[str, Tensor]:
        """X W of a graph."""
        return {key: inputs[key] @ weight for key, weight in self.weights.items()}


def find_linear_read(
    session: Session, targets: list[Target], keys: Sequence[str] = ("x",)
) -> LinearRead | None:
    """Find the maps through which `targets` read feature matrices, or None where there are none.

    A weight matrix that reads X has no gradient along a column of X that is zero. Each such
    matrix is replaced by one that picks its own part of X W. That the activations are then the
    same is not assumed but tried, on the graph's features and on random ones.

    Args:
        session: The opened model.
        targets: What is read.
        keys: Names of the feature matrices.
    """
    weights: dict[str, Tensor] = {}
    picks: dict[str, Tensor] = {}
    for key in keys:
        if key not in session.inputs.feature_keys:
            return None
        readers, idle = _readers(session, targets, key)
        if not readers:
            return None
        # A branch that the targets do not see may still run, and must be able to.
        found = next(
            (
                (weight, own | others)
                for candidates in ([idle, {}] if idle else [{}])
                for weight, own, others in [_reduced(session, readers, candidates)]
                if _is_exact(session, targets, _read(session, targets, {key: weight}, own | others))
            ),
            None,
        )
        if found is None:
            return None
        weights[key] = found[0]
        picks |= found[1]
    read = _read(session, targets, weights, picks)
    return read if len(keys) == 1 or _is_exact(session, targets, read) else None


Side = tuple[Tensor, bool]  # a weight, and whether its columns are the features
# The parameters of a module, the name of one of them, what it is, and what shall be in its place.
Place = tuple[dict[str, Any], str, Tensor, Tensor]


def _readers(
    session: Session, targets: list[Target], key: str
) -> tuple[dict[str, Side], dict[str, Side]]:
    """Weights that multiply the features: those that matter to the targets, and idle ones."""
    x = session.inputs[key].detach()
    width = x.shape[1]
    tables = [m.weight for m in session.model.modules() if isinstance(m, nn.Embedding)]
    weights = {
        name: weight.detach().requires_grad_()
        for name, weight in session.model.named_parameters()
        if weight.dim() == 2
        and width in weight.shape
        and weight.is_floating_point()
        and not any(weight is table for table in tables)
        and _places(session.model, {name: weight})
    }
    if not weights:
        return {}, {}
    # Random features, so that no unit is off by chance; then with one column that is zero.
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    noise, column = noise.to(x).abs(), width // 2
    silent = noise.clone()
    silent[:, column] = 0.0

    def gradients(values: Tensor) -> list[Tensor]:
        found = _gradients(session, targets, key, values.clone().requires_grad_(), weights)
        pairs = zip(found, weights.values(), strict=True)
        return [torch.zeros_like(weight) if g is None else g for g, weight in pairs]

    heard, unheard = gradients(noise), gradients(silent)
    # What is silent on random features may be heard on the reference's.
    own = unheard if all(bool(none.any()) for none in unheard) else gradients(x)
    readers: dict[str, Side] = {}
    idle: dict[str, Side] = {}
    for (name, weight), some, none, real in zip(weights.items(), heard, unheard, own, strict=True):
        plain, side = weight.detach(), weight.shape[1] == width
        if not bool(none.any()):
            (readers if bool(real.any()) else idle)[name] = plain, side
            continue
        # A unit of a later layer that is off gives no gradient there either, but on both.
        columns = side and bool(some[:, column].any()) and not bool(none[:, column].any())
        rows = len(plain) == width and bool(some[column].any()) and not bool(none[column].any())
        if columns or rows:
            readers[name] = plain, columns
    return readers, idle


def _gradients(
    session: Session, targets: list[Target], key: str, x: Tensor, weights: dict[str, Tensor]
) -> Sequence[Tensor | None]:
    with torch.enable_grad(), _replaced(_places(session.model, weights)):
        activations = session.activations(targets, session.inputs.replaced({key: x}))
        total = torch.stack([h.square().sum() + h.sum() for h in activations]).sum()
    if not total.requires_grad:  # the layers behind are a function of the graph alone
        return [None] * len(weights)
    try:
        return torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    except RuntimeError:  # what has no gradient says so in many ways; no map is then known
        return [None] * len(weights)


def _reduced(
    session: Session, readers: dict[str, Side], idle: dict[str, Side]
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """W, what picks each reader's part of X W, and zeros in the place of idle weights."""
    columns = {name: w.T if by_column else w for name, (w, by_column) in readers.items()}
    weight = torch.cat(list(columns.values()), dim=1).contiguous()
    units = weight.shape[1]
    picks: dict[str, Tensor] = {}
    first = 0
    for name, w in columns.items():
        pick = w.new_zeros(units, w.shape[1])
        pick[first : first + w.shape[1]] = torch.eye(w.shape[1], dtype=w.dtype, device=w.device)
        picks[name] = pick.T.contiguous() if readers[name][1] else pick
        first += w.shape[1]
    others = {
        name: w.new_zeros(len(w), units) if by_column else w.new_zeros(units, w.shape[1])
        for name, (w, by_column) in idle.items()
    }
    return weight, picks, others


def _read(
    session: Session, targets: list[Target], weights: dict[str, Tensor], picks: dict[str, Tensor]
) -> LinearRead:
    places = _places(session.model, picks)

    def activations(reads: Reads, inputs: Inputs | None = None) -> list[Tensor]:
        with _replaced(places):
            return session.activations(targets, (inputs or session.inputs).replaced(reads))

    return LinearRead(weights, activations, picks)


@torch.no_grad()
def _is_exact(session: Session, targets: list[Target], read: LinearRead) -> bool:
    """Whether the activations of X W are those of X, to rounding."""
    references = {key: session.inputs[key] for key in read.weights}
    if any(w.dtype != references[key].dtype for key, w in read.weights.items()):
        return False
    # Of each row the reference's features, others like these, or far larger ones.
    generator, xs = torch.Generator().manual_seed(0), dict[str, Tensor]()
    for key, x in references.items():
        noise = torch.randn(x.shape, generator=generator).to(x) * (float(x.std()) or 1.0)
        kind = torch.randint(3, (len(x), 1), generator=generator).to(x.device)
        xs[key] = torch.where(kind == 0, x, noise * torch.where(kind == 1, 1.0, 10.0).to(x))
    try:
        reduced = read.activations({key: x @ read.weights[key] for key, x in xs.items()})
    except Exception:  # what a model makes of another width is open; it then has no such maps
        return False
    whole = session.activations(targets, session.inputs.replaced(xs))
    for h, other in zip(whole, reduced, strict=True):
        # float32 sums over thousands of features and neighbours differ by 1e-6 with the order.
        tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}.get(h.dtype, 1e-2)
        if h.shape != other.shape:
            return False
        h, other = h.double(), other.double()
        if not float((h - other).norm()) <= tolerance * float(h.norm()):
            return False
    return True


@contextmanager
def _replaced(places: list[Place]) -> Generator[None]:
    """Inside, other tensors stand in the place of some weights, under all names that they have.

    `torch.func.functional_call` restores a module that has two names wrongly (torch 2.13).
    """
    try:
        for parameters, name, _, value in places:
            parameters[name] = value
        yield
    finally:
        for parameters, name, own, _ in places:
            parameters[name] = own


def _places(model: nn.Module, weights: Mapping[str, Tensor]) -> list[Place]:
    """Where the weights stand, and what shall stand there."""
    own = dict(model.named_parameters())
    wanted = {id(own[name]): value for name, value in weights.items()}
    return [
        (vars(module)["_parameters"], name, weight, wanted[id(weight)])
        for module in model.modules()
        if isinstance(vars(module).get("_parameters"), dict)
        for name, weight in module._parameters.items()  # pyright: ignore[reportPrivateUsage]
        if id(weight) in wanted and weight is not None
    ]
