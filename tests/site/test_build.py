"""What a build promises, tried on a book of two small pages with the settings of the real one."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from bs4 import BeautifulSoup
from sphinx.errors import ExtensionError

TOC = "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/01_small\n"
TELLS_WHEN = "import time, course_utils.word\nprint(course_utils.word.WORD, time.time_ns())"


class SmallBook:
    def __init__(self, folder: Path, root: Path):
        self.folder, self.root = folder, root
        shutil.copy(root / "_config.yml", folder)
        shutil.copytree(root / "book/_assets", folder / "book/_assets")
        self.write("requirements.txt", "")
        self.write("_toc.yml", TOC)
        self.write("book/references.bib", "")
        self.write("book/intro.md", "# A small book\n\n[On](01_small.ipynb)\n")
        self.write("course_utils/__init__.py", "")
        shutil.copy(root / "course_utils/colours.py", folder / "course_utils")
        self.write("course_utils/word.py", "WORD = 'one'\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, "utf-8")

    def chapter(self, code: str, name: str = "01_small", **metadata) -> None:
        cells = [nbformat.v4.new_markdown_cell("# Small"), nbformat.v4.new_code_cell(code, metadata=metadata)]
        python = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=python), self.folder / f"book/{name}.ipynb")

    def chapters(self, **codes: str) -> None:
        for name, code in codes.items():
            self.chapter(code, name)
        entries = "".join(f"  - file: book/{name}\n" for name in codes)
        self.write("_toc.yml", f"format: jb-book\nroot: book/intro\nchapters:\n{entries}")

    def execute(self) -> subprocess.Popen:
        """As `make book` does it before it builds."""
        command = [sys.executable, "-m", "tools.execute", self.folder]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.root, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")

    def build(self, **variables) -> subprocess.CompletedProcess:
        """As `make book` does it; the book's own course_utils comes before the installed one."""
        program = Path(sys.executable).with_name("jupyter-book")
        environment = os.environ | {"PYTHONPATH": str(self.folder)} | variables
        return subprocess.run(
            [sys.executable, program, "build", "-W", "-n", "--keep-going", "."],
            cwd=self.folder, env=environment, capture_output=True, text=True, encoding="utf-8",
        )  # fmt: skip

    def output(self, name: str = "01_small") -> str:
        page = (self.folder / f"_build/html/book/{name}.html").read_text("utf-8")
        return BeautifulSoup(page, "html.parser").select_one(".cell_output").get_text().strip()


@pytest.fixture
def book(tmp_path, root) -> SmallBook:
    folder = tmp_path / "full"  # a name that is left out inside of the book must not matter above it
    folder.mkdir()
    return SmallBook(folder, root)


def test_cells_run_again_when_what_they_use_has_changed_and_only_then(book):
    book.chapter(TELLS_WHEN)
    outputs = []
    for change in (None, None, "WORD = 'two'\n"):
        if change:
            book.write("course_utils/word.py", change)
        built = book.build()
        assert built.returncode == 0, built.stderr[-2000:]
        outputs.append(book.output())
        moved = book.folder.with_name(f"moved {len(outputs)}")
        moved.mkdir()
        book.folder = book.folder.rename(moved / book.folder.name)
    first, unchanged, changed = outputs
    assert first.startswith("one ") and unchanged == first, "only the folder was moved, yet the chapter ran again"
    assert changed.startswith("two "), "the package has changed, yet the page shows the old output"


def test_what_nbval_has_run_the_build_need_not_run_again(book):
    """As `make test` does it: with what the cell printed then, and without the value that its semicolon hides."""
    book.chapter("import time\nprint(time.time_ns())\n1 + 1;")
    (book.folder / "tests").mkdir()
    shutil.copy(book.root / "tests/conftest.py", book.folder / "tests")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--keep-outputs", "book", "tests"]
    environment = os.environ | {"PYTHONPATH": str(book.root)}
    tested = subprocess.run(command, cwd=book.folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert tested.returncode == 0 and "1 passed" in tested.stdout, tested.stdout + tested.stderr
    until = time.time_ns()
    built = book.build()
    assert built.returncode == 0, built.stderr[-2000:]
    assert int(book.output()) < until


def test_chapters_run_two_at_a_time_and_the_build_finds_them_executed(book, course_site):
    """Each waits for the other, and says when it ended, with how many threads, and that it was for the site."""
    meet = "import os, time\nopen(MINE, 'w').close()\nbegan = time.time()\n"
    meet += "while not os.path.exists(OTHER):\n    assert time.time() < began + 120, 'alone'\n    time.sleep(0.1)\n"
    meet += f"print(time.time(), os.environ['OMP_NUM_THREADS'], {course_site.KERNELS}.items() <= os.environ.items())"
    book.chapters(**{"01_small": f"MINE, OTHER = 'ab'\n{meet}", "02_small": f"MINE, OTHER = 'ba'\n{meet}"})
    ran = book.execute()
    assert ran.wait() == 0, ran.stderr.read()
    executed = time.time()
    built = book.build()
    assert built.returncode == 0, built.stderr[-2000:]
    one, two = (book.output(name).split() for name in ("01_small", "02_small"))
    assert max(float(one[0]), float(two[0])) < executed, "the build ran them again"
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, os.cpu_count() // 2))
    assert one[1:] == two[1:] == [threads, "True"]
    again = book.execute()
    assert again.wait() == 0 and "chapters" not in again.stderr.read()


@pytest.mark.release
def test_a_chapter_that_fails_is_named_with_its_cell_and_the_others_are_kept(book):
    book.chapters(**{"01_small": "raise RuntimeError('it has failed')", "02_small": "2"})
    ran = book.execute()
    said = ran.communicate()[1]
    assert ran.returncode == 1
    assert re.search(r"book/01_small.ipynb, cell 1 \(id \w+\): ", said) and "RuntimeError: it has failed" in said
    assert "\x1b" not in said and "Failed: 01_small.ipynb." in said
    book.chapter("1", "01_small")
    again = book.execute()
    assert "| 1/1 [" in again.communicate()[1] and again.returncode == 0


@pytest.mark.release
def test_what_ran_before_an_interruption_is_kept(book):
    book.chapters(**{"01_small": "open('works', 'w')\nimport time\ntime.sleep(600)", "02_small": "2"})
    ran = book.execute()
    parent, kept = psutil.Process(ran.pid), "_build/.jupyter_cache/*/executed/*"
    # One is kept, its process at its end; the other's kernel works.
    while not all(any(book.folder.glob(each)) for each in (kept, "**/works")) or len(parent.children()) > 1:
        assert ran.poll() is None
        time.sleep(0.1)
    workers = parent.children(recursive=True)
    ran.send_signal(signal.SIGINT)
    said = ran.communicate(timeout=60)[1]
    assert ran.returncode == 130 and "Interrupted." in said and "Traceback" not in said
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert len(gone) > 1 and not alive  # no kernel works on
    book.chapter("1", "01_small")
    again = book.execute()
    assert "| 1/1 [" in again.communicate()[1] and again.returncode == 0


def test_a_cell_that_raises_fails_the_build(book):
    book.chapter("raise RuntimeError('the cell has failed')")
    built = book.build()
    assert built.returncode != 0
    assert "the cell has failed" in built.stdout + built.stderr


@pytest.mark.release
def test_a_warning_fails_the_build_and_the_next_one(book):
    book.chapter("1")
    book.write("book/intro.md", "# A small book\n\n[On](02_missing.ipynb)\n")
    for _ in range(2):
        built = book.build()
        assert built.returncode != 0
        assert "02_missing" in built.stdout + built.stderr
        assert not (book.folder / "_build/source_digest.txt").exists()


PICTURE = {"mystnb": {"image": {"alt": "A line that rises from one to two"}}}
DRAWS = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"


def test_a_page_has_its_pictures_whatever_the_environment_says(book):
    book.chapter(DRAWS, **PICTURE)
    built = book.build(MPLBACKEND="Agg")
    assert built.returncode == 0, built.stderr[-2000:]
    page = BeautifulSoup((book.folder / "_build/html/book/01_small.html").read_text("utf-8"), "html.parser")
    assert [picture["alt"] for picture in page.select(".cell_output img")] == [PICTURE["mystnb"]["image"]["alt"]]


@pytest.mark.release
def test_a_table_of_tokens_is_a_figure_with_a_caption_and_a_name(book):
    shows = """from IPython.display import HTML\nHTML('<div class="course-tokens">mary</div>')"""
    book.chapter(shows, mystnb={"figure": {"caption": "It copies.", "name": "fig-tokens"}})
    built = book.build()
    assert built.returncode == 0, built.stderr[-2000:]
    page = BeautifulSoup((book.folder / "_build/html/book/01_small.html").read_text("utf-8"), "html.parser")
    [figure] = page.select("figure#fig-tokens")
    assert "It copies." in figure.figcaption.get_text()
    assert figure.select_one(".course-tokens").get_text() == "mary"


@pytest.mark.release
def test_a_cell_that_lacks_its_picture_fails_the_build_and_the_next_one(book):
    book.chapter(DRAWS + "\nplt.close()", **PICTURE)
    for _ in range(2):
        built = book.build()
        assert built.returncode != 0
        assert "book/01_small, cell 2: it has alternative text (A line that rises" in built.stdout + built.stderr


@pytest.mark.release
def test_the_package_of_another_folder_is_refused(book, tmp_path_factory):
    other = tmp_path_factory.mktemp("örıginal")
    shutil.copytree(book.folder / "course_utils", other / "course_utils")
    book.chapter("1")
    built = book.build(PYTHONPATH=str(other), PYTHONIOENCODING="utf-8")
    assert built.returncode != 0 and f"import {other}" in built.stdout + built.stderr
    assert "this folder was moved or copied" in built.stdout + built.stderr


def test_digest_follows_names_and_contents_of_sources(tmp_path, course_site):
    folder = tmp_path / "full"
    seen = set()

    def digest():
        return course_site.digest(folder, ["part", "missing", "course_utils"])

    (folder / "part").mkdir(parents=True)
    for name, content in [("a.py", "1"), ("a.py", "2"), ("b.py", "2"), ("full/c.py", "3"), ("full/d.png", "4")]:
        (folder / "part" / name).parent.mkdir(exist_ok=True)
        (folder / "part" / name).write_text(content)
        seen.add(digest())
    assert len(seen) == 5
    for name in (
        "part/__pycache__/a.pyc", "part/.DS_Store", "part/._a.py", "part/Thumbs.db", "part/desktop.ini", "part/a.py~",
        "part/.ipynb_checkpoints/a.py", "part/.a.py.swp", "part/a.py.orig", "part/results.fresh.json",
        "course_utils/data/full/train.u16",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("left lying about")
        assert digest() in seen, name


@pytest.mark.parametrize("parts", [[], ["missing"], ["empty"]])
def test_a_digest_of_nothing_is_refused(tmp_path, course_site, parts):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/.DS_Store").write_text("not a source")
    with pytest.raises(ExtensionError, match="a digest of nothing would never change"):
        course_site.digest(tmp_path, parts)


def test_the_digest_has_all_that_is_tracked(root, course_site):
    command = ["git", "ls-files", "-z", *course_site.USED_BY_SITE]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8")
    if listed.returncode:
        pytest.skip("this is no clone of the repository")
    tracked = set(listed.stdout.split("\0")) - {""}
    assert len(tracked) > 100 and tracked <= set(course_site.sources(root, course_site.USED_BY_SITE))
