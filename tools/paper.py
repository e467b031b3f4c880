"""The book on paper: a browser's print of each page, and all of them joined, with contents and running page numbers.

Solutions and folded code are left out, hints are not. Tags, which screen readers need, are kept in the joined file.
"""

import contextlib
import html
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from course_utils.errors import CourseError
from tools import notebooks

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TITLE = "How small transformers compute"
SHEET = "book/workshop/handout"
# Runs in a page before it is printed: paper unfolds nothing. Code that is folded on the site leaves no trace;
# what it printed stands there.
BEFORE_PRINT = """() => {
  for (const part of document.querySelectorAll(".tag_solution, .tag_claims, #jb-print-docs-body")) part.remove();
  for (const output of document.querySelectorAll(".hide > .cell_output")) output.parentElement.replaceWith(output);
  for (const part of document.querySelectorAll("details:not(.hide)")) part.open = true;
}"""
# Runs then, as wide as paper: lines that are too long are made smaller, to what can be read; then they are broken.
FIT = """() => {
  for (const part of document.querySelectorAll(".bd-article pre")) {
    part.style.setProperty("white-space", "pre", "important");
    const fits = part.clientWidth / part.scrollWidth;
    if (fits < 0.7) part.style.removeProperty("white-space");
    else if (fits < 1) part.style.zoom = fits;
  }
}"""
STYLE = """
.bd-main .bd-content .bd-article h1:first-of-type { display: block; margin-top: 0; }
.copybtn, .headerlink, .ex-controls { display: none !important; }
pre { white-space: pre-wrap !important; overflow-wrap: anywhere; }
.bd-main .bd-article div.cell_output pre.course-columns { font-size: 0.8rem; } /* FIT makes it as small as it must be */
.bd-main .bd-content table { break-inside: auto; }
figure, img, tr, details, .admonition, .cell_input { break-inside: avoid; }
h1, h2, h3 { break-after: avoid; }
.bd-article #on-one-sheet { zoom: 0.9; } /* these margins leave it more room than a browser's own */
.course-explorable:not([data-figure="quiz"])[data-state="ready"] > .ex-figure { display: block; }
.course-explorable:not([data-figure="quiz"])[data-state="ready"] > .ex-baseline { display: none; }
h1, h2, h3 { white-space: break-spaces; } /* else the outline loses the space where a heading is broken */
"""
CONTENTS = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Contents</title><style>
@font-face {{ font-family: Inter; src: url("{fonts}/inter-latin-wght-normal.woff2"); font-weight: 100 900; }}
body {{ font: 10.5pt/1.5 Inter, sans-serif; margin: 0; }} a {{ color: inherit; text-decoration: none; }}
h1 {{ font-size: 20pt; }} h2 {{ font-size: 12pt; margin: 1.2em 0 0.3em; }}
li {{ display: flex; gap: 1em; justify-content: space-between; }} ul {{ list-style: none; margin: 0; padding: 0; }}
</style><h1>{title}</h1>{parts}</html>"""
NUMBERS = """<!doctype html><title>Page numbers</title><style>
@page {{ margin: 0; size: A4; }} body {{ margin: 0; }}
p {{ break-after: page; color: #555; font: 8pt sans-serif; height: 285mm; margin: 0; text-align: center; }}
p span {{ position: relative; top: 280mm; }} p:last-child {{ break-after: auto; }}
</style>{pages}"""
PAPER = {"format": "A4", "print_background": True, "tagged": True}
MARGINS = {"top": "16mm", "bottom": "18mm", "left": "14mm", "right": "14mm"}
WIDTH = round((210 - 28) / 25.4 * 96 / 0.8)  # of A4 between these margins, in the pixels of a page printed at 0.8


def print_all(site: Path, out: Path, root: Path = notebooks.ROOT) -> None:
    """book.pdf, a PDF of each of its pages in pdf/, and the sheet for everybody among what students get."""
    from pypdf import PdfReader

    names = [page.relative_to(root).with_suffix("").as_posix() for page in notebooks.pages(root)]
    pages = [name for name in names if not name.startswith("book/workshop/")]
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        page, prints = browser.new_page(color_scheme="light", viewport={"width": WIDTH, "height": 1200}), []
        for number, name in enumerate([*pages, *(name for name in names if name == SHEET)]):
            path = Path(folder) / f"{number}.pdf"
            title = _print(page, (site / f"{name}.html").as_uri(), path)
            prints.append((name, title, PdfReader(path)))
            target = out / "student/handout.pdf" if name == SHEET else out / f"pdf/{name.removeprefix('book/')}.pdf"
            target.parent.mkdir(parents=True, exist_ok=True)
            _join(page, [prints[-1]], site, Path(folder)).write(target)
        book = [each for each in prints if each[0] != SHEET]
        _join(page, _with_contents(page, book, site, Path(folder), root), site, Path(folder)).write(out / "book.pdf")


# --- the browser ---


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


def _print(page, address: str, path: Path) -> str:
    """Print a page of the site; its title."""
    page.goto(address)
    page.evaluate("window.MathJax?.startup?.promise")
    page.emulate_media(media="print")
    page.evaluate(BEFORE_PRINT)
    page.add_style_tag(content=STYLE)
    page.evaluate(FIT)
    page.pdf(path=path, scale=0.8, margin=MARGINS, outline=True, **PAPER)
    page.emulate_media(media="screen")
    return page.title().split(" \N{EM DASH} ")[0]


# --- joining ---


def _with_contents(page, prints: list, site: Path, folder: Path, root: Path) -> list:
    """The prints with a page of contents before them, whose own length is known when it has been printed once."""
    from pypdf import PdfReader

    length, path, written = 1, folder / "contents.pdf", folder / "contents.html"
    captions = notebooks.captions(root)
    for _ in range(2):
        parts, number = "", 1 + length
        for name, title, reader in prints:
            if name in captions:
                parts += f"</ul><h2>{html.escape(captions[name])}</h2><ul>"
            address = (site / f"{name}.html").as_uri()
            parts += f'<li><a href="{address}">{html.escape(title)}</a> <span>{number}</span></li>'
            number += len(reader.pages)
        fonts = (site / "_static/vendor/fonts").as_uri()
        written.write_text(CONTENTS.format(title=TITLE, fonts=fonts, parts=f"<ul>{parts}</ul>"), "utf-8")
        page.goto(written.as_uri())
        page.pdf(path=path, margin=MARGINS, outline=True, **PAPER)
        contents = PdfReader(path)
        length = len(contents.pages)
    return [("", TITLE, contents), *prints]


def _join(page, prints: list, site: Path, folder: Path):
    """One file of all prints, numbered from 1. What links to another page of the book leads there in the file."""
    from pypdf import PdfReader, PdfWriter

    writer, starts, titles = PdfWriter(), {}, []
    for name, title, reader in prints:
        _resolve_names(reader)
        starts[(site / f"{name}.html").as_uri()] = len(writer.pages)
        titles += [title] * len(reader.pages)
        writer.append(reader)
    _join_tags(writer, [reader for _, _, reader in prints])
    _lead_inside(writer, site.as_uri(), starts)
    footers = (f"<p><span>{html.escape(title)} &middot; {number}</span></p>" for number, title in enumerate(titles, 1))
    page.set_content(NUMBERS.format(pages="".join(footers)))
    page.pdf(path=folder / "numbers.pdf", prefer_css_page_size=True)
    for under, over in zip(writer.pages, PdfReader(folder / "numbers.pdf").pages, strict=True):
        under.merge_page(_unread(over))
        under.compress_content_streams()
    writer.add_metadata({"/Title": TITLE if len(prints) > 1 else prints[0][1]})
    return writer


def _unread(page):
    """A page whose content is an artifact, which is what screen readers pass over."""
    from pypdf.generic import ContentStream, NameObject

    content = ContentStream(page.get_contents(), page.pdf)
    operations = [([NameObject("/Artifact")], b"BMC")]
    operations += [each for each in content.operations if each[1] not in (b"BDC", b"BMC", b"EMC")]
    content.operations = [*operations, ([], b"EMC")]
    page[NameObject("/Contents")] = content
    return page


def _join_tags(writer, readers: list) -> None:
    """One tree of tags over those of the prints. A page finds its tags by a number; so numbers are shifted."""
    from pypdf.generic import ArrayObject, BooleanObject, DictionaryObject, NameObject, NumberObject, TextStringObject

    start = 0
    whole = DictionaryObject({NameObject("/Type"): NameObject("/StructTreeRoot")})
    place, kids, numbers, first = writer._add_object(whole), ArrayObject(), ArrayObject(), 0
    for reader in readers:
        tree = reader.trailer["/Root"]["/StructTreeRoot"].clone(writer)
        for kid in _several(tree["/K"]):
            kid.get_object()[NameObject("/P")] = place
            kids.append(kid)
        entries = list(_entries(tree["/ParentTree"]))
        for key, value in entries:
            numbers += [NumberObject(int(key) + first), value]
        for mine, page in zip(reader.pages, writer.pages[start : start + len(reader.pages)], strict=True):
            if "/StructParents" in mine:  # Chromium leaves them out on a sheet here and there
                page[NameObject("/StructParents")] = NumberObject(int(mine["/StructParents"]) + first)
            for each in (each.get_object() for each in page.get("/Annots") or []):
                if "/StructParent" in each:
                    each[NameObject("/StructParent")] = NumberObject(int(each["/StructParent"]) + first)
        first += 1 + max((int(key) for key, _ in entries), default=0)
        start += len(reader.pages)
    tree = DictionaryObject({NameObject("/Nums"): numbers})
    whole |= {NameObject("/K"): kids, NameObject("/ParentTree"): writer._add_object(tree)}
    whole[NameObject("/ParentTreeNextKey")] = NumberObject(first)
    root = writer._root_object
    root |= {NameObject("/StructTreeRoot"): place, NameObject("/Lang"): TextStringObject("en")}
    root[NameObject("/MarkInfo")] = DictionaryObject({NameObject("/Marked"): BooleanObject(True)})


def _several(kids) -> list:
    return list(kids) if isinstance(kids, list) else [kids]


def _entries(node) -> Iterator[tuple]:
    """The entries of a tree of numbers."""
    node = node.get_object()
    pairs = node.get("/Nums", [])
    yield from zip(pairs[::2], pairs[1::2], strict=True)
    for kid in node.get("/Kids", []):
        yield from _entries(kid)


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
