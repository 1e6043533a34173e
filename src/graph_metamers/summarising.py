"""summary(): what was understood of a model and a graph, before anything is searched."""

from dataclasses import dataclass

import torch
from torch import nn

from graph_metamers.errors import describe
from graph_metamers.inputs import Graph
from graph_metamers.probe import Forward, Layers, Session, how_of
from graph_metamers.result import setting
from graph_metamers.task import Task
from graph_metamers.vary import vary_features


@dataclass(frozen=True, repr=False)
class Summary:
    """How a model is called on a graph, what its inputs and answers are, and its layers.

    Attributes:
        call: The call as it will be made; `call=` takes it.
        defaults: Arguments of the model that stay at their default.
        task: How answers are compared.
        answers: What the rows of the output are.
        inputs: What each tensor of the graph is, by name.
        layers: The layers that metamers can be built for.
    """

    call: str
    defaults: tuple[str, ...]
    task: str
    answers: str
    inputs: dict[str, str]
    layers: Layers

    def __str__(self) -> str:
        defaults = f" (default: {', '.join(self.defaults)})" if self.defaults else ""
        width = max(map(len, self.inputs), default=0)
        lines = [
            f"call    {self.call}{defaults}",
            f"task    {self.task}, of the {self.answers}",
            *(f"input   {name:<{width}}  {what}" for name, what in self.inputs.items()),
            *(f"layer   {layer}" for layer in self.layers),
        ]
        return "\n".join(lines)

    __repr__ = __str__


def summary(
    model: nn.Module,
    data: Graph,
    *,
    task: Task | str | None = None,
    call: str | None = None,
    forward: Forward | None = None,
) -> Summary:
    """What was understood of a model and a graph: look at it first.

    Args:
        model: Any module that takes a graph. It is copied; the model itself is never entered.
        data: The reference, as `metamer` takes it.
        task: How outputs are compared, as `metamer` takes it.
        call: The call as text, as `metamer` takes it.
        forward: The call as a function, as `metamer` takes it.

    Raises:
        InputError: The model or the graph cannot be used, or there are two ways to call the model.

    Example:
        >>> import graph_metamers as gm
        >>> from torch_geometric.data import Data
        >>> data = Data(x=torch.rand(3, 40), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> gm.summary(gm.zoo.GCN(40, 3), data)
        call    model(x, edge_index) (default: edge_weight)
        task    embedding, of the nodes
        input   x           float32 [3, 40], of the nodes; varies as ContinuousFeatures
        input   edge_index  int64 [2, 2], of the edges
        layer   layer1.conv [3, 16]
        layer   layer1 [3, 16]
        layer   layer2 [3, 3]
    """
    with Session(model, data, how_of(call, forward), task) as session, torch.no_grad():
        inputs = session.inputs
        ways = {
            key: f"; varies as {setting(vary_features(inputs, key))}" for key in inputs.feature_keys
        }
        return Summary(
            call=session.call.text,
            defaults=session.call.left,
            task=session.task.name,
            answers=session.output_units(session.output(inputs)).noun,
            inputs={
                key: f"{describe(inputs[key])}, of the {inputs.units_of(key).noun}"
                + ways.get(key, "")
                for key in inputs.keys
            },
            layers=session.layers,
        )
