"""All of the paper's tables and figures, by name; their words stand in items.toml."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from graph_metamers.errors import known_name
from graph_metamers.jobs import Job, Result, Row
from graph_metamers.measure.null import EXACT
from graph_metamers.measure.statistics import holm, paired_test
from graph_metamers.paper.cells import cells
from graph_metamers.paper.claims import TEXTS, Claim, claims, filled
from graph_metamers.paper.grid import DATA, Options, reported, search_job, transfer_job
from graph_metamers.paper.pictures import panels
from graph_metamers.paper.table import Column, columns


@dataclass(frozen=True)
class Item:
    """One of the paper's tables or figures, as items.toml has it."""

    name: str  # as the command line knows it

    @property
    def data(self) -> dict[str, Any]:
        """What items.toml says of it."""
        return DATA[self.name]

    @property
    def axes(self) -> dict[str, Sequence[Any]]:
        """What its grid crosses."""
        axes = self.data["axes"].items()
        return {name: DATA["values"][v] if isinstance(v, str) else v for name, v in axes}

    @property
    def columns(self) -> list[Column]:
        """Of its table."""
        return columns(self.data["columns"])

    def seeds(self, search: str) -> int:
        """How many runs of each cell are made where nobody says."""
        return self.data.get("seeds", DATA["seeds"])[search]

    def grid(self, options: Options) -> list[Job]:
        """The jobs that it needs, narrowed to the datasets and models that are asked for."""
        asked = {"dataset": options.datasets}
        asked |= dict.fromkeys(("model", "source", "target"), options.models)
        without = self.data.get("left_out", {}).get(options.search, ())
        axes: dict[str, Sequence[Any]] = {"seed": range(options.seeds)}
        for name, values in self.axes.items():
            wanted = asked.get(name)
            axes[name] = [v for v in values if v not in without and (not wanted or v in wanted)]
        job = transfer_job if "source" in axes else search_job
        points = itertools.product(*axes.values())
        return [job(options, **dict(zip(axes, point, strict=True))) for point in points]

    def summary(self, results: Sequence[Result], options: Options) -> list[Row]:
        """A row for each cell."""
        every_run = not options.equal or self.data.get("every_run", False)
        rows = cells(results, self.data, every_run=every_run)
        order = {name: self.axes[name] for name in self.data.get("order", ())}
        rows.sort(key=lambda row: [values.index(row[name]) for name, values in order.items()])
        if self.name in MORE:
            MORE[self.name](rows, options)
        return rows

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Its picture, unless it is that of the metamers themselves."""
        asked = dict(self.data["draw"])
        where = TEXTS.compile_expression(asked.pop("where", "true"))
        panels(figure, [row for row in rows if where(row)], **asked)

    def claims(self, rows: Sequence[Row], options: Options) -> list[Claim]:
        """What became of the paper's sentences."""
        whole = len(self.grid(Options(seeds=1, search=options.search)))
        return claims(self.name, self.axes, rows, options, whole)

    def note(self, rows: Sequence[Row], options: Options) -> list[str]:
        """What a reader must know, in sentences."""
        told = {"counted": DATA["counted"][options.search], "equal": options.equal, "rows": rows}
        told["paper"] = reported("table2")
        return [line for line in filled(self.data["notes"], told).splitlines() if line]


# Table 1: feature metamers of the first layer, six models on five datasets


def _table1(rows: list[Row], options: Options) -> None:
    """Each cell with the paper's figures, how far ours are from them, and why."""
    paper, own = reported("table1"), DATA["table1"]
    for row in rows:
        theirs = paper[row["dataset"], row["model"]]
        row |= {f"paper_{name}": value for name, value in theirs.items()}
        row |= {f"difference_{name}": row[name] - theirs[name] for name in own["near"]}
        far = [
            own["symbols"][name]
            for name, most in own["near"].items()
            if abs(row[f"difference_{name}"]) > most
        ]
        told = not math.isnan(row["feature_similarity"])  # else no run matched
        row["within"] = (f"no: {', '.join(far)}" if far else "yes") if told else None
        model, known = row["model"], own["why_of"]
        why = known.get(f"{row['dataset']} {model}", known.get(model, "unknown"))
        if options.equal and told:
            why = "exact" if max(row["errors"].values()) <= EXACT else "ended"
        row["why"] = own["why"][why] if told and far else ""


# Table 2: one model's metamers, trained on by the others, and shown to them


def _table2(rows: list[Row], options: Options) -> None:
    """Each cell with the paper's figure, and by how much accuracy changes, with a paired test."""
    paper = reported("table2")
    for row in rows:
        plain = row.pop("plain_runs")
        for name in ("retrained", "shown"):
            after = row.pop(f"{name}_runs")
            pairs = [after.values(), plain.values()]
            row[f"{name}_difference"] = row[name] - row["plain"]
            row[f"{name}_p"] = paired_test(*map(list, pairs)).t_p if len(after) > 1 else math.nan
            row[f"{name}_changes"] = {seed: after[seed] - plain[seed] for seed in after}
        theirs = paper[row["source"], row["target"]]
        row |= {f"paper_{name}": value for name, value in theirs.items()}
        far = abs(row["retrained"] - row["paper_accuracy"]) > DATA["table2"]["near"]
        row["within"] = None if math.isnan(row["retrained"]) else "no" if far else "yes"
    for name in ("retrained_p", "shown_p"):
        tested = [row for row in rows if not math.isnan(row[name])]
        for row, p in zip(tested, holm([row[name] for row in tested]), strict=True):
            row[name] = p


# Fig. 6: ELU, adversarial training and residual connections against over-invariance


def _fig6(rows: list[Row], options: Options) -> None:
    """What differs from the plain model, "ELU+adversarial"."""
    for row in rows:
        used = [
            short for name, short in DATA["fig6"]["short"].items() if row[name] in (True, "elu")
        ]
        row["variant"] = "+".join(used) or "plain"


MORE = {"table1": _table1, "table2": _table2, "fig6": _fig6}
ITEMS = {name: Item(name) for name, data in DATA.items() if "axes" in data}


def named(name: str) -> list[Item]:
    """The item of a name, or all."""
    what = "one of the paper's tables and figures"
    known = known_name("name", name, [*ITEMS, "all", "list"], what)
    return list(ITEMS.values()) if known == "all" else [ITEMS[known]]
