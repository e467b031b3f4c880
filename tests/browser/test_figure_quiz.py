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
    for number, question in enumerate(QUESTIONS):
        if number:
            figure.get_by_role("button", name="Next").click()
        block = figure.get_by_role("group", name=f"Question {number + 1} of {len(QUESTIONS)}")
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


def test_one_question_is_seen_at_a_time_and_keys_turn_to_the_next(visit, folder):
    page = visit(folder.as_uri()).open("light.html")
    figure = page.locator(".course-explorable")
    asked = [question["question"].replace("`", "") for question in QUESTIONS]
    height, keys = figure.bounding_box()["height"], figure.get_by_role("group", name="Questions")
    next_, back = (keys.get_by_role("button", name=name) for name in ("Next", "Back"))
    for number, text in enumerate(asked):
        [seen] = [each.inner_text() for each in figure.locator(".ex-question").all() if each.is_visible()]
        assert seen == text and f"Question {number + 1} of {len(asked)}" in keys.inner_text()
        assert figure.bounding_box()["height"] == height, "what stands below keeps its place"
        assert (back.get_attribute("aria-disabled") == "true") == (number == 0)
        assert (next_.get_attribute("aria-disabled") == "true") == (text == asked[-1])
        next_.focus()
        page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    heard = figure.locator("[aria-live]").inner_text()
    assert f"Question {len(asked)} of {len(asked)}" in heard and asked[-1] in heard
    back.click()
    assert figure.locator(".ex-question:visible").inner_text() == asked[-2]


def test_all_questions_are_printed_and_can_be_read_without_javascript(visit, without_javascript, folder):
    page = visit(folder.as_uri()).open("light.html")
    page.emulate_media(media="print")
    for shown in (page, without_javascript(f"{folder.as_uri()}/light.html")):
        assert shown.locator(".ex-question:visible").count() == len(QUESTIONS)


class TestAnyFigure(AnyFigure):
    plain = ".ex-question"
    start = ".ex-answers button"
    keys = ("Enter", "Tab")
    marks = {".ex-answers button": 3}

    def touch(self, page):
        for right in (True, False):
            at = next(i for i, answer in enumerate(QUESTIONS[0]["answers"]) if answer["right"] is right)
            page.locator(".ex-answers").first.get_by_role("button").nth(at).click()
        page.get_by_role("button", name="Next").click()
        yield
