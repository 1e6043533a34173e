"""The protocol: what every model goes through, with a number that changes when it does."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from graph_metamers.benchmark.entrant import Entrant
from graph_metamers.jobs import Job
from graph_metamers.search import Auto, Search

TASK = "graph_metamers.benchmark.task:benchmark_rows"
SEARCH = Auto(stop_at_tol=True, exact=False)


@dataclass(frozen=True)
class Protocol:
    """What makes two lines of the leaderboard comparable.

    Attributes:
        version: Goes up with every change of what is measured; lines of different versions are
            not compared, and stand beside one another.
        datasets: Names of the graphs.
        layers: "first" is layer1 of a zoo model and, of any other, the first layer that can be
            searched; "output" are the class scores.
        seeds: Runs of each cell, each a training and a random start, counted from 0.
        tol: Activation error at which models are compared.
        search: How metamers are looked for; it ends at `tol`, so that no model is given more.
    """

    version: int = 3
    datasets: tuple[str, ...] = ("cora", "citeseer", "pubmed", "chameleon")
    layers: tuple[str, ...] = ("first", "output")
    seeds: int = 3
    tol: float = 1e-2
    search: Search = SEARCH


PROTOCOL = Protocol()


def protocol_jobs(
    model: Entrant,
    *,
    datasets: Sequence[str] = PROTOCOL.datasets,
    seeds: int = PROTOCOL.seeds,
    first: str | None = None,
    device: str = "cpu",
) -> list[Job]:
    """The jobs of a model, one for each graph, layer and seed.

    Args:
        model: Who takes part.
        datasets: Names of the graphs, of the protocol or others.
        seeds: How many.
        first: Which layer of a model of one's own is the "first".
        device: Where they run.

    Example:
        >>> from graph_metamers.benchmark import entrant
        >>> jobs = protocol_jobs(entrant("gcn"), datasets=["cora"], seeds=1)
        >>> [job.arguments["layer"] for job in jobs]
        ['first', 'output']
    """
    return [
        Job.of(
            TASK,
            model=model.name,
            source=model.source,
            dataset=dataset,
            layer=layer,
            first=first,
            seed=seed,
            device=device,
            protocol=PROTOCOL.version,
            training=asdict(model.training),
        )
        # Seeds change fastest: so workers begin with as many trainings, which later jobs share.
        for dataset in datasets
        for layer in PROTOCOL.layers
        for seed in range(seeds)
    ]
