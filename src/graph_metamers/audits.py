"""Audit: what a model takes for the same, one row a run, with its summary."""

import math
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graph_metamers.measure import Outcome
from graph_metamers.measure.statistics import interval
from graph_metamers.result import Metamer
from graph_metamers.store import Store
from graph_metamers.theory import Theory

RUN = ("dataset", "model", "layer", "vary", "search")


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What a model takes for the same: one row a run, and the metamers themselves.

    Attributes:
        question: What was asked: layers, what varies, search, seeds, tol, and the digests of
            model and graph.
        environment: Versions and machine.
        metamers: One for each run, in the order of the rows.
        quality: How well the model does what it was trained for, where that is known: by split
            and measure, such as `quality["test"]["accuracy"]`.
        theory: Where features vary, what the paper's theory says of a layer, by its label; see
            `graph_metamers.theory`.
        baselines: Graphs that a metamer must beat, one row each; see `graph_metamers.baselines`.
    """

    question: dict[str, Any]
    environment: dict[str, Any]
    metamers: list[Metamer] = field(default_factory=list[Metamer])
    quality: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    theory: dict[str, Theory] = field(default_factory=dict[str, Theory])
    baselines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary a run, ready for `pandas.DataFrame`."""
        names = {name: self.question[name] for name in ("dataset", "model")}
        return [names | m.row() for m in self.metamers]

    @property
    def search(self) -> str:
        """How was searched: what was asked, and what that picked."""
        asked = str(self.question["search"])
        picked = dict.fromkeys(m.search for m in self.metamers if m.search != asked)
        return f"{asked}: {', '.join(picked)}" if picked else asked

    def groups(self) -> list[list[Metamer]]:
        """The metamers by what they share, that is all but the seed."""
        groups: dict[tuple[str, str, str], list[Metamer]] = {}
        for m in self.metamers:
            groups.setdefault((m.layer, m.vary, m.search), []).append(m)
        return list(groups.values())

    def summary(self) -> list[dict[str, Any]]:
        """Mean and standard deviation over the seeds, for each layer and what varies.

        Returns:
            One dictionary for each combination: what was run, `runs`, how many of them have each
            outcome (`matched`, `not_matched`, `trivial`, `uninformative`, `impossible`), `fvu` and
            `activation_error` over all runs; and each score over the **matched** runs, NaN if
            there is none, with its 95 % confidence interval by Student's t from `<score>_low`
            to `<score>_high`. Of batches, scores are means over their graphs. `<name>_std` is the
            standard deviation of a sample. Spread and interval are NaN for a single run and where
            a value is not finite.
        """
        return [self._summary(group) for group in self.groups()]

    def _summary(self, group: list[Metamer]) -> dict[str, Any]:
        rows = [m.row() for m in group]
        names = {"dataset": self.question["dataset"], "model": self.question["model"]} | rows[0]
        summary: dict[str, Any] = {name: names[name] for name in RUN}
        summary["runs"] = len(rows)
        summary |= {str(each): sum(m.outcome is each for m in group) for each in Outcome}
        summary["null_error"] = min(m.null_error for m in group)
        for name in ("fvu", "activation_error", "seconds"):
            summary |= spread(name, [float(row[name]) for row in rows])
        for name in group[0].scores:
            values = [m.scores[name] for m in group if m.matched]
            summary |= spread(name, values)
            if values:
                _, summary[f"{name}_low"], summary[f"{name}_high"] = interval(values)
        return summary

    def document(self) -> dict[str, Any]:
        """All figures as one nested dictionary: what stands in `audit.json`."""
        return {
            "environment": self.environment,
            "question": self.question,
            "quality": self.quality,
            "theory": {label: asdict(found) for label, found in self.theory.items()},
            "baselines": self.baselines,
            "rows": self.rows,
            "items": [m.items for m in self.metamers],
            "summary": self.summary(),
        }

    def save(self, folder: str | Path) -> None:
        """Write `audit.json` and `metamers/*.pt`; `graph_metamers.write_report` writes the page.

        Raises:
            InputError: The folder cannot be written to, or holds another audit.
        """
        store = Store(Path(folder), self.question)
        for m in self.metamers:
            if not store.path(m.layer, m.vary, m.seed).exists():
                m.save(store.path(m.layer, m.vary, m.seed))
        store.write(self.document())

    def __repr__(self) -> str:
        """A line a layer."""
        told: list[str] = []
        for group, s in zip(self.groups(), self.summary(), strict=True):
            names = group[0].symbols | {"prediction_match": group[0].agreement, "consistency": "CS"}
            scores = "".join(
                f", {symbol} {s[name]:.3f} (start {s[f'start_{name}']:.3f})"
                for name, symbol in names.items()
                if s["matched"] and name in s
            )
            runs = f"{s['matched']} of {s['runs']} matched"
            told.append(f"\n  {s['layer']}: {runs}, FVU {s['fvu']:.1e}{scores}")
        return f"Audit({self.question['model']} on {self.question['dataset']}){''.join(told)}"


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Mean and standard deviation of a score, by its name."""
    known = len(values) > 1 and all(math.isfinite(value) for value in values)
    return {
        name: statistics.fmean(values) if values else math.nan,
        f"{name}_std": statistics.stdev(values) if known else math.nan,
    }
