"""The lab in forced colours (Windows: contrast themes): what carries meaning can be seen."""

import pytest
from any_figure import HIDE, LET_GO, PRESS, SHOW, shows

pytestmark = pytest.mark.browser

MARKS = {".lab-strip button": 1.5, ".lab-nexts i": 3, ".lab-lost": 3, ".lab-looked": 1.5, ".lab-square canvas": 2,
         ".lab-heads canvas": 2, ".lab-across": 2, ".lab-off .lab-switch": 3}  # fmt: skip


def test_marks_and_states_of_the_lab(visit, served):
    visited = visit(served, forced=True)
    page = visited.open("book/induction_lab.html")
    page.get_by_role("button", name="Load the model").click()
    page.locator(".lab-sums td").first.wait_for()
    page.get_by_role("switch").first.click()
    page.locator(".lab-off").wait_for()
    for scheme in ("light", "dark"):
        visited.colour(scheme)
        visited.settle()
        seen = {mark: page.locator(f"{mark}:visible").element_handles() for mark in MARKS}
        missed = [mark for mark, least in MARKS.items() if not shows(seen[mark], HIDE, SHOW, least)]
        assert missed == [], scheme
        for mark in (".lab-look", ".lab-strip button"):
            pressed = page.locator(f"{mark}[aria-pressed=true]").element_handles()
            assert shows(pressed, LET_GO, PRESS, 3), (mark, scheme)
