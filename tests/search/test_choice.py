"""search="auto" and searches by name: what is picked, and what cannot be had."""

import math

import pytest
import torch
from search_cases import Case, Poser, Two, alone, generator

import graph_metamers as gm
from graph_metamers.search import (
    SEARCHES,
    Adam,
    Auto,
    EdgeSwap,
    Exact,
    GaussNewton,
    Swap,
    configured,
)
from helpers import seeded, unchecked_types

REAL = {"kind": "real"}
PICKED = {
    "binary": (Case(Auto(steps=3)), "Swap(steps=3)"),
    "binary, no read": (Case(Auto(steps=3), normed=True), "Swap(steps=3)"),
    "slope": (Case(Auto(steps=3), gm.BinaryFeatures(slope=2.0)), "Swap(steps=3)"),
    "margin": (Case(Auto(steps=3), gm.BinaryFeatures(margin=0.1)), "Adam(steps=3)"),
    "edges": (Case(Auto(steps=3), gm.Edges()), "EdgeSwap(steps=3)"),
    "weights": (Case(Auto(steps=3), gm.EdgeWeights()), "Adam(steps=3)"),
    "real": (Case(Auto(steps=3), **REAL), "Exact(steps=3)"),
    "real, no read": (Case(Auto(steps=3), normed=True, **REAL), "GaussNewton(steps=3)"),
    "binary as real": (Case(Auto(steps=3), gm.ContinuousFeatures()), "Exact(steps=3)"),
    "real, not exact": (
        Case(Auto(stop_at_tol=True, exact=False), **REAL),
        "Adam(stop_at_tol=True)",
    ),
    "random": (Case(Auto(steps=2, seek="random")), "Swap(steps=2, seek='random')"),
    "farthest": (Case(Auto(seek="farthest"), **REAL), "Exact(seek='farthest')"),
}


class Weighted(Two):
    def forward(self, x, edge_index, edge_weight=None):
        return self.first(x, edge_index, edge_weight)


@pytest.mark.parametrize("name", PICKED)
def test_what_is_picked(name):
    case, picked = PICKED[name]
    model = seeded(lambda: Weighted(10)) if name == "weights" else case.model()
    m = gm.metamer(model, alone(case.kind), "first", vary=case.vary, search=case.search, tol=0.3)
    assert m.search == m.row()["search"] == picked


def test_it_is_the_default_and_runs_without_a_choice_before(pose: Poser):
    case = Case(Auto(steps=4))
    problem = case.problem(pose, alone("binary"))
    runs = [search.run(problem, generator()) for search in (Auto(steps=4), Swap(steps=4))]
    assert runs[0].history == runs[1].history
    assert torch.equal(*(found.inputs["x"] for found in runs))
    assert gm.metamer(case.model(), alone("binary"), "first").search == "Swap"


def test_names():
    known = {"auto": Auto, "adam": Adam, "swap": Swap, "exact": Exact}
    known |= {"gauss_newton": GaussNewton, "edge_swap": EdgeSwap}
    assert known == SEARCHES
    for name, kind in known.items():
        assert configured(name) == configured(kind()) == kind()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("swpa", r"search must be one of 'auto', 'adam', .*got 'swpa'\. Did you mean 'swap'\?"),
        ("Adam", r"configured search such as Adam\(steps=200\); got 'Adam'\. Did you mean 'adam'"),
        ("zzz", r"got 'zzz'\.$"),
        (3, r"got 3\.$"),
        (Swap, r"got <class .*Swap'>\."),
    ],
)
def test_an_unknown_search(given, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        configured(given)


WHOLE = "must be a whole number of at least 1; got"


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        *[(kind, {"steps": 0}, f"steps {WHOLE} 0") for kind in SEARCHES.values()],
        (Exact, {"steps": True}, f"steps {WHOLE} True"),
        (Swap, {"steps": 2.5}, rf"steps {WHOLE} 2\.5"),
        *[(k, {"patience": 0}, f"patience {WHOLE} 0") for k in (Adam, Swap, EdgeSwap, GaussNewton)],
        (GaussNewton, {"inner": 0}, f"inner {WHOLE} 0"),
        *[(k, {"seek": "far"}, "seek must be one of .*got 'far'") for k in (Auto, Swap, Exact)],
        *[(Adam, {"lr": lr}, "lr must be positive and finite") for lr in (0.0, math.nan, math.inf)],
        *[
            (EdgeSwap, {"temperature": t}, "temperature must be a number of at least 0")
            for t in (-1.0, math.inf, math.nan)
        ],
    ],
)
def test_settings_out_of_range(kind, options, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        kind(**options)


NO_SEEK = r"seek='\w+' needs binary features of fixed number, or continuous ones .* Leave it out"


@pytest.mark.parametrize(
    ("case", "options", "sentence"),
    [
        (Case(Swap(), **REAL), {}, r"Swap exchanges ones .*BinaryFeatures\(\); got x: Continuous"),
        (Case(Swap(), gm.BinaryFeatures(margin=0.1)), {}, "Swap exchanges ones"),
        (Case(Exact()), {}, r"Exact moves real numbers and needs .*; got x: Binary.*'auto'"),
        (Case(GaussNewton()), {}, r"GaussNewton moves real numbers .*; got x: Binary"),
        (Case(EdgeSwap()), {}, r"EdgeSwap exchanges edges and needs vary=Edges\(\); got x: Binary"),
        (Case(Exact(), normed=True, **REAL), {}, "only through weight .* or Adam"),
        (Case(Adam(), gm.Edges(degrees="fixed")), {}, r"Eqs\. 11–12 .*EdgeSwap"),
        *[
            (Case(Auto(seek=seek), vary, **more), {}, NO_SEEK)
            for seek in ("random", "farthest")
            for vary, more in (
                (None, {"normed": True} | REAL),
                (gm.BinaryFeatures(margin=0.1), {}),
            )
        ],
        (Case(Auto(seek="farthest"), gm.Edges()), {}, r"is for features.*keep=0\.0"),
        *[
            (Case(search, vary), {"avoid": [alone("binary")]}, "cannot keep away from other graphs")
            for search, vary in ((Adam(), None), (EdgeSwap(), gm.Edges()))
        ],
        (
            Case(Auto(), normed=True, **REAL),
            {"avoid": [alone("real")]},
            "avoid= needs binary features",
        ),
    ],
    ids=lambda value: str(value.search) if isinstance(value, Case) else "",
)
def test_what_a_search_cannot_do(case, options, sentence, pose: Poser):
    problem = case.problem(pose, alone(case.kind), **options)
    with pytest.raises(gm.InputError, match=sentence):
        case.search.choose(problem)
