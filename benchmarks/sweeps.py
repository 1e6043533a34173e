"""The grids behind the tables of docs/results.md, docs/models.md and docs/reproduction.md.

    python benchmarks/sweeps.py claims --workers 2

Each is a task and its cases, and stands in benchmarks/results/NAME.json. What that holds is not run
again; what was stopped goes on from cache/sweeps.

- accuracy: test accuracy of the zoo's models, three seeds.
- cora_models: feature metamers of the paper's models at its settings, in several widths.
- adversarial: does adversarial training lower the loss under the same attack?
- claims: the paper's theory beside what the searches find, layer 1. All searches of a dataset end
  at one tolerance: on Cora `Swap` stops at it, on PubMed `Exact` reaches rounding. The
  rank is that of a node's activation in its aggregated features (Eqs. 18–22, mean over all nodes)
  where the layer sums features once; of ChebNet in its receptive field, of a few nodes; of
  Graphormer, which sees all nodes, none.
- deeper: layers 2 and 3 of four-layer models on PubMed, GaussNewton beside Adam's 1000 steps.
- structure_table: graphs with other edges. Every node keeps its degree and at most a hundredth of
  the edges stay; where no such graph is found (Chameleon, whose hubs must stay joined), degrees
  are free. "layer1+layer2" matches both layers, "output" what the model returns.
- paper_settings: what the paper leaves open (widths, epochs and T; no epochs: early stopping).
- appnp_recipe: APPNP's weight decay on the validation nodes of the benchmark's graphs.
- exact: exact metamers of PubMed: how exact, at the first layer and at the output, how far.
- training: one epoch, messages written and summed as PyG does, and as sparse products, from the
  same weights and with the same dropout; the largest difference of a weight, relative to the
  largest in its tensor. With one worker, OMP_NUM_THREADS=1.
- nulls: the share of the nulls in the processor time of metamer(), at the first layer of an
  untrained GCN on random graphs of classes with 500 features.
- batches: 500 random graphs of 20 to 40 nodes in one call, beside one call for each of a sample.
"""

import argparse
import contextlib
import copy
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GIN, SumAggregation

import graph_metamers as gm
from graph_metamers.benchmark import PROTOCOL
from graph_metamers.jobs import Job, Row, Store, local, progress, run
from graph_metamers.judge import Nulls
from graph_metamers.options import command_line
from graph_metamers.paper.grid import MODELS, model_options, reported
from graph_metamers.paper.tasks import TOL, configured, metamer_row, trained_model
from graph_metamers.storage import read_json, write_json
from graph_metamers.zoo import loop

ROOT = Path(__file__).parent.parent
REAL = [name for name in gm.datasets.NAMES if name != "csbm"]
SEEDS = 3


def crossed(**axes: Any) -> list[Row]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def accuracy(work: Path, *, model: str, dataset: str) -> list[Row]:
    data = gm.datasets.load(dataset)
    runs = [gm.zoo.train(model, data, seed=seed, progress=False) for seed in range(SEEDS)]
    found = [run.accuracy["test"] for run in runs]
    spread = statistics.stdev(found)
    return [{"test_accuracy": statistics.fmean(found), "test_accuracy_std": spread}]


def cora_models(work: Path, *, model: str, hidden: int | None) -> list[Row]:
    data = gm.datasets.load("cora")
    trained = gm.zoo.train(model, data, progress=False, **({"hidden": hidden} if hidden else {}))
    seeds = SEEDS if hidden is None and model != "graphormer" else 1
    asked: dict[str, Any] = {"layers": ["layer1"], "seeds": seeds, "out": work / "audit"}
    audit = gm.audit(trained.model, data, search=gm.Adam(), progress=False, **asked)
    return audit.summary()


def adversarial(work: Path, *, epsilon: float, training: str) -> list[Row]:
    data = gm.datasets.load("cora")
    attack = gm.zoo.AdversarialTraining(epsilon)
    recipe = gm.zoo.Training(lr=0.01, epochs=300, patience=50)
    recipe = replace(recipe, adversarial=attack if training == "adversarial" else None)
    told: dict[str, list[float]] = {"clean_loss": [], "attacked_loss": [], "test_accuracy": []}
    for seed in range(SEEDS):
        trained = gm.zoo.train("gcn", data, seed=seed, training=recipe, progress=False)
        model = trained.model.requires_grad_(False)

        def loss(x: Tensor, model: nn.Module = model) -> Tensor:
            scores = model(x, data.edge_index)
            return F.cross_entropy(scores[data.test_mask], data.y[data.test_mask])

        told["clean_loss"].append(loss(data.x).item())
        told["attacked_loss"].append(
            loss(attack.attack(lambda at: loss(at.whole()), data.x).whole()).item()
        )
        told["test_accuracy"].append(trained.accuracy["test"])
    return [{name: statistics.fmean(values) for name, values in told.items()}]


CLAIM_SEARCHES = {"cora": gm.Swap(steps=2000, stop_at_tol=True), "pubmed": gm.Exact()}
KEPT = ("activation_error", "fvu", "null_error", "matched", "runs", "feature_similarity")
KEPT += ("start_feature_similarity", "prediction_match", "consistency", "node_match", "search")


def claims(
    work: Path, *, dataset: str, model: str, activation: str, hidden: int | None
) -> list[Row]:
    data = gm.datasets.load(dataset)
    options = {"activation": activation} | ({"hidden": hidden} if hidden else {})
    trained = gm.zoo.train(model, data, progress=False, **options).model
    row: Row = {"of": None, "rank": None, "collapsed_share": None}
    if model != "graphormer":  # attention sees all nodes: too many to differentiate in
        field = {"of": "receptive_field", "nodes": list(range(20))}
        of: dict[str, Any] = field if model == "chebnet" else {"of": "node"}
        dimension = gm.metamer_dimension(trained, data, "layer1", **of)
        names = ("of", "total", "dimension", "rank", "effective_rank", "stable_rank")
        row |= {name: getattr(dimension, name) for name in names}
    with suppress(gm.InputError):  # Graphormer's layer ends in no activation
        row["collapsed_share"] = gm.activation_volume(trained, data, "layer1").share
    asked: dict[str, Any] = {"search": CLAIM_SEARCHES[dataset], "seeds": SEEDS}
    audit = gm.audit(trained, data, layers=["layer1"], progress=False, **asked)
    (summary,) = audit.summary()
    near = {f"baseline_{each['baseline']}": each["activation_error"] for each in audit.baselines}
    null = min(metamer_row(m)["null_activation_error"] for m in audit.metamers)
    return [row | {name: summary[name] for name in KEPT} | near | {"null_activation_error": null}]


DEEPER_SEARCHES = {"GaussNewton": gm.GaussNewton(), "Adam(patience=None)": gm.Adam(patience=None)}


def deeper(work: Path, *, model: str, layer: str, search: str) -> list[Row]:
    data = gm.datasets.load("pubmed")
    # A hundred epochs at a larger rate: what is asked is how well a trained model is matched.
    training = gm.zoo.Training(lr=0.01, epochs=100)
    trained = gm.zoo.train(model, data, depth=4, training=training, progress=False)
    return [searched(work, trained.model, data, layer, search=DEEPER_SEARCHES[search])]


STEPS = {"cora": 150, "citeseer": 150, "pubmed": 40, "chameleon": 120}


def structure_table(
    work: Path, *, dataset: str, model: str, layers: str, seed: int, steps_asked: int
) -> list[Row]:
    data = gm.datasets.load(dataset)
    vary = gm.Edges(degrees="free" if dataset == "chameleon" else "fixed", keep=0.01)
    asked: dict[str, Any] = {"search": gm.EdgeSwap(steps=steps_asked), "seed": seed, "vary": vary}
    trained = gm.zoo.train(model, data, progress=False)
    layer = layers.split("+") if "+" in layers else layers
    return [searched(work, trained.model, data, layer, **asked)]


def paper_settings(
    work: Path, *, dataset: str, model: str, units: int, epochs: int | None, steps: int
) -> list[Row]:
    data = gm.datasets.load(dataset)
    trained = trained_model(model, data, 0, model_options(model, hidden=units), epochs=epochs)
    found = searched(work, trained.model, data, "layer1", search=configured("paper", steps))
    paper = reported("table1")[dataset, model]
    row: Row = {f"accuracy_{part}": share for part, share in trained.accuracy.items()}
    row["activation_error"] = found["activation_error"]
    for name in ("feature_similarity", "prediction_match"):
        row |= {name: found[name], f"paper_{name}": paper[name]}
    return [row]


def appnp_recipe(work: Path, *, dataset: str, weight_decay: float, seed: int) -> list[Row]:
    training = replace(gm.zoo.MODELS["appnp"].default_training, weight_decay=weight_decay)
    data = gm.datasets.load(dataset)
    trained = gm.zoo.train("appnp", data, seed=seed, training=training, progress=False)
    return [{f"accuracy_{part}": share for part, share in trained.accuracy.items()}]


def exact(work: Path, *, model: str, dtype: str, seek: str) -> list[Row]:
    data = gm.datasets.load("pubmed")
    graph = copy.copy(data)
    graph.x = data.x.to(getattr(torch, dtype))
    trained = gm.zoo.train(model, data, progress=False).model.to(graph.x.dtype)
    m = gm.metamer(trained, graph, "layer1", search=gm.Exact(seek=seek), progress=False)
    return [flat(m) | {"least_feature": float(m.data.x.min())}]


def training(work: Path, *, dataset: str, model: str) -> list[Row]:
    plain, fast = (epochs_of(dataset, model, sparse) for sparse in (False, True))
    ways = {"messages_ms": plain[0], "products_ms": fast[0]}
    row = {name: 1000 * statistics.median(times) for name, times in ways.items()}
    pairs = zip(plain[1], fast[1], strict=True)
    apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    ratio = row["messages_ms"] / row["products_ms"]
    return [row | {"ratio": ratio, "largest_relative_difference": apart}]


def epochs_of(dataset: str, model: str, sparse: bool) -> tuple[list[float], list[Tensor]]:
    """Seconds of each epoch but the first, and the weights at the end."""
    options = {name: v for name, v in model_options(model).items() if name != "adversarial"}
    # With the validation at the ends only, what is timed is forward, backward and Adam's step.
    recipe = gm.zoo.Training(epochs=12, patience=None, validate_every=11)
    way = loop.sparse_products if sparse else contextlib.nullcontext
    times: list[float] = []

    @contextlib.contextmanager
    def clock(*_: object, **__: object) -> Generator[Callable[..., None]]:
        yield lambda *_: times.append(time.perf_counter())

    with (
        tempfile.TemporaryDirectory() as cache,
        mock.patch.object(loop, "sparse_products", way),
        mock.patch.object(loop, "progress_bar", clock),
    ):
        data = gm.datasets.load(dataset)
        trained = gm.zoo.train(model, data, training=recipe, cache=cache, **options)
    weights = [weight.detach() for weight in trained.model.parameters()]
    return [b - a for a, b in itertools.pairwise(times)], weights


NULL_SEARCHES = {
    "exact": (gm.Exact(), gm.ContinuousFeatures()),
    "swap": (gm.Swap(), gm.BinaryFeatures()),
    "edge_swap": (gm.EdgeSwap(), gm.Edges()),
}


def nulls(work: Path, *, search: str, nodes: int) -> list[Row]:
    way, vary = NULL_SEARCHES[search]
    data = gm.datasets.csbm(nodes=nodes, features=500, density=0.02)
    if search == "exact":
        data.x = data.x + 0.1 * torch.rand(data.x.shape, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = gm.zoo.GCN(500, 3)
    plain, spent = Nulls.drawn, [0.0]

    def drawn(self: Nulls, errors: Tensor) -> Tensor:
        began = time.process_time()
        found = plain(self, errors)
        spent[0] += time.process_time() - began
        return found

    with mock.patch.object(Nulls, "drawn", drawn):
        began = time.process_time()
        m = gm.metamer(model, data, "layer1", vary=vary, search=way, progress=False)
        whole = time.process_time() - began
    row = {"share": spent[0] / whole, "nulls_seconds": spent[0], "whole_seconds": whole}
    return [row | {"steps": m.steps, "outcome": str(m.outcome)}]


class Pooled(nn.Module):
    """Three layers of GIN, summed up for each graph."""

    def __init__(self) -> None:
        super().__init__()
        self.gin, self.pool, self.head = GIN(16, 32, 3), SumAggregation(), nn.Linear(32, 2)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.head(self.pool(self.gin(x, edge_index), batch))


def batches(work: Path, *, layer: str, vary: str) -> list[Row]:
    random, data = torch.Generator().manual_seed(0), list[Data]()
    for _ in range(500):
        nodes = int(torch.randint(20, 41, (), generator=random))
        there = torch.rand(nodes, nodes, generator=random) < 0.06
        edges = (there | there.T).fill_diagonal_(False).nonzero().T.contiguous()
        data.append(
            Data(x=(torch.rand(nodes, 16, generator=random) < 0.25).float(), edge_index=edges)
        )
    torch.manual_seed(0)
    model, name = Pooled(), {"pooled": "pool", "nodes": "gin.convs.2"}[layer]
    options = {"vary": gm.Edges() if vary == "edges" else None, "progress": False}
    gm.metamer(model, data[:3], name, **options)  # libraries load
    began = time.perf_counter()
    m = gm.metamer(model, data, name, **options)
    together, began = time.perf_counter() - began, time.perf_counter()
    # A graph alone has one row at the pooled layer: others say what its spread is.
    others = [Batch.from_data_list([g]) for g in data[-9:]] if layer == "pooled" else []
    for one in data[:15]:
        gm.metamer(model, Batch.from_data_list([one]), name, null_graphs=others, **options)
    singly = (time.perf_counter() - began) / 15 * len(data)
    row = {"search": m.search, "matched": m.share_matched, "fvu": m.fvu}
    times = {"together_seconds": together, "singly_seconds": singly, "ratio": singly / together}
    return [row | times]


def searched(work: Path, model: nn.Module, data: Any, layer: Any, **asked: Any) -> Row:
    """A metamer's figures; its search goes on after a stop."""
    asked = {"tol": TOL, "checkpoint": work / "search.checkpoint", "progress": False} | asked
    return flat(gm.metamer(model, data, layer, **asked))


def flat(m: gm.Metamer) -> Row:
    return {name: value for name, value in m.row().items() if name != "layer_errors"}


SETTINGS = {
    ("chameleon", "gcn", 1000): ([(32, e) for e in (None, 200, 500, 1000)], [16, 64]),
    ("chameleon", "gin", 1000): ([(32, e) for e in (None, 200, 500)], [64]),
    ("chameleon", "chebnet", 1000): ([], [64]),
    ("chameleon", "gat", 1000): ([], [64, 128, 256]),
    ("cora", "gcn", 1000): ([(32, e) for e in (None, 200, 500)], [16, 64]),
    ("cora", "gat", 1000): ([], [64, 128]),
    ("pubmed", "gcn", 1000): ([(32, e) for e in (None, 500)], [16, 64]),
    ("pubmed", "gat", 1000): ([], [256]),
    ("squirrel", "gcn", 1000): ([(32, e) for e in (None, 500)], [64]),
    ("squirrel", "gat", 1000): ([], [256]),
    ("chameleon", "gcn", 2000): ([], [32]),
    ("pubmed", "gcn", 2000): ([], [32]),
}
LAYERS = ("layer1", "layer1+layer2", "output")
FIVE = ("gcn", "chebnet", "graphsage", "gin", "gat")
CASES: Mapping[Callable[..., list[Row]], list[Row]] = {
    accuracy: crossed(model=MODELS, dataset=REAL),
    cora_models: [
        *crossed(model=MODELS, hidden=(None,)),
        *crossed(model=("gat",), hidden=(128, 256)),
        *crossed(model=("graphormer",), hidden=(64, 128)),
    ],
    adversarial: crossed(epsilon=(0.5, 1.0), training=("plain", "adversarial")),
    claims: [
        case | {"dataset": dataset}
        for dataset in CLAIM_SEARCHES
        for case in (
            *crossed(model=MODELS, activation=("relu",), hidden=(None,)),
            *crossed(model=("gcn", "graphsage", "gin"), activation=("relu",), hidden=(32, 64)),
            *crossed(model=FIVE, activation=("elu",), hidden=(None,)),
        )
    ],
    deeper: crossed(model=("gcn", "gat"), layer=("layer2", "layer3"), search=DEEPER_SEARCHES),
    structure_table: [
        case | {"dataset": dataset, "steps_asked": steps}
        for dataset, steps in STEPS.items()
        for case in crossed(
            seed=range(1 if dataset == "chameleon" else SEEDS), model=FIVE, layers=LAYERS
        )
    ],
    paper_settings: [
        {"dataset": d, "model": m, "steps": steps, "units": units, "epochs": epochs}
        for (d, m, steps), (trainings, widths) in SETTINGS.items()
        for units, epochs in [*trainings, *((width, 500) for width in widths)]
    ],
    appnp_recipe: crossed(
        dataset=PROTOCOL.datasets, weight_decay=(5e-4, 1e-3, 5e-3), seed=range(PROTOCOL.seeds)
    ),
    exact: [
        *crossed(model=MODELS, dtype=("float32", "float64"), seek=("nearest",)),
        {"model": "gcn", "dtype": "float32", "seek": "farthest"},
    ],
    training: crossed(dataset=("cora", "pubmed", "squirrel"), model=("gcn", "chebnet", "gat")),
    nulls: crossed(search=NULL_SEARCHES, nodes=(1000, 5000, 20_000)),
    batches: crossed(layer=("pooled", "nodes"), vary=("features",)),
}


def main() -> None:
    tasks = {task.__name__: task for task in CASES}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=tasks)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    path = ROOT / "benchmarks" / "results" / f"{asked.name}.json"
    rows = read_json(path)["rows"] if path.exists() else []
    missing = [
        Job.of(f"sweeps:{asked.name}", **case)
        for case in CASES[tasks[asked.name]]
        if not any(case.items() <= row.items() for row in map(plain, rows))
    ]
    with progress(asked.name) as told:
        store = Store(ROOT / "cache" / "sweeps")
        results = run(missing, store, local(asked.workers), told=told)
    for result in results:
        made = result.environment | {"command": command_line()}
        rows += [row | result.job.arguments | {"environment": made} for row in result.rows]
    write_json(path, {"rows": rows})


def plain(row: Row) -> Row:
    """A row without its environment."""
    return {name: value for name, value in row.items() if not isinstance(value, dict)}


if __name__ == "__main__":
    main()
