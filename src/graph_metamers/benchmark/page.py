"""The leaderboard as one page: no request leaves it, and no script runs but its own."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph_metamers.benchmark.protocol import PROTOCOL
from graph_metamers.jobs import Row
from graph_metamers.report.numbers import error_text, number, score_text
from graph_metamers.report.page import inline_script, rendered
from graph_metamers.result import setting
from graph_metamers.storage import write_text

FIGURES = (
    "activation_error",
    "null_activation_error",
    "feature_similarity",
    "start_feature_similarity",
    "prediction_match",
    "consistency",
)
WHY_NOT = ("trivial", "impossible", "failed")


def write_page(path: Path, lines: Sequence[Row]) -> None:
    """Write a leaderboard as a page, whole or not at all.

    Args:
        path: The HTML file.
        lines: The lines, in the order in which they are to stand.

    Raises:
        InputError: The place cannot be written to.
    """
    context = {
        "lines": [_shown(line) for line in lines],
        "graphs": list(dict.fromkeys(line["dataset"] for line in lines)),
        "layers": list(dict.fromkeys(line["layer"] for line in lines)),
        "several": any(line["protocol"] != PROTOCOL.version for line in lines),
        "protocol": PROTOCOL,
        "search": setting(PROTOCOL.search),
        "script": inline_script("table.js"),
    }
    write_text(path, rendered("leaderboard.html", **context))


def matched_text(line: Row) -> str:
    """Of how many runs a line's figures are, and why it is not of all.

    >>> matched_text({"runs": 3, "matched": 1, "trivial": 1, "impossible": 0, "failed": 1})
    '1 of 3, 1 trivial, 1 failed'
    >>> matched_text({"runs": 3, "matched": 0, "trivial": 0, "impossible": 3, "failed": 0})
    '0 of 3, 3 impossible'
    """
    parts = [f"{line['matched']} of {line['runs']}"]
    parts += [f"{line[name]} {name}" for name in WHY_NOT if line.get(name)]
    return ", ".join(parts)


def _shown(line: Row) -> dict[str, Any]:
    figure = number(line, "invariance")
    return {
        **{name: line[name] for name in ("model", "dataset", "layer", "place", "protocol")},
        "invariance": _cell(line, "invariance"),
        "share": 0 if math.isnan(figure) else round(100 * min(max(figure, 0), 1)),
        "accuracy": _cell(line, "accuracy"),
        "matched": matched_text(line),
        "matched_share": line["matched"] / line["runs"],
        "figures": [_cell(line, name) for name in FIGURES],
    }


def _cell(line: Row, name: str) -> dict[str, str]:
    """A figure as it is read, and as the script sorts it: empty where there is none."""
    value, spread = number(line, name), number(line, f"{name}_std")
    return {
        "text": error_text(value) if name.endswith("_error") else score_text(value),
        "value": repr(value) if math.isfinite(value) else "",
        "spread": "" if math.isnan(spread) else score_text(spread),
    }
