"""What flows along the edges of each convolution: contents, factors, and where they are summed."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.aggr import MeanAggregation

CONTENTS = ("x", "value", "h", "input")  # what PyG's convolutions call what they send


@dataclass(frozen=True, eq=False)
class Flow:
    """One aggregation of messages: z_v = Σ_u c_uv s_u.

    Attributes:
        contents: What each sender holds, s, [senders, channels].
        sums: The z, [receivers, channels].
        offset: Zeros that were added to them: the gradient at z.
        edges: The edges of the aggregation, [2, edges].
        factors: The c_uv, [edges]; fitted where a message is more than a multiple of s_u.
    """

    contents: Float[Tensor, "senders channels"]
    sums: Float[Tensor, "receivers channels"]
    offset: Float[Tensor, "receivers channels"]
    edges: Int[Tensor, "2 edges"]
    factors: Float[Tensor, " edges"]


def record_flows(
    model: nn.Module, run: Callable[[], list[Tensor]]
) -> tuple[list[Tensor], list[Flow]]:
    """The activations that `run` gives, and the flows of the model's convolutions on the way.

    Convolutions whose sums are of another width than what their nodes send are left out, and so
    are layers that are no PyG convolutions.

    Args:
        model: The model that `run` runs.
        run: Gives activations; the gradient at the sums is asked of them through `offset`.
    """
    flows: list[Flow] = []
    with ExitStack() as stack:
        for conv in model.modules():
            if isinstance(conv, MessagePassing):
                stack.enter_context(_recorded(conv, flows))
        return run(), flows


@contextmanager
def _recorded(conv: MessagePassing, flows: list[Flow]) -> Generator[None]:
    seen: dict[str, Tensor] = {}

    def before(_: nn.Module, inputs: Any) -> None:
        seen.clear()
        edges, _size, kwargs = inputs
        contents = next((kwargs[name] for name in CONTENTS if name in kwargs), None)
        contents = contents[0] if isinstance(contents, tuple) else contents
        plain = isinstance(edges, Tensor) and edges.layout == torch.strided
        if plain and isinstance(contents, Tensor):
            seen["edges"] = edges if conv.flow == "source_to_target" else edges.flip(0)
            seen["contents"] = contents.detach().flatten(1)

    def between(_: nn.Module, __: Any, messages: Tensor) -> None:
        if "edges" in seen and len(messages) == seen["edges"].shape[1]:
            seen["messages"] = messages.detach().flatten(1)

    def after(_: nn.Module, __: Any, out: Any) -> Any:
        if "messages" not in seen or not isinstance(out, Tensor):
            return None
        sums = out.flatten(1)
        widths = {sums.shape[1], seen["contents"].shape[1], seen["messages"].shape[1]}
        if len(widths) > 1:
            return None
        offset = torch.zeros_like(sums).requires_grad_()
        mean = isinstance(conv.aggr_module, MeanAggregation)
        count = len(sums) if mean else None
        factors = _factors(seen["contents"], seen["edges"], seen["messages"], count)
        flows.append(Flow(seen["contents"], sums.detach(), offset, seen["edges"], factors))
        return out + offset.view_as(out)

    handles = [
        conv.register_propagate_forward_pre_hook(before),
        conv.register_message_forward_hook(between),
        conv.register_propagate_forward_hook(after),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _factors(contents: Tensor, edges: Tensor, messages: Tensor, count: int | None) -> Tensor:
    """The multiple of s_u that comes nearest to each message; of a mean over `count` receivers."""
    sent = contents[edges[0]]
    factors = (messages * sent).sum(1) / sent.square().sum(1).clamp(min=1e-30)
    if count is not None:
        factors = factors / torch.bincount(edges[1], minlength=count)[edges[1]]
    return factors
