"""A page's text for programs that know no MyST: JupyterLab, Colab, VS Code.

Admonitions become block quotes, folds `<details>`, citations, terms and references links, recorded numbers numbers.
Pages without cells become notebooks of one cell, which all of these programs draw, with their mathematics.
"""

import json
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from pybtex.database import Entry, parse_file

from course_utils.checks import exercises
from course_utils.errors import CourseError
from tools import notebooks, plans, progress

FENCE = re.compile(r"(:{3,}|`{3,}|~{3,})(?:\{([\w-]+)\})?(.*)")
ROLE = re.compile(r"\{([\w:-]+)\}`([^`]+)`")
TITLED = re.compile(r"(.*?)\s*<(.+)>", re.S)
LABEL = re.compile(r"^\(([\w-]+)\)=$", re.M)
COMMENT = re.compile(r"<!--.*?-->", re.S)
CODE = re.compile(r"((?:^|(?<=\n))(`{3,}|~{3,})[^\n]*\n.*?\n\2[ \t]*(?=\n|$)|(?<!\})(`+)(?!`).*?(?<!`)\3(?!`))", re.S)
PAGE_LINK = re.compile(r"(\]\((?!\w+:)[^)#\s]+)\.md(#[^)]*)?\)")
ON_THE_SITE = "*A figure that answers stands here on the site.*"


@dataclass(frozen=True)
class Book:
    """What the pages of a book refer to."""

    root: Path = notebooks.ROOT

    @cached_property
    def labels(self) -> dict[str, Path]:
        return {label: page for page in notebooks.pages(self.root) for label in LABEL.findall(self._text(page))}

    @cached_property
    def titles(self) -> dict[Path, str]:
        return {page: re.search(r"^# (.+)", self._text(page), re.M)[1] for page in notebooks.pages(self.root)}

    @cached_property
    def works(self) -> dict[str, Entry]:
        return dict(parse_file(str(self.root / "book/references.bib")).entries)

    @cached_property
    def claims(self) -> dict[str, dict]:
        return json.loads((self.root / "book/results.json").read_text("utf-8"))["claims"]

    def _text(self, page: Path) -> str:
        if page.suffix == ".md":
            return page.read_text("utf-8")
        return "\n\n".join(cell.source for cell in nbformat.read(page, 4).cells if cell.cell_type == "markdown")


def notebook(page: Path, book: Book) -> nbformat.NotebookNode:
    """A page of the book as a notebook in which no MyST is left."""
    if page.suffix == ".md":
        cells = [nbformat.v4.new_markdown_cell(plain(page.read_text("utf-8"), page, book), id="page")]
        return nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict(notebooks.METADATA))
    made = nbformat.read(page, as_version=4)
    for cell in made.cells:
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source, page, book)
    return made


def plain(text: str, page: Path, book: Book) -> str:
    """A text of this page without MyST."""
    return _blocks(text.split("\n"), page, book)


# --- blocks ---


def _blocks(lines: list[str], page: Path, book: Book) -> str:
    made, prose, place = [], [], 0

    def finish() -> None:
        made.append(_prose("\n".join(prose), page, book))
        prose.clear()

    while place < len(lines):
        found = FENCE.fullmatch(lines[place])
        if not (found and found[2]):
            if found and found[1][0] != ":":  # code: nothing in it is a directive
                end = _end(lines, place, found[1])
                prose += lines[place:end]
                place = end
            prose.append(lines[place])
            place += 1
            continue
        finish()
        end = _end(lines, place, found[1])
        body = lines[place + 1 : end]
        while body and re.match(r":[\w-]+:", body[0]):
            body.pop(0)
        made.append(_directive(found[2], found[3].strip(), body, page, book))
        place = end + 1
    finish()
    return "\n".join(part for part in made if part)


def _end(lines: list[str], start: int, fence: str) -> int:
    for place in range(start + 1, len(lines)):
        line = lines[place].strip()
        if line and set(line) == {fence[0]} and len(line) >= len(fence):
            return place
    raise CourseError(lines[start], "this block has no end", f"close it with {fence}")


def _directive(name: str, title: str, body: list[str], page: Path, book: Book) -> str:
    if name == "admonition":
        inner = f"**{_prose(title, page, book)}**\n\n{_blocks(body, page, book).strip()}"
        return "\n".join(f"> {line}".rstrip() for line in inner.split("\n"))
    if name == "dropdown":
        inner = _blocks(body, page, book).strip()
        return f"<details>\n<summary>{_prose(title, page, book)}</summary>\n\n{inner}\n\n</details>"
    if name == "div":
        return _blocks(body, page, book)
    if name == "glossary":
        entries = re.sub(r"^(?! )(.+)$", r"**\1**<br>", "\n".join(body), flags=re.M)
        return _prose(re.sub(r"^ +", "", entries, flags=re.M), page, book)
    if name == "bibliography":
        return "\n".join(f"* {_reference(work)}" for work in sorted(book.works.values(), key=_by))
    if name == "exercise-times":
        return "```\n" + exercises.table(progress.chapters(book.root), {}) + "\n```"
    if name == "class-plan":
        return _prose(plans.table(plans.read(book.root)[title]), page, book)
    if name == "route":
        return _prose(progress.route(int(title), [line for line in body if line], book.root), page, book)
    if name == "chapter-cards":
        cards = (line.partition(":") for line in body if ":" in line)
        pages = ((_page(page, file.strip(), book), question.strip()) for file, _, question in cards)
        return "\n".join(f"* {_link(book.titles[there], there, page)}: {question}" for there, question in pages)
    if name == "explorable":
        return ON_THE_SITE
    raise CourseError(f"{{{name}}} on {page.name}", "nothing says how it looks without MyST", "teach tools/plain.py")


# --- words ---


def _prose(text: str, page: Path, book: Book) -> str:
    """Text between directives; code stays as it is, but for the role before it."""
    text = ROLE.sub(lambda found: _role(found[1], found[2], page, book), text)
    parts = re.split(CODE, text)
    for place in range(0, len(parts), 4):  # between two of these: a piece of code and its two fences
        part = LABEL.sub("", COMMENT.sub("", parts[place]))
        parts[place] = PAGE_LINK.sub(r"\1.ipynb\2)", part)
    return "".join(part for place, part in enumerate(parts) if place % 4 < 2)


def _role(name: str, text: str, page: Path, book: Book) -> str:
    titled = TITLED.fullmatch(text)
    words, target = (titled[1], titled[2]) if titled else (text, text)
    words = " ".join(words.split())
    if name == "term":
        return _link(words, book.root / "book/appendix/glossary.md", page)
    if name in ("cite:t", "cite:p"):
        cited = [(_by(book.works[key.strip()]), book.works[key.strip()].fields["year"]) for key in target.split(",")]
        if name == "cite:t":
            said = ", ".join(f"{who} ({year})" for who, year in cited)
        else:
            said = "(" + "; ".join(f"{who}, {year}" for who, year in cited) + ")"
        return _link(said, book.root / "book/bibliography.md", page)
    if name == "claim":
        return claimed(target, book)
    if name == "doc":
        there = _page(page, target, book)
        return _link(words if titled else book.titles[there], there, page)
    if name == "ref":
        return _link(words, book.labels[target], page)
    raise CourseError(f"{{{name}}} on {page.name}", "nothing says how it looks without MyST", "teach tools/plain.py")


def claimed(text: str, book: Book) -> str:
    """A recorded number as the role writes it: key, perhaps [index], perhaps a format."""
    key, places, form = re.fullmatch(r"([\w.-]+?)((?:\[\d+\])*)(?::([^:\[\]]+))?", text).groups()
    value = book.claims[key]["value"]
    for place in re.findall(r"\d+", places):
        value = value[int(place)]
    return format(value, form or "").replace("-", "\N{MINUS SIGN}").replace("%", "\N{NO-BREAK SPACE}%")


def _page(page: Path, target: str, book: Book) -> Path:
    there = (book.root / target.lstrip("/") if target.startswith("/") else page.parent / target).resolve()
    return next(each for each in book.titles if each.resolve().with_suffix("") == there.with_suffix(""))


def _link(words: str, there: Path, page: Path) -> str:
    way = Path(os.path.relpath(there, page.parent)).with_suffix(".ipynb").as_posix()
    return f"[{words}]({way})"


def _by(work: Entry) -> str:
    names = ["".join(" ".join(person.last_names)) for person in work.persons["author"]]
    names = [re.sub(r"\\.|[{}]", "", name) for name in names]
    return names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} et al."


def _reference(work: Entry) -> str:
    title = re.sub(r"[{}]", "", work.fields["title"])
    where = next(
        (work.fields[kind] for kind in ("journal", "booktitle", "publisher", "howpublished") if kind in work.fields), ""
    )
    address = work.fields.get("url") or (f"https://doi.org/{work.fields['doi']}" if "doi" in work.fields else "")
    said = f"{_by(work)} ({work.fields['year']}). *{title}*." + (f" {re.sub(r'[{}]', '', where)}." if where else "")
    return said + (f" <{address}>" if address else "")
