"""Every page in a real browser, with the network blocked."""

import pytest
from visits import serve

from tools import notebooks

BOOK = [path.relative_to(notebooks.ROOT).with_suffix(".html").as_posix() for path in notebooks.pages()]
PAGES = [*BOOK, "search.html", "genindex.html"]
TELEPHONE = 360

pytestmark = pytest.mark.browser


def assert_works(visited, page):
    assert page.locator("main h1:visible").count() >= 1
    # Sphinx marks maths with class "math"; each must have become a drawing, and none may show an error.
    assert page.locator(".math mjx-container svg").count() >= page.locator(".math").count()
    assert page.locator("mjx-merror, [data-mml-node=merror]").all_inner_texts() == []
    broken = "[...document.images].filter(i => i.checkVisibility() && !(i.complete && i.naturalWidth)).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert (visited.outside, visited.errors) == ([], [])


@pytest.mark.parametrize("name", PAGES)
def test_page_from_a_server(visit, served, name):
    """Works without network; accessible in light and dark; fits a telephone."""
    visited = visit(served)
    page = visited.open(name)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"document.documentElement.dataset.theme == '{scheme}'")
        page.wait_for_timeout(300)  # colours change over time
        assert visited.violations() == [], scheme
    page.set_viewport_size({"width": TELEPHONE, "height": 740})
    page.wait_for_timeout(300)  # what scrolls now gets its keyboard stop on the next frame
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE
    assert visited.violations() == [], "telephone"
    assert_works(visited, page)


@pytest.mark.parametrize("name", PAGES)
def test_page_from_the_disk(visit, site, name):
    visited = visit(site.as_uri())
    page = visited.open(name)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert_works(visited, page)


def test_some_pages_have_maths(site):
    """Else the tests above would say nothing about maths."""
    assert sum('class="math' in (site / name).read_text("utf-8") for name in BOOK) >= 2


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
    page.goto(f"{served}/{BOOK[1]}")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_front_page_leads_to_the_book(visit, home):
    page = visit(home).page
    page.goto(f"{home}/index.html")
    page.wait_for_url(f"{home}/{BOOK[0]}")


BAD_PAGE = """<!doctype html><html lang="en"><title>Bad</title><main><h1>Bad</h1>
<img src="https://pictures.example/a.png"> <p style="color: #eee; background: #fff">pale</p>
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
