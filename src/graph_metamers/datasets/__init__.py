"""Graphs by name: the paper's five, and built-in ones that need no download."""

from graph_metamers.datasets.contextual import ContextualSBM, csbm
from graph_metamers.datasets.heterogeneous import HeteroSBM, hetero_csbm
from graph_metamers.datasets.motif import TARGETS, motifs
from graph_metamers.datasets.named import BUILT_IN, NAMES, cache_folder, load, load_nodes
from graph_metamers.datasets.recommendation import BipartiteSBM, bipartite

__all__ = [
    "BUILT_IN",
    "NAMES",
    "TARGETS",
    "BipartiteSBM",
    "ContextualSBM",
    "HeteroSBM",
    "bipartite",
    "cache_folder",
    "csbm",
    "hetero_csbm",
    "load",
    "load_nodes",
    "motifs",
]
