"""What other systems import: the exercises as nbgrader's assignments, the quizzes as a file for Moodle.

* `nbgrader/source/CHAPTER/`: the exercises of a chapter, each below the cells that it needs. A check raises unless the
  answer passes; what it is worth goes by its difficulty. `nbgrader generate_assignment` takes the solutions out.
* `moodle.xml`: every question of the quizzes, by chapter, with the reasons as feedback.
"""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import nbformat
from nbformat import NotebookNode

from course_utils.figures.host import words
from course_utils.figures.quiz import QUIZZES, questions
from tools import class_notebook, notebooks, plain, progress

WORTH = {"easy": 1, "medium": 2, "hard": 3}
CONFIG = """# What nbgrader puts in the place of a solution: the stub above it stays as it is.
c = get_config()  # noqa: F821
c.ClearSolutions.code_stub = {"python": "# Write your answer above."}
c.ExecutePreprocessor.timeout = 600
"""


def write(out: Path, root: Path = notebooks.ROOT) -> None:
    """All of it, into the folder `out`."""
    book, source = plain.Book(root), out / "nbgrader/source"
    for chapter in progress.chapters(root):
        if chapter.exercises:
            name = chapter.path.stem
            (source / name).mkdir(parents=True)
            nbformat.write(assignment(chapter, book), source / name / f"{name}.ipynb")
    (out / "nbgrader/nbgrader_config.py").write_text(CONFIG, "utf-8")
    (out / "moodle.xml").write_text(moodle(), "utf-8")


# --- nbgrader ---


def assignment(chapter: progress.Chapter, book: plain.Book) -> NotebookNode:
    """The exercises of a chapter, with what nbgrader has to know of their cells."""
    cells = class_notebook.exercises(chapter.path, chapter.exercises, book)
    made = [nbformat.v4.new_markdown_cell(f"# {chapter.title}\n\nThe exercises, each below the cells that it needs.")]
    waiting = iter(chapter.exercises)
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            answer, check = made[-2:]
            answer.source += f"\n\n\n### BEGIN SOLUTION\n{_answer(cell.source)}\n### END SOLUTION"
            exercise = next(waiting)
            _tell(answer, exercise, solution=True)
            _tell(check, exercise, grade=True, locked=True, points=WORTH[exercise.difficulty])
            check.source = re.sub(r"\)\s*$", ", strict=True)", check.source)
            continue
        made.append(cell)
    for place, cell in enumerate(made):
        cell.id = f"{chapter.path.stem}-{place}"[:64]
    return nbformat.v4.new_notebook(cells=made, metadata=nbformat.from_dict(notebooks.METADATA))


def _tell(cell: NotebookNode, exercise: progress.Exercise, **settings) -> None:
    name = exercise.name.lower().replace(" ", "-").replace(".", "-") + ("-check" if "points" in settings else "")
    told = {"grade": False, "solution": False, "locked": False, "task": False} | settings
    cell.metadata["nbgrader"] = nbformat.from_dict({"schema_version": 3, "grade_id": name} | told)
    cell.outputs, cell.execution_count = [], None


def _answer(solution: str) -> str:
    """The solution under the names that the check calls."""
    kept = [node for node in ast.parse(solution).body if not ast.unparse(node).startswith("check.")]
    lines = solution.splitlines()
    text = "\n\n\n".join("\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in kept)
    return text.replace("solution_", "")


# --- Moodle ---


def moodle() -> str:
    """The questions, in the form that Moodle imports as "Moodle XML"."""
    quiz = ElementTree.Element("quiz")
    for path in sorted(QUIZZES.glob("*.json")):
        _category(quiz, f"How small transformers compute/Chapter {int(path.stem)}")
        for number, question in enumerate(questions(path), 1):
            _multichoice(quiz, f"{int(path.stem)}.{number}", question)
    ElementTree.indent(quiz)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(quiz, "unicode") + "\n"


def _category(quiz: ElementTree.Element, name: str) -> None:
    category = ElementTree.SubElement(ElementTree.SubElement(quiz, "question", type="category"), "category")
    ElementTree.SubElement(category, "text").text = f"$course$/top/{name}"


def _multichoice(quiz: ElementTree.Element, name: str, asked: dict) -> None:
    question = ElementTree.SubElement(quiz, "question", type="multichoice")
    _text(question, "name", name, plain=True)
    _text(question, "questiontext", asked["question"])
    settings = {"defaultgrade": "1", "single": "true", "shuffleanswers": "true", "answernumbering": "ABCD"}
    for key, value in settings.items():
        ElementTree.SubElement(question, key).text = value
    for each in asked["answers"]:
        answer = _text(question, "answer", each["text"], fraction="100" if each["right"] else "0")
        _text(answer, "feedback", each["because"])


def _text(parent: ElementTree.Element, tag: str, text: str, plain: bool = False, **settings) -> ElementTree.Element:
    form = {} if plain else {"format": "html"}
    element = ElementTree.SubElement(parent, tag, **settings, **form)
    ElementTree.SubElement(element, "text").text = text if plain else f"<p>{words(text)}</p>"
    return element
