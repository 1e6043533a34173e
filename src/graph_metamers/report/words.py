"""What the figures mean, in sentences; and how numbers are written."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graph_metamers.report.glossary import KINDS, WHAT, Kind
from graph_metamers.result import Metamer
from graph_metamers.search import Status

ABSENT = "–"

Outcome = Literal["matched", "partly", "none"]


@dataclass(frozen=True)
class Verdict:
    """What can be said of one layer.

    Attributes:
        outcome: Whether all runs matched, some, or none.
        badge: How many.
        sentences: What follows from the runs that matched; that nothing does, if none did.
        remedies: What to do about those that did not.
    """

    outcome: Outcome
    badge: str
    sentences: list[str]
    remedies: list[str]


def verdict(group: Sequence[Metamer]) -> Verdict:
    """What the runs of one layer show. Nothing is claimed on runs that did not match."""
    matched = [m for m in group if m.matched]
    badge = f"{len(matched)} of {len(group)} matched"
    if not matched:
        return Verdict("none", badge, _no_claim(group), remedies(group))
    outcome = "matched" if len(matched) == len(group) else "partly"
    return Verdict(outcome, badge, _claims(group, matched), remedies(group))


def headline(groups: Sequence[Sequence[Metamer]]) -> str:
    """The whole audit in a sentence or two."""
    others = [[m for m in group if m.matched and not m.notes.get("unchanged")] for group in groups]
    found = [matched for matched in others if matched]
    runs = sum(len(group) for group in groups)
    if not groups:
        return "Nothing was run yet."
    if not found and any(m.matched for group in groups for m in group):
        return "No other graph was found that matches: where a run matched, it is the original."
    if not found:
        return (
            f"No metamer was found: {_no_run(runs, 'match', 'matched')}. Nothing can be said about "
            "what the model overlooks until a search succeeds."
        )
    kinds: list[Kind] = [kind for kind in WHAT if any(kind_of(group[0]) == kind for group in found)]
    farthest = [
        _farthest(
            [group for group in found if kind_of(group[0]) == kind],
            alone=len(groups) == 1,
            apart=f" in {WHAT[kind]}" if len(kinds) > 1 else "",
        )
        for kind in kinds
    ]
    return " ".join([_found_where(groups, found), *filter(None, farthest)])


def kind_of(m: Metamer) -> Kind:
    """What varied in a run, by the similarity that was measured of it."""
    return KINDS[next(iter(m.symbols))]


def _farthest(found: Sequence[Sequence[Metamer]], *, alone: bool, apart: str) -> str:
    """How different those metamers are that are the most, of all in which the same varied."""
    kind = kind_of(found[0][0])
    name = "edges_kept" if kind == "structure" else next(iter(found[0][0].symbols))
    farthest = min(found, key=lambda group: _least_first(_mean(group, name)))
    value, start = _mean(farthest, name), _mean(farthest, f"start_{name}")
    if not (math.isfinite(value) and math.isfinite(start)) or value > 1 - 1e-6:
        return ""
    one, most = len(farthest) == 1, f"The most different{apart}, at {_code(farthest[0].layer)},"
    if kind == "structure":
        subject = f"{most} keep" if not alone else "It keeps" if one else "They keep"
        similarity = _mean(farthest, "structure_similarity")
        return " ".join(
            [
                f"{subject} {value:.1%} of the original’s edges (a random start {start:.1%}); the "
                f"structure similarity is {similarity:.2f} (a random start "
                f"{_mean(farthest, 'start_structure_similarity'):.2f}).",
                *_triviality(farthest),
            ]
        )
    what = WHAT[kind]
    subject = f"{'Its' if one else 'Their'} {what} are" if alone else f"{most} have {what} that are"
    return (
        f"{subject} {_closeness(value, start)} (similarity {value:.2f}; random {what} have "
        f"{start:.2f}, the original 1)."
    )


def _found_where(groups: Sequence[Sequence[Metamer]], found: Sequence[Sequence[Metamer]]) -> str:
    runs, matched = sum(map(len, groups)), sum(map(len, found))
    rate = "in the one run" if runs == 1 else f"in {matched} of {runs} runs"
    some = "A metamer was found" if matched == 1 else "Metamers were found"
    if len(groups) == 1:
        return f"{some} at {_code(found[0][0].layer)}, {rate}."
    places = "layers" if len({g[0].layer for g in groups}) == len(groups) else "searched places"
    return f"{some} at {len(found)} of {len(groups)} {places}, {rate}."


def remedies(group: Sequence[Metamer]) -> list[str]:
    """For the runs that did not match: how each search ended, and what to do about it."""
    ended = Counter(m.status for m in group if not m.matched)
    return [
        f"{_runs(count)} ended with the status “{status_text(status)}”. {Status(status).remedy}"
        for status, count in ended.items()
    ]


def _no_claim(group: Sequence[Metamer]) -> list[str]:
    errors = [m.activation_error for m in group if math.isfinite(m.activation_error)]
    closest = ""
    if errors:
        start = _mean(group, "start_activation_error")
        closest = f" The closest came to {error_text(min(errors))}" + (
            f", from {error_text(start)} at the start." if math.isfinite(start) else "."
        )
    return [
        f"No claim can be made here: {_no_run(len(group), 'reach', 'reached')} an activation "
        f"error of {group[0].tol:g}.{closest}",
        "That does not show that this layer has no metamers, only that this search found none.",
    ]


def _claims(group: Sequence[Metamer], matched: Sequence[Metamer]) -> list[str]:
    layer, error = _code(group[0].layer), max(m.activation_error for m in matched)
    return [
        f"{_how_many(len(matched), len(group))} At {layer} the model responds to another graph as "
        f"it does to the original, up to an activation error of {error_text(error)}.",
        *_difference(matched),
        *_predictions(matched),
    ]


def _how_many(matched: int, runs: int) -> str:
    if matched == runs:
        return {1: "The one run matched.", 2: "Both runs matched."}.get(
            runs, f"All {runs} runs matched."
        )
    rest = "that one" if matched == 1 else f"those {matched}"
    return f"{matched} of {runs} runs matched; what follows rests on {rest}."


def _difference(matched: Sequence[Metamer]) -> list[str]:
    kind, name = kind_of(matched[0]), next(iter(matched[0].symbols))
    if kind == "structure":
        return _structure_difference(matched)
    similarity, start = _mean(matched, name), _mean(matched, f"start_{name}")
    if not math.isfinite(similarity):
        return []
    if all(m.notes.get("unchanged") for m in matched):
        return [f"It is the original itself: no other {WHAT[kind]} were found to match."]
    if kind == "features" and all(m.data["x"].equal(m.reference["x"]) for m in matched):
        return ["The node features are the original’s own; what differs is what was varied."]
    title = name.replace("_", " ")
    sentence = f"The {title} is {similarity:.2f}, where 1 would be the same {WHAT[kind]}"
    if not math.isfinite(start):
        return [f"{sentence}."]
    sentences = [
        f"{sentence} and a random start has {start:.2f}: the {WHAT[kind]} are "
        f"{_closeness(similarity, start)}."
    ]
    if start > 0.8:
        sentences.append(
            "With a random start that similar, the score can hardly tell graphs apart"
            + ("; look at the pictures." if kind == "features" else ".")
        )
    else:
        sentences.append(_overlooked(similarity, start))
    return sentences


def _structure_difference(matched: Sequence[Metamer]) -> list[str]:
    kept, start = _mean(matched, "edges_kept"), _mean(matched, "start_edges_kept")
    if not math.isfinite(kept):
        return []
    similarity = _mean(matched, "structure_similarity")
    trivial = all(m.trivial for m in matched)
    return [
        f"Of the original’s edges {kept:.1%} stayed, against {start:.1%} on a random start.",
        f"The structure similarity is {similarity:.2f}, against "
        f"{_mean(matched, 'start_structure_similarity'):.2f} on a random start; it compares the "
        "shapes of neighbourhoods, not who is joined to whom, so it says little without the share "
        "of edges that stayed.",
        *_triviality(matched),
        *([] if trivial else [_overlooked(kept, start)]),
    ]


def _triviality(matched: Sequence[Metamer]) -> list[str]:
    """Whether graphs with other edges are other graphs at all."""
    trivial = sum(m.trivial for m in matched)
    unknown = sum(math.isnan(m.notes.get("isomorphic", 0.0)) for m in matched)
    said: list[str] = []
    if trivial:
        graphs = f"{trivial} of {len(matched)} are" if len(matched) > 1 else "It is"
        said.append(
            f"{graphs} only the original with equal nodes exchanged: the same graph, a trivial "
            "metamer."
        )
    if unknown:
        graphs = f"{unknown} of {len(matched)} are" if len(matched) > 1 else "it is"
        said.append(
            f"Whether {graphs} only the original with equal nodes exchanged is not known: no "
            "colouring of the nodes tells the two apart."
        )
    return said


def _overlooked(similarity: float, start: float) -> str:
    if similarity >= _share(0.9, start):
        return "This search found nothing that this layer overlooks; another one may still do."
    return "What differs between them, this layer overlooks."


def _closeness(similarity: float, start: float) -> str:
    """Where between a random start and the original a metamer's features stand."""
    if similarity < _share(0.1, start):
        return "hardly more like the original’s than random ones"
    if similarity < _share(0.5, start):
        return "nearer to random ones than to the original’s"
    if similarity < _share(0.9, start):
        return "nearer to the original’s than to random ones, but not the same"
    return "almost the original’s"


def _share(share: float, start: float) -> float:
    return start + share * (1 - start)


def _predictions(matched: Sequence[Metamer]) -> list[str]:
    match = _mean(matched, "prediction_match")
    start = _mean(matched, "start_prediction_match")
    if not math.isfinite(match):
        return []
    null = f", against {start:.0%} on a random start" if math.isfinite(start) else ""
    return [f"The predicted class stays the same at {match:.1%} of the nodes{null}."]


def _mean(group: Sequence[Metamer], name: str) -> float:
    return statistics.fmean(m.scores.get(name, math.nan) for m in group)


def _least_first(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _no_run(count: int, verb: str, past: str) -> str:
    return f"the one run did not {verb}" if count == 1 else f"none of the {count} runs {past}"


def _code(name: str) -> str:
    return f"“{shorten(name, 60)}”"


def noun(m: Metamer) -> str:
    """What a run ended at: only what matched is a metamer."""
    return "metamer" if m.matched else "graph found"


def status_text(status: str) -> str:
    """A status as words."""
    return status.replace("_", " ")


def shorten(text: str, most: int = 28) -> str:
    """A name that fits a title, in one line.

    >>> shorten("encoder.blocks.3.attention.out", 16)
    'encoder.blocks.…'
    """
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def score_text(value: float | None) -> str:
    """A score to three decimals.

    >>> score_text(0.11349), score_text(-0.02), score_text(float("nan"))
    ('0.113', '−0.020', '–')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:.3f}".replace("-", "−")


def error_text(value: float | None) -> str:
    """An activation error to three digits.

    >>> error_text(0.006714), error_text(1.0), error_text(6.7e-06), error_text(float("inf"))
    ('0.00671', '1.00', '6.70·10⁻⁶', '–')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    power = _power(value)
    if _plain(value):
        return f"{value:.{max(0, 2 - power)}f}"
    return f"{value / 10.0**power:.2f}·{ten(power)}"


def spread_text(spread: float, mean: float) -> str:
    """A standard deviation to the digits of the mean that it stands beside.

    >>> spread_text(0.000123, 0.006714), spread_text(1e-7, 6.7e-06)
    ('0.00012', '0.10·10⁻⁶')
    """
    if not (math.isfinite(spread) and math.isfinite(mean)):
        return ABSENT
    power = _power(mean)
    if _plain(mean):
        return f"{spread:.{max(0, 2 - power)}f}"
    return f"{spread / 10.0**power:.2f}·{ten(power)}"


def ten(power: int) -> str:
    """A power of ten.

    >>> ten(-3)
    '10⁻³'
    """
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _plain(value: float) -> bool:
    return value == 0 or 1e-4 <= abs(value) < 1e4


def _power(value: float) -> int:
    return math.floor(math.log10(abs(value))) if value else 0
