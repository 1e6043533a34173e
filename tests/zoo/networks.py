"""Networks with weights drawn anew, what is read off them, and four nodes by hand."""

import numpy as np
import torch
from torch import nn

from helpers import seeded

# 0 - 1 - 2, and 3 alone.
UNDIRECTED = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
X = np.array([[1.0, 0, 2], [0, -1, 1], [3, 1, 0], [0.5, 2, -1]])


def built(model: type, **options) -> nn.Module:
    """In float64, with every weight drawn anew: biases that start at zero count too."""

    def build() -> nn.Module:
        network = model(3, 2, **options).double().eval()
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.7)
        return network

    return seeded(build)


def adjacency(edge_index: torch.Tensor) -> np.ndarray:
    a = np.zeros((4, 4))
    a[edge_index[1], edge_index[0]] = 1
    return a


def normalised(a: np.ndarray) -> np.ndarray:
    a = a + np.eye(4)
    root = np.diag(a.sum(1) ** -0.5)
    return root @ a @ root


def values(module: nn.Module, name: str) -> np.ndarray:
    held = dict(module.named_parameters()) | dict(module.named_buffers())
    return held[name].detach().numpy()


def linear(module: nn.Module, name: str, h: np.ndarray) -> np.ndarray:
    return h @ values(module, f"{name}.weight").T + values(module, f"{name}.bias")


def returned(network: nn.Module, layer: str, edge_index: torch.Tensor = UNDIRECTED) -> np.ndarray:
    """What a layer returns when the whole network runs."""
    seen = []
    handle = network.get_submodule(layer).register_forward_hook(lambda m, args, h: seen.append(h))
    network(torch.from_numpy(X), edge_index)
    handle.remove()
    return seen[0].detach().numpy()


def same(a: nn.Module, b: nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
