"""The margin: a circuit that follows the reader, and definitions that come when a term is asked for."""

import pytest

pytestmark = pytest.mark.browser

PAGE = "book/06_composition.html"
TERM = ".bd-article section a[href*='glossary.html#term-']"
NOTE = "#course-definition"


def go_to(page, section: str) -> None:
    page.evaluate("id => document.getElementById(id).scrollIntoView({ behavior: 'instant' })", section)


def test_the_circuit_lights_what_the_section_is_about(visit, served):
    page = visit(served, width=1440).open(PAGE)
    said, lit = page.locator(".course-circuit li:visible"), page.locator(".course-circuit .course-on")
    assert said.count() == 1
    first = lit.evaluate_all("parts => parts.map(part => part.dataset.part)")
    go_to(page, "the-logits-expanded-v-composition")
    page.get_by_text("a virtual head.").and_(page.locator(".course-circuit li")).wait_for()
    second = lit.evaluate_all("parts => parts.map(part => part.dataset.part)")
    assert "k1" in first and "k1" not in second and {"v0", "v1"} <= set(second)
    go_to(page, "exercises")
    page.locator(".course-circuit").wait_for(state="hidden")
    go_to(page, "does-the-measure-mean-anything")
    page.get_by_role("link", name="Cut it in the lab").click()
    page.locator("button[aria-pressed=true]", has_text="Cut this path").wait_for()
    assert "handler create password" in page.locator("textarea").input_value()


@pytest.mark.parametrize("width", [1440, 800])
def test_a_term_is_defined_beside_it_for_pointer_and_keyboard(visit, served, width):
    visited = visit(served, width=width)
    page = visited.open(PAGE)
    term, note = page.locator(TERM).first, page.locator(NOTE)
    assert note.is_hidden()
    term.hover()
    note.wait_for()
    assert len(note.inner_text().split()) > 5 and page.locator(f"{TERM}[aria-describedby]").count() == 1
    box, place = note.bounding_box(), term.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert abs(box["y"] - place["y"]) < 60 and (box["x"] > place["x"] + place["width"] if width > 1200 else True)
    visited.slim()
    assert visited.violations(NOTE) == []
    note.hover()  # it stays while the pointer is over it
    page.wait_for_timeout(400)
    assert note.is_visible()
    page.keyboard.press("Escape")
    assert note.is_hidden()
    page.locator(TERM).nth(1).focus()
    note.wait_for()
    page.keyboard.press("Tab")
    note.wait_for(state="hidden")
    assert page.locator("[aria-describedby=course-definition]").count() == 0
    assert_mathematics_in_a_definition_is_set(page)


def assert_mathematics_in_a_definition_is_set(page) -> None:
    for term in page.locator(TERM).all():
        term.hover()
        page.locator(NOTE).wait_for()
        if page.locator(f"{NOTE} .math").count():
            page.locator(f"{NOTE} mjx-container").first.wait_for()
            return
    pytest.fail("no term of this page has mathematics in its definition")
