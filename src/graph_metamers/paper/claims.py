"""The paper’s sentences as claims: in how many cells, or pairs of cells, one is true."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from graph_metamers.jobs import Row
from graph_metamers.paper.cells import EQUAL, comparable
from graph_metamers.paper.item import Claim


def most(count: int) -> int:
    """Nine in ten, in how many cells or pairs a claim must be true to hold.

    >>> most(30), most(8)
    (27, 8)
    """
    return -(-9 * count // 10)


def decided(true: int, told: int, whole: int, needed: int) -> bool | None:
    """Whether something is true in enough cells; None where missing ones would decide.

    Args:
        true: Cells in which it is.
        told: Cells that are there.
        whole: Cells of the grid.
        needed: Cells in which it must be true.

    >>> decided(9, 9, 10, 9), decided(8, 9, 10, 9), decided(7, 9, 10, 9)
    (True, None, False)
    """
    if true >= needed:
        return True
    return None if true + whole - told >= needed else False


def counted_of(true: int, told: int, whole: int, what: str, silent: int = 0) -> str:
    """In how many cells something is true, with how many the whole grid has.

    Args:
        true: Cells in which it is.
        told: Cells that have a figure.
        whole: Cells of the grid.
        what: What they are.
        silent: Cells that were run without one.

    >>> counted_of(22, 30, 30, "cells"), counted_of(2, 2, 30, "cells", silent=1)
    ('22 of 30 cells.', '2 of 2 cells; in 1 more no run matched; the grid has 30.')
    """
    parts = [f"{true} of {told} {what}"]
    parts += [f"in {silent} more no run matched"] * (silent > 0)
    parts += [f"the grid has {whole}"] * (told + silent < whole)
    return "; ".join(parts) + "."


# More than two processors differ by in the same search (docs/reproduction.md): less is no change.
CHANCE = {"consistency": 0.006, "feature_similarity": 0.003}


@dataclass(frozen=True)
class Pairs:
    """Cells beside those that they are to be compared with.

    Attributes:
        changes: Of CS, in each pair that can be compared.
        alike: Of CS, in each pair at equal activation error.
        told: Pairs that are there.
        whole: Pairs of the grid.
        seeds: Over how many at most a change is the mean.
    """

    changes: tuple[float, ...] = ()
    alike: tuple[float, ...] = ()
    told: int = 0
    whole: int = 0
    seeds: int = 0

    def __add__(self, other: "Pairs") -> "Pairs":
        return Pairs(
            self.changes + other.changes,
            self.alike + other.alike,
            self.told + other.told,
            self.whole + other.whole,
            max(self.seeds, other.seeds),
        )

    def risen(self, sign: int = 1) -> int:
        """In how many pairs CS changed that way, by more than chance may."""
        return _risen(self.changes, sign)

    def holds(self, sign: int = 1) -> bool | None:
        """Whether that is in `most` of them, at least half being comparable; None if open.

        It does not hold where CS changed the other way in too many; pairs between the two, like
        those that are missing, leave it open.
        """
        if 2 * len(self.changes) < self.whole:
            return None
        possible = len(self.changes) + self.whole - self.told
        risen, fallen = self.risen(sign), self.risen(-sign)
        return decided(risen, risen + fallen, possible, most(possible))


def paired(
    rows: Sequence[Row], before: Callable[[Row], Row | None], *, whole: int, equal: bool
) -> Pairs:
    """Compare CS in cells with that in others.

    Args:
        rows: Cells.
        before: The cell with which one is to be compared, if it is there.
        whole: Pairs of the whole grid.
        equal: Whether only cells at equal activation error are compared.
    """
    pairs = [(row, other) for row in rows if (other := before(row)) is not None]
    every, alike = (
        [found for a, b in pairs if (found := _changes(a, b, equal=which))]
        for which in (False, True)
    )
    compared = alike if equal else every
    return Pairs(
        changes=tuple(map(statistics.fmean, compared)),
        alike=tuple(map(statistics.fmean, alike)),
        told=len(pairs),
        whole=whole,
        seeds=max(map(len, compared), default=0),
    )


def rises(
    claim: str, pairs: Pairs, *, sign: int = 1, equal: bool, apart: str = "in this alone"
) -> Claim:
    """The claim that CS is greater in each cell than in the one that it is compared with.

    Args:
        claim: What the paper says.
        pairs: What was compared.
        sign: 1 where it is said to rise, −1 where it is said to fall.
        equal: As in `paired`.
        apart: In what the cells of a pair differ.
    """
    verb = "greater" if sign > 0 else "smaller"
    alike = f"at equal activation error (within a factor of {EQUAL})"
    at = f" {alike}" if equal else ", whatever the activation error"
    threshold = (
        f"CS, the mean over seeds that both cells have, is {verb} in at least 90 % of the "
        f"pairs of cells that differ {apart}{at}; of all {pairs.whole} pairs at least half "
        f"can be compared. A change of less than {100 * CHANCE['consistency']:.1f} points counts "
        "neither way; open where such pairs, or missing ones, would decide."
    )
    silent = pairs.told - len(pairs.changes)
    more = " more" if pairs.changes else ""
    left = f" {silent}{more} cannot be compared." if silent else ""
    if pairs.told < pairs.whole:
        left += f" The grid has {pairs.whole}."
    if not pairs.changes:
        return Claim(claim, threshold, f"No pair of cells to compare.{left}", None)
    average = 100 * statistics.fmean(pairs.changes)
    risen, fallen = pairs.risen(sign), pairs.risen(-sign)
    neither = len(pairs.changes) - risen - fallen
    over = "one seed" if pairs.seeds == 1 else f"{pairs.seeds} seeds at most"
    found = f"{risen} of {len(pairs.changes)} pairs, by {average:+.1f} points on average, at {over}"
    found += ", without a test."
    if neither:
        found += f" {neither} hardly changed."
    if not equal:
        found += f" Those {alike}: {_risen(pairs.alike, sign)} of {len(pairs.alike)}."
    return Claim(claim, threshold, found + left, pairs.holds(sign))


def _risen(changes: Sequence[float], sign: int) -> int:
    return sum(sign * change > CHANCE["consistency"] for change in changes)


def _changes(a: Row, b: Row, *, equal: bool) -> list[float]:
    """By how much CS differs at each of the seeds that both cells have."""
    ours, theirs = a["consistencies"], b["consistencies"]
    seeds = comparable(a, b) if equal else [seed for seed in ours if seed in theirs]
    return [ours[seed] - theirs[seed] for seed in seeds if seed in ours and seed in theirs]


def finder(rows: Sequence[Row], names: Sequence[str]) -> Callable[..., Row | None]:
    """Look a cell up by some of its values, with others in their place."""
    known = {tuple(row[name] for name in names): row for row in rows}

    def find(row: Row, **changed: Any) -> Row | None:
        return known.get(tuple(changed.get(name, row[name]) for name in names))

    return find
