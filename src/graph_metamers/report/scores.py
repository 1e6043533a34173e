"""The scores of one layer as tables: those of the metamers beside their null."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from graph_metamers.measure import DISTANCES
from graph_metamers.report.glossary import explained
from graph_metamers.report.numbers import ABSENT, score_text, spread_text
from graph_metamers.result import Metamer

Row = dict[str, Any]


def score_tables(group: Sequence[Metamer], summary: dict[str, Any]) -> tuple[list[Row], list[Row]]:
    """The rows of the main table, and those of the further distances.

    Args:
        group: The runs.
        summary: Their means and spreads, of `Audit.summary()`.
    """
    symbols = group[0].symbols
    names = [name for name in group[0].scores if not name.startswith("start_")]
    names = [name for name in names if name not in ("fvu", "activation_error")]
    further = [name for name in names if name in DISTANCES and name not in symbols]
    main = [name for name in names if name not in further]
    errors = [_error_row(name, group, summary) for name in ("fvu", "activation_error")]
    always = [*errors, _null_row(group, summary)]
    if not summary["matched"]:
        return always, []
    return (
        [*always, *(_row(name, group, summary) for name in main)],
        [_row(name, group, summary) for name in further],
    )


def _row(name: str, group: Sequence[Metamer], summary: dict[str, Any]) -> Row:
    """Of the runs that matched."""
    low, high = (summary.get(f"{name}_{end}", math.nan) for end in ("low", "high"))
    known = math.isfinite(low) and math.isfinite(high)
    interval = f"{score_text(low, name)} to {score_text(high, name)}" if known else ABSENT
    return _named(name, group) | {
        "metamer": _cell(name, name, summary, group),
        "interval": interval,
        "start": _cell(f"start_{name}", name, summary, group),
    }


def _error_row(name: str, group: Sequence[Metamer], summary: dict[str, Any]) -> Row:
    """Of all runs: how close each search came is no score of a metamer."""
    start = f"start_{name}"
    starts = [m.scores.get(start, math.nan) for m in group]
    spread = len(starts) > 1 and all(map(math.isfinite, starts))
    both = summary | {
        start: statistics.fmean(starts),
        f"{start}_std": statistics.stdev(starts) if spread else math.nan,
    }
    return _named(name, group) | {
        "metamer": _cell(name, name, both, group),
        "interval": "",
        "start": _cell(start, name, both, group),
    }


def _null_row(group: Sequence[Metamer], summary: dict[str, Any]) -> Row:
    return _named("null_error", group) | {
        "metamer": {"mean": "", "spread": "", "reason": ""},
        "interval": "",
        "start": _cell("null_error", "null_error", summary, group),
    }


def _named(name: str, group: Sequence[Metamer]) -> Row:
    score = explained(name, group[0])
    return {"name": name, "title": score.title, "symbol": score.symbol, "reading": score.reading}


def _cell(key: str, name: str, summary: dict[str, Any], group: Sequence[Metamer]) -> dict[str, str]:
    """A mean with its spread, or why there is none."""
    mean, spread = summary.get(key, math.nan), summary.get(f"{key}_std", math.nan)
    text, beside = score_text(mean, name), spread_text(spread, mean, name)
    if text != ABSENT:
        return {"mean": text, "spread": "" if beside == ABSENT else beside, "reason": ""}
    reason = explained(name, group[0]).undefined if key in summary else "not measured"
    return {"mean": ABSENT, "spread": "", "reason": reason}
