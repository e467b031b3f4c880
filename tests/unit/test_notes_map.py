"""The map of the reading notes: every item has a place in the book that exists, or a planned chapter."""

import json
import posixpath
import re
from pathlib import Path

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt
from myst_parser.mdit_to_docutils.base import default_slugify

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "book"
PARTS = json.loads((BOOK / "notes_map.json").read_text(encoding="utf-8"))["parts"]
ITEMS = [item for part in PARTS for item in part["items"]]
PLACES = sorted({(place["page"], place["heading"]) for item in ITEMS for place in item["places"]})
INTRO = (BOOK / "intro.md").read_text(encoding="utf-8")
MAP = (BOOK / "appendix" / "map_of_the_notes.md").read_text(encoding="utf-8")


def pages_in_toc() -> set[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return {toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])}


def headings(page: str) -> list[str]:
    """The headings of a page as the site has them: Markdown's text, no code, no fenced blocks."""
    text = (BOOK / page).read_text(encoding="utf-8")
    if page.endswith(".ipynb"):
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    tokens = MarkdownIt().parse(text)
    return [
        "".join(child.content for child in tokens[i + 1].children if child.type in ("text", "code_inline"))
        for i, token in enumerate(tokens)
        if token.type == "heading_open"
    ]


def row(item: dict) -> str:
    """An item as its row in the map."""
    if item["kind"] == "heading":
        note = f"**{item['note']}**"
    elif item["kind"] == "picture":
        note = f"*Picture {item['note']}:* {item['shows']}"
    else:
        note = item["note"]
    where = [link(**place) for place in item["places"]]
    where += [f"*planned: chapter {chapter}*" for chapter in item.get("planned", [])]
    care = f". {item['care'].replace('](appendix/', '](')}" if "care" in item else ""
    return f"| {note.replace('<', '&lt;')} | {'; '.join(where)}{care} |"


def link(page: str, heading: str) -> str:
    chapter = re.match(r"\d+", page)
    label = f"{int(chapter[0])} · {heading}" if chapter else heading
    return f"[{label}]({posixpath.relpath(page, 'appendix')}#{default_slugify(heading)})"


def test_the_page_shows_exactly_the_items_of_the_map():
    shown = re.findall(
        r":::\{dropdown\} (.+)\n\| in the notes \| in this book \|\n\|---\|---\|\n((?:\|.*\|\n)+):::\n", MAP
    )
    expected = [(part["title"], [row(item) for item in part["items"]]) for part in PARTS]
    assert [(title, rows.splitlines()) for title, rows in shown] == expected


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item["note"][:40])
def test_an_item_has_a_place_or_a_planned_chapter(item):
    assert item["places"] or item.get("planned")


@pytest.mark.parametrize(("page", "heading"), PLACES, ids=lambda part: part[:40])
def test_a_place_is_a_heading_of_a_page_of_the_book(page, heading):
    assert f"book/{Path(page).with_suffix('')}" in pages_in_toc()
    assert headings(page).count(heading) == 1, f"{page} has the headings {headings(page)}"


def test_planned_chapters_are_not_in_the_book_yet():
    numbers = (re.match(r"book/(\d+)_", page) for page in pages_in_toc())
    here = {int(number[1]) for number in numbers if number}
    planned = {chapter for item in ITEMS for chapter in item.get("planned", [])}
    listed = {int(number) for number in re.findall(r"^\| (\d+) .*\| planned \|$", INTRO, flags=re.MULTILINE)}
    assert not planned & here, "written by now: give these items their places"
    assert not listed & here, "written by now: the introduction still says planned"
    assert planned <= listed, "promised in the map, but not in the introduction's list of chapters"


def test_every_picture_of_the_notes_is_there_once():
    stamps = [item["note"] for item in ITEMS if item["kind"] == "picture"]
    assert len(stamps) == len(set(stamps)) == 26
    assert all(re.fullmatch(r"\d{6}", stamp) for stamp in stamps)
