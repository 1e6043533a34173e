"""Each table and figure: its grid, its cells, and what its notes tell."""

import json
import math
from dataclasses import replace

import pytest
from made_up import result, rows_of

from graph_metamers.errors import InputError
from graph_metamers.paper.cells import cells, comparable
from graph_metamers.paper.grid import DATASETS, MODELS, Options, reported, search_job
from graph_metamers.paper.items import ITEMS, named
from graph_metamers.paper.table import Column, cell_text

ONE = Options(seeds=1)
AUTO = Options(search="auto")
GCN = Options(datasets=("cora",), models=("gcn",), seeds=1)
NOT = "not_matched"


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("table1", 30), ("table2", 36), ("fig4", 3), ("fig5", 8), ("fig6", 240), ("fig7", 60),
        ("fig8", 60), ("fig9", 3),
    ],
)  # fmt: skip
def test_the_grid_holds_every_cell_once(name, runs):
    jobs = ITEMS[name].grid(ONE)
    assert len(jobs) == len(set(jobs)) == runs
    assert len(ITEMS[name].grid(Options(seeds=3))) == 3 * runs


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("table1", "fig7", 20),  # four models at their own width
        ("table1", "fig6", 30),  # plain; Graphormer's own has residuals
        ("fig4", "fig8", 3),
    ],
)
def test_items_share_the_jobs_that_are_the_same(one, other, shared):
    assert len({*ITEMS[one].grid(ONE)} & {*ITEMS[other].grid(ONE)}) == shared


def test_a_grid_is_narrowed_by_datasets_and_models():
    jobs = ITEMS["table1"].grid(replace(GCN, models=("gcn", "gin"), seeds=2))
    asked = [(j.arguments["dataset"], j.arguments["model"], j.arguments["seed"]) for j in jobs]
    assert asked == [("cora", "gcn", 0), ("cora", "gin", 0), ("cora", "gcn", 1), ("cora", "gin", 1)]
    assert ITEMS["fig4"].grid(Options(models=("gin",))) == []
    assert ITEMS["fig9"].grid(Options(datasets=("cora",))) == []


def test_edges_of_pubmed_are_not_relaxed_but_swapped():
    paper, auto = (ITEMS["fig5"].grid(replace(ONE, search=name)) for name in ("paper", "auto"))
    assert {j.arguments["dataset"] for j in paper} == {*DATASETS} - {"pubmed"}
    assert {j.arguments["dataset"] for j in auto} == {*DATASETS}


def test_fig6_is_the_full_factorial():
    options = [job.arguments["options"] for job in ITEMS["fig6"].grid(GCN)]
    assert len({json.dumps(each) for each in options}) == 8
    last = {"activation": "elu", "adversarial": True, "residual": True}
    assert last.items() <= options[-1].items()


def test_fig8_matches_three_layers_of_four():
    jobs = ITEMS["fig8"].grid(GCN)
    assert [job.arguments["layer"] for job in jobs] == ["layer1", "layer2", "layer3"]
    assert all(job.arguments["options"]["depth"] == 4 for job in jobs)


def test_the_papers_figures_are_all_there():
    assert len(reported("table1")) == len(DATASETS) * len(MODELS)
    assert reported("table1")["squirrel", "graphormer"]["feature_similarity"] == 0.463
    assert len(reported("table2")) == 6 + 36
    assert reported("table2")["original", "gcn"]["accuracy"] == 0.7835


def test_an_unknown_item_is_told():
    with pytest.raises(InputError, match=r"'tabel1' is not one of the paper's tables and figures"):
        named("tabel1")
    assert len(named("all")) == len(ITEMS)


# Cells


def test_a_cell_averages_all_runs_at_the_papers_setting_and_the_matched_ones_else():
    jobs = [search_job(ONE, "cora", "gcn", seed) for seed in range(3)]
    scores, errors = (0.1, 0.2, 0.6), (0.002, 0.004, 0.3)
    found = [
        result(job, feature_similarity=score, activation_error=error, outcome=outcome)
        for job, score, error, outcome in zip(
            jobs, scores, errors, ("matched", "matched", NOT), strict=True
        )
    ]
    table1 = ITEMS["table1"].data
    (every,) = cells(found, table1, every_run=True)
    assert every["feature_similarity"] == pytest.approx(0.3)
    assert every["feature_similarity_std"] == pytest.approx(0.264575, abs=1e-6)
    (matched,) = cells(found, table1)
    assert matched["feature_similarity"] == pytest.approx(0.15)
    assert matched["activation_error"] == pytest.approx(0.102)  # always over all runs
    assert (matched["runs"], matched["matched"]) == (3, 2)
    assert matched["errors"] == {"0": 0.002, "1": 0.004}
    (trivial,) = cells([result(jobs[0], outcome="trivial")], table1)
    assert trivial["matched"] == 0
    assert math.isnan(trivial["feature_similarity"])


def test_failed_runs_count_in_their_cell_and_what_is_no_number_has_no_mean():
    jobs = [search_job(ONE, "cora", "gcn", seed) for seed in range(3)]
    failed = replace(result(jobs[0]), rows=[], error="it broke")
    broken = result(jobs[1])
    del broken.rows[0]["activation_error"]
    (cell,) = cells([failed, broken, result(jobs[2])], ITEMS["table1"].data, every_run=True)
    assert (cell["runs"], cell["matched"], cell["failed"]) == (3, 2, 1)
    assert math.isnan(cell["activation_error"])
    assert cell["errors"] == {"2": 0.009}
    (none,) = cells([failed], ITEMS["table1"].data)
    assert math.isnan(none["feature_similarity"])


def test_cells_are_comparable_at_one_activation_error_only():
    near, far = {"errors": {"0": 0.009}}, {"errors": {"0": 0.2}}
    assert comparable(near, {"errors": {"0": 0.008, "1": 0.9}}) == ["0"]
    assert not comparable(near, {"errors": {"0": 0.007}})  # a factor of 1.3
    assert not comparable(near, far)
    assert not comparable(near, {"errors": {}})


def test_table1_says_how_far_each_cell_is_from_the_papers():
    item, options = ITEMS["table1"], replace(GCN, models=("gcn", "gin"), seeds=2)
    far = {"gcn": {"feature_similarity": 0.12}, "gin": {"feature_similarity": 0.2}}
    gcn, gin = rows_of(item, options, lambda asked: far[asked["model"]])
    assert (gcn["within"], gin["within"]) == ("yes", "no: S_feat")
    assert gin["difference_feature_similarity"] == pytest.approx(0.2 - 0.104)
    assert (gcn["why"], gin["why"]) == ("", "not known")
    assert item.note([gcn, gin], options)[-1] == "Not near, not known: GIN on Cora."


@pytest.mark.parametrize(("error", "why"), [(0.009, "error: ours"), (1e-14, "search: ours ends")])
def test_at_equal_error_table1_says_what_its_searches_make_of_it(error, why):
    changed = {"feature_similarity": 0.4, "activation_error": error}
    rows = rows_of(ITEMS["table1"], replace(GCN, search="auto"), lambda _: changed)
    assert all(row["why"].startswith(why) for row in rows)


def test_table2_tests_each_cell_against_the_model_that_saw_no_metamer():
    item, options = ITEMS["table2"], Options(models=("gcn", "gin"), seeds=4)

    def change(asked):
        seed, drop = asked["seed"], 0.1 if asked["source"] == "gin" else 0.0
        plain = 0.78 + 0.001 * seed
        told = {"plain": plain, "retrained": plain - drop + 0.0004 * (-1) ** seed}
        return told | {"shown": plain - drop, "shown_match": 0.9}

    rows = rows_of(item, options, change)
    pairs = [("gcn", "gcn"), ("gcn", "gin"), ("gin", "gcn"), ("gin", "gin")]
    assert [(row["source"], row["target"]) for row in rows] == pairs
    assert rows[0]["retrained_p"] > 0.9
    assert rows[2]["retrained_p"] < 1e-3
    assert rows[2]["retrained_difference"] == pytest.approx(-0.1)
    assert rows[2]["paper_accuracy"] == 0.7706
    assert " GCN 78.2 (78.3), " in item.note(rows, options)[2]
    own, retrained, shown, *others = item.claims(rows, options)
    # Four models are missing, but GIN on its own loses 10 points already.
    assert own.holds is False
    # gin's on gcn loses 10 points, gcn's on gin none; each model's own do not count
    for claim in (retrained, shown):
        assert claim.found.startswith("-5.0 points over 2 pairs, 4 seeds, p = ")
        assert claim.found.endswith(" The grid has 30 pairs.")
    assert [claim.holds for claim in (retrained, shown, *others)] == [None] * 6


def test_fig6_names_the_variants_that_were_run():
    item, options = ITEMS["fig6"], replace(GCN, search="auto")
    rows = rows_of(item, options)
    assert " 8 were run: plain; residual; adversarial; " in item.note(rows, options)[1]
    assert " 2 were run: plain; residual." in item.note(rows[:2], options)[1]


def test_cells_are_written_briefly_on_a_narrow_terminal():
    row = {"s": 0.5, "s_std": 0.1, "e": 0.0123, "matched": 1, "runs": 2, "within": "no: S_feat"}
    forms = [Column("s", "", "percent"), Column("e", "", "error"), Column("matched", "", "count")]
    assert [cell_text(row, c, brief=True) for c in forms] == ["50.0", "1e-02", "1/2"]
    assert cell_text(row, Column("within", ""), brief=True) == "no"
    assert cell_text(row, Column("gone", "", "percent")) == "–"
    assert cell_text({"d": -0.02}, Column("d", "", "points")) == "−2.0"
    assert cell_text({"p": 0.034}, Column("p", "", "p")) == "0.034"
