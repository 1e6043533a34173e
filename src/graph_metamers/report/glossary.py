"""What the scores mean, and what they do not show."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from graph_metamers.measure import DISTANCES
from graph_metamers.measure.distances import Distance, Kind

WHAT: dict[Kind, str] = {"features": "features", "structure": "edges", "weights": "edge weights"}


@dataclass(frozen=True)
class Score:
    """A score explained: one plain sentence, how to read its direction, and its definition."""

    title: str
    symbol: str
    meaning: str
    reading: str
    formula: str = ""


SCORES = {
    "activation_error": Score(
        "Activation error",
        "L_act",
        "How far the model’s response at this layer is from its response to the original, as a "
        "share of the size of that response (squared).",
        "0 is a perfect match; lower is closer",
    ),
    "null_activation_error": Score(
        "Nearest unrelated graph",
        "",
        "The least activation error of graphs that have nothing to do with the original: random "
        "starts, and the original’s own responses with its nodes permuted.",
        "a metamer’s activation error lies below it",
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
        "J_edge",
        "The edges that both graphs have, as a share of those that either has (Jaccard index).",
        "1 is the same edges, 0 none in common",
    ),
    "degree_distance": Score(
        "Degree distance",
        "D_degree",
        "How far the degrees of the two graphs are apart, both sorted, as a share of the mean "
        "degree.",
        "0 is the same degrees, whichever node has them",
    ),
    "spectral_distance": Score(
        "Spectral distance",
        "D_spectral",
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
    "activation_rank_correlation": Score(
        "Rank correlation",
        "ρ",
        "The Spearman correlation of the same: whether what is larger in one response is larger "
        "in the other.",
        "1 is a perfect match up to a growing function",
    ),
    "activation_snr": Score(
        "Signal to noise",
        "SNR",
        "The size of the response to the original over that of the difference, in decibels: "
        "−10 log₁₀ of the activation error.",
        "the higher the closer; ∞ is equal, 0 dB a difference as large as the response",
    ),
    "node_match": Score(
        "Nodes that match",
        "",
        "The share of nodes whose response is nearer to their own in the original than to all but "
        "1 % of other nodes’.",
        "1 is every node; chance gives at most 0.01",
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
        "Scores cover the runs that matched.",
        "The graphs of the others are no metamers, and theirs would mean nothing. Each table says "
        "how many matched: where only a few did, they are a chosen few. The activation error "
        "alone is over all runs.",
    ),
    (
        "Symmetries make trivial metamers.",
        "The original with its nodes renumbered, or with interchangeable nodes exchanged "
        "(automorphic ones, twins), is the same graph. Where edges vary such graphs are recognised "
        "as far as a colouring of the nodes can tell; where features vary, only the unchanged "
        "original is. They are counted as trivial, and not as findings.",
    ),
)

VARIES = {
    "BinaryFeatures": "node features (0 or 1); the edges stay",
    "ContinuousFeatures": "node features (real numbers); the edges stay",
    "Edges": "edges; their number and the node features stay",
    "EdgeWeights": "edge weights; the edges and the node features stay",
}


def explained(name: str, kinds: Collection[Kind]) -> Score:
    """A score in words, those that depend on what varied in its words.

    >>> explained("consistency", ["structure"]).reading[:27]
    'low at a match: other edges'
    >>> explained("feature_hamming", ["features"]).reading
    'the lower the more alike; from 0 to 1'
    """
    what = " or ".join(WHAT[kind] for kind in WHAT if kind in kinds)
    distance = DISTANCES.get(name)
    if name in SCORES:
        score = SCORES[name]
        return replace(
            score,
            meaning=score.meaning.format(what=what),
            reading=score.reading.format(what=what),
            formula=distance.formula if distance else "",
        )
    if distance is not None:
        return _registered(distance)
    title = name.replace("_", " ").capitalize()
    return Score(title, "", "A distance that is not registered where this page was written.", "")


def _registered(d: Distance) -> Score:
    most = "∞" if math.isinf(d.high) else f"{d.high:g}"
    more = {"high": "the higher", "low": "the lower"}[d.alike]
    reading = f"{more} the more alike; from {d.low:g} to {most}".replace("-", "−")
    symbol = "" if d.symbol == d.formula else d.symbol
    return Score(d.title, symbol, "", reading, d.formula)


def limitations(kinds: Collection[Kind]) -> list[tuple[str, str]]:
    """What the report does not show, first of what varied."""
    said = [text for name, text in CAUTIONS.items() if DISTANCES[name].kind in kinds]
    return [*said, *LIMITATIONS]
