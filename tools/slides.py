"""Slides from Markdown and from the figures of the built site: reveal.js from its package, nothing from elsewhere.

`book/workshop/slides.md` holds the slides, each begun by a line `---`. A picture `![](fig-induction-random)` is the
chapter's figure of that name, with the chapter's alternative text. What follows a line `Notes:` is for the teacher:
`index.html?showNotes=true` shows it.
"""

import html
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

from course_utils.errors import CourseError
from tools import notebooks

ASSETS, FONTS = "book/_assets/slides", "book/_assets/static/vendor/fonts"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="vendor/reveal/reset.css">
<link rel="stylesheet" href="vendor/reveal/reveal.css">
<link rel="stylesheet" href="slides.css">
</head>
<body>
<main>
<div class="reveal">
<div class="slides">
{slides}
</div>
</div>
</main>
<script src="vendor/reveal/reveal.js"></script>
<script src="slides.js"></script>
</body>
</html>
"""


def build(out: Path, site: Path, root: Path = notebooks.ROOT) -> None:
    """Write index.html, the figures that it shows, and what it needs to run."""
    source = re.sub("<!--.*?-->", "", (root / "book/workshop/slides.md").read_text("utf-8"))
    shutil.copytree(root / ASSETS, out, dirs_exist_ok=True)
    (out / "figures").mkdir(exist_ok=True)
    shutil.copytree(root / FONTS, out / "vendor/fonts", dirs_exist_ok=True)
    wanted = set(re.findall(r"!\[\]\((fig-[\w-]+)\)", source))
    pictures = {}
    for name, (picture, alt) in figures(site, wanted).items():
        shutil.copyfile(picture, out / "figures" / f"{name}{picture.suffix}")
        pictures[name] = f'<img src="figures/{name}{picture.suffix}" alt="{html.escape(alt)}">'
    parts = re.split(r"^---$", source, flags=re.M)
    title = re.search(r"^# (.+)$", source, re.M)[1]
    text = PAGE.format(title=html.escape(title), slides="\n".join(_slide(part, pictures) for part in parts))
    (out / "index.html").write_text(text, "utf-8")


def figures(site: Path, names: set[str]) -> dict[str, tuple[Path, str]]:
    """Of each figure of the site, by name: the picture's file and its alternative text."""
    from bs4 import BeautifulSoup, SoupStrainer

    found = {}
    for page in sorted((site / "book").glob("*.html")):
        for figure in BeautifulSoup(page.read_text("utf-8"), "html.parser", parse_only=SoupStrainer("figure")):
            image = figure.find("img")
            if image and figure.get("id") in names:
                found[figure["id"]] = ((page.parent / unquote(image["src"])).resolve(), image["alt"])
    if missing := sorted(names - set(found)):
        raise CourseError(f"{', '.join(missing)}", "no page of the site has a figure of this name", "mend slides.md")
    return found


def _slide(text: str, pictures: dict[str, str]) -> str:
    from markdown_it import MarkdownIt

    shown, _, notes = text.partition("\nNotes:")
    write = MarkdownIt("commonmark", {"html": False}).enable("table").render
    body = re.sub(
        r'<p><img src="(fig-[\w-]+)" alt="" ?/?></p>', lambda m: f"<figure>{pictures[m[1]]}</figure>", write(shown)
    )
    aside = f'<aside class="notes">\n{write(notes.strip())}</aside>\n' if notes else ""
    return f"<section>\n{body}{aside}</section>"
