"""The site in a real, headless Chromium: sorting, filtering, links, charts, and its width on three screens."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PAGES = (
    "index.html",
    "skull-official.html",
    "skull-3-fold.html",
    "clinic-official.html",
    "methods.html",
    "method-posenet.html",
    "skull-official-cases-1.html",
)
PATIENCE = 120_000
"""Milliseconds: a loaded machine is slow, not wrong."""

Browser, Tab = "playwright.sync_api.Browser", "playwright.sync_api.Page"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=PATIENCE)
        yield started
        started.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """A page that fails the test when it complains or asks for anything but files."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    complaints = []
    page.on("console", lambda message: message.type in {"error", "warning"} and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or complaints.append(request.url)
    )
    yield page
    page.close()
    assert complaints == []


def visit(tab: Tab, site: Path, name: str) -> None:
    """Open a page and wait for its charts."""
    name, mark, place = name.partition("#")
    tab.goto(f"{(site / name).as_uri()}{mark}{place}", timeout=PATIENCE)
    tab.wait_for_function("!document.querySelector('.canvas') || document.documentElement.dataset.charts === 'drawn'")


def column(tab: Tab, table: str, place: int) -> list[str]:
    """The first lines of the visible cells of a column."""
    return tab.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])", f"rows => rows.map(row => row.cells[{place}].firstChild.textContent.trim())"
    )


def sorting(tab: Tab, table: str) -> list[str | None]:
    return tab.eval_on_selector_all(f"#{table} thead th", "heads => heads.map(head => head.getAttribute('aria-sort'))")


def test_a_click_sorts_by_a_column_and_another_one_turns_it_round(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    button = tab.locator("#s1-ranking thead").get_by_role("button", name="MRE")
    button.click()
    up = [float(text.split()[0]) for text in column(tab, "s1-ranking", 2) if text != "-"]
    assert up == sorted(up)
    assert sorting(tab, "s1-ranking")[2] == "ascending"
    button.click()
    assert [text.split()[0] for text in column(tab, "s1-ranking", 2)] == [*(f"{v:.2f}" for v in up[::-1]), "-"]
    assert sorting(tab, "s1-ranking").count("descending") == 1


def test_where_more_is_better_the_first_click_brings_the_most_to_the_top(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    tab.locator("#s1-ranking thead").get_by_role("button", name="SDR 2 mm").click()
    values = [float(text.split()[0]) for text in column(tab, "s1-ranking", 5) if text != "-"]
    assert values == sorted(values, reverse=True)


def test_times_are_sorted_as_times_and_names_as_names(tab: Tab, site: Path) -> None:
    visit(tab, site, "methods.html")
    tab.locator("#methods thead").get_by_role("button", name="Method").click()
    names = column(tab, "methods", 0)
    assert names == sorted(names)


def test_the_keyboard_sorts_too(tab: Tab, site: Path) -> None:
    visit(tab, site, "methods.html")
    tab.locator("#methods thead").get_by_role("button", name="Rows").focus()
    tab.keyboard.press("Enter")
    assert "ascending" in sorting(tab, "methods")


def test_typing_filters_rows_and_says_how_many_are_left(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    form = tab.locator("form[data-for=s1-ranking]")
    form.get_by_label("Filter").fill("rival")
    assert column(tab, "s1-ranking", 1) == ["Rival <b>"]
    assert form.locator("output").inner_text() == "1 of 6 rows"
    form.get_by_label("Filter").fill("")
    form.get_by_label("reported").uncheck()
    assert "Rival <b>" not in column(tab, "s1-ranking", 1)
    assert form.locator("output").inner_text() == "5 of 6 rows"


def test_links_lead_from_the_overview_to_a_board_and_on_to_a_method(tab: Tab, site: Path) -> None:
    visit(tab, site, "index.html")
    tab.locator(".verdict").get_by_role("link", name="skull · official · test", exact=True).click()
    tab.wait_for_url("**/skull-official.html#s1")
    tab.locator("#s1-ranking").get_by_role("link", name="posenet").click()
    tab.wait_for_url("**/method-posenet.html")
    assert tab.locator("h1").inner_text() == "posenet"


def test_all_charts_are_drawn_and_their_lines_are_switched(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    drawn, there = tab.locator(".canvas .main-svg:first-child").count(), tab.locator(".canvas").count()
    assert drawn == there > 4
    legend = tab.locator("#s1-ced-legend").get_by_role("button", name="mnv2")
    before = tab.locator("#s1-ced .scatterlayer .trace").count()
    legend.click()
    assert legend.get_attribute("aria-pressed") == "false"
    tab.wait_for_function(f"document.querySelectorAll('#s1-ced .scatterlayer .trace').length === {before - 1}")


def test_charts_that_share_a_legend_are_switched_together(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    assert tab.locator("#s1-stress-legend button").count() == 2
    tab.locator("#s1-stress-legend").get_by_role("button", name="posenet").click()
    tab.wait_for_function("document.querySelectorAll('#s1-stress-0 .scatterlayer .trace').length === 1")


def test_dark_mode_turns_pages_and_lines_and_back(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    paper = "getComputedStyle(document.body).backgroundColor"
    line = "document.querySelector('#s1-ced .scatterlayer .trace path.js-line').style.stroke"
    light = tab.evaluate(f"[{paper}, {line}]")
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function(f"{line} !== {light[1]!r}")
    dark = tab.evaluate(f"[{paper}, {line}]")
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0]
    tab.emulate_media(color_scheme="light")
    tab.wait_for_function(f"{line} === {light[1]!r}")


def test_regions_are_off_until_they_are_switched_on(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    region = tab.locator(".filmset .region").first
    assert region.is_hidden()
    tab.locator(".show-regions").first.check()
    assert region.is_visible()


def test_a_folded_part_opens_by_a_link_and_draws_its_charts(tab: Tab, site: Path) -> None:
    visit(tab, site, "index.html")
    assert tab.locator("#c0-parameters .canvas").is_hidden()
    tab.goto((site / "index.html").as_uri() + "#costs-section", timeout=PATIENCE)
    tab.wait_for_function("document.querySelectorAll('#costs-section .canvas .main-svg').length > 0")


def test_cases_are_chosen_ordered_linked_and_shown_side_by_side(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official-cases-1.html")
    assert tab.locator("#case-panels figure").count() == 3
    assert tab.locator("#case-errors tbody tr").count() == 3
    tab.get_by_role("button", name="Next film").click()
    assert tab.locator("#case-status").inner_text().startswith("Film case001, 2 of 12")
    assert tab.url.endswith("#case=case001")
    tab.locator("#case-methods").get_by_role("button", name="mean_shape").click()
    assert tab.locator("#case-panels figure").count() == 4
    tab.get_by_label("Order").select_option("disagreement")
    spread = [float(text) for text in tab.evaluate("window.caseData.cases.map(each => each.spread)")]
    worst = f"case{max(range(len(spread)), key=spread.__getitem__):03d}"
    assert f"Film {worst}, 1 of 12" in tab.locator("#case-status").inner_text()
    visit(tab, site, "skull-official-cases-1.html#case=case007")
    tab.reload()
    assert "Film case007, 8 of 12" in tab.locator("#case-status").inner_text()


@pytest.mark.parametrize("width", [380, 800, 1280])
def test_no_page_is_wider_than_its_screen(tab: Tab, site: Path, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 800})
    for name in PAGES:
        visit(tab, site, name)
        tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
        page, box = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert (name, page) == (name, box)


def test_overlays_lie_exactly_on_their_films(tab: Tab, site: Path) -> None:
    visit(tab, site, "skull-official.html")
    boxes = tab.eval_on_selector_all(
        ".frame",
        "frames => frames.flatMap(f => [f.querySelector('img'), f.querySelector('svg')].map(e => "
        "{ const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height].map(Math.round) }))",
    )
    assert len(boxes) > 4
    assert boxes[::2] == boxes[1::2]


def test_without_a_script_tables_charts_numbers_and_films_are_there(browser: Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "skull-official.html").as_uri(), timeout=PATIENCE)
    assert page.locator("#s1-ranking").is_visible()
    assert page.locator("form.filter").first.is_hidden()
    assert page.locator("#s1-ced-table").count() == 1
    context.close()
