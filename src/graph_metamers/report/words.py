"""The few words that plots, tables and pages share."""

import math
from collections.abc import Sequence

from graph_metamers.measure import Outcome
from graph_metamers.result import Metamer
from graph_metamers.similarity import PROGRESS

NULLS = {"start": "random starts", "other": "other graphs"}


def outcome_of(m: Metamer, graph: int | None = None) -> Outcome:
    """The outcome of a run, or of one graph of its batch."""
    return m.outcome if graph is None else Outcome(m.items[graph]["outcome"])


def noun(m: Metamer, graph: int | None = None) -> str:
    """What a run ended at: only what matched is a metamer."""
    return "metamer" if outcome_of(m, graph) is Outcome.MATCHED else "graph found"


def error(m: Metamer) -> float:
    """The error that decides: FVU, or Eq. 5 where the layer has no spread."""
    return m.fvu if math.isfinite(m.fvu) else m.activation_error


def error_name(group: Sequence[Metamer]) -> str:
    """What `error` is in these runs."""
    by_fvu = any(math.isfinite(m.fvu) for m in group)
    return "FVU" if by_fvu else "activation error (Eq. 5)"


def similarity_name(m: Metamer) -> str:
    """The score that says best how similar the graph is, as the run's trail does."""
    kind = next(iter(m.varied.values()))
    return PROGRESS.get(kind) or next(iter(m.symbols))


def similarity_symbol(m: Metamer) -> str:
    """That score's symbol; of inputs of several kinds the mean is of all of theirs."""
    return "similarity" if len(set(m.varied.values())) > 1 else m.symbols[similarity_name(m)]


def nulls_text(m: Metamer) -> str:
    """How many unrelated graphs of which sort a run is compared with.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> nulls_text(SimpleNamespace(nulls={"start": torch.ones(99), "other": torch.ones(4)}))
    '99 random starts and 4 other graphs'
    """
    return " and ".join(f"{len(null)} {NULLS[name]}" for name, null in m.nulls.items())


def run_title(m: Metamer, show: str = "metamer", graph: int | None = None) -> str:
    """The title of a picture of one run, or of one graph of its batch."""
    if show == "reference":
        return "Reference"
    what = "Difference" if show == "difference" else noun(m, graph).capitalize()
    return f"{what}, seed {m.seed}: {outcome_of(m, graph).text}"
