"""The page of exercises and times, drawn from the chapters (loaded by `_config.yml`).

The directive {exercise-times} writes two tables: a line for each chapter, with minutes and the seconds that its cells
took when this site was built; and a line for each exercise. Nothing of it is written by hand, so nothing can drift.
{chapter-cards} makes a card of each line "FILE: question", {route} a table of the lines "FILE: exercises" that take so
many hours, and {class-plan} the table of a plan for a class.
"""

import sys
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective, SphinxRole


class run_time(nodes.Inline, nodes.TextElement):
    """Holds the place of a number that is known once all chapters have run."""


class RunTime(SphinxRole):
    def run(self):
        return [run_time("", "", page=self.text)], []


def _parsed(directive: SphinxDirective, text: str) -> list[nodes.Node]:
    """What a directive has written, as the page would have it."""
    box = nodes.container()
    directive.state.nested_parse(StringList(text.splitlines(), directive.name), directive.content_offset, box)
    return box.children


class ExerciseTimes(SphinxDirective):
    def run(self):
        from tools import progress

        chapters = progress.chapters()
        for chapter in chapters:
            self.env.note_dependency(str(chapter.path))
        # MyST-NB then writes this page again whenever a chapter has run again.
        NbMetadataCollector.set_doc_data(self.env, self.env.docname, "has_exec_table", True)
        return _parsed(self, markdown(chapters))


def markdown(chapters) -> str:
    """Both tables, as this book's pages write them."""
    rows = ["| chapter | to read | exercises | with exercises | runs in |", "|---|--:|--:|--:|--:|"]
    for chapter in chapters:
        page = f"book/{chapter.path.stem}"
        more = sum(exercise.minutes for exercise in chapter.exercises)
        both = f"{chapter.minutes + more} min" if more else "—"
        runs = f"{{run-time}}`{page}`" if chapter.path.suffix == ".ipynb" else "—"
        name = f"[{chapter.number} · {chapter.title}](/{page}{chapter.path.suffix})"
        rows.append(f"| {name} | {chapter.minutes} min | {len(chapter.exercises) or '—'} | {both} | {runs} |")
    reading = sum(chapter.minutes for chapter in chapters)
    exercises = [exercise for chapter in chapters for exercise in chapter.exercises]
    hours = f"{(reading + sum(exercise.minutes for exercise in exercises)) / 60:.0f} h"
    rows += [f"| **together** | **{reading / 60:.0f} h** | **{len(exercises)}** | **{hours}** | |", ""]
    rows += ["## Every exercise", "", "| exercise | title | difficulty | minutes |", "|---|---|---|--:|"]
    for exercise in exercises:
        number = exercise.name.removeprefix("Exercise ")
        rows.append(f"| {number} | {exercise.title} | {exercise.difficulty} | {exercise.minutes} |")
    return "\n".join(rows)


class ClassPlan(SphinxDirective):
    """The table of a plan of book/workshop/plans.yml."""

    required_arguments = 1

    def run(self):
        from tools import plans

        self.env.note_dependency(str(Path(self.env.srcdir, "book/workshop/plans.yml")))
        return _parsed(self, plans.table(plans.read()[self.arguments[0]]))


class Route(SphinxDirective):
    """A way through the book that takes the hours that are its argument."""

    required_arguments = 1
    has_content = True

    def run(self):
        from tools import progress

        for stop in self.content:
            self.env.note_dependency(str(Path(self.env.srcdir, "book", f"{stop.partition(':')[0]}.ipynb")))
        return _parsed(self, progress.route(int(self.arguments[0]), list(self.content)))


class ChapterCards(SphinxDirective):
    """A card for each chapter: a picture, its title, the question that it is given here, and its minutes."""

    has_content = True

    def run(self):
        from tools import progress

        lines = ["::::{grid} 1 2 3 3", ":gutter: 3", ""]
        for line in self.content:
            stem, question = line.split(": ", 1)
            [path] = Path(self.env.srcdir, "book").glob(f"{stem}.*")
            chapter = progress.read_chapter(path)
            self.env.note_dependency(str(chapter.path))
            lines += [
                ":::{grid-item-card}", f":link: /book/{stem}", ":link-type: doc", ":class-card: course-card",
                f":img-top: /book/_assets/static/cards/{stem[:2]}.svg", ':img-alt: ""', "",
                f"**{chapter.number} · {chapter.title}**", "", question, "", f"{chapter.minutes} minutes", ":::", "",
            ]  # fmt: skip
        return _parsed(self, "\n".join([*lines, "::::"]))


class FillIn(SphinxPostTransform):
    default_priority = 8

    def run(self, **kwargs) -> None:
        for node in list(self.document.findall(run_time)):
            data = NbMetadataCollector.get_exec_data(self.env, node["page"]) or {}
            seconds = data.get("runtime")
            node.replace_self(nodes.Text("—" if seconds is None else f"{seconds:.0f} s"))


def setup(app):
    sys.path.insert(0, str(app.srcdir))  # for tools/
    app.add_node(run_time)
    app.add_role("run-time", RunTime())
    app.add_directive("exercise-times", ExerciseTimes)
    app.add_directive("class-plan", ClassPlan)
    app.add_directive("chapter-cards", ChapterCards)
    app.add_directive("route", Route)
    app.add_post_transform(FillIn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
