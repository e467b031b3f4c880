"""What `make workshop` builds, in a browser and in print: slides, the site in one file, the book on paper."""

import contextlib
import re
import zipfile

import pytest
from pypdf import PdfReader

from tools import paper, plans, slides, workshop

pytestmark = pytest.mark.browser

INTRO = """<!doctype html><title>Intro</title><article class="bd-article"><h1>Intro</h1>
<p><a href="01_one.html#end">on</a> <a href="#here">down</a> <a href="https://elsewhere.example/">out</a>
<a href="notes.txt">a file</a></p> <h2 id="here">Here</h2><p>Words of the introduction.</p></article>"""
ONE = """<!doctype html><title>One</title><article class="bd-article"><h1>One</h1>
<p><a href="intro.html">back</a> <a href="#here">down</a></p>
<details><summary>Hint</summary><p>Think of pairs.</p></details>
<div class="cell tag_solution"><details><summary>Show</summary><pre>return 42</pre></details></div>
<h2 id="here">Here</h2><div class="output"><pre>x = [{}]</pre></div>
<div class="cell"><details class="hide"><summary>How</summary><pre>machinery</pre></details></div>
<div class="cell"><details class="hide"><summary>Numbers</summary><div class="cell_input"><pre>machinery</pre></div>
<div class="cell_output"><pre>what it measured</pre></div></details></div>
<h2 id="end">End</h2></article>"""


@pytest.fixture(scope="module")
def print_folder(browser, tmp_path_factory):
    """A book of two pages, and under dist/ what it is in print."""
    folder = tmp_path_factory.mktemp("print")
    site = folder / "ödd site"
    (site / "book").mkdir(parents=True)
    (site / "book/intro.html").write_text(INTRO, "utf-8")
    (site / "book/01_one.html").write_text(ONE.format("1234567, " * 40), "utf-8")
    (folder / "_toc.yml").write_text("root: book/intro\nchapters:\n  - file: book/01_one\n")
    (folder / "book").mkdir()
    for name in ("intro", "01_one"):
        (folder / f"book/{name}.md").write_text(f"# {name}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "open_browser", lambda: contextlib.nullcontext(browser))
        paper.print_all(site, folder / "dist", folder)
    return folder


@pytest.fixture
def printed(print_folder):
    return PdfReader(print_folder / "dist/book.pdf")


def links(reader):
    """(page, where it leads) of every link: a page's number, an address, or None."""
    found = []
    for number, page in enumerate(reader.pages):
        for annotation in page.get("/Annots") or []:
            annotation = annotation.get_object()
            target = annotation.get("/A", {}).get("/URI")
            if "/Dest" in annotation:
                target = next(n for n, p in enumerate(reader.pages) if p.indirect_reference == annotation["/Dest"][0])
            found.append((number, target))
    return found


def test_the_printed_book_has_an_outline_and_contents(printed):
    top = [entry for entry in printed.outline if not isinstance(entry, list)]
    assert [entry.title for entry in top] == ["How small transformers compute", "Intro", "One"]
    assert [printed.get_destination_page_number(entry) for entry in top] == [0, 1, 2]
    assert [entry.title for entry in printed.outline[-1]] == ["Here", "End"]
    assert re.findall(r"(Intro|One) (\d)", printed.pages[0].extract_text()) == [("Intro", "2"), ("One", "3")]


def test_pages_are_numbered_throughout(printed, print_folder):
    last = [page.extract_text().split("\n")[-1] for page in printed.pages]
    assert last == ["How small transformers compute · 1", "Intro · 2", "One · 3"]
    for name in ("intro", "01_one"):
        (page,) = PdfReader(print_folder / f"dist/pdf/{name}.pdf").pages
        assert page.extract_text().endswith("· 1")


def test_the_joined_file_keeps_its_tags(printed):
    """Each page finds its tags, each tag its page, and the numbers at the foot are read by nobody."""
    root = printed.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"] == "en"
    tree = root["/StructTreeRoot"]
    assert [kid.get_object()["/S"] for kid in tree["/K"]] == ["/Document"] * 3
    numbers = [int(number) for number, _ in paper._entries(tree["/ParentTree"])]
    assert numbers == sorted(set(numbers))
    pages = [page.indirect_reference.idnum for page in printed.pages]
    of_page = {int(number): held.get_object() for number, held in paper._entries(tree["/ParentTree"])}
    for page in printed.pages:
        held = of_page[int(page["/StructParents"])]
        assert {each.get_object().raw_get("/Pg").idnum for each in held} == {page.indirect_reference.idnum}
        assert b"/Artifact BMC" in page.get_contents().get_data()
    assert len(set(pages)) == 3


def test_a_sheet_with_nothing_to_read_has_its_number_too(browser, tmp_path):
    page = browser.new_page()
    page.set_content('<p>Words</p><div style="break-before: page; height: 3cm; border: 1px solid"></div>')
    page.pdf(path=tmp_path / "one.pdf", outline=True, **paper.PAPER)
    printed = PdfReader(tmp_path / "one.pdf")
    assert ["/StructParents" in each for each in printed.pages] == [True, False]
    joined = paper._join(page, [("one", "One", printed)], tmp_path, tmp_path)
    assert [each.extract_text().split()[-1] for each in joined.pages] == ["1", "2"]
    page.close()


def test_links_lead_inside_the_book_or_out_but_never_to_a_file(printed):
    inside = [(0, 1), (0, 2), (1, 2), (1, 1), (1, "https://elsewhere.example/"), (1, None), (2, 1), (2, 2)]
    assert links(printed) == inside
    assert b"file:" not in b"".join(stream(printed))


def test_the_sheet_for_everybody_is_one_sheet(site, visit, tmp_path):
    """From a browser's own menu too, at full size and with its usual margins."""
    page = visit(site.as_uri()).open("book/workshop/handout.html")
    page.evaluate("window.MathJax.startup.promise")
    page.pdf(path=tmp_path / "sheet.pdf", format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "10mm"))
    assert len(PdfReader(tmp_path / "sheet.pdf").pages) == 1


def stream(reader):
    for page in reader.pages:
        yield str(page).encode()
        yield from (str(annotation.get_object()).encode() for annotation in page.get("/Annots") or [])


def test_print_has_the_hints_and_no_solution_and_cuts_no_line(printed):
    text = " ".join(page.extract_text() for page in printed.pages)
    assert (
        "Think of pairs" in text
        and "42" not in text
        and "machinery" not in text
        and "what it measured" in text
        and "Words of the introduction" in text
    )
    assert text.replace("\n", "").replace(" ", "").count("1234567,") == 40


@pytest.fixture(scope="module")
def talk(site, root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("töchter & slides")
    slides.build(folder, site, root)
    return folder


DECKS = [*plans.read(), "polls"]
MEASURED = """() => {
    const slide = Reveal.getCurrentSlide();
    const shown = [...slide.children].filter(part => !part.matches('aside')).at(-1);
    return {title: slide.innerText.split('\\n')[0], end: shown.offsetTop + shown.offsetHeight,
            wide: slide.scrollWidth, blank: [...slide.querySelectorAll('figure svg')].some(i => !i.clientWidth),
            kinds: [...slide.querySelectorAll('*')].map(part => `${part.localName} ${part.className}`)};
}"""


def test_slides_ask_no_other_host_and_are_accessible_and_fit(talk, visit):
    judged = set()
    for deck in DECKS:
        visited = visit(talk.as_uri())
        page = visited.open(f"{deck}.html")
        page.wait_for_function("Reveal.isReady()")
        visited.slim()
        total = page.evaluate("Reveal.getTotalSlides()")
        assert total >= 20
        for number in range(total):
            page.evaluate(f"Reveal.slide({number})")
            page.wait_for_function("[...document.images].every(image => image.complete)")
            measured = page.evaluate(MEASURED)
            assert measured["end"] <= 720 and measured["wide"] <= 1280 and not measured["blank"], (deck, measured)
            # Slides alike in all their parts are judged once; the first one of each deck for what surrounds it.
            if number == 0 or not judged.issuperset(measured["kinds"]):
                assert visited.violations() == [], (deck, measured["title"])
                judged.update(measured["kinds"])
        assert (visited.outside, visited.errors) == ([], []), deck
        visited.context.close()


def test_the_room_never_sees_the_notes_and_the_speaker_does(talk, visit):
    """The notes have a window of their own, which follows the slides."""
    visited = visit(talk.as_uri())
    page = visited.open("half_day.html?showNotes=true")
    page.wait_for_function("Reveal.isReady()")
    page.evaluate("Reveal.slide(6)")  # a prediction, whose notes have the answer
    seen = page.locator("body").inner_text()
    assert "What is left?" in seen and "It is the embedding" not in seen
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    speaker = opened.value
    speaker.get_by_text("It is the embedding").wait_for()
    page.keyboard.press("ArrowRight")
    speaker.get_by_text("Read it by columns").wait_for()
    assert "Read it by columns" not in page.locator("body").inner_text()
    assert visited.outside == []


def test_what_is_beside_the_decks(talk, visit, tmp_path):
    visited = visit(talk.as_uri())
    page = visited.open("index.html")
    links = [link.get_attribute("href") for link in page.locator("a").all()]
    assert links == [f"{deck}.html" for deck in DECKS] + ["cards.html"] and visited.violations() == []
    assert all((talk / link).is_file() for link in links)
    visited.open("cards.html").pdf(path=tmp_path / "cards.pdf", format="A4", print_background=True)
    (sheet,) = PdfReader(tmp_path / "cards.pdf").pages
    assert "".join(sheet.extract_text().split()) == "ABCD"


def test_the_site_in_one_file_opens_from_a_folder(site, visit, tmp_path):
    workshop.zip_site(site, tmp_path / "site.zip")
    with zipfile.ZipFile(tmp_path / "site.zip") as archive:
        archive.extractall(tmp_path / "a föld & er")
    visited = visit((tmp_path / "a föld & er" / workshop.SITE_FOLDER).as_uri())
    page = visited.page
    page.goto(f"{visited.home}/index.html")  # which leads to the introduction
    page.wait_for_url("**/book/intro.html")
    page.get_by_role("link", name="Induction heads", exact=False).first.click()
    page.wait_for_url("**/07_induction_heads.html")
    assert page.locator("main svg.course-picture").count() >= 5
    assert (visited.outside, visited.errors) == ([], [])
