"""What a build promises, tried on a book of two small pages with the settings of the real one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

TOC = "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/01_small\n"
TELLS_WHEN = "import time, course_utils.word\nprint(course_utils.word.WORD, time.time_ns())"


class SmallBook:
    def __init__(self, folder: Path, root: Path):
        self.folder = folder
        shutil.copy(root / "_config.yml", folder)
        shutil.copytree(root / "book/_assets", folder / "book/_assets")
        self.write("requirements.txt", "")
        self.write("_toc.yml", TOC)
        self.write("book/references.bib", "")
        self.write("book/intro.md", "# A small book\n\n[On](01_small.ipynb)\n")
        self.write("course_utils/__init__.py", "")
        self.write("course_utils/word.py", "WORD = 'one'\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, "utf-8")

    def chapter(self, code: str) -> None:
        cells = [nbformat.v4.new_markdown_cell("# Small"), nbformat.v4.new_code_cell(code)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), self.folder / "book/01_small.ipynb")

    def build(self) -> subprocess.CompletedProcess:
        """As `make book` does it; the book's own course_utils comes before the installed one."""
        program = Path(sys.executable).parent / "jupyter-book"
        path = f"import sys; sys.path.insert(0, {str(self.folder)!r})\n"
        self.write("startup/profile_default/startup/path.py", path)
        environment = {**os.environ, "IPYTHONDIR": str(self.folder / "startup")}
        return subprocess.run(
            [program, "build", "-W", "-n", "--keep-going", "."],
            cwd=self.folder, env=environment, capture_output=True, text=True, encoding="utf-8",
        )  # fmt: skip

    def output(self) -> str:
        page = (self.folder / "_build/html/book/01_small.html").read_text("utf-8")
        return BeautifulSoup(page, "html.parser").select_one(".cell_output").get_text().strip()


@pytest.fixture
def book(tmp_path, root) -> SmallBook:
    return SmallBook(tmp_path, root)


def test_cells_run_again_when_what_they_use_has_changed_and_only_then(book):
    book.chapter(TELLS_WHEN)
    outputs = []
    for change in (None, None, "WORD = 'two'\n"):
        if change:
            book.write("course_utils/word.py", change)
        built = book.build()
        assert built.returncode == 0, built.stderr[-2000:]
        outputs.append(book.output())
    first, unchanged, changed = outputs
    assert first.startswith("one ") and unchanged == first, "nothing has changed, yet the chapter ran again"
    assert changed.startswith("two "), "the package has changed, yet the page shows the old output"


def test_a_cell_that_raises_fails_the_build(book):
    book.chapter("raise RuntimeError('the cell has failed')")
    built = book.build()
    assert built.returncode != 0
    assert "the cell has failed" in built.stdout + built.stderr


def test_a_warning_fails_the_build(book):
    book.chapter("1")
    book.write("book/intro.md", "# A small book\n\n[On](02_missing.ipynb)\n")
    built = book.build()
    assert built.returncode != 0
    assert "02_missing" in built.stdout + built.stderr


def test_digest_follows_names_and_contents(tmp_path, course_site):
    (tmp_path / "part").mkdir()
    seen = set()
    for name, content in [("a.py", "1"), ("a.py", "2"), ("b.py", "2")]:
        (tmp_path / "part" / name).write_text(content)
        seen.add(course_site.digest(tmp_path, ["part", "missing"]))
    assert len(seen) == 3
    (tmp_path / "part/__pycache__").mkdir()
    (tmp_path / "part/__pycache__/a.pyc").write_text("compiled")
    assert course_site.digest(tmp_path, ["part", "missing"]) in seen
