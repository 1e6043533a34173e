"""Inputs: the tensors a model is called with, under flat names, in the author's own type."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.data import BaseData

from graph_metamers.errors import InputError, listing, suggestion, told
from graph_metamers.units import Level, Units

# Of a graph: a dense adjacency in place of edge_index. No attribute of a user has this name.
ADJACENCY = "soft adjacency of graph-metamers"
Graph = BaseData | Mapping[str, Any] | Sequence[BaseData]

WHAT = (
    "a torch_geometric Data, HeteroData or Batch, a list of graphs, or a dictionary of the "
    "arguments that the model is called with"
)


@dataclass(frozen=True, eq=False)
class Inputs:
    """A graph, or several, whose tensors are reached by flat names.

    Names are `x` in a `Data` or `Batch`; `paper.x` and `author-writes-paper.edge_index` in a
    `HeteroData`; and `x` or `x_dict.paper` in a dictionary of arguments.

    Attributes:
        graph: The graph as PyG holds it; a dictionary of arguments is held as one as well.
        called: Whether it was handed in as a dictionary of arguments.

    Example:
        >>> data = HeteroData()
        >>> data["paper"].x = torch.ones(2, 3)
        >>> inputs = Inputs.of(data)
        >>> inputs.keys, inputs.replaced({"paper.x": torch.zeros(2, 3)}).restored()["paper"].x.sum()
        (['paper.x'], tensor(0.))
    """

    graph: BaseData
    called: bool = False

    @classmethod
    def of(cls, data: Any, name: str = "data") -> "Inputs":
        """Inputs of a graph, of a list of graphs (as one batch), or of a dictionary of arguments.

        Args:
            data: Any of these.
            name: What it is called where it is none of them.

        Raises:
            InputError: It is none of these.
        """
        if isinstance(data, Inputs):
            return data
        if isinstance(data, (Data, HeteroData)):
            return cls(data)
        if isinstance(data, Mapping):
            return cls(_of_arguments(cast("Mapping[Any, Any]", data)), called=True)
        graphs = cast("Sequence[Any]", data) if isinstance(data, Sequence) else ()
        if graphs and all(isinstance(graph, (Data, HeteroData)) for graph in graphs):
            with told(
                f"{name} must hold graphs with the same attributes, which PyG makes one batch of",
                "See which graph differs with [graph.to_dict().keys() for graph in graphs].",
            ):
                return cls(cast("BaseData", Batch.from_data_list(list(graphs))))
        raise InputError(f"{name} must be {WHAT}; got {type(data).__name__}.")

    # ------------------------------------------------------------------ tensors by name

    @property
    def keys(self) -> list[str]:
        """The names of all tensors that hold plain numbers; see `is_plain`."""
        return [
            f"{kind}.{name}" if kind else str(name)
            for kind, store in self._stores().items()
            for name, value in store.items()
            if is_plain(value)
        ]

    def __contains__(self, key: str) -> bool:
        store, name = self._store_of(key)
        return store is not None and name in store

    def __getitem__(self, key: str) -> Tensor:
        """The tensor of a name.

        Raises:
            InputError: There is none.
        """
        store, name = self._place(key)
        value = store[name]
        if not is_plain(value):
            raise InputError(
                f"'{key}' must be a tensor of plain numbers; the data holds {_kind(value)}."
            )
        return value

    def get(self, key: str) -> Any:
        """What a name stands for, or None."""
        store, name = self._store_of(key)
        return store[name] if store is not None and name in store else None

    def replaced(self, changed: Mapping[str, Tensor]) -> "Inputs":
        """The same with other tensors under some names, or new ones; the rest is shared."""
        graph = copy.copy(self.graph)
        moved = Inputs(graph, self.called)
        for key, value in changed.items():
            store, name = moved._place(key)
            if name not in store and moved.divisible:
                moved._divide(key)
            store[name] = value
        return moved

    def _divide(self, key: str) -> None:
        """Let PyG take a new attribute of the edges of a batch apart as it does the edges."""
        whole = vars(self.graph.stores[0])
        store, name = self._place(key)
        of = getattr(store, "_key", None)
        for tables, value in (("_slice_dict", None), ("_inc_dict", 0)):
            table = dict(whole[tables])
            own = table if of is None else dict(table[of])
            own[name] = own["edge_index"] if value is None else torch.zeros(self.graphs)
            whole[tables] = own if of is None else {**table, of: own}

    def restored(self) -> Any:
        """The author's own type: `Data`, `HeteroData`, `Batch`, or the dictionary of arguments."""
        return _arguments(self.graph) if self.called else self.graph

    def cloned(self) -> "Inputs":
        """A copy that shares no tensor."""
        return self.replaced({key: self[key].clone() for key in self.keys})

    def kind_of(self, key: str) -> str:
        """The node or edge type of a name; empty where a graph has one of each."""
        typed = isinstance(self.graph, HeteroData) and key in self
        return key.rpartition(".")[0] if typed else ""

    def beside(self, key: str, name: str) -> str:
        """The name of another attribute of the same nodes or edges.

        >>> Inputs(Data()).beside("x", "y")
        'y'
        """
        before, _, _ = key.rpartition(".")
        return f"{before}.{name}" if before else name

    def spelled(self, key: str) -> str:
        """How the author writes a name: `data.x`, `data['paper'].x`.

        >>> Inputs(Data()).spelled("x")
        'data.x'
        """
        kind, _, name = key.rpartition(".")
        if not kind or not isinstance(self.graph, HeteroData):
            return f"data.{key}"
        store = self._stores().get(kind)
        return f"data[{kind if store is None else store._key!r}].{name}"

    def _stores(self) -> dict[str, Any]:
        """What each node and edge type holds, by its name; the whole graph has the empty one."""
        if not isinstance(self.graph, HeteroData):
            return {"": self.graph.stores[0]}
        keys = [(store._key or "", store) for store in self.graph.stores]  # pyright: ignore[reportPrivateUsage]
        return {key if isinstance(key, str) else "-".join(key): store for key, store in keys}

    def _store_of(self, key: str) -> tuple[Any, str]:
        """The store in which a name stands, or would stand, and what it is called there."""
        typed = isinstance(self.graph, HeteroData)
        kind, _, name = key.rpartition(".") if typed else ("", "", key)
        return self._stores().get(kind), name

    def _place(self, key: str) -> tuple[Any, str]:
        store, name = self._store_of(key)
        if store is None or (name not in store and name not in ("edge_weight", ADJACENCY)):
            raise InputError(
                f"The data has no '{key}'.{suggestion(key, self.keys)} It has {listing(self.keys)}."
            )
        return store, name

    # ------------------------------------------------------------------ nodes, edges and graphs

    @property
    def node_types(self) -> list[str]:
        """Names of the node types: one, the empty name, in a graph without types."""
        return list(self.graph.node_types) if isinstance(self.graph, HeteroData) else [""]

    @property
    def feature_keys(self) -> list[str]:
        """Names of the float matrices `x` of all node types."""
        return [
            key
            for key in self.keys
            if _last(key) == "x"
            and (x := self[key]).is_floating_point()
            and x.dim() == 2
            and x.layout == torch.strided
        ]

    @property
    def edge_keys(self) -> list[str]:
        """Names of all `edge_index`."""
        return [key for key in self.keys if _last(key) == "edge_index"]

    @property
    def device(self) -> torch.device:
        """The device of the first tensor."""
        return next((self[key].device for key in self.keys), torch.device("cpu"))

    def nodes(self, kind: str = "") -> int:
        """How many nodes of a type there are."""
        store = self._stores()[kind]
        with warnings.catch_warnings():  # PyG warns where it counts the nodes by the edges' ends
            warnings.simplefilter("ignore", UserWarning)
            return int(store.num_nodes or 0)

    def ends(self, key: str) -> tuple[str, str]:
        """The node types that edges lead from and to."""
        if not isinstance(self.graph, HeteroData):
            return "", ""
        source, _, target = self._stores()[self.kind_of(key)]._key
        return source, target

    @property
    def graphs(self) -> int:
        """How many graphs there are."""
        if isinstance(self.graph, Batch):
            return int(self.graph.num_graphs)
        batch = self.get("batch")
        return int(batch.max()) + 1 if isinstance(batch, Tensor) and len(batch) else 1

    def graph_of_nodes(self, kind: str = "") -> Tensor:
        """The graph of each node of a type."""
        batch = self.get(f"{kind}.batch" if kind else "batch")
        if isinstance(batch, Tensor):
            return batch
        return torch.zeros(self.nodes(kind), dtype=torch.long, device=self.device)

    def units(self, h: Tensor, hint: str = "") -> Units:
        """What the rows of a tensor stand for, by their number.

        Args:
            h: A tensor that belongs to this graph: an input, an activation, an output.
            hint: The name of a node or edge type, where the tensor was found under one.
        """
        found = self.readings(len(h) if h.dim() else 1, hint)
        if found:
            return found[0]
        graph = torch.zeros(len(h) if h.dim() else 1, dtype=torch.long, device=h.device)
        return Units("row", "", graph, self.graphs)

    def readings(self, rows: int, hint: str = "") -> list[Units]:
        """All that so many rows may stand for, the likeliest first."""
        known = self._known_units()
        typed = hint in {kind for _, kind, _ in known} - {""}  # a place such as 0 is no type
        return [
            Units(level, kind, graph, self.graphs)
            for level, kind, graph in known
            if len(graph) == rows and (not typed or not kind or kind == hint)
        ]

    def units_of(self, key: str) -> Units:
        """What the rows of an input stand for; of an edge_index its columns."""
        edges = self.beside(key, "edge_index")
        of_edges = _last(key).startswith("edge_") and edges in self
        if of_edges and (edges == key or len(self[key]) == self[edges].shape[1]):
            source, _ = self.ends(edges)
            graph = self.graph_of_nodes(source)[self[edges][0]]
            return Units("edge", self.kind_of(key), graph, self.graphs)
        return self.units(self[key], self.kind_of(key))

    def _known_units(self) -> list[tuple[Level, str, Tensor]]:
        found: list[tuple[Level, str, Tensor]] = [
            ("node", kind, self.graph_of_nodes(kind)) for kind in self.node_types
        ]
        graphs = torch.arange(self.graphs, device=self.device)
        found.append(("graph", "", graphs))
        for key in self.keys:
            if _last(key) in ("edge_label_index", "edge_index") and self[key].dim() == 2:
                level = "pair" if _last(key) == "edge_label_index" else "edge"
                source, _ = self.ends(key)
                ends = self[key][0]
                inside = not len(ends) or int(ends.max()) < self.nodes(source)
                if self[key].shape[0] == 2 and inside and not ends.is_floating_point():
                    found.append((level, self.kind_of(key), self.graph_of_nodes(source)[ends]))
        return sorted(found, key=lambda each: ("node", "graph", "pair", "edge").index(each[0]))

    @property
    def divisible(self) -> bool:
        """Whether single graphs can be taken out: those of a PyG `Batch` that was made of them."""
        slices = vars(self.graph.stores[0]).get("_slice_dict")
        if not isinstance(self.graph, HeteroData):
            return slices is not None
        # PyG keeps none for a type that holds num_nodes alone, and then cannot take graphs out.
        return slices is not None and slices.keys() >= set(self.node_types)

    def single(self, place: int) -> "Inputs":
        """One graph of a batch; the only one of a graph alone."""
        if self.divisible:
            return Inputs(cast("Batch", self.graph).get_example(place))
        if self.graphs == 1:
            return self
        own = {kind: self.graph_of_nodes(kind) == place for kind in self.node_types}
        if isinstance(self.graph, HeteroData):  # made anew, as part of a batch is still a batch
            graph = HeteroData.from_dict(self.graph.subgraph(own).to_dict())
        else:
            graph = Data.from_dict(cast("Data", self.graph).subgraph(own[""]).to_dict())
        for store in graph.node_stores:
            for name in {"batch", "ptr"} & set(store.keys()):
                del store[name]
        return Inputs(graph, self.called)

    def subset(self, places: list[int]) -> "Inputs":
        """Some graphs of a batch, as a batch."""
        return Inputs.of([self.single(place).graph for place in places])


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor of plain numbers: not quantised, nested, on meta, or of 8 bits.

    >>> is_plain(torch.ones(2)), is_plain([1.0]), is_plain(torch.ones(2, device="meta"))
    (True, False, False)
    """
    return (
        isinstance(value, Tensor)
        and not (value.is_quantized or value.is_nested or value.is_meta)
        and (not value.is_floating_point() or value.element_size() > 1)
    )


def _kind(value: Any) -> str:
    return (
        f"a tensor of {value.dtype}, {value.device}"
        if isinstance(value, Tensor)
        else type(value).__name__
    )


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _of_arguments(arguments: Mapping[Any, Any]) -> BaseData:
    """A graph that holds the arguments of a call; those by type become attributes of types."""
    by_type = {str(k): v for k, v in arguments.items() if isinstance(v, Mapping)}
    plain = {str(k): v for k, v in arguments.items() if not isinstance(v, Mapping)}
    if not by_type:
        return Data.from_dict(plain)
    graph = HeteroData()
    for name, value in plain.items():
        graph[name] = value
    for name, values in by_type.items():
        if not name.endswith("_dict"):
            raise InputError(f"'{name}' must be a tensor; only arguments named *_dict hold types.")
        for kind, value in values.items():
            graph[kind][name.removesuffix("_dict")] = value
    return graph


def _arguments(graph: BaseData) -> dict[str, Any]:
    if not isinstance(graph, HeteroData):
        return graph.to_dict()
    found: dict[str, Any] = {}
    for store in graph.stores:
        for name, value in store.items():
            if store._key is None:  # pyright: ignore[reportPrivateUsage]
                found[name] = value
            else:
                found.setdefault(f"{name}_dict", {})[store._key] = value  # pyright: ignore[reportPrivateUsage]
    return found
