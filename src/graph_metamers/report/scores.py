"""The scores of one layer as tables: those of the metamers beside their null."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from graph_metamers.measure import DISTANCES
from graph_metamers.report.glossary import explained
from graph_metamers.report.numbers import ABSENT, score_text, spread_text
from graph_metamers.report.words import kind_of, nulls_text
from graph_metamers.result import Metamer

Row = dict[str, Any]

# Why a score has no value in a run.
UNDEFINED = {
    "feature_similarity": "a graph without any feature",
    "activation_correlation": "a constant response",
    "activation_rank_correlation": "a constant response",
    "activation_error": "the response became NaN or infinite",
    "node_match": "too few nodes, or no response of their own",
}


def score_tables(group: Sequence[Metamer], summary: dict[str, Any]) -> tuple[list[Row], list[Row]]:
    """The rows of the main table, and those of the further distances.

    Args:
        group: The runs.
        summary: Their means and spreads, of `Audit.summary()`.
    """
    symbols = group[0].symbols
    names = [name for name in group[0].scores if not name.startswith("start_")]
    further = [name for name in names if name in DISTANCES and name not in symbols]
    main = [name for name in names if name not in further]
    always = [_error_row(group, summary), _null_row(group, summary)]
    if summary["impossible"] == summary["runs"]:  # there is nothing to compare
        return always, []
    return (
        [*always, *(_row(name, group, summary) for name in main)],
        [_row(name, group, summary) for name in further],
    )


def _row(name: str, group: Sequence[Metamer], summary: dict[str, Any]) -> Row:
    matched = summary["matched"] - summary["trivial"]
    low, high = (summary.get(f"{name}_{end}", math.nan) for end in ("low", "high"))
    known = math.isfinite(low) and math.isfinite(high)
    return _titled(name, group) | {
        "metamer": _cell(name, name, summary, matched),
        "interval": f"{score_text(low, name)} to {score_text(high, name)}" if known else ABSENT,
        "start": _cell(f"start_{name}", name, summary, matched),
    }


def _error_row(group: Sequence[Metamer], summary: dict[str, Any]) -> Row:
    """Of all runs: how close each search came is no score of a metamer."""
    name, start = "activation_error", "start_activation_error"
    starts = [m.scores.get(start, math.nan) for m in group]
    spread = len(starts) > 1 and all(map(math.isfinite, starts))
    both = summary | {
        start: statistics.fmean(starts),
        f"{start}_std": statistics.stdev(starts) if spread else math.nan,
    }
    return _titled(name, group) | {
        "metamer": _cell(name, name, both, len(group)),
        "interval": "",
        "start": _cell(start, name, both, len(group)),
    }


def _null_row(group: Sequence[Metamer], summary: dict[str, Any]) -> Row:
    name = "null_activation_error"
    reading = f"a metamer lies below it: the least error of {nulls_text(group[0])}"
    return _titled(name, group) | {
        "reading": reading,
        "metamer": {"mean": "", "spread": "", "reason": ""},
        "interval": "",
        "start": _cell(name, name, summary, 1),
    }


def _titled(name: str, group: Sequence[Metamer]) -> Row:
    score = explained(name, [kind_of(group[0])])
    return {
        "name": name,
        "title": score.title,
        "symbol": score.symbol,
        "reading": score.reading,
    }


def _cell(key: str, name: str, summary: dict[str, Any], count: int) -> dict[str, str]:
    """A mean with its spread over so many runs, or why there is none."""
    mean, spread = summary.get(key, math.nan), summary.get(f"{key}_std", math.nan)
    text = score_text(mean, name)
    if text != ABSENT:
        beside = spread_text(spread, mean, name) if count > 1 else ABSENT
        return {"mean": text, "spread": "" if beside == ABSENT else beside, "reason": ""}
    if not count:
        none = "only the original matched" if summary["trivial"] else "no run matched"
        reason = none if key == name else ""  # said once in a row
    elif key not in summary:
        reason = "not measured"
    else:
        reason = UNDEFINED.get(name, "undefined in at least one run")
    return {"mean": ABSENT, "spread": "", "reason": reason}
