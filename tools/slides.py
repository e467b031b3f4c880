"""Slides: a deck for each plan, polls from the quizzes, cards to vote with. reveal.js from its package, nothing else.

`book/workshop/slides.md` holds the slides of the chapters: `<!-- 07 -->` begins chapter 7's, a line `---` the next one.
A picture `![](fig-induction-random)` is the chapter's figure of that name, with the chapter's alternative text;
`![0 50 100 50](fig-…)` its lower half, larger: left, top, width and height, in hundredths of the whole. What
follows a line `Notes:` is for the teacher alone: the key S opens it in a window of its own. Agenda, breaks and
exercises come from the plan.
"""

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat

from course_utils import colours
from course_utils.errors import CourseError
from tools import class_notebook, notebooks, plain, plans, polls, progress

ASSETS, FONTS = "book/_assets/slides", "book/_assets/static/vendor/fonts"
TITLE = "How small transformers compute"
PICTURES = r'<svg .*?</svg>|<div class="course-tokens.*?</table>\s*</div>'
FIGURE = re.compile(rf'<figure [^>]*\bid="(fig-[\w-]+)">(?:(?!</figure>).)*?({PICTURES})', re.S)
HIGHEST = 540  # pixels that a part of a picture may be high
PICTURE = r"!\[[\d ]*\]\((fig-[\w-]+)\)"


def build(out: Path, site: Path, root: Path = notebooks.ROOT) -> None:
    """Write a file for each deck, a page that lists them, and what they need to run."""
    shutil.copytree(root / ASSETS, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("deck.html"))
    shutil.copytree(root / FONTS, out / "vendor/fonts", dirs_exist_ok=True)
    decks = {plan.key: (f"{plan.day}: {plan.title}", list(of_plan(plan, root))) for plan in plans.read(root).values()}
    decks["polls"] = ("Polls: every question of the quizzes, to vote on with cards", list(polls.slides()))
    wanted = set(re.findall(PICTURE, "".join(text for _, slides in decks.values() for text in slides)))
    pictures = figures(site, wanted)
    page = (root / ASSETS / "deck.html").read_text("utf-8")
    for key, (title, slides) in decks.items():
        text = page.replace("{slides}", "\n".join(_slide(text, pictures) for text in slides))
        (out / f"{key}.html").write_text(text.replace("{title}", html.escape(title)), "utf-8")
    links = "\n".join(f'<li><a href="{key}.html">{html.escape(title)}</a></li>' for key, (title, _) in decks.items())
    index = (root / ASSETS / "index.html").read_text("utf-8")
    (out / "index.html").write_text(index.replace("{decks}", links), "utf-8")


def of_plan(plan: plans.Plan, root: Path = notebooks.ROOT) -> Iterator[str]:
    """The slides of a plan, as Markdown."""
    ours, book = by_chapter(root), plain.Book(root)
    pages = {page.stem[:2]: page for page in notebooks.pages(root) if re.match(r"\d\d_", page.name)}
    yield f"# {TITLE}\n\n{plan.day}: {plan.title}"
    for number, sitting in enumerate(plan.sittings):
        rows = (f"| {plans.clock(part.starts)} | {part.what} |" for part in sitting.parts)
        yield "\n".join([f"## {sitting.name or 'Agenda'}", "", "| | |", "|--:|---|", *rows])
        if number == 0:
            yield from ours["opening"]
        for part in sitting.parts:
            if part.is_break:
                yield f"# Break\n\n{part.minutes} minutes, until {plans.clock(part.starts + part.minutes)}"
                continue
            for chapter in part.chapters:
                slides = [text for text in ours[chapter] if not any(word in text for word in part.skip)]
                closing = [text for text in slides if text.startswith("## Checkpoint")]
                opening = [text for text in slides if text not in closing]
                if chapter == part.chapters[0]:
                    opening[0] = _with_note(opening[0], part)
                yield from opening
                yield from (exercise(each, pages[chapter], plan, book) for each in _of(part, chapter))
                yield from closing
            others = {_chapter(each) for each in part.exercises} - set(part.chapters)  # begun in an earlier part
            yield from (exercise(each, pages[name], plan, book) for name in sorted(others) for each in _of(part, name))


def _chapter(each: progress.Exercise) -> str:
    return f"{int(each.name.split()[1].split('.')[0]):02}"


def _of(part: plans.Part, chapter: str) -> list[progress.Exercise]:
    return [each for each in part.exercises if _chapter(each) == chapter]


def by_chapter(root: Path = notebooks.ROOT) -> dict[str, list[str]]:
    """The slides of each chapter."""
    source = (root / "book/workshop/slides.md").read_text("utf-8")
    parts = re.split(r"^<!-- (opening|\d\d) -->$", source, flags=re.M)[1:]
    texts = (re.sub("<!--.*?-->", "", text) for text in parts[1::2])
    return {
        name: [slide.strip() for slide in re.split(r"^---$", text, flags=re.M)]
        for name, text in zip(parts[::2], texts, strict=True)
    }


def _with_note(slide: str, part: plans.Part) -> str:
    cut = f" Cut: {part.cut}" if part.cut else ""
    note = f"{plans.clock(part.starts)}, {part.minutes} minutes. {part.how}{cut}"
    return f"{slide}\n\n{note}" if "\nNotes:" in slide else f"{slide}\n\nNotes: {note}"


def exercise(each, page: Path, plan: plans.Plan, book: plain.Book) -> str:
    """A slide that says what to do now, where, and how long it takes."""
    cells = nbformat.read(page, as_version=4).cells
    text = plain.plain(next(cell.source for cell in cells if class_notebook.asks(cell, page, each.name)), page, book)
    task = re.search(r"^### Exercise \d+: .+\n\n.+\n\n((?:.+\n?)+)", text, re.M)[1]
    task = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", task)  # a slide leads nowhere
    task = re.sub(r"(?<=[.?!])\s[^.?!]*[^.?!)\s]\s*$", "", task)  # what would lead on to a formula
    task = re.sub(r"\$([\w ]+)\$", r"`\1`", task)
    where = f"{plan.notebook}.ipynb" if plan.notebook else page.name
    return (
        f"## {each.name}: {each.title}\n\n{task}\n\n"
        f"**{each.minutes} minutes**, {each.difficulty}, in `{where}`\n\n"
        "> Stuck? Open the hint. Passed? Ask your neighbour how they did it."
    )


def figures(site: Path, names: set[str]) -> dict[str, str]:
    """Of each figure of the site, by name: the markup of its picture or tokens, ids its own, in light colours."""
    found = {}
    for page in sorted((site / "book").glob("*.html")):
        for name, picture in FIGURE.findall(page.read_text("utf-8")):
            if name in names:
                own = re.sub(r"\bpicture-\d+-", f"{name}-", re.sub(r' style="width: [^"]+"', "", picture))
                found[name] = re.sub(r"var\(--([\w-]+)\)", lambda variable: _of_slides(variable[1]), own)
    if missing := sorted(names - set(found)):
        raise CourseError(f"{', '.join(missing)}", "no page of the site has a figure of this name", "mend slides.md")
    return found


def _of_slides(variable: str) -> str:
    """What a variable of the site stands for here."""
    fonts = {"course-sans": "Inter, sans-serif", "course-mono": "ui-monospace, monospace"}
    return fonts.get(variable) or colours.light(variable.removeprefix("ex-"))


def _slide(text: str, pictures: dict[str, str]) -> str:
    from markdown_it import MarkdownIt

    shown, _, notes = text.partition("\nNotes:")
    write = MarkdownIt("commonmark", {"html": False}).enable("table").render
    body = re.sub(
        r'<p><img src="(fig-[\w-]+)" alt="([\d ]*)" ?/?></p>',
        lambda m: f"<figure>{_part(pictures[m[1]], m[2])}</figure>",
        write(shown),
    )
    aside = f'<aside class="notes">\n{write(notes.strip())}</aside>\n' if notes else ""
    return f"<section>\n{body}{aside}</section>"


def _part(picture: str, hundredths: str) -> str:
    """Of a picture what lies in a rectangle."""
    if not hundredths:
        return picture
    left, top, width, height = (int(each) / 100 for each in hundredths.split())
    x, y, wide, high = map(float, re.search(r'viewBox="([^"]+)"', picture)[1].split())
    box = (x + left * wide, y + top * high, width * wide, height * high)
    # no wider than it is at its height: what lies beside it would show
    room = f"max-width: {HIGHEST * box[2] / box[3]:.0f}px"
    told = f'class="part" style="{room}" viewBox="{" ".join(f"{number:.2f}" for number in box)}"'
    return re.sub(r'viewBox="[^"]+"', told, picture, count=1)
