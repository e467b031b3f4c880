"""A quiz, in a real browser from the disk, with the network blocked."""

import pytest
from any_figure import AnyFigure
from playwright.sync_api import expect
from visits import is_kept

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
        buttons = block.get_by_role("group", name="Answers").get_by_role("button").all()
        assert [button.get_attribute("aria-pressed") for button in buttons] == ["false"] * len(buttons), (
            "none given yet"
        )
        right = next(i for i, answer in enumerate(question["answers"]) if answer["right"])
        buttons[right].click()
        assert buttons[right].locator(".ex-verdict").inner_text() == "", "nothing is told before it is committed"
        block.get_by_role("button", name="Commit").click()
        buttons = block.get_by_role("group", name="Answers").get_by_role("button").all()
        for answer, button in zip(question["answers"], buttons, strict=True):
            button.click()
            mark, words = ("✓", "Right: ") if answer["right"] else ("✗", "Not this one: ")
            assert button.locator(".ex-verdict").inner_text() == mark
            text = words + answer["text"].replace("`", "")
            assert block.get_by_role("button", name=text, exact=True, pressed=True).count() == 1
            assert answer["because"].replace("`", "") in block.locator(".ex-said").inner_text()
    all_ = f"{len(QUESTIONS)} of {len(QUESTIONS)}"
    expect(figure.locator("[aria-live]")).to_contain_text(f"{all_} answered rightly.")
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
    heard = figure.locator("[aria-live]")
    expect(heard).to_contain_text(f"Question {len(asked)} of {len(asked)}")
    assert asked[-1] in heard.inner_text()
    back.click()
    assert figure.locator(".ex-question:visible").inner_text() == asked[-2]


def test_all_questions_are_printed_and_can_be_read_without_javascript(visit, without_javascript, folder):
    page = visit(folder.as_uri()).open("light.html")
    page.emulate_media(media="print")
    for shown in (page, without_javascript(f"{folder.as_uri()}/light.html")):
        assert shown.locator(".ex-question:visible").count() == len(QUESTIONS)


def given(answers: list, right: bool) -> int:
    return next(i for i, answer in enumerate(answers) if answer["right"] is right)


def test_a_wrong_answer_stands_beside_the_right_one_and_is_kept(visit, folder):
    """By keyboard alone: choose, commit, start over."""
    visited = visit(folder.as_uri())
    page = visited.open("light.html")
    answers = QUESTIONS[0]["answers"]
    block, wrong, right = page.get_by_role("group", name="Question 1 of"), given(answers, False), given(answers, True)
    buttons = block.locator(".ex-answers button")
    commit, again = (block.get_by_role("button", name=name) for name in ("Commit", "Start over"))
    commit.press("Enter")
    assert buttons.locator("xpath=self::*[@data-right]").count() == 0, "nothing was chosen yet"

    def answer() -> None:
        buttons.first.focus()
        for _ in range(wrong):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        commit.press("Enter")

    answer()
    expect(again).to_be_focused()

    def told() -> bool:
        verdicts = {i: each for i, each in enumerate(buttons.locator(".ex-verdict").all_inner_texts()) if each}
        because = answers[wrong]["because"].replace("`", "") in block.locator(".ex-said").inner_text()
        pressed = buttons.nth(wrong).get_attribute("aria-pressed")
        return (verdicts, pressed, because) == ({wrong: "✗", right: "✓"}, "true", True)

    assert told() and is_kept(page, told, answer)
    page.get_by_text(f"0 of {len(QUESTIONS)} answered rightly.").first.wait_for()
    again.press("Enter")
    assert block.locator("[data-right]").count() == 0 and page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.activeElement.closest('.ex-answers') !== null")
    assert (visited.outside, visited.errors) == ([], [])


def test_show_me_tells_the_right_one_and_counts_for_nothing(visit, folder):
    page = visit(folder.as_uri()).open("light.html")
    block, right = page.get_by_role("group", name="Question 1 of"), given(QUESTIONS[0]["answers"], True)
    block.get_by_role("button", name="Show me").click()
    assert block.locator("[data-right]").count() == 1
    assert block.locator(".ex-answers button").nth(right).get_attribute("data-right") == "true"
    assert QUESTIONS[0]["answers"][right]["because"].replace("`", "") in block.locator(".ex-said").inner_text()
    page.get_by_text(f"0 of {len(QUESTIONS)} answered rightly.").first.wait_for()


class TestAnyFigure(AnyFigure):
    plain = ".ex-question"
    keys = ("Enter", "ArrowDown")
    marks = {".ex-answers button": 3}

    def touch(self, page):
        answers = page.locator(".ex-answers").first.get_by_role("button")
        answers.nth(given(QUESTIONS[0]["answers"], False)).click()
        yield
        page.get_by_role("button", name="Commit").first.click()
        yield
        answers.nth(given(QUESTIONS[0]["answers"], True)).click()
        yield
        page.get_by_role("button", name="Next").click()
        yield
