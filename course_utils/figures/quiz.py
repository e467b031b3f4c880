"""The quiz of a chapter: questions with the answers that people really give, and a reason for each."""

import json
import re
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.figures.host import HERE, Explorable, words

QUIZZES = HERE / "quizzes"


def questions(path: Path) -> list[dict]:
    """What a file of `QUIZZES` asks, without the comments that name its numbers' claims."""
    return json.loads(re.sub("<!--.*?-->", "", path.read_text("utf-8")))


def quiz(chapter: str) -> Explorable:
    """The quiz of a chapter, such as "03": quizzes/03.json, a list of {question, answers: [{text, right, because}]}.

    Words between `backticks` are code; the claims that numbers name, <!-- KEY -->, are not shown.

    Raises CourseError if there is no such quiz.
    """
    path = QUIZZES / f"{chapter}.json"
    known = sorted(other.stem for other in QUIZZES.glob("*.json"))
    if chapter not in known:
        raise CourseError(f"chapter {chapter!r}", f"there are quizzes for {known}", "name one of these, as a string")
    asked = questions(path)
    plain = "\n".join(f"<li>{_plain(question)}</li>" for question in asked)
    return Explorable("quiz", {"chapter": chapter, "questions": asked}, f'<ol class="ex-quiz">\n{plain}\n</ol>')


def _plain(question: dict) -> str:
    answers = question["answers"]
    choices = "".join(f"<li>{words(answer['text'])}</li>" for answer in answers)
    verdict = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
    reasons = "".join(f"<li>{verdict[answer['right']]} {words(answer['because'])}</li>" for answer in answers)
    return (
        f'<p class="ex-question">{words(question["question"])}</p><ol>{choices}</ol>'
        f"<details><summary>Reasons</summary><ol>{reasons}</ol></details>"
    )
