"""What the figures mean, in sentences."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from graph_metamers.measure import DISTANCES, Verdict
from graph_metamers.measure.distances import Kind
from graph_metamers.measure.null import EXACT
from graph_metamers.report.glossary import WHAT
from graph_metamers.report.numbers import error_text, p_text, shorten
from graph_metamers.result import Metamer
from graph_metamers.search import Status

Outcome = Literal["matched", "partly", "none", "impossible"]

NULLS: Final = {  # which unrelated graphs a metamer must be nearer than
    "start": "random starts",
    "permuted": "permutations of the nodes",
    "other": "other graphs",
}


@dataclass(frozen=True)
class Finding:
    """What can be said of one layer.

    Attributes:
        outcome: Whether all runs found another graph that matches, some, or none, or whether that
            is impossible.
        badge: The verdicts in short.
        sentences: What follows from the runs that matched; that nothing does, if none did.
        remedies: What to do about those that did not.
    """

    outcome: Outcome
    badge: str
    sentences: list[str]
    remedies: list[str]


def finding(group: Sequence[Metamer]) -> Finding:
    """What the runs of one layer show. Nothing is claimed on runs that did not match."""
    if _impossible(group):
        return Finding("impossible", "proved impossible", _nothing_else(group), remedies(group))
    matched = [m for m in group if m.matched]
    badge = f"{len(matched)} of {len(group)} matched"
    if not matched:
        return Finding("none", badge, _no_claim(group), remedies(group))
    trivial = sum(m.trivial for m in matched)
    badge += f", {trivial} trivial" if trivial else ""
    others = len(matched) - trivial
    outcome = "matched" if others == len(group) else "partly" if others else "none"
    return Finding(outcome, badge, _claims(group, matched), remedies(group))


def headline(groups: Sequence[Sequence[Metamer]]) -> str:
    """The whole audit in a sentence or two. Trivial metamers are counted, and are no finding."""
    if not groups:
        return "Nothing was run yet."
    possible = [group for group in groups if not _impossible(group)]
    if not possible:
        one = len(groups) == 1
        where = _code(groups[0][0].layer) if one else f"any of {_places(groups)}"
        return (
            "There is no metamer: it is proved that no other graph has the same response at "
            f"{where}."
        )
    others = [[m for m in group if m.matched and not m.trivial] for group in possible]
    found = [matched for matched in others if matched]
    trivial = sum(m.matched and m.trivial for group in possible for m in group)
    runs = sum(map(len, possible))
    impossible = len(groups) - len(possible)
    proved = [f"At {impossible} of {_places(groups)} it is proved that there is none."]
    rest = proved if impossible else []
    if not found and trivial:
        none = "No other graph was found that matches: where a run matched, it is the original"
        return " ".join([f"{none}, as it is or with equal nodes exchanged.", *rest])
    if not found:
        none = f"No metamer was found: {_no_run(runs, 'match', 'matched')}."
        until = "Nothing can be said about what the model overlooks until a search succeeds."
        return " ".join([none, until, *rest])
    kinds: list[Kind] = [kind for kind in WHAT if any(kind_of(group[0]) == kind for group in found)]
    farthest = [
        _farthest(
            [group for group in found if kind_of(group[0]) == kind],
            alone=len(groups) == 1,
            apart=f" in {WHAT[kind]}" if len(kinds) > 1 else "",
        )
        for kind in kinds
    ]
    also = [f"{_runs(trivial).capitalize()} found only the original."] if trivial else []
    return " ".join([_found_where(groups, found, runs), *filter(None, farthest), *also, *rest])


def kind_of(m: Metamer) -> Kind:
    """What varied in a run, by the similarity that was measured of it."""
    return DISTANCES[next(iter(m.symbols))].kind


def similarity_name(m: Metamer) -> str:
    """The score that says how much of the reference is left, as the run's trail does."""
    return "edges_kept" if kind_of(m) == "structure" else next(iter(m.symbols))


def nulls_text(m: Metamer) -> str:
    """How many unrelated graphs of which sort a run is compared with.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> nulls_text(SimpleNamespace(nulls={"start": torch.ones(99), "other": torch.ones(4)}))
    '99 random starts and 4 other graphs'
    """
    *sorts, last = [f"{len(null)} {NULLS[name]}" for name, null in m.nulls.items()]
    return f"{', '.join(sorts)} and {last}" if sorts else last


def _farthest(found: Sequence[Sequence[Metamer]], *, alone: bool, apart: str) -> str:
    """How different those metamers are that are the most, of all in which the same varied."""
    kind, name = kind_of(found[0][0]), similarity_name(found[0][0])
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


def _found_where(
    groups: Sequence[Sequence[Metamer]], found: Sequence[Sequence[Metamer]], runs: int
) -> str:
    matched = sum(map(len, found))
    rate = "in the one run" if runs == 1 else f"in {matched} of {runs} runs"
    some = "A metamer was found" if matched == 1 else "Metamers were found"
    if len(groups) == 1:
        return f"{some} at {_code(found[0][0].layer)}, {rate}."
    return f"{some} at {len(found)} of {_places(groups)}, {rate}."


def _places(groups: Sequence[Sequence[Metamer]]) -> str:
    layers = len({group[0].layer for group in groups}) == len(groups)
    return f"{len(groups)} {'layers' if layers else 'searched places'}"


def remedies(group: Sequence[Metamer]) -> list[str]:
    """For the runs that did not match: how each ended, and what to do about it."""
    if _impossible(group):
        return [Verdict.IMPOSSIBLE.remedy]
    failed = Verdict.NOT_MATCHED
    said: list[str] = []
    for status, count in Counter(m.status for m in group if m.verdict is failed).items():
        # A search that reached tol has done its part: it is the verdict that says why not.
        how, remedy = (
            (f"the verdict “{failed.text}”, though within tol", failed.remedy)
            if status is Status.MATCHED
            else (f"the status “{status_text(status)}”", status.remedy)
        )
        said.append(f"{_runs(count)} ended with {how}. {remedy}")
    return said


def _impossible(group: Sequence[Metamer]) -> bool:
    return all(m.verdict is Verdict.IMPOSSIBLE for m in group)


def _nothing_else(group: Sequence[Metamer]) -> list[str]:
    return [
        f"There is no metamer at {_code(group[0].layer)}: with any other "
        f"{WHAT[kind_of(group[0])]} the response is another one. No search was run, and the graph "
        "returned is the original itself."
    ]


def _no_claim(group: Sequence[Metamer]) -> list[str]:
    errors = [m.activation_error for m in group if math.isfinite(m.activation_error)]
    least = min(errors, default=math.nan)
    return [
        f"No claim can be made here: {_why_not(group)}.",
        *([f"The closest came to {error_text(least)}; {_nearest(group)}."] if errors else []),
        "That does not show that this layer has no metamers, only that this search found none.",
    ]


def _why_not(group: Sequence[Metamer]) -> str:
    within = sum(m.activation_error <= m.tol for m in group)
    goal = f"an activation error of {group[0].tol:g}"
    if not within:
        return f"{_no_run(len(group), 'reach', 'reached')} {goal}"
    if within == len(group):
        return (
            f"{_no_run(within, 'come', 'came')} nearer to the original than unrelated graphs can be"
        )
    return (
        f"{within} of {len(group)} runs reached {goal}, and none of these came nearer to the "
        "original than unrelated graphs can be"
    )


def _claims(group: Sequence[Metamer], matched: Sequence[Metamer]) -> list[str]:
    layer, error = _code(group[0].layer), max(m.activation_error for m in matched)
    exact = ", zero up to rounding" if 0 < error <= EXACT else ""
    up_to = "Its activation error is" if len(matched) == 1 else "The activation error is at most"
    found = (
        "no other graph was found to which the model responds as it does to the original"
        if all(m.trivial for m in matched)
        else "the model responds to another graph as it does to the original"
    )
    return [
        f"{_how_many(len(matched), len(group))} At {layer} {found}.",
        f"{up_to} {error_text(error)}{exact}; {_nearest(matched)}.",
        *_difference(matched),
        *_predictions(matched),
    ]


def _nearest(group: Sequence[Metamer]) -> str:
    """The null, and the p-value of the closest run; of matched ones that of the farthest."""
    p = (max if all(m.matched for m in group) else min)(m.p_value for m in group)
    null = min(m.null_activation_error for m in group)
    return f"the nearest of {nulls_text(group[0])} is at {error_text(null)} (p = {p_text(p)})"


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
    if all(m.trivial for m in matched):
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
    return [*sentences, *_triviality(matched)]


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
    """Whether what matched are other graphs at all."""
    trivial = sum(m.trivial for m in matched)
    unknown = sum(math.isnan(m.notes.get("isomorphic", 0.0)) for m in matched)
    exchanged = kind_of(matched[0]) == "structure"
    said: list[str] = []
    if trivial:
        graphs = f"{trivial} of {len(matched)} are" if len(matched) > 1 else "It is"
        how = " with equal nodes exchanged: the same graph," if exchanged else ":"
        said.append(f"{graphs} only the original{how} a trivial metamer, and no finding.")
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
    if similarity < start - 0.1:
        return "less like the original’s than random ones"
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
    if m.verdict is Verdict.IMPOSSIBLE:
        return "original"
    return "metamer" if m.matched else "graph found"


def status_text(status: str) -> str:
    """A status as words."""
    return status.replace("_", " ")


def verdict_text(m: Metamer) -> str:
    """The verdict as words, and whether the metamer is a trivial one."""
    return f"{m.verdict.text}, trivial" if m.matched and m.trivial else m.verdict.text
