"""Progress is kept on request, in one local file; the page of exercises and times is what the chapters say."""

import importlib.util
import json
import os
import re

import nbformat
import pytest

from course_utils.__main__ import main
from course_utils.checks import exercises, kept
from course_utils.checks.base import exercise, require
from course_utils.errors import CourseError
from tools import notebooks, progress


@exercise("Exercise 1.2")
def check_double(answer):
    require(answer(2) == 4, "no")


def double(x):
    return 2 * x


def solution_double(x):
    return 2 * x


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A reader who has set nothing."""
    monkeypatch.delenv(kept.VARIABLE)
    monkeypatch.setattr(kept.Path, "home", lambda: tmp_path)
    return tmp_path


def test_nothing_is_kept_unless_asked_for(home, capsys):
    assert check_double(double).status == "passed"
    assert list(home.iterdir()) == []
    assert main(["progress"]) == 0
    assert "--keep" in capsys.readouterr().out and list(home.iterdir()) == []


def test_kept_shown_and_forgotten(home, capsys):
    assert main(["progress", "--keep"]) == 0
    check_double(double), check_double(double)
    (only,) = home.iterdir()
    assert list(json.loads(only.read_text())["passed"]) == ["Exercise 1.2"]
    assert main(["progress", "--keep"]) == 0 and kept.passed(), "asked again, nothing is lost"
    capsys.readouterr()
    assert main(["progress"]) == 0
    said = capsys.readouterr().out
    assert "1 of" in said and said.count("✓") == 1 and str(only) in said
    assert main(["progress", "--forget"]) == 0 and list(home.iterdir()) == []
    assert main(["progress", "--forget"]) == 0, "nothing to forget is no mistake"


def test_solutions_failures_and_stubs_are_not_noted(file):
    def stub(x):
        raise NotImplementedError

    kept.begin()
    assert check_double(solution_double).status == "passed"
    assert check_double(lambda x: 5).status == "failed" and check_double(stub).status == "not attempted"
    assert kept.passed() == {}
    check_double(lambda x: 2 * x)
    assert set(kept.passed()) == {"Exercise 1.2"}


def test_the_first_day_stays(file):
    kept.begin()
    file.write_text(json.dumps({"passed": {"Exercise 1.2": "2026-01-02"}}))
    check_double(double)
    assert kept.passed() == {"Exercise 1.2": "2026-01-02"}


def test_set_and_empty_means_never(monkeypatch):
    monkeypatch.setenv(kept.VARIABLE, "")
    assert kept.path() is None and kept.passed() == {}
    check_double(double)
    kept.forget()
    with pytest.raises(CourseError, match="COURSE_PROGRESS is empty"):
        kept.begin()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"passed": 3}', '{"passed": {"Exercise 1.2": 3}}', "\x00"], ids=repr
)
def test_a_damaged_file_is_named_and_stops_no_notebook(file, text, capsys):
    file.write_text(text)
    with pytest.warns(UserWarning, match="could not be noted"):
        assert check_double(double).status == "passed"
    assert file.read_text() == text, "left as it was"
    assert main(["progress"]) == 1
    assert "progress.json" in capsys.readouterr().err
    assert main(["progress", "--forget"]) == 0 and not file.exists()


def test_a_folder_that_is_not_there_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv(kept.VARIABLE, str(tmp_path / "nowhere/progress.json"))
    assert main(["progress", "--keep"]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_home_that_may_not_be_read_stops_no_notebook(home, monkeypatch, capsys, recwarn):
    stat = os.stat

    def refuse(path, **options):
        if home in kept.Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert check_double(double).status == "passed" and not recwarn
    assert main(["progress"]) == 0 and "No progress is kept" in capsys.readouterr().out


def test_a_home_that_may_not_be_written_is_told(home, monkeypatch, capsys):
    kept.begin()

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "unlink", refuse)
    assert main(["progress", "--forget"]) == 1 and "it cannot be deleted (Permission denied)" in capsys.readouterr().err


def test_a_user_without_a_home_keeps_nothing(home, monkeypatch, capsys, recwarn):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(kept.Path, "home", no_home)
    assert check_double(double).status == "passed" and not recwarn
    assert main(["progress"]) == 0
    assert main(["progress", "--keep"]) == 1 and "this user has no home folder" in capsys.readouterr().err


# --- what the chapters say of their exercises ---


def test_every_exercise_of_every_chapter_is_counted():
    for chapter in progress.chapters():
        cells = nbformat.read(chapter.path, as_version=4).cells if chapter.path.suffix == ".ipynb" else []
        stubs = [cell for cell in cells if "exercise" in cell.metadata.get("tags", [])]
        names = [f"Exercise {chapter.number}.{n}" for n in range(1, len(stubs) + 1)]
        assert [exercise.name for exercise in chapter.exercises] == names, chapter.path.name
        assert chapter.title and chapter.minutes >= 10


def test_solutions_are_told_from_answers_by_their_names():
    for path in notebooks.chapters():
        for cell in nbformat.read(path, as_version=4).cells:
            if "solution" in cell.metadata.get("tags", []):
                assert f"({kept.SOLUTION}" in cell.source.splitlines()[-1], cell.source


@pytest.fixture
def two_chapters(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("# Streams\n\n**Time.** 40 minutes to read and run, 60 with the exercises."),
        nbformat.v4.new_markdown_cell("### Exercise 1: add\n\n*Difficulty: easy · 5 minutes.*\n\nAdd."),
        nbformat.v4.new_markdown_cell("### Exercise 2: halve\n\n*Difficulty: hard · 15 minutes.*\nHalve."),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_streams.ipynb")
    (tmp_path / "10_end.md").write_text("# The end\n\n**Time.** 25 minutes, 40 with the questions.\n", "utf-8")
    return [progress.read_chapter(tmp_path / name) for name in ("01_streams.ipynb", "10_end.md")]


def test_the_table_has_a_line_for_each_exercise(two_chapters):
    said = exercises.table(two_chapters, {"Exercise 1.2": "2026-01-02", "Exercise 9.9": "2026-01-02"}).splitlines()
    assert said[0] == " 1  Streams: 1 of 2"
    assert said[1].split() == ["1.1", "add", "easy,", "5", "min", "○"]
    assert said[2].split() == ["1.2", "halve", "hard,", "15", "min", "✓", "2026-01-02"]
    assert said[-1] == "1 of 2 exercises passed."


def test_a_wheels_list_says_the_same(two_chapters, tmp_path, monkeypatch, file, capsys):
    monkeypatch.setattr(exercises, "LIST", tmp_path / "exercises.json")
    exercises.write_list(two_chapters, exercises.LIST)
    listed = exercises.read_list()
    assert [chapter.path.name for chapter in listed] == [chapter.path.name for chapter in two_chapters]
    assert [(one.title, one.exercises) for one in listed] == [(one.title, one.exercises) for one in two_chapters]
    kept.begin()
    assert main(["progress"]) == 0 and "0 of 2 exercises passed." in capsys.readouterr().out


def test_the_page_draws_what_the_chapters_say(two_chapters, root):
    spec = importlib.util.spec_from_file_location("course_times", root / "book/_assets/sphinx_ext/course_times.py")
    course_times = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(course_times)
    lines = course_times.markdown(two_chapters).splitlines()
    assert lines[2] == ("| [1 · Streams](/book/01_streams.ipynb) | 40 min | 2 | 60 min | {run-time}`book/01_streams` |")
    assert lines[3] == "| [10 · The end](/book/10_end.md) | 25 min | — | — | — |"
    assert lines[4] == "| **together** | **1 h** | **2** | **1 h** | |"
    assert lines[-1] == "| 1.2 | halve | hard | 15 |"


def test_a_way_takes_what_its_chapters_and_exercises_say(two_chapters, monkeypatch):
    monkeypatch.setattr(progress, "chapters", lambda root: two_chapters)
    lines = progress.route(1, ["01_streams: 1.1 1.2"]).splitlines()
    assert lines[2] == "| [1 · Streams](01_streams.ipynb) | 1.1 (add)<br>1.2 (halve) | 60 |"
    assert lines[-1] == "| **together** | | **60** |"
    for hours, stops in (
        (2, ["01_streams:"]),
        (1, ["01_streams: 1.2", "10_end:"]),
        (1, ["01_streams: 1.3"]),
        (1, ["02_x:"]),
    ):
        with pytest.raises(CourseError):
            progress.route(hours, stops)


def test_the_way_of_four_hours_finds_induction_heads(root):
    intro = (root / "book/intro.md").read_text("utf-8")
    hours, stops = re.search(r"^```\{route\} (\d+)\n(.+?)\n```", intro, re.M | re.S).groups()
    table = progress.route(int(hours), stops.splitlines())
    assert hours == "4" and "07_induction_heads.ipynb" in table
    pages = re.findall(r"\]\((\w+)\.ipynb\)", table)
    assert pages == sorted(pages) and len(pages) >= 4, "in the order of the book"
