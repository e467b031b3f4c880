"""The quiz of a chapter: questions with the answers that people really give, and a reason for each."""

import html
import json
import re

from course_utils.errors import CourseError
from course_utils.figures.host import HERE, Explorable

QUIZZES = HERE / "quizzes"


def quiz(chapter: str) -> Explorable:
    """The quiz of a chapter, such as "03": quizzes/03.json, a list of {question, answers: [{text, right, because}]}.

    Words between `backticks` are code; the claims that numbers name, <!-- KEY -->, are not shown.

    Raises CourseError if there is no such quiz.
    """
    path = QUIZZES / f"{chapter}.json"
    known = sorted(other.stem for other in QUIZZES.glob("*.json"))
    if chapter not in known:
        raise CourseError(f"chapter {chapter!r}", f"there are quizzes for {known}", "name one of these, as a string")
    questions = json.loads(re.sub("<!--.*?-->", "", path.read_text("utf-8")))
    plain = "\n".join(f"<li>{_plain(question)}</li>" for question in questions)
    return Explorable("quiz", {"questions": questions}, f'<ol class="ex-quiz">\n{plain}\n</ol>')


def _plain(question: dict) -> str:
    answers = question["answers"]
    choices = "".join(f"<li>{_words(answer['text'])}</li>" for answer in answers)
    verdict = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
    reasons = "".join(f"<li>{verdict[answer['right']]} {_words(answer['because'])}</li>" for answer in answers)
    return (
        f'<p class="ex-question">{_words(question["question"])}</p><ol>{choices}</ol>'
        f"<details><summary>Reasons</summary><ol>{reasons}</ol></details>"
    )


def _words(text: str) -> str:
    """Text in which `backticks` mark code."""
    parts = enumerate(html.escape(text).split("`"))
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in parts)
