"""What the figures that compare variants share: does a score rise from one variant to the next?"""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from graph_metamers.jobs import Row
from graph_metamers.paper.cells import comparable
from graph_metamers.paper.item import Claim

SHARE = 0.9  # of the pairs in which a claim must be true to hold


def rises(
    claim: str,
    rows: Sequence[Row],
    before: Callable[[Row], Row | None],
    *,
    sign: int = 1,
    equal: bool,
) -> Claim:
    """Whether CS is greater in each cell than in the one that it is to be compared with.

    Args:
        claim: What the paper says.
        rows: Cells.
        before: The cell with which one is to be compared, if there is one.
        sign: 1 where it is said to rise, −1 where it is said to fall.
        equal: Whether only cells at equal activation error are compared.
    """
    pairs = [(row, other) for row in rows if (other := before(row)) is not None]
    changes = [change for a, b in pairs if (change := _change(a, b, equal=equal)) is not None]
    verb = "greater" if sign > 0 else "smaller"
    at = " at equal activation error" if equal else ", whatever the activation error"
    threshold = (
        f"CS is {verb} in at least {SHARE:.0%} of the pairs of cells that differ in this "
        f"alone{at}, seed by seed; at least half of the pairs can be compared."
    )
    silent = len(pairs) - len(changes)
    left = f" {silent} more cannot be compared." if silent else ""
    if not changes:
        return Claim(claim, threshold, f"No pair of cells to compare.{left}", None)
    true = sum(sign * change > 0 for change in changes)
    average = 100 * statistics.fmean(changes)
    return Claim(
        claim,
        threshold,
        f"{true} of {len(changes)} pairs, by {average:+.1f} points on average.{left}",
        true >= SHARE * len(changes) if 2 * len(changes) >= len(pairs) else None,
    )


def _change(a: Row, b: Row, *, equal: bool) -> float | None:
    """By how much CS differs on average over the seeds that both cells have; None if none."""
    ours, theirs = a["consistencies"], b["consistencies"]
    seeds = comparable(a, b) if equal else [seed for seed in ours if seed in theirs]
    found = [ours[seed] - theirs[seed] for seed in seeds if seed in ours and seed in theirs]
    return statistics.fmean(found) if found else None


def finder(rows: Sequence[Row], names: Sequence[str]) -> Callable[..., Row | None]:
    """Look a cell up by some of its values, with others in their place."""
    known = {tuple(row[name] for name in names): row for row in rows}

    def find(row: Row, **changed: Any) -> Row | None:
        return known.get(tuple(changed.get(name, row[name]) for name in names))

    return find
