"""The paper's sentences as claims: their words stand in items.toml, here is what decides them."""

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from graph_metamers.jobs import Row
from graph_metamers.measure.statistics import paired_test
from graph_metamers.paper.cells import EQUAL, comparable, finder
from graph_metamers.paper.grid import DATA, DATASETS, MODELS, Options, reported
from graph_metamers.paper.table import TITLES
from graph_metamers.paper.tasks import TOL
from graph_metamers.report.numbers import ABSENT, number

CHANCE: dict[str, float] = DATA["chance"]
LEVEL = 0.05  # of a paired test
PAIRS = len(MODELS) * (len(MODELS) - 1)  # of different models
TEXTS = Environment(undefined=StrictUndefined, trim_blocks=True)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper's, and whether it holds here by a threshold that is stated."""

    claim: str  # what the paper says
    threshold: str  # when we call it true
    found: str  # what we found, in figures
    holds: bool | None  # None where the runs cannot say

    @property
    def outcome(self) -> str:
        """What became of it, in a word."""
        return {True: "holds", False: "does not hold", None: "open"}[self.holds]


@dataclass(frozen=True)
class Asked:
    """What a claim is decided on."""

    entry: Mapping[str, Any]  # of items.toml
    axes: Mapping[str, Sequence[Any]]  # of the item
    rows: Sequence[Row]  # the cells that are there
    equal: bool  # whether cells are compared at equal activation error alone
    whole: int  # cells of the grid
    before: Sequence[Claim] = ()  # the item's claims above this one


Decided = tuple[bool | None, dict[str, Any]] | None  # whether it holds, and the figures to tell


def claims(
    item: str, axes: Mapping[str, Sequence[Any]], rows: Sequence[Row], options: Options, whole: int
) -> list[Claim]:
    """All claims of an item that its cells tell something about."""
    told: list[Claim] = []
    for own in DATA[item]["claims"]:
        entry = DATA["kinds"].get(own["kind"], {}) | own
        if entry.get("search", options.search) != options.search:
            continue
        decide = KINDS[entry["kind"]]
        asked = Asked(entry, axes, rows, options.equal, entry.get("whole", whole), told)
        decided = decide(asked)
        if decided is None:
            continue
        holds, figures = decided
        figures = {"equal": options.equal, **entry, **figures}
        found = f"{filled(entry['found'], figures)} {filled(entry.get('more', ''), figures)}"
        if entry.get("theirs"):
            theirs = decide(replace(asked, rows=_of_the_paper()))
            found += f"By the paper’s own figures: {'yes' if theirs and theirs[0] else 'no'}."
        threshold = filled(entry["threshold"], figures)
        told.append(Claim(entry["claim"], threshold, found.strip(), holds))
    return told


def percent(share: float, digits: int = 1) -> str:
    """A share in percent."""
    return f"{100 * share:.{digits}f}"


TEXTS.filters |= {"title": TITLES.__getitem__, "percent": percent, "points": "{:+.1f}".format}


def filled(template: str, figures: Mapping[str, Any]) -> str:
    """A template of items.toml with its figures."""
    shared = {"ours": DATA["ours"], "chance": CHANCE, "factor": EQUAL}
    alike = TEXTS.from_string(DATA["alike"]).render(shared)
    return TEXTS.from_string(template).render({**shared, "alike": alike, **figures})


def enough(true: int, told: int, whole: int, needed: int | None = None) -> bool | None:
    """Whether something is true in enough cells of a whole grid; None where missing ones decide.

    Enough are as many as `needed`, else nine in ten.

    >>> enough(9, 9, 10), enough(8, 9, 10), enough(7, 9, 10)
    (True, None, False)
    """
    needed = -(-9 * whole // 10) if needed is None else needed
    return True if true >= needed else None if true + whole - told >= needed else False


def _share(asked: Asked) -> Decided:
    """Whether `test` is true of `needed` of the cells `where`; those without a `score` are silent.

    `also` counts, of the cells of which it is true, those of which a second expression is.
    """
    entry = asked.entry
    where, test, also = (
        TEXTS.compile_expression(entry.get(name, "true")) for name in ("where", "test", "also")
    )
    rows = [row for row in asked.rows if where(row)]
    told = [row for row in rows if not math.isnan(number(row, entry["score"]))]
    yes = [row for row in told if test(row)]
    counts = {"yes": len(yes), "told": len(told), "silent": len(rows) - len(told)}
    counts |= {"also": sum(bool(also(row)) for row in yes), "whole": asked.whole}
    return (enough(len(yes), len(told), asked.whole, entry.get("needed")), counts) if told else None


def compared(
    found: Sequence[tuple[Row, Row | None]], whole: int, *, equal: bool, sign: int = 1
) -> tuple[bool | None, dict[str, Any]]:
    """Whether CS rises (`sign` −1: falls) from the second to the first cell of nine in ten pairs.

    Cells are compared seed by seed, where `equal` only at equal activation error. At least half of
    the pairs must be comparable. It does not hold where CS falls in too many; pairs that change by
    less than chance may, like those that are missing, leave it open (None).
    """
    pairs = [(row, other) for row, other in found if other is not None]
    every, alike = (
        [by for a, b in pairs if (by := _changes(a, b, equal=which))] for which in (False, True)
    )
    chosen = alike if equal else every
    changes, changes_alike = ([sign * statistics.fmean(c) for c in g] for g in (chosen, alike))
    risen, risen_alike, fallen = (
        sum(by > CHANCE["consistency"] for by in group)
        for group in (changes, changes_alike, [-by for by in changes])
    )
    possible = len(changes) + whole - len(pairs)
    holds = enough(risen, risen + fallen, possible)
    return None if 2 * len(changes) < whole else holds, {
        "compared": len(changes),
        "risen": risen,
        "mean": sign * statistics.fmean(changes) if changes else math.nan,
        "seeds": max(map(len, chosen), default=0),
        "neither": len(changes) - risen - fallen,
        "risen_alike": risen_alike,
        "compared_alike": len(changes_alike),
        "silent": len(pairs) - len(changes),
        "told": len(pairs),
        "whole": whole,
    }


def _changes(a: Row, b: Row, *, equal: bool) -> list[float]:
    """By how much CS differs at each of the seeds that both cells have."""
    ours, theirs = a["consistencies"], b["consistencies"]
    seeds = comparable(a, b) if equal else ours
    return [ours[seed] - theirs[seed] for seed in seeds if seed in ours and seed in theirs]


def _change(asked: Asked) -> Decided:
    """Cells beside those that have the value before on an axis, or one model beside the plain."""
    if "versus" not in asked.entry:
        return _along(asked, asked.entry["axis"])
    find, plain = finder(asked.rows, ("dataset", "model")), DATA["values"]["plain"]
    own = [row for row in asked.rows if row["model"] == asked.entry["versus"]]
    pairs = [(row, find(row, model=name)) for name in plain for row in own]
    decided = compared(pairs, len(plain) * len(DATASETS), equal=asked.equal)
    return decided if decided[1]["told"] else None


def _along(asked: Asked, name: str) -> tuple[bool | None, dict[str, Any]]:
    steps = asked.axes[name]
    find = finder(asked.rows, [axis for axis, values in asked.axes.items() if len(values) > 1])
    pairs = [
        (row, find(row, **{name: steps[place - 1]}))
        for row in asked.rows
        if (place := steps.index(row[name]))
    ]
    cells = math.prod(map(len, asked.axes.values()))
    whole, sign = cells - cells // len(steps), asked.entry.get("sign", 1)
    return compared(pairs, whole, equal=asked.equal, sign=sign)


def _most_stable(asked: Asked) -> Decided:
    """Open as long as pairs are missing, or most of them cannot be compared."""
    factors = [name for name, values in asked.axes.items() if len(values) == 2]
    pairs = {name: _along(asked, name)[1] for name in factors}
    shares = {name: n["risen"] / n["compared"] for name, n in pairs.items() if n["compared"]}
    told = all(n["told"] == n["whole"] <= 2 * n["compared"] for n in pairs.values())
    best = told and all(
        shares["adversarial"] > share for name, share in shares.items() if name != "adversarial"
    )
    return best if told else None, {"shares": shares}


def _together(asked: Asked) -> Decided:
    holds = [claim.holds for claim in asked.before]
    every = False if False in holds else None if None in holds else True
    return every, {"hold": holds.count(True), "fail": holds.count(False)}


def _heterophilic(asked: Asked) -> Decided:
    """Of each model that has all graphs, S_match on heterophilic ones against the others."""
    special: list[str] = DATA["values"]["heterophilic"]
    known = {(r["model"], r["dataset"]): r["prediction_match"] for r in asked.rows if r["within"]}
    whole = [model for model in MODELS if all((model, name) in known for name in DATASETS)]
    higher = [
        model
        for model in whole
        if max(known[model, name] for name in special)
        >= min(known[model, name] for name in DATASETS if name not in special)
    ]
    told, lower, needed = len(whole), len(whole) - len(higher), len(MODELS)
    figures = {"lower": lower, "told": told, "whole": needed, "higher": higher}
    return (enough(lower, told, needed, needed), figures) if whole else None


def _layers(asked: Asked) -> Decided:
    """Whether a score falls from layer to layer, or is at `least` something; open without figures.

    At equal activation error it is open as well where a run did not match.
    """
    rows, name, least = asked.rows, asked.entry["score"], asked.entry.get("least")
    values, starts = ([number(row, f"{at}{name}") for row in rows] for at in ("", "start_"))
    whole = len(rows) == asked.whole and all(map(math.isfinite, values))
    if asked.equal:
        whole = whole and all(row["matched"] == row["runs"] for row in rows)
        whole = whole and all(comparable(a, b) for a, b in itertools.pairwise(rows))
    # The least fall decides; one that chance may make leaves it open.
    fall = min((a - b for a, b in itertools.pairwise(values)), default=math.nan)
    falls = None if abs(fall) <= CHANCE["feature_similarity"] else fall > 0
    known = bool(starts) and all(map(math.isfinite, starts))
    return (falls if least is None else min(values) >= least) if whole else None, {
        "values": [ABSENT if math.isnan(value) else f"{100 * value:.2f} %" for value in values],
        "runs": ", ".join(map(str, sorted({row["averaged"] for row in rows}))),
        "start": f"{100 * statistics.fmean(starts):.2f} %" if known else "",
    }


def _small_changes(asked: Asked) -> Decided:
    rows = [row for row in asked.rows if row["runs"] > row["failed"]]
    small = [row for row in rows if row["edges_kept"] >= 0.5]
    altered = [row for row in small if row["activation_error"] > TOL]
    known = True if small and len(rows) == asked.whole else None
    kept = [row["edges_kept"] for row in rows]
    figures = {"altered": len(altered), "small": len(small), "kept": kept}
    return (False if len(altered) < len(small) else known, figures) if rows else None


def _none_match(asked: Asked) -> Decided:
    rows = [row for row in asked.rows if row["runs"] > row["failed"]]
    counts = {name: sum(row[name] for row in rows) for name in ("matched", "runs")}
    return (False if counts["matched"] else None, counts) if rows else None


def _of_the_paper() -> list[Row]:
    """The cells of Table 2 by the paper's own figures."""
    paper = {pair: found["accuracy"] for pair, found in reported("table2").items()}
    return [
        {"source": source, "target": target, "retrained": accuracy}
        | {"retrained_difference": accuracy - paper["original", target]}
        for (source, target), accuracy in paper.items()
        if source != "original"
    ]


def different(rows: Sequence[Row]) -> list[Row]:
    """The pairs of different models that have a figure."""
    known = (row for row in rows if not math.isnan(row["retrained"]))
    return [row for row in known if row["source"] != row["target"]]


def _costs(asked: Asked) -> Decided:
    """A paired test over the seeds, of the mean change over all pairs of different models."""
    changes = [row[f"{asked.entry['score']}_changes"] for row in different(asked.rows)]
    seeds = [s for s in changes[0] if all(s in each for each in changes)] if changes else []
    figures = {"pairs": len(changes), "whole": PAIRS, "seeds": len(seeds)}
    if not seeds:
        return None, figures
    means = [statistics.fmean(each[seed] for each in changes) for seed in seeds]
    mean = statistics.fmean(means)
    p = paired_test(means, [0.0] * len(means)).t_p if len(means) > 1 else 1.0
    known = len(changes) == PAIRS and p < LEVEL
    return mean < 0 if known else None, figures | {"mean": mean, "p": p}


def _first(asked: Asked) -> Decided:
    """Whether a model's part in the changes is the least of all, or the greatest (`best`)."""
    entry, rows = asked.entry, different(asked.rows)
    # Without what rounding makes, which differs by processor.
    parts = effects(rows)[entry["by"]].items()
    ordered = sorted(parts, key=lambda part: round(part[1], 9), reverse=entry["best"])
    return ordered[0][0] == entry["who"] if len(rows) == PAIRS else None, {"parts": ordered}


def effects(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """What each model adds as the source of metamers, and as the target that is trained on them.

    The pairs of different models are not balanced: each model's metamers are missing from its own
    mean. Least squares of change = source + target tells the two apart; each is from its mean, and
    below 0 where it costs more accuracy than the mean of the models.
    """
    names = {by: list(dict.fromkeys(row[by] for row in rows)) for by in ("source", "target")}
    if not rows:
        return {by: {} for by in names}
    columns = [(by, name) for by in names for name in names[by]]
    design = np.array([[float(row[by] == name) for by, name in columns] for row in rows])
    changes = np.array([row["retrained_difference"] for row in rows])
    # Of all solutions the shortest; they differ by what is moved from all sources to all targets.
    parts = np.split(np.linalg.lstsq(design, changes, rcond=None)[0], [len(names["source"])])
    pairs = zip(names.items(), parts, strict=True)
    return {by: dict(zip(own, (p - p.mean()).tolist(), strict=True)) for (by, own), p in pairs}


def _worst(asked: Asked) -> Decided:
    """Whether GAT's metamers cost GraphSAGE most; missing pairs may be worse, not better for it."""
    name = "retrained_difference"
    rows = sorted(different(asked.rows), key=lambda row: row[name])
    own = [row for row in rows if (row["source"], row["target"]) == ("gat", "graphsage")]
    worse = any(rows[0][name] < row[name] for row in own)
    holds = False if worse else True if len(rows) == PAIRS else None
    return holds, {"worst": rows[0] if rows else None}


KINDS: Mapping[str, Callable[[Asked], Decided]] = {
    decide.__name__.removeprefix("_"): decide
    for decide in (
        *(_share, _change, _most_stable, _together, _heterophilic, _layers),
        *(_small_changes, _none_match, _costs, _first, _worst),
    )
}
