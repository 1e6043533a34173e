"""Sheets, pictures and the page: what is written, kept, and told."""

import re
from dataclasses import replace

import pytest
from made_up import fill, result

from graph_metamers.errors import InputError
from graph_metamers.jobs import Inline, Store
from graph_metamers.paper.grid import Options
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.produce import Sheet, produce, write_page
from graph_metamers.paper.table import cell_text

GCN = Options(datasets=("cora",), models=("gcn",), seeds=1)
NOT = "not_matched"


def made(name, options, folder):
    return produce(ITEMS[name], options, Inline(), folder)


@pytest.mark.parametrize("search", ["paper", "auto"])
@pytest.mark.parametrize("name", list(ITEMS))
def test_every_item_becomes_a_sheet_a_picture_and_a_section(name, search, tmp_path):
    item, options = ITEMS[name], Options(seeds=2, search=search, datasets=("cora", "pubmed"))
    fill(Store(tmp_path), item, options)
    sheet = produce(item, options, Inline(), tmp_path)
    assert sheet.rows
    whole = len(item.grid(replace(options, datasets=None)))
    assert sheet.made["runs"] == f"{len(item.grid(options))} of {whole}"
    assert sheet.made["commit"] == "a"
    texts = [cell_text(row, column) for row in sheet.rows for column in sheet.columns]
    assert {"2 of 2", "0.00900", "0.400"} <= set(texts)
    held = Sheet.load(tmp_path / f"{name}-{search}.json")
    assert (held.columns, held.claims, held.notes) == (sheet.columns, sheet.claims, sheet.notes)
    pictures = name not in ("fig4", "fig9")  # they show the metamers themselves
    assert (tmp_path / f"{name}-{search}.svg").exists() == pictures
    page = write_page(tmp_path).read_text()
    assert item.data["title"].split(":")[0] in page
    assert not re.search(r"(src|href)=.https?:|url\(http", page)


@pytest.mark.parametrize("name", list(ITEMS))
def test_cells_of_which_no_run_matched_have_no_scores_and_say_so(name, tmp_path):
    item, options = ITEMS[name], Options(seeds=2, search="auto", datasets=("cora", "pubmed"))
    fill(Store(tmp_path), item, options, outcome=NOT)
    sheet = produce(item, options, Inline(), tmp_path)
    assert all(row["matched"] == 0 for row in sheet.rows)
    texts = [cell_text(row, column) for row in sheet.rows for column in sheet.columns]
    assert f"0 of {options.seeds}" in texts
    if name in ("table1", "fig6", "fig7", "fig8"):
        assert [claim.holds for claim in sheet.claims] == [None] * len(sheet.claims) != []
        assert "–" in texts
    assert "0 of 2" in write_page(tmp_path).read_text()


def test_rows_stand_in_the_grids_order_whatever_was_asked_last(tmp_path):
    item = ITEMS["table1"]
    for dataset in ("chameleon", "cora", "squirrel"):
        options = Options(datasets=(dataset,), models=("gin", "gcn"), seeds=1)
        fill(Store(tmp_path), item, options)
        sheet = produce(item, options, Inline(), tmp_path)
    assert [(row["dataset"], row["model"]) for row in sheet.rows] == [
        (dataset, model)
        for dataset in ("cora", "squirrel", "chameleon")
        for model in ("gcn", "gin")
    ]
    assert sheet.made["runs"] == "6 of 30"


def test_a_sheet_says_that_a_run_did_not_note_its_commit(tmp_path):
    item, options = ITEMS["table1"], replace(GCN, seeds=2)
    one, other = map(result, item.grid(options))
    for each in (one, replace(other, environment={"torch": "2"})):
        Store(tmp_path).put(each)
    assert produce(item, options, Inline(), tmp_path).made["commit"] == "a, unknown"


def test_a_sheet_has_the_seeds_that_were_asked_for_and_none_of_another_items(tmp_path):
    store = Store(tmp_path)
    fill(store, ITEMS["table1"], replace(GCN, seeds=3))
    fill(store, ITEMS["fig7"], GCN)
    runs = [
        made(name, replace(GCN, seeds=seeds), tmp_path).made["runs"]
        for name, seeds in [("table1", 3), ("table1", 1), ("fig7", 1)]
    ]
    assert runs == ["3 of 90", "1 of 30", "3 of 60"]


def test_what_another_process_wrote_meanwhile_is_not_lost(tmp_path):
    item, here = ITEMS["table1"], GCN
    there = replace(here, datasets=("citeseer",), seeds=2)
    for options in (here, there):
        fill(Store(tmp_path), item, options)
    asked: list[int] = []

    def other(*_: object) -> None:
        asked.append(1)
        if len(asked) == 1:  # while the first command is at its jobs
            produce(item, there, Inline(), tmp_path)

    sheet = produce(item, here, Inline(), tmp_path, told=other)
    assert asked
    assert sheet.made["command"] == "graph-metamers paper table1 --search paper --seeds 1"
    assert [(row["dataset"], row["runs"]) for row in sheet.rows] == [("cora", 1), ("citeseer", 1)]


def test_more_seeds_do_not_cost_a_picture_of_the_first(tmp_path):
    """A metamer that is shown is not in the index; the picture of it is all that is left."""
    item, picture = ITEMS["fig4"], tmp_path / "fig4-paper.svg"
    for seeds in (1, 2):
        fill(Store(tmp_path), item, Options(seeds=seeds))
        produce(item, Options(seeds=seeds), Inline(), tmp_path)
        picture.write_text("of seed 0")
    produce(item, Options(seeds=1), Inline(), tmp_path)
    assert picture.exists()


@pytest.mark.parametrize(
    "text", ['{"columns": [{"width": 3}], "claims": []}', '{"rows": []}', "[]"]
)
def test_a_sheet_of_another_form_is_told(text, tmp_path):
    path = tmp_path / "table1-paper.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"table1-paper\.json' must be a table or figure in"):
        write_page(tmp_path)


def test_failed_runs_are_told_and_left_out(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no such graph")

    monkeypatch.setattr("graph_metamers.paper.tasks.graph", broken)
    sheet = made("table1", GCN, tmp_path)
    assert [(row["runs"], row["failed"]) for row in sheet.rows] == [(1, 1)]
    assert "1 runs failed and are left out: RuntimeError" in sheet.notes[-1]
