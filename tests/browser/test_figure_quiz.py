"""A quiz, in a real browser from the disk, with the network blocked."""

import pytest
from any_figure import AnyFigure

from course_utils.figures import quiz

pytestmark = pytest.mark.browser

FIGURE = quiz("01")
QUESTIONS = FIGURE.data["questions"]


@pytest.fixture(scope="module")
def folder(pages_of):
    return pages_of(light=[FIGURE])


def test_each_answer_gets_its_verdict_for_eye_and_ear(visit, folder):
    visited = visit(folder.as_uri())
    figure = visited.open("light.html").locator(".course-explorable")
    for question, block in zip(QUESTIONS, figure.locator(".ex-figure .ex-quiz > li").all(), strict=True):
        for answer, button in zip(question["answers"], block.get_by_role("button").all(), strict=True):
            assert button.get_attribute("aria-pressed") == "false", "not given yet"
            button.click()
            mark, words = ("✓", "Right: ") if answer["right"] else ("✗", "Not this one: ")
            assert button.locator(".ex-verdict").inner_text() == mark
            text = words + answer["text"].replace("`", "")
            assert block.get_by_role("button", name=text, exact=True, pressed=True).count() == 1
            assert answer["because"].replace("`", "") in block.locator(".ex-said").inner_text()
    live = figure.locator("[aria-live]")
    visited.page.wait_for_timeout(1000)
    assert f"{len(QUESTIONS)} of {len(QUESTIONS)} answered rightly." in live.inner_text()
    assert (visited.outside, visited.errors) == ([], [])


class TestAnyFigure(AnyFigure):
    plain = ".ex-question"
    start = ".ex-answers button"
    keys = ("Enter", "Tab")
    marks = {".ex-answers button": 3}

    def touch(self, page):
        for right in (True, False):
            at = next(i for i, answer in enumerate(QUESTIONS[0]["answers"]) if answer["right"] is right)
            page.locator(".ex-answers").first.get_by_role("button").nth(at).click()
        yield from ()
