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
from graph_metamers.paper.cells import EQUAL, comparable
from graph_metamers.paper.grid import DATA, DATASETS, HETEROPHILIC, MODELS, PLAIN, Options, reported
from graph_metamers.paper.table import TITLES
from graph_metamers.paper.tasks import TOL
from graph_metamers.report.numbers import ABSENT, number

# More than two processors differ by in the same search (docs/reproduction.md): less is no change.
CHANCE = {"consistency": 0.006, "feature_similarity": 0.003}
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
        figures = {"steps": options.steps, "equal": options.equal, **entry, **figures}
        found = f"{filled(entry['found'], figures)} {filled(entry.get('more', ''), figures)}"
        if entry.get("theirs"):
            theirs = decide(replace(asked, rows=_of_the_paper()))
            found += f"By the paper’s own figures: {'yes' if theirs and theirs[0] else 'no'}."
        threshold = filled(entry["threshold"], figures)
        told.append(Claim(entry["claim"], threshold, found.strip(), holds))
    return told


def filled(template: str, figures: Mapping[str, Any]) -> str:
    """A template of items.toml with its figures."""
    shared = {"ours": DATA["ours"], "chance": CHANCE, "factor": EQUAL}
    alike = TEXTS.from_string(DATA["alike"]).render(shared)
    return TEXTS.from_string(template).render({**shared, "alike": alike, **figures})


def percent(share: float, digits: int = 1) -> str:
    """A share in percent."""
    return f"{100 * share:.{digits}f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * difference:+.1f}"


TEXTS.filters |= {"title": TITLES.__getitem__, "percent": percent, "points": points}


def most(count: int) -> int:
    """Nine in ten, in how many cells or pairs a claim must be true to hold.

    >>> most(30), most(8)
    (27, 8)
    """
    return -(-9 * count // 10)


def enough(true: int, told: int, whole: int, needed: int) -> bool | None:
    """Whether something is true in enough cells of a whole grid; None where missing ones decide.

    >>> enough(9, 9, 10, 9), enough(8, 9, 10, 9), enough(7, 9, 10, 9)
    (True, None, False)
    """
    if true >= needed:
        return True
    return None if true + whole - told >= needed else False


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
    needed = entry.get("needed", most(asked.whole))
    counts |= {"also": sum(bool(also(row)) for row in yes), "whole": asked.whole}
    return (enough(len(yes), len(told), asked.whole, needed), counts) if told else None


@dataclass(frozen=True)
class Pairs:
    """Cells beside those that they are to be compared with."""

    changes: Sequence[float] = ()  # of CS, in each pair that can be compared
    alike: Sequence[float] = ()  # of CS, in each pair at equal activation error
    told: int = 0  # pairs that are there
    whole: int = 0  # pairs of the grid
    seeds: int = 0  # over how many at most a change is the mean

    @classmethod
    def of(
        cls, found: Sequence[tuple[Row, Row | None]], whole: int, equal: bool, sign: int = 1
    ) -> "Pairs":
        """Compare CS seed by seed; where `equal`, only at equal activation error."""
        pairs = [(row, other) for row, other in found if other is not None]
        every, alike = (
            [c for a, b in pairs if (c := _changes(a, b, equal=which))] for which in (False, True)
        )
        compared = alike if equal else every
        seeds = max(map(len, compared), default=0)
        means = ([sign * statistics.fmean(each) for each in group] for group in (compared, alike))
        return cls(*means, told=len(pairs), whole=whole, seeds=seeds)

    @property
    def risen(self) -> int:
        """In how many pairs CS rose by more than chance may."""
        return _risen(self.changes)

    @property
    def fallen(self) -> int:
        """In how many it fell by more than chance may."""
        return _risen([-change for change in self.changes])

    @property
    def holds(self) -> bool | None:
        """Whether CS rose in `most` of them, at least half being comparable; None if open.

        It does not hold where CS fell in too many; pairs between the two, like those that are
        missing, leave it open.
        """
        if 2 * len(self.changes) < self.whole:
            return None
        possible = len(self.changes) + self.whole - self.told
        return enough(self.risen, self.risen + self.fallen, possible, most(possible))


def _risen(changes: Sequence[float]) -> int:
    return sum(change > CHANCE["consistency"] for change in changes)


def _changes(a: Row, b: Row, *, equal: bool) -> list[float]:
    """By how much CS differs at each of the seeds that both cells have."""
    ours, theirs = a["consistencies"], b["consistencies"]
    seeds = comparable(a, b) if equal else ours
    return [ours[seed] - theirs[seed] for seed in seeds if seed in ours and seed in theirs]


def _change(asked: Asked) -> Decided:
    """Whether CS is greater (`sign` −1: smaller) in each cell than in that it is compared with."""
    entry, sign = asked.entry, asked.entry["sign"]
    pairs = _versus(asked, entry["versus"]) if "versus" in entry else along(asked, entry["axis"])
    if "versus" in entry and not pairs.told:
        return None
    compared = len(pairs.changes)
    return pairs.holds, {
        "compared": compared,
        "risen": pairs.risen,
        "mean": sign * statistics.fmean(pairs.changes) if compared else math.nan,
        "seeds": pairs.seeds,
        "neither": compared - pairs.risen - pairs.fallen,
        "risen_alike": _risen(pairs.alike),
        "compared_alike": len(pairs.alike),
        "silent": pairs.told - compared,
        "told": pairs.told,
        "whole": pairs.whole,
    }


def along(asked: Asked, name: str) -> Pairs:
    """Cells beside those that have the value before on one of the axes."""
    crossed = [axis for axis, values in asked.axes.items() if len(values) > 1]
    steps, find = asked.axes[name], finder(asked.rows, crossed)
    pairs = [
        (row, find(row, **{name: steps[place - 1]}))
        for row in asked.rows
        if (place := steps.index(row[name]))
    ]
    cells = math.prod(map(len, asked.axes.values()))
    whole = cells - cells // len(steps)
    return Pairs.of(pairs, whole, asked.equal, asked.entry.get("sign", 1))


def _versus(asked: Asked, model: str) -> Pairs:
    """Cells of one model beside those of each model without attention."""
    find = finder(asked.rows, ("dataset", "model"))
    own = [row for row in asked.rows if row["model"] == model]
    pairs = [(row, find(row, model=name)) for name in PLAIN for row in own]
    return Pairs.of(pairs, len(PLAIN) * len(DATASETS), asked.equal)


def finder(rows: Sequence[Row], names: Sequence[str]) -> Callable[..., Row | None]:
    """Look a cell up by some of its values, with others in their place."""
    known = {tuple(row[name] for name in names): row for row in rows}

    def find(row: Row, **changed: Any) -> Row | None:
        return known.get(tuple(changed.get(name, row[name]) for name in names))

    return find


def _heterophilic(asked: Asked) -> Decided:
    """Of each model that has all graphs, S_match on heterophilic ones against the others."""
    matches: dict[str, dict[str, float]] = {}
    for row in asked.rows:
        if row["within"] is not None:
            matches.setdefault(row["model"], {})[row["dataset"]] = row["prediction_match"]
    whole = {model: each for model, each in matches.items() if len(each) == len(DATASETS)}
    higher = [
        model
        for model, each in whole.items()
        if max(each[name] for name in HETEROPHILIC)
        >= min(match for name, match in each.items() if name not in HETEROPHILIC)
    ]
    told, lower, needed = len(whole), len(whole) - len(higher), len(MODELS)
    figures = {"lower": lower, "told": told, "whole": needed, "higher": higher}
    return (enough(lower, told, needed, needed), figures) if whole else None


def _layers(asked: Asked) -> Decided:
    """Whether a score falls from layer to layer, or is at `least` something; open without figures.

    At equal activation error it is open as well where a run did not match.
    """
    rows, name = asked.rows, asked.entry["score"]
    values, starts = ([number(row, f"{at}{name}") for row in rows] for at in ("", "start_"))
    whole = len(rows) == asked.whole and all(map(math.isfinite, values))
    if asked.equal:
        whole = whole and all(row["matched"] == row["runs"] for row in rows)
        whole = whole and all(comparable(a, b) for a, b in itertools.pairwise(rows))
    least = asked.entry.get("least")
    holds = falls(values) if least is None else min(values) >= least
    known = bool(starts) and all(map(math.isfinite, starts))
    return holds if whole else None, {
        "values": [ABSENT if math.isnan(value) else f"{100 * value:.2f} %" for value in values],
        "runs": ", ".join(map(str, sorted({row["averaged"] for row in rows}))),
        "start": f"{100 * statistics.fmean(starts):.2f} %" if known else "",
    }


def falls(values: Sequence[float]) -> bool | None:
    """Whether each is below the one before by more than chance; None where that cannot be told.

    >>> falls([0.3, 0.2, 0.1]), falls([0.3, 0.2, 0.199]), falls([0.3, 0.1, 0.2])
    (True, None, False)
    """
    least = min((a - b for a, b in itertools.pairwise(values)), default=math.nan)
    chance = CHANCE["feature_similarity"]
    return True if least > chance else False if least < -chance else None


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


def _together(asked: Asked) -> Decided:
    holds = [claim.holds for claim in asked.before]
    every = False if False in holds else None if None in holds else True
    return every, {"hold": holds.count(True), "fail": holds.count(False)}


def _most_stable(asked: Asked) -> Decided:
    """Open as long as pairs are missing, or most of them cannot be compared."""
    factors = [name for name, values in asked.axes.items() if len(values) == 2]
    pairs = {name: along(asked, name) for name in factors}
    shares = {name: each.risen / len(each.changes) for name, each in pairs.items() if each.changes}
    told = all(p.told == p.whole and 2 * len(p.changes) >= p.whole for p in pairs.values())
    holds = told and all(
        shares["adversarial"] > share for name, share in shares.items() if name != "adversarial"
    )
    return holds if told else None, {"shares": shares}


def _of_the_paper() -> list[Row]:
    """The cells of Table 2 by the paper's own figures."""
    paper = reported("table2")
    return [
        {"source": source, "target": target, "retrained": found["accuracy"]}
        | {"retrained_difference": found["accuracy"] - paper["original", target]["accuracy"]}
        for (source, target), found in paper.items()
        if source != "original"
    ]


def different(rows: Sequence[Row]) -> list[Row]:
    """The pairs of different models that have a figure."""
    known = (row for row in rows if not math.isnan(row["retrained"]))
    return [row for row in known if row["source"] != row["target"]]


def _costs(asked: Asked) -> Decided:
    """A paired test over the seeds, of the mean change over all pairs of different models."""
    rows = different(asked.rows)
    changes = [row[f"{asked.entry['score']}_changes"] for row in rows]
    seeds = [seed for seed in changes[0] if all(seed in each for each in changes)] if rows else []
    figures = {"pairs": len(rows), "whole": PAIRS, "seeds": len(seeds)}
    if not seeds:
        return None, figures
    means = [statistics.fmean(each[seed] for each in changes) for seed in seeds]
    mean = statistics.fmean(means)
    p = paired_test(means, [0.0] * len(means)).t_p if len(means) > 1 else 1.0
    known = len(rows) == PAIRS and p < LEVEL
    return mean < 0 if known else None, figures | {"mean": mean, "p": p}


def _first(asked: Asked) -> Decided:
    """Whether a model's part in the changes is least of all, or greatest where it is `best`."""
    rows, entry = different(asked.rows), asked.entry
    # Without what rounding makes, which differs by processor.
    parts = effects(rows)[entry["by"]].items()
    ordered = sorted(parts, key=lambda part: round(part[1], 9), reverse=entry["best"])
    known = len(rows) == PAIRS
    return ordered[0][0] == entry["who"] if known else None, {"parts": ordered}


def effects(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """What each model adds as the source of metamers, and as the target that is trained on them.

    The pairs of different models are not balanced: each model's metamers are missing from its own
    mean. Least squares of change = source + target tells the two apart; each is from its mean, and
    below 0 where it costs more accuracy than the mean of the models.

    >>> import itertools
    >>> harm, pairs = {"gcn": 0.0, "gin": 0.0, "gat": -0.3}, itertools.permutations(MODELS, 2)
    >>> rows = [{"source": s, "target": t} for s, t in pairs if s in harm and t in harm]
    >>> parts = effects([row | {"retrained_difference": harm[row["source"]]} for row in rows])
    >>> {name: round(part, 6) for name, part in parts["source"].items()}
    {'gcn': 0.1, 'gin': 0.1, 'gat': -0.2}
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
    rows = sorted(different(asked.rows), key=lambda row: row["retrained_difference"])
    figures = {"worst": rows[0] if rows else None}
    for row in rows:
        if (row["source"], row["target"]) == ("gat", "graphsage"):
            # What is missing may be worse, but not better for it.
            worse = rows[0]["retrained_difference"] < row["retrained_difference"]
            return False if worse else True if len(rows) == PAIRS else None, figures
    return None, figures


KINDS: Mapping[str, Callable[[Asked], Decided]] = {
    "share": _share,
    "change": _change,
    "heterophilic": _heterophilic,
    "layers": _layers,
    "small_changes": _small_changes,
    "none_match": _none_match,
    "together": _together,
    "most_stable": _most_stable,
    "costs": _costs,
    "first": _first,
    "worst": _worst,
}
