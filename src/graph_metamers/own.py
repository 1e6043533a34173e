"""The user's own graph and model, from the files that she names on the command line."""

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.storage import load_tensors


def load_graph(path: Path) -> Data:
    """A graph that was saved with `torch.save`: a PyG `Data`, or a dictionary of its tensors.

    Raises:
        InputError: It is no such file, or holds anything that could run.
    """
    value: Any = load_tensors(
        path,
        kind="a graph (a PyG Data or a dict of tensors, saved by torch.save)",
        allow=(Data, DataEdgeAttr, DataTensorAttr, GlobalStorage),
    )
    if isinstance(value, Data):
        return value
    if isinstance(value, dict) and all(isinstance(v, Tensor) for v in value.values()):
        return Data.from_dict(value)
    raise InputError(
        f"'{path}' must be a graph (a PyG Data or a dict of tensors, saved by torch.save); "
        f"it holds {type(value).__name__}."
    )


def load_model(spec: str, weights: Path | None, data: Data) -> nn.Module:
    """The user's own model: FILE.py:FACTORY, called with the graph if it takes an argument.

    Raises:
        InputError: The file, the factory or the weights cannot be used.
    """
    file, _, factory = spec.rpartition(":")
    if not file or not factory:
        raise InputError(f"--model '{spec}' must be FILE.py:FACTORY, or one of the zoo's models.")
    made: Any = _attribute(Path(file), factory)
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise InputError(f"'{factory}' in '{file}' must be a function that returns a model.")
        takes = [
            p
            for p in inspect.signature(made).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        try:
            made = made(data) if takes else made()
        except (Exception, SystemExit) as error:
            raise InputError(
                f"'{factory}' in '{file}' failed ({type(error).__name__}: {error}). It is called "
                "with the graph, or with nothing if it takes no argument."
            ) from error
    if not isinstance(made, nn.Module):
        raise InputError(
            f"'{factory}' in '{file}' must return a torch.nn.Module; it returned "
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
