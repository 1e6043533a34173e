"""paper.html in a browser."""

import pytest
from made_up import fill

from graph_metamers.jobs import Inline, Store
from graph_metamers.paper.grid import Options
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.produce import produce, write_page


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("paper")
    for search in ("paper", "auto"):
        options = Options(seeds=2, search=search)
        for item in ITEMS.values():
            fill(Store(folder), item, options)
            produce(item, options, Inline(), folder)
    return write_page(folder).as_uri()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_opens_without_complaint(browser, address, width, scheme):
    complaints, requests = [], []
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    titles = page.locator("section h2").evaluate_all("all => all.map(title => '#' + title.id)")
    assert len(titles) == 1 + 2 * len(ITEMS)
    links = page.locator("nav a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert links == titles
    assert page.locator("svg[role=img][aria-label]").count() == 2 * (len(ITEMS) - 2)
    assert complaints == []
    assert requests == [address]
    context.close()


@pytest.mark.browser
def test_tables_sort_and_filter(browser, address):
    page = browser.new_page()
    page.goto(address)
    table = page.locator("#table1-paper-cells")
    cells = "rows => rows.filter(r => !r.hidden).map(r => r.cells[%d].dataset.value)"

    def column(number: int) -> list[str]:
        return table.locator("tbody tr").evaluate_all(cells % number)

    table.get_by_role("button", name="S_feat").click()
    values = [float(value) for value in column(7)]
    assert values == sorted(values)
    table.get_by_role("button", name="S_feat").click()
    assert [float(value) for value in column(7)] == sorted(values, reverse=True)

    form = page.locator('form[data-table="table1-paper-cells"]')
    form.locator("select").nth(0).select_option("Cora")
    assert column(0) == ["Cora"] * 6
    form.locator("input").fill("chebnet")
    assert column(1) == ["ChebNet"]
    assert form.locator("output").inner_text() == "1 of 30 shown"
    page.close()
