"""What a teacher hands out: `make workshop` builds it into `dist/` from the chapters and the built site.

* `student/`, `instructor/`: the notebooks without and with solutions, their text as any notebook program draws it
  (`tools/plain.py`); pages without cells are notebooks too; a notebook for each short plan (`tools/class_notebook.py`);
* `student/install/`: the package as a wheel, what it needs, and how to install it, on each system;
* `site.zip`: the site, which opens from a folder; `slides/`: the slides of the half-day plan;
* `book.pdf`: a browser's print of each page, joined, with an outline; solutions and folded claims are left out, hints
  are not;
* `SHA256SUMS`: `sha256sum --check SHA256SUMS` says whether all arrived whole.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import nbformat

from course_utils.errors import CourseError
from tools import class_notebook, notebooks, plain, plans, slides, student

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SITE_FOLDER = "how-small-transformers-compute"  # what site.zip unpacks to
NOT_SHIPPED = {".buildinfo", "objects.inv"}
# Runs in a page before it is printed: paper unfolds nothing. Solutions stay folded, and then leave no trace.
BEFORE_PRINT = """() => {
  for (const part of document.querySelectorAll(".tag_solution, .tag_claims, #jb-print-docs-body")) part.remove();
  for (const part of document.querySelectorAll("details")) part.open = true;
}"""
PRINT_STYLE = """
.bd-main .bd-content .bd-article h1:first-of-type { display: block; margin-top: 0; }
.copybtn, .headerlink, .ex-controls { display: none !important; }
pre { white-space: pre-wrap !important; overflow-wrap: anywhere; }
.bd-main .bd-content table { break-inside: auto; }
figure, img, tr, .admonition, .course-explorable { break-inside: avoid; } h1, h2, h3 { break-after: avoid; }
.course-explorable:not([data-figure="quiz"])[data-state="ready"] > .ex-figure { display: block; }
.course-explorable:not([data-figure="quiz"])[data-state="ready"] > .ex-baseline { display: none; }
h1, h2, h3 { white-space: break-spaces; } /* else the outline loses the space where a heading is broken */
"""
FOOTER = """<div style="font: 8px sans-serif; width: 100%; text-align: center; color: #555">
<span class="title"></span> &middot; <span class="pageNumber"></span></div>"""


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
    zip_site(site, out / "site.zip")
    slides.build(out / "slides", site, root)
    print_book(site, out / "book.pdf", root)
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
            nbformat.write(without_solutions(notebook) if edition == "student" else notebook, target)


# --- the site ---


def zip_site(site: Path, target: Path) -> None:
    """The site in one file. Equal sites make equal files: all entries have the same date."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in site.rglob("*") if path.is_file()):
            if path.name not in NOT_SHIPPED:
                entry = zipfile.ZipInfo(f"{SITE_FOLDER}/{path.relative_to(site).as_posix()}")
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, path.read_bytes())


# --- paper ---


def find_browser() -> str:
    """The program that prints: COURSE_BROWSER, or a Chromium or Chrome that the machine has."""
    found = os.environ.get("COURSE_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        raise CourseError("no Chromium or Chrome", "one prints the book", "install one, or name it in COURSE_BROWSER")
    return found


@contextlib.contextmanager
def open_browser():
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    as_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox refuses root, as in a container
    arguments = ["--no-sandbox"] * as_root + ["--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        yield browser
        browser.close()


def print_book(site: Path, target: Path, root: Path = notebooks.ROOT) -> None:
    """Print each page of the contents and join them. What links to another page of the book leads there in the file."""
    from pypdf import PdfReader, PdfWriter

    names = [page.relative_to(root).with_suffix(".html").as_posix() for page in notebooks.pages(root)]
    names = [name for name in names if not name.startswith("book/workshop/")]
    writer, starts = PdfWriter(), {}
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        page = browser.new_page(color_scheme="light")
        for name in names:
            path = Path(folder) / "page.pdf"
            _print_page(page, (site / name).as_uri(), path)
            reader = PdfReader(path)
            _resolve_names(reader)
            starts[(site / name).as_uri()] = len(writer.pages)
            writer.append(reader)
        _lead_inside(writer, site.as_uri(), starts)
        writer.add_metadata({"/Title": "How small transformers compute"})
        writer.write(target)


def _print_page(page, address: str, path: Path) -> None:
    page.goto(address)
    page.evaluate("window.MathJax?.startup?.promise")
    page.evaluate(BEFORE_PRINT)
    page.add_style_tag(content=PRINT_STYLE)
    page.pdf(
        path=path,
        format="A4",
        scale=0.8,
        margin={"top": "16mm", "bottom": "18mm", "left": "14mm", "right": "14mm"},
        print_background=True,
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=FOOTER,
        outline=True,
        tagged=True,
    )


def _annotations(pages):
    for page in pages:
        for annotation in page.get("/Annots") or []:
            yield annotation.get_object()


def _resolve_names(reader) -> None:
    """Give links within a page the place itself: in the joined file two pages may use one name."""
    from pypdf.generic import NameObject

    named = reader.named_destinations
    for annotation in _annotations(reader.pages):
        if isinstance(annotation.get("/Dest"), str) and annotation["/Dest"] in named:
            annotation[NameObject("/Dest")] = named[annotation["/Dest"]].dest_array


def _lead_inside(writer, home: str, starts: dict[str, int]) -> None:
    """Links to pages of the book lead to their beginning in this file; to other files of the site, nowhere."""
    from pypdf.generic import ArrayObject, NameObject

    for annotation in _annotations(writer.pages):
        action = annotation["/A"].get_object() if "/A" in annotation else {}
        address = str(action.get("/URI", ""))
        if address.startswith(home):
            del annotation["/A"]
            if (start := starts.get(address.split("#")[0])) is not None:
                place = writer.pages[start].indirect_reference
                annotation[NameObject("/Dest")] = ArrayObject([place, NameObject("/Fit")])


# --- sums ---


def write_sums(out: Path) -> None:
    """SHA256SUMS, in the form that `sha256sum --check` reads."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out).as_posix()}" for path in files]
    (out / "SHA256SUMS").write_text("\n".join(lines) + "\n", "utf-8")
