"""Who takes part in the benchmark: a zoo model by name, or a file of one's own."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch_geometric.data import Data

from graph_metamers import zoo
from graph_metamers.digests import digest
from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.own import load_model


@dataclass(frozen=True)
class Entrant:
    """A model that takes part.

    Attributes:
        name: What it is called on the leaderboard.
        source: Of a model of one's own its "file", "factory" and the "digest" of the file's text,
            so that a changed file is another model; None of a zoo model.
    """

    name: str
    source: dict[str, str] | None = None

    @property
    def training(self) -> zoo.Training:
        """How it is trained: a zoo model its own way, any other as the paper does."""
        return zoo.Training() if self.source else zoo.MODELS[self.name].default_training


def entrant(spec: str) -> Entrant:
    """A zoo model's name, or FILE.py:FACTORY.

    Raises:
        InputError: It is neither.

    Example:
        >>> entrant("GCN")
        Entrant(name='gcn', source=None)
    """
    if ":" not in spec and not spec.endswith(".py"):
        name = spec.lower()
        if name not in zoo.MODELS:
            raise InputError(
                f"--model {spec} is not a zoo model.{suggestion(name, zoo.MODELS)} Choose among "
                f"{listing(zoo.MODELS)}, or name your own as FILE.py:FACTORY."
            )
        return Entrant(name)
    file, _, factory = spec.rpartition(":")
    if not file or not factory:
        raise InputError(f"--model '{spec}' must be FILE.py:FACTORY, or one of the zoo's models.")
    path = Path(file)
    source = {"file": str(path.resolve()), "factory": factory, "digest": _digest_of(path)}
    return Entrant(f"{path.name}:{factory}", source)


def made(source: dict[str, str], data: Data) -> nn.Module:
    """An own model, with its first weights, on the graph's device.

    Raises:
        InputError: The file was changed since it was named, or cannot be used.
    """
    path = Path(source["file"])
    if _digest_of(path) != source["digest"]:
        raise InputError(f"'{path}' was changed since the benchmark began. Begin it again.")
    return load_model(f"{path}:{source['factory']}", None, data)


def _digest_of(path: Path) -> str:
    try:
        return digest(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--model must name a Python file; '{path}' cannot be read ({error})."
        ) from error
