"""A head that the text names is lit in the pictures."""

import pytest
from test_pages import CHAPTERS

pytestmark = pytest.mark.browser


def test_a_head_that_the_text_names_is_lit_in_a_picture(visit, served):
    visited = visit(served)
    [name] = [name for name in CHAPTERS if "induction_heads" in name and "form" not in name]
    page = visited.open(name)
    lit = "() => [...document.querySelectorAll('.course-lit')].map(text => [text.textContent, text.dataset.role])"
    heads = page.locator("p > .course-head:visible")
    assert heads.count() >= 10 and page.evaluate(lit) == []
    heads.first.focus()
    shown = page.evaluate(lit)
    assert shown and all(heads.first.inner_text() in text and role == "induction" for text, role in shown)
    heads.first.blur()
    assert page.evaluate(lit) == []
    heads.first.hover()
    assert page.evaluate(lit) == shown
