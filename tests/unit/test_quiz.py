"""The quiz of each chapter."""

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from course_utils.errors import CourseError
from course_utils.figures import quiz
from course_utils.figures.quiz import QUIZZES

CHAPTERS = sorted(path.name[:2] for path in Path(__file__).parents[2].glob("book/[0-9][0-9]_*"))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_quiz_has_three_to_five_questions_each_with_one_right_answer_and_reasons(chapter):
    questions = quiz(chapter).data["questions"]
    assert 3 <= len(questions) <= 5
    places = []
    for question in questions:
        assert set(question) == {"question", "answers"} and question["question"].count("`") % 2 == 0
        answers = question["answers"]
        assert 3 <= len(answers) <= 5
        [right] = [place for place, answer in enumerate(answers) if answer["right"]]
        places.append(right)
        for answer in answers:
            assert set(answer) == {"text", "right", "because"} and isinstance(answer["right"], bool)
            assert len(answer["because"]) > 30, answer
            assert answer["text"].count("`") % 2 == answer["because"].count("`") % 2 == 0
        assert (
            len({answer["text"] for answer in answers})
            == len({answer["because"] for answer in answers})
            == len(answers)
        )
    assert len(set(places)) > 1, "the right answer does not always stand in the same place"


def test_there_are_no_quizzes_beside_those_of_the_chapters():
    assert sorted(path.stem for path in QUIZZES.iterdir()) == CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_ends_with_its_own_quiz(root, chapter):
    [page] = (root / "book").glob(f"{chapter}_*")
    text = page.read_text("utf-8")
    if page.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert text.count(f'quiz("{chapter}")') == 1


def test_the_claims_that_numbers_name_are_not_shown():
    assert "<!-- 08." in (QUIZZES / "08.json").read_text("utf-8")
    assert "<!--" not in json.dumps(quiz("08").data) and "!--" not in quiz("08").plain


def test_without_javascript_questions_and_reasons_can_be_read():
    figure = quiz("01")
    soup = BeautifulSoup(figure.plain, "html.parser")
    for question, item in zip(figure.data["questions"], soup.select("ol.ex-quiz > li"), strict=True):
        assert item.p.get_text() == question["question"].replace("`", "")
        assert [li.get_text() for li in item.select("details li")] == [
            f"{'✓' if answer['right'] else '✗'} {answer['because'].replace('`', '')}" for answer in question["answers"]
        ]


def test_an_unknown_chapter_is_named():
    with pytest.raises(CourseError, match="'99'"):
        quiz("99")
