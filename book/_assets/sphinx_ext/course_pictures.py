"""Pictures that cells draw stand in the page itself, as lines and words (loaded by `_config.yml`).

Words are in the site's typeface, colours are variables of the site's style sheet (course_utils/colours.py): a picture
needs no other version for dark pages. What has many points is a raster within its picture; the cell says which, by
`rasterized=True`. A picture that is too heavy, or has a colour of its own, ends the build.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from sphinx.errors import ExtensionError

HEAVIEST = 150_000  # bytes
LEAST = 11  # pixels, the height of letters
PIXELS = 4 / 3  # in a point
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
WORDS = (f"{{{SVG}}}text", f"{{{SVG}}}tspan")
FOR_WORDS = r"color-mix(in srgb, \1 50%, var(--ex-ink))"
HEAD = re.compile(r"head-(\d+\.\d+)")
SIZE, FAMILY = re.compile(r"font-size: ([\d.]+)px"), re.compile(r"font-family: ([^;]+)")
PLACE = re.compile(r"translate\(([\d.-]+) ([\d.-]+)\)")
ElementTree.register_namespace("", SVG)


def inline(svg: str, alt: str, name: str) -> str:
    """The markup of a picture in a page; its ids begin with `name`, which is unique there.

    The same drawn for a telephone, if it stands within, follows it: the style sheet shows one of the two.
    """
    root = ElementTree.fromstring(svg)
    within = root.findall(f"{{{SVG}}}svg")
    for each in within:
        del each.attrib["display"]
        root.remove(each)
    wide = _drawn(root, alt, name, "course-picture")
    return wide + "".join(_drawn(each, alt, f"{name}-narrow", "course-picture course-narrow") for each in within)


def _drawn(root: ElementTree.Element, alt: str, name: str, kind: str) -> str:
    from course_utils import colours

    for part in [*root.findall(f"{{{SVG}}}metadata"), *root.findall(f".//{{{SVG}}}style/..")]:
        for style in part.findall(f"{{{SVG}}}style"):  # matplotlib's is for all that stands in the page
            part.remove(style)
        if part.tag.endswith("metadata"):
            root.remove(part)
    referred = sorted(set(re.findall(r'(?:url\(#|href="#)([^)"]+)', ElementTree.tostring(root, "unicode"))))
    _centred(root)
    sizes, ids = [], {id: f"{name}-{number}" for number, id in enumerate(referred)}
    for element in root.iter():
        if (id := element.attrib.pop("id", None)) in ids:
            element.set("id", ids[id])
        if id and (head := HEAD.match(id)):
            element.set("data-head", head[1])
        if address := element.attrib.pop(f"{{{XLINK}}}href", None):
            element.set("href", f"#{ids[address[1:]]}" if address.startswith("#") else address)
        digits = 2 if "id" in element.attrib else 1  # a mark is small, and drawn many times
        for place in {"d", "x", "y"} & set(element.attrib):
            element.set(place, " ".join(re.sub(rf"(\.\d{{{digits}}})\d+", r"\1", element.get(place)).split()))
        own = [f"{paint}: {element.attrib.pop(paint)}" for paint in sorted({"fill", "stroke"} & set(element.attrib))]
        if style := "; ".join(filter(None, [*own, element.get("style")])):
            if element.tag == WORDS[1]:  # the small letters of a formula are as large as the least that can be read
                style = SIZE.sub(lambda found: f"font-size: {max(float(found[1]), LEAST / PIXELS):g}px", style)
            if element.tag in WORDS:
                sizes += [float(size) * PIXELS for size in SIZE.findall(style)]
            style = FAMILY.sub(lambda found: f"font-family: var(--course-{kind_of(found[1])})", style)
            style = _coloured(style, ids, colours.variable)
            if element.tag in WORDS or any(child.tag in WORDS for child in element):
                # a hue that is right for a line is too pale for words
                style = re.sub(r"fill: (var\(--ex-(?!ink|ground)\w+\))", f"fill: {FOR_WORDS}", style)
            element.set("style", style)
        if clip := element.get("clip-path"):
            element.set("clip-path", _renamed(clip, ids))
        element.text, element.tail = (text if text and text.strip() else None for text in (element.text, element.tail))
    for group in root.iter(f"{{{SVG}}}g"):  # marks that look alike say once how
        marks = [mark for mark in group if mark.tag == f"{{{SVG}}}use"]
        styles = {mark.get("style") for mark in marks}
        if len(marks) > 1 and len(styles) == 1 and None not in styles:
            group.set("style", styles.pop())
            for mark in marks:
                del mark.attrib["style"]
    width = float(root.get("width").removesuffix("pt")) * PIXELS
    least = width * min(1, LEAST / min(sizes, default=LEAST))
    for attribute in ("width", "height", "version"):
        del root.attrib[attribute]
    root.attrib |= {"role": "img", "aria-label": alt, "class": kind}
    root.set("style", f"width: {width:.0f}px; min-width: {least:.0f}px")
    text = ElementTree.tostring(root, "unicode")
    if len(text) > HEAVIEST:
        raise ExtensionError(f"a picture ({alt:.60}…) has {len(text)} bytes: draw its many points with rasterized=True")
    return text


def _centred(root: ElementTree.Element) -> None:
    """Keep lines centred that were drawn so, one above the other: the page's letters have other widths."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    for group in root.iter(f"{{{SVG}}}g"):
        lines = [(text, PLACE.fullmatch(text.get("transform", ""))) for text in group.findall(WORDS[0]) if text.text]
        if len(lines) < 2 or not all(place for _, place in lines):
            continue
        middles = []
        for text, place in lines:
            font = FontProperties(family=FAMILY.search(text.get("style"))[1].strip("'"))
            font.set_size(float(SIZE.search(text.get("style"))[1]))
            wide = text_to_path.get_text_width_height_descent(text.text, font, ismath=False)[0]
            middles.append(float(place[1]) + wide / 2)
        if max(middles) - min(middles) < 1:
            for (text, place), middle in zip(lines, middles, strict=True):
                text.set("transform", f"translate({middle:.1f} {place[2]})")
                text.set("style", f"{text.get('style')}; text-anchor: middle")


def kind_of(families: str) -> str:
    return "mono" if "Mono" in families else "sans"


def _renamed(style: str, ids: dict[str, str]) -> str:
    return re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{ids[found[1]]})", style)


def _coloured(style: str, ids: dict[str, str], variable) -> str:
    def replaced(found):
        if (stands := variable(found[0])) is None:
            raise ExtensionError(f"a picture has the colour {found[0]}, which is none of course_utils/colours.py")
        return stands

    return re.sub(r"#[0-9a-f]{6}\b", replaced, _renamed(style, ids))


def put_into_page(app, doctree, docname) -> None:
    if app.builder.format != "html":
        return
    count = 0
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir) / image["uri"]
        if path.suffix != ".svg" or "jupyter_execute" not in path.parts:
            continue
        count += 1
        name = f"picture-{count}"
        try:
            markup = inline(path.read_text("utf-8"), image.get("alt", ""), name)
        except ExtensionError as error:
            raise ExtensionError(f"{docname}: {error}") from error
        image.replace_self(nodes.raw("", f'<div class="course-drawn">{markup}</div>', format="html"))


def write_colours(app, config) -> None:
    """The style sheet of colours, which `_config.yml` names among the site's."""
    from course_utils import colours

    folder = Path(app.srcdir) / "_build" / "colours"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "colours.css").write_text(colours.style(), "utf-8")
    config.html_static_path.append(str(folder))


def setup(app):
    app.connect("config-inited", write_colours)
    app.connect("doctree-resolved", put_into_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
