"""The user's own graph and model, from the files that she names on the command line."""

import importlib.util
import inspect
import sys
from inspect import Parameter
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.batch import DynamicInheritanceGetter
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import BaseStorage, EdgeStorage, GlobalStorage, NodeStorage

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
ALLOWED = (Data, HeteroData, Batch, *_BATCHES, _BatchMaker, *_STORES, list)


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
        graph: Any = Inputs.of(value).graph
        str(graph)  # a damaged one has no attributes
    except Exception as error:  # what a damaged file makes of a graph is open
        raise InputError(f"'{path}' must be {GRAPH}; it holds something else: {error}") from error
    return graph


def load_model(spec: str, weights: Path | None, data: Data | HeteroData) -> nn.Module:
    """The user's own model: FILE.py:FACTORY, called with the graph if it takes an argument.

    Raises:
        InputError: The file, the factory or the weights cannot be used.
    """
    file, _, factory = spec.rpartition(":")
    if not file or not factory:
        raise InputError(f"--model '{spec}' must be FILE.py:FACTORY, or one of the zoo's models.")
    made: Any = _attribute(Path(file), factory)
    if not isinstance(made, nn.Module) and callable(made):
        parameters = inspect.signature(made).parameters.values()
        needed = [p for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]
        try:
            made = made(data) if needed else made()
        except (Exception, SystemExit) as error:
            raise InputError(
                f"'{factory}' in '{file}' failed ({type(error).__name__}: {error}). It is called "
                "with the graph, or with nothing if it takes no argument."
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
            f"'{file}' could not be imported ({type(error).__name__}: {error})."
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
    state: Any = load_tensors(path, kind=kind)
    for key in ("state_dict", "model_state_dict"):  # Lightning's and many scripts' checkpoints
        if isinstance(state, dict) and key in state:
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"'{path}' must be {kind}; it holds {type(state).__name__}.")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise InputError(f"'{path}' does not fit {type(model).__name__}: {detail}") from error
