"""What stands in a chapter's margin: a circuit that names real sections, parts, heads and texts, and definitions."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import BeautifulSoup
from site_scan import parsed

from course_utils import load_model, load_tokenizer

CHAPTERS = 12


def read(path: Path) -> tuple[str, BeautifulSoup]:
    """A page as it is written, and as it is parsed."""
    text = path.read_text("utf-8")
    return text, parsed(text)


def test_every_chapter_with_a_model_has_its_circuit_and_it_grows(course_margin, root):
    pages = sorted(path.stem for path in (root / "book").glob("[01]*.ipynb"))
    assert list(course_margin.chapters()) == pages and len(pages) == CHAPTERS
    sizes = [len(course_margin.circuit(**chapter["draws"])) for chapter in course_margin.chapters().values()]
    assert sizes[1] < min(sizes[2:5]) and max(sizes[2:5]) < min(sizes[5:10]) and max(sizes[5:10]) < min(sizes[10:])


@pytest.mark.parametrize("number", range(CHAPTERS))
def test_a_circuit_lights_parts_that_it_has_for_sections_that_are_there(site, course_margin, number):
    page = list(course_margin.chapters())[number]
    text, made = read(site / f"book/{page}.html")
    [circuit] = made.select(".course-circuit")
    parts = {name for part in circuit.select("[data-part]") for name in part["data-part"].split()}
    states = circuit.select("li")
    assert len(states) >= 2
    for state in states:
        assert set(state["data-lit"].split()) <= parts, state
        assert made.find(id=state["data-section"]), state
    places = [text.index(f'id="{state["data-section"]}"') for state in states]
    assert places == sorted(places)


@pytest.mark.parametrize("number", range(CHAPTERS))
def test_the_lab_can_open_with_what_a_circuit_asks_for(site, course_margin, number):
    page = list(course_margin.chapters())[number]
    for link in read(site / f"book/{page}.html")[1].select(".course-circuit a"):
        asked = {key: value for key, [value] in parse_qs(urlsplit(link["href"]).fragment).items()}
        cfg = load_model(asked["model"]).cfg
        assert 3 < len(load_tokenizer().encode(asked["text"])) < 60
        for head in f"{asked.get('off', '')} {asked.get('cut', '')}".split():
            layer, index = map(int, head.split("."))
            assert layer < cfg.n_layers and index < cfg.n_heads, link
        assert ("off" in asked or "cut" in asked) == (link.text != "In the lab")


def test_other_pages_have_no_circuit(course_margin):
    assert course_margin.figure("book/intro", "lab.html") == ""


def test_a_page_brings_the_definitions_of_the_terms_that_it_links(site):
    found = 0
    for path in (site / "book").glob("[01]*.html"):
        text, made = read(path)
        linked = set(re.findall(r"glossary\.html#(term-[^\"]+)", text))
        [kept] = made.select("template.course-definitions") or [None]
        brought = {each["data-term"]: each for each in kept.select("[data-term]")} if kept else {}
        assert linked == set(brought), path.name
        for each in brought.values():  # a template's words are no text of the page
            said = re.sub(r"<[^>]+>", " ", each.decode_contents())
            assert len(said.split()) > 4 and not each.select("a, [id]"), each
        found += len(brought)
    assert found > 50
