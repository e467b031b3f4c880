"""What a teacher hands out: `make workshop` builds it into `dist/` from the chapters and the built site.

* `student/`, `instructor/`: the notebooks without and with solutions, their text as any notebook program draws it
  (`tools/plain.py`); pages without cells are notebooks too; a notebook for each short plan (`tools/class_notebook.py`);
* `student/install/`: the package as a wheel, what it needs, and how to install it, on each system;
* `site.zip`: the site, which opens from a folder; `slides/`: the slides of the half-day plan;
* `book.pdf`, `pdf/`: the book on paper, whole and by chapter; `student/handout.pdf`: the sheet (`tools/paper.py`);
* `exports/`: the exercises for nbgrader, the quizzes for Moodle (`tools/exports.py`);
* `SHA256SUMS`: `sha256sum --check SHA256SUMS` says whether all arrived whole.
"""

import hashlib
import shutil
import zipfile
from pathlib import Path

import nbformat

from course_utils.errors import CourseError
from tools import class_notebook, exports, notebooks, paper, plain, plans, slides, student

SITE_FOLDER = "how-small-transformers-compute"  # what site.zip unpacks to
NOT_SHIPPED = {".buildinfo", "objects.inv"}


def report(out: Path | None = None, wheels: bool = False) -> None:
    """Build into `out`, or into dist/, and say what is there; with `wheels`, also all that an install needs."""
    out = out or notebooks.ROOT / "dist"
    build(out, notebooks.ROOT / "_build/html", wheels=wheels)
    print(f"Ready in {out}: " + ", ".join(sorted(path.name for path in out.iterdir())))


def build(out: Path, site: Path, root: Path = notebooks.ROOT, wheels: bool = False) -> None:
    """Everything, into an emptied folder `out`."""
    if not (site / "index.html").exists():
        raise CourseError(f"{site}", "there is no built site", "run `make book` first")
    if out.is_file() or (out.exists() and any(out.iterdir()) and not (out / "SHA256SUMS").exists()):
        raise CourseError(f"{out}", "it is emptied first, and is no folder of this command's", "name another one")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "SHA256SUMS").touch()  # so that after an interruption the folder is known again
    write_editions(out, root)
    student.write(out / "student/install", root, wheels)
    exports.write(out / "exports", root)
    zip_site(site, out / "site.zip")
    slides.build(out / "slides", site, root)
    paper.print_all(site, out, root)
    write_sums(out)


# --- notebooks ---


def without_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook less its cells tagged `solution`."""
    from nbconvert.preprocessors import TagRemovePreprocessor

    remover = TagRemovePreprocessor(remove_cell_tags={"solution"})
    return remover.preprocess(nbformat.from_dict(notebook), {})[0]


def write_editions(out: Path, root: Path = notebooks.ROOT) -> None:
    """All pages, in the folders that they have in the book, so that the links between them lead somewhere."""
    book = plain.Book(root)
    made = {page.relative_to(root / "book"): plain.notebook(page, book) for page in notebooks.pages(root)}
    for plan in plans.read(root).values():
        if plan.notebook:
            made[Path(plan.notebook)] = class_notebook.notebook(plan, book)
    for name, notebook in made.items():
        name = name.with_suffix(".ipynb")
        for edition in ("student", "instructor"):
            if edition == "student" and name.parts[0] == "workshop":
                continue
            target = out / edition / name
            target.parent.mkdir(parents=True, exist_ok=True)
            handed = student.begin(without_solutions(notebook), name, root) if edition == "student" else notebook
            nbformat.write(handed, target)


# --- the site ---


def zip_site(site: Path, target: Path) -> None:
    """The site in one file. Equal sites make equal files: all entries have the same date."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in site.rglob("*") if path.is_file()):
            if path.name not in NOT_SHIPPED:
                entry = zipfile.ZipInfo(f"{SITE_FOLDER}/{path.relative_to(site).as_posix()}")
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, path.read_bytes())


# --- sums ---


def write_sums(out: Path) -> None:
    """SHA256SUMS, in the form that `sha256sum --check` reads."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out).as_posix()}" for path in files]
    (out / "SHA256SUMS").write_text("\n".join(lines) + "\n", "utf-8")
