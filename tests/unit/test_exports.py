"""The exercises as nbgrader has them, the quizzes as Moodle has them; and once, both read by programs of others."""

import ast
import json
import os
import subprocess
import sys
import venv
from xml.etree import ElementTree

import nbformat
import pytest

from course_utils.figures.quiz import QUIZZES
from tools import exports, notebooks, plain, progress

CHAPTERS = [chapter for chapter in progress.chapters() if chapter.exercises]
OTHERS = ("nbgrader==0.9.6", "moodle-xml-parser==0.3.1")


@pytest.fixture(scope="module")
def book():
    return plain.Book(notebooks.ROOT)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.path.stem)
def test_each_exercise_has_an_answer_and_a_check_that_raises(chapter, book):
    made = exports.assignment(chapter, book)
    nbformat.validate(made)
    told = [(cell, cell.metadata.nbgrader) for cell in made.cells if "nbgrader" in cell.metadata]
    assert len({settings.grade_id for _, settings in told}) == len(told) == 2 * len(chapter.exercises)
    pairs = zip(told[::2], told[1::2], chapter.exercises, strict=True)
    for (answer, is_answer), (check, is_check), exercise in pairs:
        assert (is_answer.solution, is_answer.grade, is_check.solution, is_check.grade) == (True, False, False, True)
        assert is_check.locked and is_check.points == exports.WORTH[exercise.difficulty]
        stub, rest = answer.source.split("### BEGIN SOLUTION\n")
        names = {node.name for node in ast.parse(stub).body}
        solved = {node.name for node in ast.parse(rest).body if isinstance(node, ast.FunctionDef)}
        assert names <= solved and "solution_" not in answer.source and rest.endswith("\n### END SOLUTION")
        assert check.source.endswith(", strict=True)") and not check.outputs


def test_moodles_file_has_every_question_with_one_right_answer_and_the_reasons():
    quiz = ElementTree.fromstring(exports.moodle().encode())
    questions = quiz.findall("question[@type='multichoice']")
    asked = [each for path in sorted(QUIZZES.glob("*.json")) for each in json.loads(path.read_text("utf-8"))]
    assert len(questions) == len(asked) and len(quiz.findall("question[@type='category']")) == 13
    for question, original in zip(questions, asked, strict=True):
        answers = question.findall("answer")
        assert [each.get("fraction") == "100" for each in answers] == [each["right"] for each in original["answers"]]
        assert all(each.find("feedback/text").text.startswith("<p>") for each in answers)
        text = question.find("questiontext/text").text
        assert "`" not in text and ElementTree.fromstring(text).tag == "p"


@pytest.mark.release
def test_other_programs_read_them(tmp_path, root, record_property):
    """nbgrader gives out chapter 1 and grades two learners; a reader of Moodle's files finds every question."""
    venv.create(tmp_path / "tools", with_pip=True)
    programs = tmp_path / "tools/bin"
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", *OTHERS], check=True)
    kernel = tmp_path / "tools/share/jupyter/kernels/python3"
    kernel.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel_spec = {"argv": command, "display_name": "Python 3", "language": "python", "env": {"PYTHONPATH": str(root)}}
    (kernel / "kernel.json").write_text(json.dumps(kernel_spec))
    exports.write(tmp_path / "made", root)
    course, name = tmp_path / "made/nbgrader", "01_residual_stream"
    settings = os.environ | {"HOME": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1"}
    settings["PATH"] = f"{programs}{os.pathsep}{settings['PATH']}"
    settings.pop("PYTHONPATH", None)

    def nbgrader(*arguments):
        subprocess.run([programs / "nbgrader", *arguments], cwd=course, env=settings, check=True, capture_output=True)

    nbgrader("generate_assignment", name, "--create")
    given = (course / f"release/{name}/{name}.ipynb").read_text("utf-8")
    assert "BEGIN SOLUTION" not in given and given.count("raise NotImplementedError") >= 5
    for learner, version in (("ada", "source"), ("bo", "release")):
        (course / f"submitted/{learner}").mkdir(parents=True)
        (course / f"submitted/{learner}/{name}").symlink_to(course / version / name)
    nbgrader("autograde", name)
    nbgrader("export")
    rows = [line.split(",") for line in (course / "grades.csv").read_text().splitlines()]
    scores = {row[rows[0].index("student_id")]: row[rows[0].index("score")] for row in rows[1:]}
    most = sum(exports.WORTH[each.difficulty] for each in CHAPTERS[0].exercises)
    assert scores == {"ada": f"{most:.1f}", "bo": "0.0"}

    read = "import sys, moodle_xml_parser.parser as p; print(len(p.parse_file(sys.argv[1])['multichoice']))"
    done = subprocess.run(
        [programs / "python", "-c", read, tmp_path / "made/moodle.xml"], capture_output=True, text=True
    )
    questions = sum(len(json.loads(path.read_text("utf-8"))) for path in QUIZZES.glob("*.json"))
    assert int(done.stdout) == questions
    record_property("measured", f"nbgrader: {scores}; {questions} questions read")
