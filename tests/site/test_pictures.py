"""Pictures that cells have drawn stand in the pages as lines and words, and take the page's colours and typeface."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import site_scan
from docutils import nodes
from sphinx.errors import ExtensionError

from course_utils import roles

ALT = 'A line & "two" <points>'
SMALL = """<?xml version="1.0"?><svg xmlns:xlink="http://www.w3.org/1999/xlink" width="720pt" height="72pt"
viewBox="0 0 720 72" xmlns="http://www.w3.org/2000/svg" version="1.1"><metadata><date/></metadata>
<defs><style type="text/css">*{stroke-linejoin: round}</style></defs>
<g id="figure_1"><g id="patch_1"><path d="M 0 72 L 1.23456 72 z" style="fill: #ffffff"/></g>
<defs><path id="m1" d="M 0 0" style="stroke: #d55e00"/><clipPath id="p1"><rect x="0"/></clipPath></defs>
<g id="head-1.6" clip-path="url(#p1)"><use xlink:href="#m1" style="fill: #808080"/></g>
<text style="font-size: 9px; font-family: 'DejaVu Sans'; text-anchor: middle; fill: #d55e00">a</text></g></svg>"""


def test_a_picture_is_put_into_the_page(course_pictures):
    text = course_pictures.inline(SMALL, ALT, "picture-7")
    assert 'role="img"' in text and 'aria-label="A line &amp; &quot;two&quot; &lt;points&gt;"' in text
    assert re.findall(r' id="([^"]+)"', text) == ["picture-7-0", "picture-7-1"], "only what is referred to"
    assert 'href="#picture-7-0"' in text and 'clip-path="url(#picture-7-1)"' in text
    assert 'data-head="1.6"' in text and "M 0 72 L 1.2 72 z" in text
    assert not re.search("xlink|metadata|<style|DejaVu|#[0-9a-f]{6}", text)
    assert "font-family: var(--course-sans)" in text and "fill: var(--ex-ground)" in text
    assert "fill: color-mix(in srgb, var(--ex-orange) 50%, var(--ex-ink))" in text, "words are darker than lines"
    assert "stroke: var(--ex-orange)" in text and "width: 960px; min-width: 880px" in text  # 9 points are 12 pixels


def test_the_same_for_a_telephone_follows_with_ids_of_its_own(course_pictures):
    inner = SMALL[SMALL.index("<svg") :]
    both = SMALL.replace("</svg>", inner.replace("<svg", '<svg display="none"', 1) + "</svg>")
    wide, narrow = course_pictures.inline(both, ALT, "picture-7").split("</svg>")[:2]
    assert 'class="course-picture"' in wide and 'class="course-picture course-narrow"' in narrow
    assert narrow.replace("picture-7-narrow", "picture-7").replace(" course-narrow", "") == wide
    assert "display" not in narrow


def test_lines_that_were_centred_stay_so_in_another_typeface(course_pictures):
    def drawn(*places):
        lines = [SMALL[SMALL.index("<text") : SMALL.index("</g></svg>")].replace("text-anchor: middle; ", "")] * 2
        lines[1] = lines[1].replace(">a<", ">iiiiii<")
        lines = [
            line.replace("<text", f'<text transform="translate({x} 9)"') for line, x in zip(lines, places, strict=True)
        ]
        return course_pictures.inline(SMALL.replace("<text", f"<g>{''.join(lines)}</g><text"), ALT, "p")

    centred = drawn(100 - 5.5 / 2, 100 - 15 / 2)  # as wide as the letters are in the typeface of the drawing
    places = [float(x) for x in re.findall(r"translate\(([\d.]+) 9\)", centred)]
    assert places == pytest.approx([100, 100], abs=0.2) and centred.count("text-anchor: middle") == 3
    beside = drawn(100, 100)
    assert "translate(100 9)" in beside and beside.count("text-anchor: middle") == 1


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [("#808080", "#123456", "colour #123456"), ("M 0 0", "M 0 0" + " L 1 1" * 30_000, "rasterized=True")],
)
def test_a_picture_with_a_colour_of_its_own_or_too_heavy_ends_the_build(course_pictures, tmp_path, was, becomes, says):
    (tmp_path / "jupyter_execute").mkdir()
    (tmp_path / "jupyter_execute/1.svg").write_text(SMALL.replace(was, becomes))
    image = nodes.image(uri="jupyter_execute/1.svg", alt=ALT)
    app = SimpleNamespace(srcdir=tmp_path, builder=SimpleNamespace(format="html"))
    with pytest.raises(ExtensionError, match=f"book/01_one: .*{re.escape(says)}"):
        course_pictures.put_into_page(app, nodes.container("", image), "book/01_one")


def test_names_of_heads_carry_the_role_that_the_card_gives_them(course_heads):
    for role in roles.LEAST:
        name = "{}.{}".format(*roles.heads_of("two-layer", role)[0])
        assert f'data-head="{name}" data-role="{role}"><code>{name}<' in course_heads.button(name)
    assert [course_heads.button(name) for name in ("0.0", "0.8 → 1.1", "x.1")] == ["", "", ""]


def test_no_chapter_shows_a_raster_that_is_not_within_a_picture(site):
    images = {image["src"] for _, soup in site_scan.pages(site) for image in soup.select("article img")}
    assert {Path(src).suffix for src in images} == {".svg"}


def test_every_picture_can_be_read_in_the_column_of_the_text(site, course_pictures):
    pictures = [(path, each) for path, soup in site_scan.pages(site) for each in soup.select("svg.course-picture")]
    assert len(pictures) >= 60
    for path, picture in pictures:
        least = int(re.search(r"min-width: (\d+)px", picture["style"])[1])
        assert least <= 680, (path.name, picture["aria-label"])
        assert picture["role"] == "img" and len(picture["aria-label"]) >= site_scan.SHORTEST_ALT
        assert len(str(picture)) <= 1.05 * course_pictures.HEAVIEST


def test_every_table_of_tokens_is_a_figure_that_text_can_refer_to(site):
    tables = [table for _, soup in site_scan.pages(site) for table in soup.select(".course-tokens")]
    assert len(tables) >= 5
    assert all(table.find_parent("figure", id=True).figcaption.get_text(strip=True) for table in tables)


def test_no_page_has_an_id_twice(site):
    for path, soup in site_scan.pages(site):
        ids = [tag["id"] for tag in soup.select("svg.course-picture [id]")]
        everything = [tag["id"] for tag in soup.find_all(id=True)]
        assert len(set(ids)) == len(ids) and not [id for id in ids if everything.count(id) > 1], path.name
