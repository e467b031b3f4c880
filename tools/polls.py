"""Polls: the questions of the quizzes as slides, to vote on with coloured cards. No telephone, no network."""

from collections.abc import Iterator
from string import ascii_uppercase

from course_utils.figures.quiz import QUIZZES, questions


def slides() -> Iterator[str]:
    """For each question a slide that asks, and one that tells; the reasons are the teacher's."""
    yield "# Polls\n\nHold up a card: A, B, C or D. Then talk to a neighbour who holds up another one, and vote again."
    for path in sorted(QUIZZES.glob("*.json")):
        yield f"# Chapter {int(path.stem)}"
        for question in questions(path):
            answers = list(zip(ascii_uppercase, question["answers"], strict=False))
            notes = "\n".join(f"- {letter}{' is right' * each['right']}: {each['because']}" for letter, each in answers)
            yield f"## Vote\n\n{_question(question)}\n\n{_answers(answers)}\n\nNotes:\n\n{notes}"
            letter, right = next(pair for pair in answers if pair[1]["right"])
            yield f"## It is {letter}\n\n{_question(question)}\n\n{_answers([(letter, right)])}\n\n{right['because']}"


def _question(question: dict) -> str:
    return f"**{question['question']}**"


def _answers(answers: list[tuple[str, dict]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {letter} | {_cell(each['text'])} |" for letter, each in answers)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
