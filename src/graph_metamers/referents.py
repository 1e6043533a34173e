"""What the sameness that a model sees means: a metamer, judged by someone else as well."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.datasets import ContextualSBM
from graph_metamers.errors import InputError, check_same_shape
from graph_metamers.probe import Forward, Session
from graph_metamers.probe.twin import original_of
from graph_metamers.result import Metamer
from graph_metamers.task import Binary, Classes, Task

TIE = 1e-9  # posteriors that differ by less are equal: what is left is rounding


@dataclass(frozen=True, eq=False)
class Referent:
    """Where a model and a referent disagree on whether nodes are still the same.

    Attributes:
        name: Who the referent is.
        over_invariance: Share of nodes whose predicted class stays while the referent's label
            changes: the model overlooks what matters.
        over_sensitivity: Share of nodes whose predicted class changes while that label stays.
        agreement: Share of nodes of which both say the same. The three shares sum to 1.
        nodes: Number of nodes.
        over_invariant_nodes: Which nodes the model is over-invariant at, [nodes].
        over_sensitive_nodes: Which nodes it is over-sensitive at, [nodes].
    """

    name: str
    over_invariance: float
    over_sensitivity: float
    agreement: float
    nodes: int
    over_invariant_nodes: Bool[Tensor, " nodes"] = field(repr=False)
    over_sensitive_nodes: Bool[Tensor, " nodes"] = field(repr=False)


def referent(
    reference_output: Float[Tensor, "..."],
    metamer_output: Float[Tensor, "..."],
    reference_labels: Int[Tensor, "..."],
    metamer_labels: Int[Tensor, "..."],
    *,
    name: str,
) -> Referent:
    """Compare what changed for a model with what changed for a referent.

        over-invariance  = |{v: ŷ'_v = ŷ_v, z'_v ≠ z_v}| / n
        over-sensitivity = |{v: ŷ'_v ≠ ŷ_v, z'_v = z_v}| / n

    with ŷ the predicted class (of one column a yes or no, see `Binary`) and z the referent's label,
    a prime for the metamer. The classes of the two need not correspond: only whether each changes
    is looked at.

    Args:
        reference_output: The model's output on the reference, [nodes, classes].
        metamer_output: That on the metamer, of the same shape.
        reference_labels: The referent's label of each node of the reference, [nodes].
        metamer_labels: That of each node of the metamer.
        name: Who the referent is.

    Raises:
        InputError: The outputs differ in shape, there is no node, or there is not one label for
            each of them.

    Example:
        >>> before, after = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> referent(before, after, torch.tensor([0, 1]), torch.tensor([1, 1]), name="a friend")
        Referent(name='a friend', over_invariance=0.5, over_sensitivity=0.5, agreement=0.0, nodes=2)
    """
    check_same_shape(reference_output, metamer_output)
    if reference_output.dim() == 0 or len(reference_output) == 0:
        raise InputError(
            "A referent needs a model's output with a row for each node; got "
            f"{list(reference_output.shape)}."
        )
    nodes = len(reference_output)
    for which, labels in (("reference", reference_labels), ("metamer", metamer_labels)):
        if labels.shape != (nodes,):
            raise InputError(
                f"{which}_labels must be one label for each of the {nodes} rows of the model's "
                f"output; got {list(labels.shape)}. Of class scores take argmax(1)."
            )
    kept = _task(reference_output).kept(reference_output, metamer_output)
    changed, relabelled = (kept < 1).cpu(), (metamer_labels != reference_labels).cpu()
    over_invariant, over_sensitive = relabelled & ~changed, changed & ~relabelled
    return Referent(
        name=name,
        over_invariance=int(over_invariant.sum()) / nodes,
        over_sensitivity=int(over_sensitive.sum()) / nodes,
        agreement=int((changed == relabelled).sum()) / nodes,
        nodes=nodes,
        over_invariant_nodes=over_invariant,
        over_sensitive_nodes=over_sensitive,
    )


def _task(output: Tensor) -> Task:
    return Classes() if output.dim() > 1 and output.shape[-1] > 1 else Binary()


def bayes_referent(
    m: Metamer,
    model: nn.Module,
    sbm: ContextualSBM,
    *,
    structure: bool,
    forward: Forward | None = None,
) -> Referent:
    """Judge a metamer of a contextual stochastic block model by Bayes' rule.

    The label of a node is the class of the highest posterior, `ContextualSBM.posterior`; of equal
    ones, to 1e-9, the first. No classifier can do better with what the posterior is given.

    Args:
        m: The metamer, of a graph that `sbm` made.
        model: The model that it is a metamer of. It is left exactly as found.
        sbm: Where the reference comes from.
        structure: Whether the posterior is given the edges of each graph and the true labels of
            all *other* nodes (`m.reference.y`) beside the features.
        forward: How to call the model where the names of its arguments do not say so.

    Raises:
        InputError: The graphs are none of this model's, or have no labels where they are needed.

    Example:
        >>> import graph_metamers as gm
        >>> sbm = ContextualSBM(nodes=60, features=40, density=0.1)
        >>> model = gm.zoo.GCN(40, 3)
        >>> m = gm.metamer(model, sbm.sample(), "layer1", progress=False)
        >>> bayes_referent(m, model, sbm, structure=True).name
        "Bayes' rule, given features, edges and the labels of all other nodes"
    """
    if m.reference.get("edge_weight") is not None:
        raise InputError(
            "bayes_referent has no posterior for edges with weights, which this reference has. "
            "Use model_referent with another model."
        )
    y = m.reference.y
    if structure and not isinstance(y, Tensor):
        raise InputError(
            "bayes_referent(structure=True) needs the true labels m.reference.y; the reference "
            "has none. Use structure=False."
        )

    def label(graph: Data) -> Tensor:
        known = (graph["edge_index"].cpu(), m.reference["y"].cpu().long()) if structure else ()
        posterior = sbm.posterior(graph["x"].detach().cpu(), *known)
        best = posterior.amax(dim=1, keepdim=True)
        return (posterior >= best - TIE).int().argmax(dim=1)

    given = "features, edges and the labels of all other nodes" if structure else "features alone"
    labels = label(m.reference), label(m.data)
    return referent(*_outputs(m, model, forward), *labels, name=f"Bayes' rule, given {given}")


def model_referent(
    m: Metamer,
    model: nn.Module,
    referee: nn.Module,
    *,
    forward: Forward | None = None,
    referee_forward: Forward | None = None,
    name: str | None = None,
) -> Referent:
    """Judge a metamer by another model, where nobody knows the true posterior.

    The referee, trained on its own, may be wrong: what is found is where the two models part.

    Args:
        m: The metamer.
        model: The model that it is a metamer of. It is left exactly as found.
        referee: The other model, also left exactly as found.
        forward: How to call the model where the names of its arguments do not say so.
        referee_forward: The same of the referee.
        name: Who the referee is; its class if nothing is said.

    Raises:
        InputError: Model and referee are one and the same, or one of them cannot be run on the
            graphs or has not a row for each node.

    Example:
        >>> import graph_metamers as gm
        >>> data = gm.datasets.csbm(nodes=60, features=40)
        >>> model, referee = gm.zoo.GCN(40, 3), gm.zoo.GraphSAGE(40, 3)
        >>> m = gm.metamer(model, data, "layer1", progress=False)
        >>> found = model_referent(m, model, referee)
        >>> found.name, found.nodes
        ('GraphSAGE', 60)
    """
    if original_of(model) is original_of(referee):
        raise InputError(
            f"referee must be another model than the {type(original_of(model)).__name__} whose "
            "metamer it judges; both are the same object, which would agree with itself. Hand in "
            "one that was trained on its own, such as another architecture."
        )
    before, after = _outputs(m, referee, referee_forward)
    # Together, so that a single column is read as probabilities on both graphs or on neither.
    labels = _task(before).predicted(torch.cat([before, after])).split(len(before))
    name = type(original_of(referee)).__name__ if name is None else name
    return referent(*_outputs(m, model, forward), *labels, name=name)


def _outputs(m: Metamer, model: nn.Module, forward: Forward | None) -> tuple[Tensor, Tensor]:
    """What a model returns for the reference and for the metamer."""
    with Session(model, m.original, forward) as session, torch.no_grad():
        return session.output(m.original), session.output(m.inputs)
