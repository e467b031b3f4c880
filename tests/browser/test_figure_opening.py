"""The opening, in a real browser from the disk, with the network blocked."""

import pytest
from any_figure import AnyFigure

from course_utils.figures import opening_figure

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def figure():
    return opening_figure()


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    return pages_of(light=[figure])


def shares(page) -> list[float]:
    return [float(each.strip("\u00a0%")) / 100 for each in page.locator(".ex-share").all_inner_texts()]


def test_the_reader_guesses_then_the_model_and_a_head_is_taken_out(visit, folder, figure):
    visited = visit(folder.as_uri())
    page = visited.open("light.html")
    cut = page.get_by_role("button", name="Take out")
    steps = list(enumerate(figure.data["steps"]))
    for place, step in [*steps[1:], steps[0]]:
        assert page.locator(".ex-line path").count() == 4 * (place > 0), "what was found before"
        assert page.locator(".ex-share").all_inner_texts() == [""] * 4
        assert page.get_by_role("listitem").count() == 7 + place, "what comes is not told"
        page.locator(".ex-offered button").nth(step["right"]).press("Enter")
        assert page.get_by_role("listitem").count() == 8 + place
        assert shares(page) == pytest.approx(step["shares"][0], abs=0.006)
        assert "Right." in page.locator(".ex-said").inner_text()
        assert {page.locator(f".ex-line .{head}:not(.ex-tip)").count() for head in ("ex-induction", "ex-previous")} == {
            1
        }
        cut.click()
        assert shares(page) == pytest.approx(step["shares"][1], abs=0.006)
        assert page.locator(".ex-line path").count() == 0, "nobody finds anything"
        cut.click()
        page.get_by_role("button", name="Next word").click()
    assert page.get_by_role("listitem").count() == 8, "it begins again"
    assert (visited.outside, visited.errors) == ([], [])


def test_a_wrong_guess_is_told(visit, folder, figure):
    page = visit(folder.as_uri()).open("light.html")
    step = figure.data["steps"][1]
    page.locator(".ex-offered button").nth((step["right"] + 1) % 4).click()
    assert page.locator(".ex-said").inner_text().startswith("✗ Not this one. The model says ")
    assert page.locator(".ex-offered [data-right]").inner_text().startswith(step["offered"][step["right"]])


class TestAnyFigure(AnyFigure):
    plain = ".ex-baseline table"
    keys = ("Enter", "ArrowRight")
    marks = {".ex-line li": 3, ".ex-row button": 3}

    def touch(self, page):
        page.locator(".ex-offered button").first.click()
        yield
        page.get_by_role("button", name="Take out").click()
        yield
