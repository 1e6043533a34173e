"""The user's own graph and model, from the files that she names on the command line."""

import importlib.util
import inspect
import shlex
import sys
from inspect import Parameter
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from unittest import mock

import torch
import typer
from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.batch import DynamicInheritanceGetter
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import (
    AttrType,
    BaseStorage,
    EdgeStorage,
    GlobalStorage,
    NodeStorage,
)

from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.inputs import Inputs
from graph_metamers.storage import load_tensors

GRAPH = "a graph (a PyG Data, HeteroData or Batch, a list of these, or a dict of tensors)"


class _BatchMaker:
    """Stands in for the object, of no class that could be allowed, by which PyG saves a `Batch`.

    Made without arguments it is this class, and called with a batch's classes an empty batch.
    """

    def __new__(cls, *bases: Any) -> Any:
        if bases not in ((), (Batch, Data), (Batch, HeteroData)):
            raise UnpicklingError(f"no batch is made of {bases}")
        return Batch(_base_cls=bases[1]) if bases else cls  # pyright: ignore[reportCallIssue]


_BatchMaker.__module__ = DynamicInheritanceGetter.__module__
_BatchMaker.__qualname__ = DynamicInheritanceGetter.__qualname__
_BATCHES = [type(_BatchMaker(Batch, kind)) for kind in (Data, HeteroData)]
_STORES = (BaseStorage, EdgeStorage, GlobalStorage, NodeStorage, DataEdgeAttr, DataTensorAttr)
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class _PlainDict:
    """Stands in for `defaultdict`, in which PyG remembers which attributes are of nodes."""

    def __new__(cls, *made: Any) -> Any:
        return {}


_PlainDict.__module__, _PlainDict.__qualname__ = "collections", "defaultdict"
_CACHE = (_PlainDict, AttrType, set)
ALLOWED = (Data, HeteroData, Batch, *_BATCHES, _BatchMaker, *_STORES, *_CACHE, list)


def load_graph(path: Path) -> Data | HeteroData:
    """A graph, or a list of graphs as one batch, that was saved with `torch.save`.

    Raises:
        InputError: It is no such file, or holds anything that could run.
    """
    value: Any = load_tensors(path, kind=GRAPH, allow=ALLOWED)
    try:
        if isinstance(value, dict):
            plain = all(isinstance(part, Tensor) for part in value.values())
            value = (Data if plain else HeteroData).from_dict(value)
        for part in value if isinstance(value, list) else [value]:
            for store in part.stores:
                vars(store).pop("_cached_attr", None)  # made anew by PyG when it is asked for
        graph: Any = Inputs.of(value).graph
        str(graph)  # a damaged one has no attributes
    except Exception as error:  # what a damaged file makes of a graph is open
        raise InputError(f"'{path}' must be {GRAPH}; it holds something else: {error}") from error
    return graph


def load_model(
    spec: str, weights: Path | None, data: Data | HeteroData, arguments: str = ""
) -> nn.Module:
    """The user's own model: FILE.py:NAME, a module or what makes one.

    What makes one is called with the graph if it takes an argument. A script that parses its own
    arguments sees `arguments`, and none of the command line's.

    Raises:
        InputError: The file, the factory or the weights cannot be used.
    """
    file, _, factory = spec.rpartition(":")
    if not file or not factory:
        raise InputError(f"--model '{spec}' must be FILE.py:FACTORY, or one of the zoo's models.")
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InputError(f"--model-args {arguments!r} must be words; {error}.") from error
    with mock.patch.object(sys, "argv", [file, *words]):
        made: Any = _attribute(Path(file), factory)
        if not isinstance(made, nn.Module) and callable(made):
            parameters = inspect.signature(made).parameters.values()
            needed = [p for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]
            try:
                made = made(data) if needed else made()
            except (Exception, SystemExit) as error:
                raise InputError(
                    f"'{factory}' in '{file}' failed ({type(error).__name__}: {error}). It is "
                    "called with the graph, or with nothing if it takes no argument."
                ) from error
    if not isinstance(made, nn.Module):
        raise InputError(
            f"'{factory}' in '{file}' must return a torch.nn.Module, or be one; got "
            f"{type(made).__name__}."
        )
    if weights is not None:
        _load_weights(made, weights)
    return made


def _attribute(file: Path, name: str) -> Any:
    if not file.is_file():
        raise InputError(f"--model '{file}:{name}': there is no file '{file}'.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise InputError(f"--model '{file}:{name}': '{file}' must be a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)
    sys.path.insert(0, str(file.parent.resolve()))  # its neighbours import as they would there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"'{file}' could not be imported ({type(error).__name__}: {error}). Where it parses "
            'arguments, hand them over with --model-args "--name value".'
        ) from error
    finally:
        sys.path.pop(0)
    if not hasattr(module, name):
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == file.stem]
        raise InputError(
            f"--model '{file}:{name}': '{file}' has no '{name}'.{suggestion(name, own)} "
            f"It has {listing(own) or 'nothing'}."
        )
    return getattr(module, name)


def _load_weights(model: nn.Module, path: Path) -> None:
    kind = "a state_dict (saved by torch.save(model.state_dict(), path))"
    state: Any = load_tensors(path, kind=kind, allow=())
    inner = {name: value for name, value in state.items() if _is_state(value)}
    if not _is_state(state):
        if len(inner) != 1:
            raise InputError(
                f"'{path}' must be {kind}, or a checkpoint that holds one; it holds "
                f"{listing(map(str, state))}. Save the one of this model alone."
            )
        ((name, state),) = inner.items()
        typer.echo(f"The weights are those under '{name}' in '{path}'.", err=True)
    own = list(model.state_dict())
    # A wrapper such as DataParallel, Lightning or torch.compile puts a name before all others.
    before = {name.removesuffix(own[0]) for name in state if own and name.endswith(own[0])}
    whole = sorted(p for p in before if all(p + name in state for name in own))
    if len(whole) > 1 and "" not in whole:
        raise InputError(
            f"'{path}' holds several sets of weights that fit, with the prefixes {listing(whole)}. "
            "Save the one that is meant alone."
        )
    if whole and "" not in whole:
        state = {name: state[whole[0] + name] for name in own}
        typer.echo(f"The weights' names are taken without the prefix '{whole[0]}'.", err=True)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise InputError(f"'{path}' does not fit {type(model).__name__}: {detail}") from error


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(torch.is_tensor, value.values()))
