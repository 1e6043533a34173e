"""Small models on the built-in graphs: how each is built and trained."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import LightGCN

from graph_metamers.datasets import NAMES
from graph_metamers.errors import known_name
from graph_metamers.zoo.settings import Training
from graph_metamers.zoo.small import HAN, HGT, RGCN, HeteroSAGE, MotifGIN
from graph_metamers.zoo.supervision import outputs
from graph_metamers.zoo.training import MODELS, Trained, fit

Graph = Data | HeteroData


@dataclass(frozen=True)
class Recipe:
    """A small model for a built-in graph."""

    dataset: str  # as `datasets.load` takes it
    summary: str  # what the model is, in a line
    build: Callable[[Any], nn.Module]  # makes the model for a graph
    homogeneous: bool = False  # whether the graph's types stand in one matrix
    weight_decay: float = 5e-4


def _typed(model: Callable[..., nn.Module], data: HeteroData) -> nn.Module:
    """A model that classifies papers."""
    papers = data["paper"]
    return model(papers.num_features, outputs(papers.y), data.metadata(), "paper")


RECIPES: dict[str, Recipe] = {
    "motif_gin": Recipe(
        "motifs",
        "three layers of GIN, summed over a graph's nodes (Xu et al. 2019)",
        lambda data: MotifGIN(data.num_features, outputs(data.y)),
    ),
    "hetero_sage": Recipe(
        "hetero_csbm",
        "GraphSAGE with weights of each edge type, by to_hetero",
        functools.partial(_typed, HeteroSAGE),
    ),
    "hgt": Recipe(
        "hetero_csbm",
        "heterogeneous graph transformer, 2 heads (Hu et al. 2020)",
        functools.partial(_typed, HGT),
        weight_decay=5e-3,  # at less, it learns sixty papers by heart
    ),
    "han": Recipe(
        "hetero_csbm",
        "attention over neighbours and edge types (Wang et al. 2019)",
        functools.partial(_typed, HAN),
    ),
    "rgcn": Recipe(
        "hetero_csbm",
        "relational graph convolution, edge types as integers (Schlichtkrull et al. 2018)",
        lambda data: RGCN(data.num_features, outputs(data.y), int(data.edge_type.max()) + 1),
        homogeneous=True,
    ),
    "lightgcn": Recipe(
        "bipartite",
        "embeddings propagated between users and items (He et al. 2020)",
        lambda data: LightGCN(data.num_nodes, embedding_dim=16, num_layers=2),
        weight_decay=0.0,
    ),
}


def models_for(dataset: str) -> tuple[str, ...]:
    """Names of the zoo's models that go with a dataset; the first is the default.

    Raises:
        InputError: The dataset is unknown.

    Example:
        >>> models_for("hetero_csbm")
        ('hetero_sage', 'hgt', 'han', 'rgcn')
        >>> models_for("cora")[0]
        'gcn'
    """
    key = known_name("dataset", dataset, NAMES, "a dataset")
    own = tuple(name for name, recipe in RECIPES.items() if recipe.dataset == key)
    return own or tuple(MODELS)


def train_recipe(
    name: str,
    data: Graph,
    *,
    seed: int = 0,
    training: Training | None = None,
    progress: bool = True,
) -> tuple[Trained, Graph]:
    """Build and train a small model on its kind of graph; nothing is cached.

    Args:
        name: One of `RECIPES`.
        data: A graph such as its dataset is.
        seed: Seed of the weights and of what training draws.
        training: How to train; by default as the recipe says.
        progress: Whether to show a bar once it takes longer than two seconds.

    Returns:
        The trained model, and the graph that it is called with: for "rgcn" a homogeneous one.

    Raises:
        InputError: The model is unknown.

    Example:
        >>> from graph_metamers import datasets
        >>> data = datasets.hetero_csbm(papers=90)
        >>> trained, graph = train_recipe("rgcn", data, training=Training(epochs=5))
        >>> type(trained.model).__name__, type(graph).__name__
        ('RGCN', 'Data')
    """
    recipe = RECIPES[known_name("model", name, RECIPES, "a small model")]
    graph = data.to_homogeneous() if recipe.homogeneous and isinstance(data, HeteroData) else data
    training = training or Training(lr=1e-2, epochs=150, weight_decay=recipe.weight_decay)
    build = functools.partial(recipe.build, graph)
    return fit(build, graph, training=training, seed=seed, progress=progress), graph
