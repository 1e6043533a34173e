"""All of the paper's tables and figures, by name; their words stand in items.toml."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.jobs import Job, Result, Row
from graph_metamers.measure.null import EXACT
from graph_metamers.measure.statistics import holm, paired_test
from graph_metamers.paper.cells import SCORES, averaged_runs, cells
from graph_metamers.paper.claims import TEXTS, Claim, claims, filled, finder
from graph_metamers.paper.grid import (
    DATA,
    DATASETS,
    LAYERS,
    MODELS,
    PLAIN,
    Options,
    reported,
    search_job,
    transfer_job,
)
from graph_metamers.paper.pictures import beside, matrices, panels
from graph_metamers.paper.table import TITLES, Column


@dataclass(frozen=True)
class Item:
    """One of the paper's tables or figures, as items.toml has it."""

    name: str  # as the command line knows it

    @property
    def title(self) -> str:
        """What the paper calls it."""
        return DATA[self.name]["title"]

    @property
    def shows(self) -> str:
        """What it shows, in a line."""
        return DATA[self.name]["shows"]

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """What its grid crosses."""
        axes = DATA[self.name]["axes"].items()
        return {name: VALUES[each] if isinstance(each, str) else each for name, each in axes}

    @property
    def columns(self) -> list[Column]:
        """Of its table."""
        return [Column(*DATA["columns"][name]) for name in DATA[self.name]["columns"].split()]

    def grid(self, options: Options) -> list[Job]:
        """The jobs that it needs, narrowed to the datasets and models that are asked for."""
        asked = {"dataset": options.datasets}
        asked |= dict.fromkeys(("model", "source", "target"), options.models)
        without = DATA[self.name].get("left_out", {}).get(options.search, ())
        axes: dict[str, Sequence[Any]] = {"seed": range(options.seeds)}
        for name, values in self.axes.items():
            wanted = asked.get(name)
            axes[name] = [v for v in values if v not in without and (not wanted or v in wanted)]
        job = transfer_job if "source" in axes else search_job
        points = itertools.product(*axes.values())
        return [job(options, **dict(zip(axes, point, strict=True))) for point in points]

    def summary(self, results: Sequence[Result], options: Options) -> list[Row]:
        """A row for each cell."""
        own, scores = DATA[self.name], TRANSFER if self.name == "table2" else SCORES
        every_run = own.get("every_run", False)
        rows = cells(results, options, own["cells"], every_run=every_run, scores=scores)
        order = {name: self.axes[name] for name in own.get("order", ())}
        rows.sort(key=lambda row: [values.index(row[name]) for name, values in order.items()])
        return SUMMARIES[self.name](rows, results, options) if self.name in SUMMARIES else rows

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Its picture, unless it is that of the metamers themselves."""
        asked = dict(DATA[self.name]["draw"])
        where = TEXTS.compile_expression(asked.pop("where", "true"))
        PICTURES[asked.pop("kind")](figure, [row for row in rows if where(row)], **asked)

    def claims(self, rows: Sequence[Row], options: Options) -> list[Claim]:
        """What became of the paper's sentences."""
        whole = len(self.grid(Options(seeds=1, search=options.search)))
        return claims(self.name, self.axes, rows, options, whole)

    def note(self, rows: Sequence[Row], options: Options) -> list[str]:
        """What a reader must know, in sentences."""
        told = {"counted": DATA["counted"][options.search], "equal": options.equal}
        told |= TOLD[self.name](rows, options) if self.name in TOLD else {}
        text = filled(DATA[self.name]["notes"], told)
        return [line for line in text.splitlines() if line]


# Table 1: feature metamers of the first layer, six models on five datasets

NEAR = {"feature_similarity": 0.03, "prediction_match": 0.05}  # what counts as reproduced
SYMBOLS = {"feature_similarity": "S_feat", "prediction_match": "S_match"}


def _reproduced(rows: list[Row], results: Sequence[Result], options: Options) -> list[Row]:
    """Each cell with the paper's figures, how far ours are from them, and why."""
    paper = reported("table1")
    for row in rows:
        theirs = paper[row["dataset"], row["model"]]
        differences = {name: row[name] - theirs[name] for name in NEAR}
        far = [SYMBOLS[name] for name, value in differences.items() if abs(value) > NEAR[name]]
        told = not math.isnan(row["feature_similarity"])  # else no run matched
        row |= {f"paper_{name}": value for name, value in theirs.items()}
        row |= {f"difference_{name}": value for name, value in differences.items()}
        row["within"] = (f"no: {', '.join(far)}" if far else "yes") if told else None
        row["why"] = _why(row, options) if told and far and options.steps is None else ""
    return rows


def _why(row: Row, options: Options) -> str:
    """Why a cell is not near the paper's, where there is something to say beyond the figures."""
    known, model = DATA["table1"]["why_of"], row["model"]
    if options.equal:
        name = "exact" if max(row["errors"].values()) <= EXACT else "ended"
    else:
        name = known.get(f"{row['dataset']} {model}", known.get(model, "unknown"))
    return DATA["table1"]["why"][name]


def _table1_told(rows: Sequence[Row], options: Options) -> dict[str, Any]:
    starts = [row["start_feature_similarity"] for row in rows if row["within"] is not None]
    named = ((f"{TITLES[r['model']]} on {TITLES[r['dataset']]}", r["why"]) for r in rows)
    return {"start": statistics.fmean(starts) if starts else None, "reasons": _grouped(named)}


def _grouped(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names by reason, of those that have one."""
    reasons: dict[str, list[str]] = {}
    for name, why in named:
        if why:
            reasons.setdefault(why, []).append(name)
    return reasons


# Table 2: one model's metamers, trained on by the others, and shown to them

CHANGED = ("retrained", "shown")
TRANSFER = ("retrained", "plain", "shown", "shown_match")
SIDES = ("source", "target")
NEAR_ACCURACY = 0.03


def _transferred(rows: list[Row], results: Sequence[Result], options: Options) -> list[Row]:
    paper = reported("table2")
    for row in rows:
        pair = row["source"], row["target"]
        members = [r for r in results if tuple(r.job.arguments[side] for side in SIDES) == pair]
        row |= _changes(averaged_runs(members, options))
        row |= {f"paper_{name}": value for name, value in paper[pair].items()}
        far = abs(row["retrained"] - row["paper_accuracy"]) > NEAR_ACCURACY
        row["within"] = None if math.isnan(row["retrained"]) else "no" if far else "yes"
    for name in CHANGED:
        tested = [row for row in rows if not math.isnan(row[f"{name}_p"])]
        for row, p in zip(tested, holm([row[f"{name}_p"] for row in tested]), strict=True):
            row[f"{name}_p"] = p
    return rows


def _changes(runs: Sequence[Row]) -> Row:
    """By how much accuracy changes, with a paired test over the runs."""
    told: Row = {}
    plain = [run["plain"] for run in runs]
    for name in CHANGED:
        after = [run[name] for run in runs]
        mean = statistics.fmean(after) - statistics.fmean(plain) if runs else math.nan
        told[f"{name}_difference"] = mean
        told[f"{name}_p"] = paired_test(after, plain).t_p if len(runs) > 1 else math.nan
        told[f"{name}_changes"] = {str(run["seed"]): run[name] - run["plain"] for run in runs}
    return told


def _table2_told(rows: Sequence[Row], options: Options) -> dict[str, Any]:
    """The models without metamers, and the cells that are not near the paper's."""
    paper = reported("table2")
    plain = {
        row["target"]: (row["plain"], paper["original", row["target"]]["accuracy"])
        for row in rows
        if not math.isnan(row["plain"])
    }
    off = {name for name, (own, theirs) in plain.items() if abs(own - theirs) > NEAR_ACCURACY}
    far = [row for row in rows if row["within"] == "no"]
    far.sort(key=lambda row: row["target"] in off)
    named = (
        (
            f"{TITLES[row['target']]} on {TITLES[row['source']]}’s",
            "as far without any metamer" if row["target"] in off else "not known",
        )
        for row in far
    )
    return {"plain": plain, "far": _grouped(named)}


# Fig. 6: ELU, adversarial training and residual connections against over-invariance

STRATEGIES: dict[str, str] = DATA["fig6"]["strategies"]
FACTORS: dict[str, list[Any]] = {name: DATA["fig6"]["axes"][name] for name in STRATEGIES}


def _variants(rows: list[Row], *_: Any) -> list[Row]:
    return [row | {"variant": variant(row)} for row in rows]


def variant(row: Row) -> str:
    """What differs from the plain model.

    >>> variant({"activation": "elu", "adversarial": True, "residual": False})
    'ELU+adversarial'
    """
    names = {"activation": "ELU"}
    used = [names.get(name, name) for name, (_, on) in FACTORS.items() if row[name] == on]
    return "+".join(used) or "plain"


def _fig6_told(rows: Sequence[Row], options: Options) -> dict[str, Any]:
    """In how many pairs of cells a strategy decides whether there is a metamer to compare."""
    find = finder(rows, DATA["fig6"]["cells"])
    pairs: list[tuple[str, list[int]]] = []
    for factor, (off, on) in FACTORS.items():
        found = Counter(
            (row["matched"] > 0, other["matched"] > 0)
            for row in rows
            if row[factor] == on and (other := find(row, **{factor: off})) is not None
        )
        if found:
            kinds = ((True, True), (False, True), (True, False), (False, False))
            pairs.append((STRATEGIES[factor], [found[kind] for kind in kinds]))
    return {"variants": list(dict.fromkeys(row["variant"] for row in rows)), "pairs": pairs}


def _draw_scores(
    figure: Figure, rows: Sequence[Row], *, scores: Mapping[str, str], across: str, y: str
) -> None:
    """Several scores as the series of one picture."""
    long = [
        {**row, "score": title, "value": row[name], "value_std": row[f"{name}_std"]}
        for row in rows
        for name, title in scores.items()
    ]
    panels(figure, long, across=across, series="score", score="value", y=y)


VALUES = {"datasets": DATASETS, "models": MODELS, "plain": PLAIN, "layers": LAYERS}


SUMMARIES: dict[str, Callable[[list[Row], Sequence[Result], Options], list[Row]]] = {
    "table1": _reproduced,
    "table2": _transferred,
    "fig6": _variants,
}
TOLD = {"table1": _table1_told, "table2": _table2_told, "fig6": _fig6_told}
PICTURES: dict[str, Callable[..., None]] = {
    "beside": beside,
    "matrices": matrices,
    "panels": panels,
    "scores": _draw_scores,
}
ITEMS = {name: Item(name) for name, data in DATA.items() if "axes" in data}


def named(name: str) -> list[Item]:
    """The item of a name, or all."""
    if name == "all":
        return list(ITEMS.values())
    if name not in ITEMS:
        raise InputError(
            f"'{name}' is not one of the paper's tables and figures."
            f"{suggestion(name, ITEMS)} Choose among {listing([*ITEMS, 'all', 'list'])}."
        )
    return [ITEMS[name]]
