"""What the figures that compare variants share: does a score rise from one variant to the next?"""

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
    score: str = "consistency",
    equal: bool,
) -> Claim:
    """Whether a score is greater in each cell than in the one that it is to be compared with.

    Args:
        claim: What the paper says.
        rows: Cells.
        before: The cell with which one is to be compared, if there is one.
        sign: 1 where the score is said to rise, −1 where it is said to fall.
        score: Which score.
        equal: Whether only cells at equal activation error are compared.
    """
    pairs = [(row, other) for row in rows if (other := before(row)) is not None]
    told = [(a, b) for a, b in pairs if _known(a[score]) and _known(b[score])]
    if equal:
        told = [(a, b) for a, b in told if comparable(a, b)]
    true = sum(sign * (a[score] - b[score]) > 0 for a, b in told)
    verb = "greater" if sign > 0 else "smaller"
    left = f" {len(pairs) - len(told)} more cannot be compared." if len(told) < len(pairs) else ""
    at = " at equal activation error" if equal else ", whatever the activation error"
    average = sum(100 * (a[score] - b[score]) for a, b in told) / max(1, len(told))
    return Claim(
        claim,
        f"CS is {verb} in at least {SHARE:.0%} of the pairs of cells that differ in this "
        f"alone{at}.",
        f"{true} of {len(told)} pairs, by {average:+.1f} points on average.{left}",
        true >= SHARE * len(told) if told else None,
    )


def finder(rows: Sequence[Row], names: Sequence[str]) -> Callable[..., Row | None]:
    """Look a cell up by some of its values, with others in their place."""
    known = {tuple(row[name] for name in names): row for row in rows}

    def find(row: Row, **changed: Any) -> Row | None:
        return known.get(tuple(changed.get(name, row[name]) for name in names))

    return find


def _known(value: float | None) -> bool:
    return value is not None and value == value
