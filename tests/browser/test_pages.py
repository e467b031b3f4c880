"""Every page in a real browser, with the network blocked."""

import json
import re

import pytest
from any_figure import NARROW, TELEPHONE, fits
from visits import is_kept, serve, watch_shifts

from tools import notebooks, paper

BOOK = [path.relative_to(notebooks.ROOT).with_suffix(".html").as_posix() for path in notebooks.pages()]
PAGES = [*BOOK, "search.html", "genindex.html"]
FIRST = next(name for name in BOOK if "/01_" in name)
# Files are read in the same way on all pages: one with pictures, maths and a figure, and those that are unlike others.
FROM_THE_DISK = [BOOK[0], FIRST, "book/induction_lab.html", "search.html"]

CHAPTERS = [name for name in BOOK if re.match(r"book/\d\d_", name) and not name.startswith("book/13")]
THIRD, SEVENTH = [name for name in CHAPTERS if re.search("/0[37]_", name)]

# Pages of prose and tables are made alike: of those for the teacher and of the appendix these stand for the others.
ALIKE = [name for name in BOOK if re.match(r"book/(workshop|appendix)/", name)]
STAND_FOR = ("index", "handout", "07", "glossary", "notation", "before_you_start", "what_else_the_paper_says")
SELDOM = [name for name in ALIKE if not name.endswith(tuple(f"/{each}.html" for each in STAND_FOR))]

pytestmark = pytest.mark.browser


def assert_works(visited, page):
    assert page.locator("main h1:visible").count() >= 1
    # Sphinx marks maths with class "math"; each must have become a drawing, and none may show an error.
    assert page.locator(".math mjx-container svg").count() >= page.locator(".math").count()
    assert page.locator("mjx-merror, [data-mml-node=merror]").all_inner_texts() == []
    broken = "[...document.images].filter(i => i.checkVisibility() && !(i.complete && i.naturalWidth)).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert (visited.outside, visited.errors) == ([], [])


MEASURES = """() => {
    const code = [...document.querySelectorAll('.bd-article .cell_input')].filter(each => each.checkVisibility());
    const page = document.querySelector('.bd-article');
    const cut = pre => pre.scrollWidth > pre.clientWidth + 1;
    const top = each => each.getBoundingClientRect().top + scrollY;
    const first = [...document.querySelectorAll('.bd-article :is(.course-explorable, .course-picture)')][0];
    return {
        code: code.reduce((sum, each) => sum + each.offsetHeight, 0) / page.offsetHeight,
        narrow: code.filter(each => each.offsetWidth < 740).length,
        cut: code.filter(each => [...each.querySelectorAll('pre')].some(cut)).length,
        first: first && top(first) - top(document.querySelector('h1')),
        height: document.documentElement.scrollHeight,
    };
}"""


def assert_leads_with_its_picture(page, name):
    """As it is opened, in a window of 1280 by 900: a picture within two screens; little code, none of it cut.

    The longest of the stories, chapter 7, keeps below a height.
    """
    found = page.evaluate(MEASURES)
    if name < "book/10":  # those that teach the paper
        assert found["first"] is not None and found["first"] <= 2 * 900, found
        assert found["code"] <= 0.12, found
    assert found["narrow"] == found["cut"] == 0, found
    assert name != SEVENTH or found["height"] < 15_000, found


# Of the pictures that are seen now: words that are too small or too pale, other typefaces, white slabs in the dark, and
# pictures that are cut.
PICTURES = """() => {
    const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = colour => {
        pixel.clearRect(0, 0, 1, 1);
        pixel.fillStyle = colour;
        pixel.fillRect(0, 0, 1, 1);
        return [...pixel.getImageData(0, 0, 1, 1).data];
    };
    const luminance = colour => rgba(colour).slice(0, 3)
        .map(part => part / 255).map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = luminance(getComputedStyle(document.documentElement).getPropertyValue('--ex-ground'));
    const contrast = colour => {
        const [low, high] = [luminance(colour), ground].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const found = { pictures: 0, words: 0, small: [], pale: [], slabs: [], fonts: [], cut: [] };
    for (const picture of document.querySelectorAll('.course-picture')) {
        if (!picture.getClientRects().length) continue; // the one for another width
        found.pictures += 1;
        const area = ({ width, height }) => width * height;
        for (const text of picture.querySelectorAll('text:not(:has(tspan)), tspan')) {
            if (!text.textContent.trim()) continue;
            found.words += 1;
            const { a, b } = text.getScreenCTM(), style = getComputedStyle(text);
            const pixels = parseFloat(style.fontSize) * Math.hypot(a, b);
            if (pixels < 10.95) found.small.push([text.textContent, pixels]);
            if (contrast(style.fill) < 4.5) found.pale.push([text.textContent, style.fill]);
            if (!/^(Inter|ui-monospace)/.test(style.fontFamily)) found.fonts.push(style.fontFamily);
        }
        for (const path of picture.querySelectorAll('path')) {
            const { fill, fillOpacity } = getComputedStyle(path);
            const opaque = fill !== 'none' && fillOpacity * rgba(fill)[3] > 200;
            if (opaque && document.documentElement.dataset.theme === 'dark' && luminance(fill) > 0.6
                && area(path.getBBox()) > 0.1 * area(picture.viewBox.baseVal)) found.slabs.push(fill);
        }
    }
    for (const drawn of document.querySelectorAll('.course-drawn'))
        if (drawn.scrollWidth > drawn.clientWidth + 1) found.cut.push(drawn.firstChild.ariaLabel);
    return found;
}"""


def assert_pictures_can_be_read(visited):
    """The order changes one thing at a time: to lay a long page out anew takes a second."""
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "dark"), (390, "light")):
        visited.page.set_viewport_size({"width": width, "height": 900})
        visited.colour(scheme)
        found = visited.page.evaluate(PICTURES)
        assert found["pictures"] > 0 and found["words"] > 0
        assert [found[wrong] for wrong in ("small", "pale", "slabs", "fonts", "cut")] == [[]] * 5, (scheme, width)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.release) if name in SELDOM else name for name in PAGES]
)
def test_page_from_a_server(visit, served, name):
    """Works without network, under a strict policy; accessible in light and dark; fits a telephone.

    Words in the chapters' pictures can be read in every width, on light and dark pages, in the site's typeface.
    """
    visited = visit(served)
    watch_shifts(visited.page)
    page = visited.open(name)
    assert page.evaluate("window.shift") < 0.05, "typefaces and formulas come, and the text stays where it is"
    if name in CHAPTERS:
        assert_leads_with_its_picture(page, name)
        assert_pictures_can_be_read(visited)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    visited.settle()
    for width in (NARROW, TELEPHONE):
        assert fits(page, width), width
    columns = "all => all.filter(pre => pre.clientHeight > 1 && getComputedStyle(pre).whiteSpace !== 'pre').length"
    assert page.locator("pre.course-columns").evaluate_all(columns) == 0, "printed columns are not broken"
    assert page.locator(".course-explorable:not([data-state=ready])").count() == 0
    assert_works(visited, page)
    if name != BOOK[0]:  # of one page axe looks at everything
        visited.slim(*[".course-picture :not(title, desc)"] * (name in CHAPTERS))
    visited.settle()
    assert (visited.violations(colours=False) if name == BOOK[0] else visited.sizes()) == [], "telephone"
    page.set_viewport_size({"width": 1280, "height": 900})
    visited.settle()
    assert visited.violations(sizes=name == BOOK[0]) == []
    visited.colour("dark")
    visited.settle()
    assert visited.contrasts() == [], "in the dark"
    assert (visited.outside, visited.errors) == ([], [])


@pytest.mark.parametrize("name", FROM_THE_DISK)
def test_page_from_the_disk(visit, site, name):
    visited = visit(site.as_uri())
    page = visited.open(name)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.locator(".course-explorable:not([data-state=ready])").count() == 0
    assert_works(visited, page)


def test_no_page_has_a_script_in_its_markup(site):
    """Else the policy under which the tests above visit the pages would not be one for old pages, too."""
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"<script(?![^>]*(?:src=|type=.?application/))|<[^>]+\son[a-z]+=", text), path


def test_a_notebook_is_downloaded(visit, home):
    """Shown in the browser, it would be JSON."""
    page = visit(home).open(FIRST)
    page.locator(".dropdown-download-buttons > button").click()
    with page.expect_download() as download:
        page.locator("a.btn-download-source-button").first.click()
    assert download.value.suggested_filename == f"{FIRST.split('/')[-1].removesuffix('.html')}.ipynb"
    assert "nbformat" in json.loads(download.value.path().read_text("utf-8"))


def test_some_pages_have_maths(site):
    """Else the tests above would say nothing about maths."""
    assert sum('class="math' in (site / name).read_text("utf-8") for name in BOOK) >= 2


def test_chapters_have_pictures(site):
    """Else the tests above would say little about pictures."""
    pages = [(site / name).read_text("utf-8") for name in CHAPTERS]
    assert sum(page.count('class="course-picture"') for page in pages) >= 60
    assert sum(page.count("<text") for page in pages) >= 1000


def test_search_finds_a_chapter(visit, home):
    page = visit(home).open("search.html?q=stream")
    page.locator("#search-results ul.search li a").first.wait_for(timeout=20_000)
    assert "01_residual_stream" in " ".join(
        link.get_attribute("href") for link in page.locator("#search-results li a").all()
    )


def test_colours_can_be_switched_and_stay(visit, served):
    page = visit(served).open(BOOK[0])
    seen = set()
    for _ in range(3):
        page.locator(".theme-switch-button:visible").first.click()
        seen.add(page.evaluate("document.documentElement.dataset.mode"))
    assert seen == {"light", "dark", "auto"}
    while page.evaluate("document.documentElement.dataset.mode") != "dark":
        page.locator(".theme-switch-button:visible").first.click()
    page.goto(f"{served}/{FIRST}")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_front_page_leads_to_the_book(visit, home):
    page = visit(home).page
    page.goto(f"{home}/index.html")
    page.wait_for_url(f"{home}/{BOOK[0]}")


BAD_PAGE = """<!doctype html><html lang="en"><title>Bad</title><main><h1>Bad</h1>
<img src="https://pictures.example/a.png"> <p>dark</p> <p style="color: #eee; background: #fff">pale</p>
<div style="width: 800px">wide</div> <script>nothing.at.all</script></main></html>"""


def test_a_bad_page_is_found_out(visit, tmp_path):
    """Keeps these tests honest: each of their measures sees a page that breaks it."""
    (tmp_path / "bad.html").write_text(BAD_PAGE)
    with serve(tmp_path) as address:
        visited = visit(address, width=TELEPHONE)
        page = visited.open("bad.html")
        assert visited.outside == ["https://pictures.example/a.png"]
        assert any("nothing is not defined" in error for error in visited.errors)
        assert page.evaluate("document.documentElement.scrollWidth") > TELEPHONE
        found = " ".join(visited.violations())
        assert "image-alt" in found and "color-contrast" in found


def test_code_is_shown_by_choice_and_the_choice_is_kept(visit, served):
    page = visit(served).open(FIRST)
    seen = "() => [...document.querySelectorAll('.bd-article .cell_input')].filter(e => e.checkVisibility()).length"
    open_cells = page.evaluate(seen)
    show_none = page.get_by_role("button", name="none", exact=True).click
    show_none()
    none = page.evaluate(seen)
    assert none < open_cells and is_kept(page, lambda: page.evaluate(seen) == none, show_none)
    page.get_by_role("button", name="all", exact=True).click()
    assert page.evaluate(seen) > open_cells
    page.get_by_role("button", name="key", exact=True).click()
    assert page.evaluate(seen) == open_cells


def test_what_only_prepares_stands_in_the_fold_of_what_it_prepares(visit, served):
    page = visit(served).open(SEVENTH)
    both = page.locator(".bd-article details.hide:has(> .cell_input + .cell_input)").first
    assert both.locator(":scope > summary").inner_text() == "How this was computed"
    both.locator(":scope > summary").click()
    assert [code.is_visible() for code in both.locator(":scope > .cell_input").all()[:2]] == [True, True]
    empty = ".tag_hide-input:not(.tag_claims, :has(.cell_output))"
    shows = ".tag_hide-input:has(.cell_output):not(:has([data-asks]))"
    assert [page.locator(pair).count() for pair in (f"{empty} + {shows}", f"{shows} + {empty}")] == [0, 0]
    numbers = page.locator(".tag_hide-cell:not(.tag_solution) > .hide").first
    assert "All the numbers" in numbers.inner_text() and not numbers.locator(".cell_output").is_visible()
    numbers.locator(":scope > summary").click()
    assert numbers.locator(".cell_output").is_visible() and numbers.locator(".cell_input").last.is_visible()
    solution = page.locator(".tag_solution > .hide > summary .collapsed").first
    assert solution.text_content() == "Show a solution"
    page.reload()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert numbers.locator(".cell_output").is_visible() and not numbers.locator(".cell_input").last.is_visible()
    fades = numbers.locator(".cell_output").evaluate("output => getComputedStyle(output).animationName")
    assert fades == "none", "what is opened for paper would be printed while it can't be seen yet"
    assert page.locator(":is(.tag_solution .cell_input, .tag_check, .sd-dropdown:not([open])):visible").count() == 0
    rows = page.locator("[data-figure=attention] .ex-baseline tbody tr:visible")
    assert 0 < rows.count() <= 15 and all("head" in kind for kind in rows.locator("td:first-of-type").all_inner_texts())
    assert page.locator("[data-figure=quiz] .ex-baseline details:not([open])").count() == 0, "why an answer is right"
    page.add_style_tag(content=paper.STYLE)
    assert page.locator("[data-reveals]:visible").count() >= 3, "the book's PDF has the figures themselves"
    assert page.locator("[data-asks] :is(.ex-grid, .ex-said):visible, .ex-frame button:visible").count() == 0


@pytest.mark.parametrize("name", [THIRD, "book/workshop/letter.html"])
def test_on_a_telephone_the_text_stays_where_it_is(name, visit, served):
    """Many formulas, italics, a quotation: what moved most."""
    visited = visit(served, width=TELEPHONE)
    watch_shifts(visited.page)
    assert visited.open(name).evaluate("window.shift") < 0.05


@pytest.mark.parametrize("name", ["book/reproduced.html", "book/appendix/notation.html"])
def test_on_a_telephone_wide_tables_are_cards_from_the_start(name, visit, served, site):
    visited = visit(served, width=TELEPHONE)
    watch_shifts(visited.page)
    page = visited.open(name)
    cards = page.locator("table.course-cards")
    assert page.evaluate("window.shift") < 0.1, "it was 0.15 and 0.3 when a script made them"
    assert cards.count() == (site / name).read_text("utf-8").count('<table class="course-cards') > 0, "none came later"
    assert page.locator("table[role=table]").evaluate_all("all => all.filter(t => t.scrollWidth > t.clientWidth)") == []
    label = cards.first.locator("tbody td").nth(1).evaluate("cell => getComputedStyle(cell, '::before').content")
    assert label == f'"{cards.first.locator("thead th").nth(1).text_content()}: "'


def test_an_exercise_is_folded_until_it_is_opened_linked_to_or_printed(visit, served):
    page = visit(served).open(SEVENTH)
    exercises, stubs = page.locator(".course-exercise"), page.locator(".course-exercise .tag_exercise:visible")
    assert exercises.count() >= 4 and stubs.count() == 0
    third = exercises.nth(2)
    for part in ("h3", "p >> nth=0", "p >> nth=1", "summary >> nth=0"):
        assert third.locator(part).is_visible()
    folded, task = third.bounding_box()["height"], third.locator("p").nth(1)
    assert folded < 200 and task.evaluate("task => task.scrollHeight > task.clientHeight"), "its first two lines"
    third.locator("summary").first.press("Enter")
    assert stubs.count() == 1 and task.evaluate("task => task.scrollHeight <= task.clientHeight")
    for link in (f"#{exercises.nth(1).get_attribute('id')}", f"?#{exercises.nth(0).get_attribute('id')}"):
        page.goto(f"{served}/{SEVENTH}{link}")
        page.locator(f"{link.strip('?')} .tag_exercise").wait_for()
    assert stubs.count() == 1, "loaded anew, the others are folded"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert stubs.count() == exercises.count()


def test_begin_stands_on_the_first_screen(visit, served):
    page = visit(served).open(BOOK[0])
    begin = page.get_by_role("link", name="Begin · nothing to install").bounding_box()
    assert begin["y"] + begin["height"] <= 700
    assert page.locator(".course-card").count() == 13
