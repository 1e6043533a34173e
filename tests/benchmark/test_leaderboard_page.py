"""The leaderboard's page: what it says, that nothing foreign runs, and its table in a browser."""

import base64
import hashlib
import math
import re

import pytest

from graph_metamers.benchmark import PROTOCOL, board

COLUMNS = {column.title: place for place, column in enumerate(board.COLUMNS)}


def line(model, *, dataset="cora", layer="first", figure=0.9, accuracy=0.8, **changes):
    names = ("feature_similarity", "start_feature_similarity", "prediction_match", "consistency")
    spreads = ("invariance", "accuracy", "activation_error", *names)
    return {
        "model": model,
        "dataset": dataset,
        "layer": layer,
        "place": "layer1" if layer == "first" else layer,
        "protocol": PROTOCOL.version,
        "search": "Swap",
        "runs": 3,
        "matched": 3,
        "uncounted": "",
        "invariance": figure,
        "accuracy": accuracy,
        "activation_error": 0.009,
        "null_activation_error": 0.4,
        **dict.fromkeys(names, 0.1),
        **{f"{name}_std": 0.01 for name in spreads},
    } | changes


LINES = [
    line("gcn", figure=0.95, accuracy=0.81),
    line("gat", figure=-0.5, accuracy=0.825, activation_error=2.5e-6),
    line("lost", figure=math.nan, accuracy=0.7, matched=0, feature_similarity=None)
    | {"invariance_std": math.nan},
    line(
        "gin", figure=1.25, accuracy=0.76, matched=2, uncounted="1 trivial", activation_error=1.5e-5
    ),
    line("gcn", layer="output", figure=0.1, accuracy=0.81),
    line("gcn", dataset="pubmed", figure=0.3, accuracy=0.79),
    *(line(f"other {n}", dataset="chameleon", figure=math.nan) for n in range(5)),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("board") / "leaderboard.html"
    path.write_text(board.page(LINES))
    return path


def test_it_says_what_the_figures_mean(path):
    page = re.sub(r"<(style|script)>.*?</\1>", "", path.read_text(), flags=re.DOTALL)
    words = " ".join(re.sub(r"<[^>]*>", "", page).split())
    assert "100 %, no more like it than chance is; 0, only the original itself matches" in words
    assert "Models are compared at equal activation error only" in words
    assert "do not count" in words
    assert "2 of 3" in words
    assert "nan" not in words.lower()
    assert "None" not in words


def test_only_its_own_script_runs(path):
    page = path.read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none';")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{hashed}'" in policy.replace("&#39;", "'")
    assert not re.search(r"https?:|@import|<link|<iframe|\bsrc=|\son\w+=", page)


def test_a_name_cannot_run():
    page = board.page([line("<script>alert(1)</script>.py:build")])
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script>") == 1


def test_an_empty_board_says_so():
    assert "Nothing was run yet." in board.page([])


# In a browser


@pytest.fixture
def page(browser, path):
    """The page, which must have made neither complaint nor request when the test ends."""
    complaints, requests = [], []
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert complaints == []
    assert requests == [path.as_uri()]


def column(page, name):
    cells = page.locator(f"#board tbody tr:visible > :nth-child({COLUMNS[name] + 1})")
    return [text.split()[0] for text in cells.all_inner_texts()]


def click(page, name):
    page.get_by_role("button", name=re.compile(f"^{name}")).click()


@pytest.mark.browser
def test_a_column_sorts_both_ways_as_numbers_and_what_is_none_is_last(page):
    rising = ["−50.0", "10.0", "30.0", "95.0", "125.0"]
    absent = ["–"] * 6
    click(page, "invariance")
    assert column(page, "invariance") == [*rising, *absent]
    head = page.locator("th", has_text="invariance")
    assert head.get_attribute("aria-sort") == "ascending"
    click(page, "invariance")
    assert column(page, "invariance") == [*reversed(rising), *absent]
    assert head.get_attribute("aria-sort") == "descending"

    click(page, "error")  # 2.5·10⁻⁶ and 1.5·10⁻⁵ are numbers too
    assert column(page, "model")[:2] == ["gat", "gin"]
    assert page.locator("th[aria-sort]").count() == 1
    click(page, "S_feat")
    assert column(page, "model")[-1] == "lost"
    page.get_by_role("button", name="accuracy").focus()
    page.keyboard.press("Enter")
    assert column(page, "accuracy")[0] == "70.0"


@pytest.mark.browser
def test_filters_go_together(page):
    count = page.locator("output")
    assert count.inner_text() == "11 of 11 shown"
    page.get_by_label("Graph").select_option("Cora")
    assert column(page, "graph") == ["Cora"] * 5
    page.get_by_label("Layer").select_option("first")
    assert column(page, "model") == ["gcn", "gat", "lost", "gin"]
    page.get_by_label("Contains").fill("G")
    page.get_by_label("Contains").fill(" GA ")
    assert column(page, "model") == ["gat"]
    assert count.inner_text() == "1 of 11 shown"
    page.get_by_label("Contains").press("Enter")  # sends nothing
    page.get_by_label("Contains").fill("")
    page.get_by_label("Graph").select_option("all")
    click(page, "invariance")
    assert column(page, "model")[:4] == ["gat", "gcn", "gcn", "gin"]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_fits_the_screen(browser, path, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("form.filters").is_visible()
    context.close()
