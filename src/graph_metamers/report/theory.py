"""What the theory says of the layers, beside how far the searches came."""

from collections.abc import Mapping, Sequence
from typing import Any

from graph_metamers.report.figures import inline_svg
from graph_metamers.report.numbers import ABSENT, score_text
from graph_metamers.report.plots import plot_spectrum
from graph_metamers.result import Metamer
from graph_metamers.theory import Theory

DISTANCE = "feature_similarity"


def theory_section(
    theories: Mapping[str, Theory],
    groups: Sequence[Sequence[Metamer]],
    summary: Sequence[Mapping[str, Any]],
) -> dict[str, Any] | None:
    """The picture and the table; None where the theory says nothing of the layers.

    Args:
        theories: By layer.
        groups: The runs of each layer and what varies.
        summary: Their means, in the same order.
    """
    if not theories:
        return None
    varied = [
        s
        for group, s in zip(groups, summary, strict=True)
        if s["layer"] in theories and DISTANCE in group[0].scores
    ]
    several = len({s["vary"] for s in varied}) > 1
    rows = [_row(s, theories[s["layer"]], several=several) for s in varied]
    alt = "Relative singular values, largest first, a line a layer. Their ranks are in the table."
    picture = inline_svg(lambda ax: plot_spectrum(theories, ax), alt, "spectrum", width=4.1)
    return {"picture": picture, "rows": rows}


def _row(summary: Mapping[str, Any], found: Theory, *, several: bool) -> dict[str, str]:
    collapsed = found.collapsed_share
    return {
        "layer": summary["layer"] + (f", {summary['vary']}" if several else ""),
        "features": f"{found.features:,}",
        "rank": _count(found.rank),
        "dimension": _count(found.metamer_dimension),
        "effective": f"{found.effective_rank:.1f}",
        "collapsed": ABSENT if collapsed is None else f"{collapsed:.0%}",
        "metamer": score_text(summary.get(DISTANCE)),
        "start": score_text(summary.get(f"start_{DISTANCE}")),
    }


def _count(value: float) -> str:
    """A mean over nodes: whole where all nodes have the same."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
