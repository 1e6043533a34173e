"""What the scores mean, and what they do not show."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["features", "structure", "weights"]

# What varied in a run, by the similarity that was measured of it.
KINDS: dict[str, Kind] = {
    "feature_similarity": "features",
    "structure_similarity": "structure",
    "weight_similarity": "weights",
}
WHAT: dict[Kind, str] = {"features": "features", "structure": "edges", "weights": "edge weights"}


@dataclass(frozen=True)
class Score:
    """A score explained: one plain sentence, and how to read its direction."""

    title: str
    symbol: str
    meaning: str
    reading: str


SCORES = {
    "activation_error": Score(
        "Activation error",
        "L_act",
        "How far the model’s response at this layer is from its response to the original, as a "
        "share of the size of that response (squared).",
        "0 is a perfect match; lower is closer",
    ),
    "feature_similarity": Score(
        "Feature similarity",
        "S_feat",
        "How much the node features of the two graphs point the same way: the cosine between them.",
        "1 is the same features; the lower at a match, the more the layer overlooks",
    ),
    "structure_similarity": Score(
        "Structure similarity",
        "S_struct",
        "How alike the neighbourhoods of the two graphs are in shape, whichever nodes they consist "
        "of: the Weisfeiler–Lehman kernel over four rounds, beginning with the degrees.",
        "1 is the same shape; high between most graphs, so read it beside the edges kept",
    ),
    "edges_kept": Score(
        "Edges kept",
        "",
        "The share of the original’s edges that the other graph has too.",
        "1 is every edge; the lower at a match, the more the layer overlooks",
    ),
    "edge_jaccard": Score(
        "Edge overlap",
        "J",
        "The edges that both graphs have, as a share of those that either has (Jaccard index).",
        "1 is the same edges, 0 none in common",
    ),
    "degree_distance": Score(
        "Degree distance",
        "d_deg",
        "How far the degrees of the two graphs are apart, both sorted, as a share of the mean "
        "degree.",
        "0 is the same degrees, whichever node has them",
    ),
    "spectral_distance": Score(
        "Spectral distance",
        "d_spec",
        "How far the 20 smallest non-zero eigenvalues of the two normalised Laplacians are apart, "
        "relative to the original’s. They tell how the graph hangs together at large.",
        "0 is the same at large; above 1 the difference exceeds the original’s own size",
    ),
    "weight_similarity": Score(
        "Weight similarity",
        "S_weight",
        "How much the edge weights of the two graphs point the same way: the cosine between them.",
        "1 is the same weights, up to a factor; the lower at a match, the more the layer overlooks",
    ),
    "prediction_match": Score(
        "Prediction match",
        "S_match",
        "The share of nodes to which the model gives the same class on both graphs.",
        "1 is every node; high is expected at a match",
    ),
    "consistency": Score(
        "Consistency",
        "CS",
        "Whether {what} and predictions go together: both alike or both different gives a high "
        "value, different {what} with the same predictions a low one.",
        "low at a match: other {what}, same predictions; highest where the search fails",
    ),
    "activation_correlation": Score(
        "Activation correlation",
        "r",
        "The Pearson correlation between the model’s responses at this layer to the two graphs.",
        "1 is a perfect match up to scale and shift",
    ),
    "output_error": Score(
        "Output error",
        "L_out",
        "How far what the model returns is from what it returns for the original, as a share of "
        "the size of that (squared).",
        "0: no layer tells the graphs apart",
    ),
}

# Of each similarity that is measured, what it does not show.
CAUTIONS = {
    "feature_similarity": (
        "Feature similarity needs its null.",
        "Two unrelated sparse matrices with the same column means are not at 0. Only the distance "
        "from the random start says something, which is why it stands beside every score.",
    ),
    "structure_similarity": (
        "Structure similarity says little alone.",
        "A random graph with the same degrees may be above 0.9 and share hardly an edge. It sees "
        "shapes, not who is joined to whom, which is why the share of edges kept stands beside it.",
    ),
    "weight_similarity": (
        "Weight similarity needs its null.",
        "Weights that are not negative all point about the same way, so that random ones are far "
        "from 0. Only the distance from the random start says something.",
    ),
}

LIMITATIONS = (
    (
        "Consistency is highest where the search fails.",
        "A random start is unlike the original and is classified otherwise, so both disagree "
        "together. Never compare it between runs with different activation errors.",
    ),
    (
        "Invariance is not always bad.",
        "A model should overlook what does not matter for its task. Whether it overlooks too much "
        "is a judgement about the task that no score here makes.",
    ),
    (
        "One graph, one model.",
        "What is found holds for this graph, these weights, this start and this search. Other "
        "starts and searches end at other metamers, nearer to the original or farther from it.",
    ),
    (
        "A failed search proves nothing.",
        "That no metamer was found does not show that there is none.",
    ),
    (
        "A match within tol is not identity.",
        "The responses agree up to the activation error that is given, as a sum over all nodes. "
        "Single nodes may differ more, and so may their predictions.",
    ),
    (
        "Means cover all runs.",
        "Matched or not; each table says how many matched. Where not all did, a mean mixes "
        "metamers with graphs that are none.",
    ),
)

VARIES = {
    "BinaryFeatures": "node features (0 or 1); the edges stay",
    "ContinuousFeatures": "node features (real numbers); the edges stay",
    "Edges": "edges; their number and the node features stay",
    "EdgeWeights": "edge weights; the edges and the node features stay",
}


def scores_of(kinds: Collection[Kind]) -> dict[str, Score]:
    """The scores in words, those that depend on what varied in its words."""
    what = " or ".join(WHAT[kind] for kind in WHAT if kind in kinds)
    return {
        name: replace(
            score, meaning=score.meaning.format(what=what), reading=score.reading.format(what=what)
        )
        for name, score in SCORES.items()
    }


def limitations(kinds: Collection[Kind]) -> list[tuple[str, str]]:
    """What the report does not show, first of what varied."""
    return [text for name, text in CAUTIONS.items() if KINDS[name] in kinds] + [*LIMITATIONS]
