"""What the site needs beyond Jupyter Book's own settings (loaded by `_config.yml`).

1. Jupyter Book's execution cache knows a notebook's cells and nothing else. Here the cache is kept under a
   digest of all that the cells use (the package, its data, the recorded results, the pinned versions), so that
   a change in any of these executes the chapters again.
2. The buttons that open a chapter elsewhere appear only if `_config.yml` has the repository's address; Colab's opens
   the student edition, in the branch of that name.
3. Sphinx copies style sheets and scripts only when it writes a page: a change in them writes all pages.
4. Two kinds of element are written with names or roles that assistive technology cannot use; they are mended.
5. When a build has succeeded, `source_digest.txt` beside the site says what it was built from. Tests read it. After
   one that has failed, for a warning too, the next one reads all pages again: it fails for the same reason.
6. The role {claim}`02.loss.unigram:.2f` writes a number of `book/results.json`; `[1]` after the key, one of a list.
7. The directive {explorable} puts a figure that answers on a page without cells. Its content is the call, as a cell
   would have it: `quiz("13")`; the names of `course_utils` and `course_utils.figures` are known.
8. If the site has the induction lab, the models' weights are put beside it, in `_static/lab`.
9. Pictures are drawn into the page whatever MPLBACKEND said before. A cell that has a picture's alternative text, and
   no picture, ends the build.
10. Cells use the package that lies beside them: a build with the one of another folder is refused.
11. A chapter has the number with which its file begins, also where the contents leave numbers free.
12. No page has scripts or handlers of events in its markup, so that a site's policy may forbid them: scripts are moved
    into files, handlers into `data-click`, for course.js.
13. Each page's source also lies beside itself in a script: course.js downloads it from there if the site is a folder.
14. A chapter has the choice of how much code it shows below its title, and its figures that answer are numbered.
15. A cell's caption goes with its pictures alone.
16. Figures of a page that is no chapter are counted there, not on from page to page.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from docutils import nodes
from myst_nb import sphinx_
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles

USED_BY_CELLS = ("course_utils", "book/results.json", "requirements.txt")
USED_BY_SITE = (*USED_BY_CELLS, "book", "tools", "_config.yml", "_toc.yml")
DIGEST_FILE = "source_digest.txt"
# What the kernels of a build find in their environment: pictures are drawn into the page.
KERNELS = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "COURSE_CLAIMS": "strict"}
KERNELS |= {"COURSE_PICTURES": "svg"}
# What systems, editors and Python leave lying about, and text that is for training only; nobody tracks it.
LEFT_OUT = [".*", "__pycache__", "*.py[co]", "*~", "#*#", "*.orig", "*.rej", "*.bak", "*.partial", "*.fresh.json"]
LEFT_OUT += ["Thumbs.db", "desktop.ini", "Icon\r"]
TRAINING_TEXT = "course_utils/data/full"


def sources(root: Path, parts: Iterable[str]) -> Iterator[str]:
    """The files below `parts` that something is made of, from `root`."""
    for part in parts:
        top = root / part
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            inside = path.relative_to(root)
            left_out = any(fnmatch(name, pattern) for name in inside.parts for pattern in LEFT_OUT)
            if path.is_file() and not left_out and not inside.is_relative_to(TRAINING_TEXT):
                yield inside.as_posix()


def digest(root: Path, parts: Iterable[str]) -> str:
    """One hash over the names and contents of all sources below `parts`."""
    total, names = hashlib.sha256(), list(sources(root, parts))
    if not names:
        raise ExtensionError(f"{root} has no files in {', '.join(parts)}: a digest of nothing would never change")
    for name in names:
        total.update(name.encode() + b"\0")
        total.update(hashlib.sha256((root / name).read_bytes()).digest())
    return total.hexdigest()


def refuse_another_folders_package(app, config) -> None:
    """In a copied folder the environment, copied with it, would run the cells with the original's package."""
    ask = "import importlib.util, os; found = importlib.util.find_spec('course_utils')\n"
    ask += "os.write(1, os.fsencode(found.origin if found else ''))"
    book = Path(app.srcdir) / "book"  # cells run there, and not where the package could be found by chance
    answer = subprocess.run([sys.executable, "-c", ask], cwd=book, stdout=subprocess.PIPE, check=True).stdout
    found, wanted = os.fsdecode(answer), Path(app.srcdir) / "course_utils" / "__init__.py"
    if not found or Path(found).resolve() != wanted.resolve():
        raise ExtensionError(
            f"the chapters would import {found or 'no course_utils'}, not {wanted}: this folder was moved or copied. "
            "Remedy: `make` makes the environment anew; without make, see README.md"
        )


def execution_cache(root: Path) -> Path:
    """Another folder whenever something that the cells use has changed; those of before are removed."""
    caches = root / "_build" / ".jupyter_cache"
    cache = caches / digest(root, USED_BY_CELLS)[:16]
    for old in caches.glob("*"):
        if old != cache:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    return cache


def key_execution_cache(app, config) -> None:
    """Execute afresh whenever something that the cells use has changed."""
    cache = execution_cache(Path(app.srcdir))
    # MyST-NB compares this setting with that of the last build and reads all pages again if it differs.
    config.nb_execution_cache_path = str(cache)


def open_in_buttons(app, config) -> None:
    """Repository, Binder and Colab buttons follow from the one address, or are left out."""
    options = config.html_theme_options
    address = (options.get("repository_url") or "").rstrip("/")
    if not address:
        options["launch_buttons"] = {}
        options.pop("repository_url", None)
        return
    options["repository_url"] = address
    options["use_repository_button"] = True
    if "github.com" not in address:  # the only host whose notebooks Colab opens
        options["launch_buttons"].pop("colab_url", None)


def open_the_student_edition(app, pagename, templatename, context, doctree):
    """Colab knows no MyST, and has no course: its button opens the student edition, whose first cell installs it."""
    colab = app.config.html_theme_options.get("launch_buttons", {}).get("colab_url")
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if colab and button.get("url", "").startswith(colab):
                button["url"] = re.sub(r"/blob/[^/]+/book/", "/blob/student/", button["url"])


def write_if_assets_changed(app, env):
    """The pages to write again (without reading or executing them) because the site's assets have changed."""
    now = digest(Path(app.srcdir), ["book/_assets"])
    before, env.course_assets = getattr(env, "course_assets", None), now
    return [] if now == before else sorted(env.found_docs)


# Sphinx's bibliography has list entries of a retired role; MyST-NB's folded cells have a name that hides their words.
MENDED = {
    ' role="doc-biblioentry"': ' role="listitem"',
    '<summary aria-label="Toggle hidden content">': "<summary>",
}
FIGURE = re.compile(r'(?<="caption-number">Fig. )\d+(?= )')


def mend_markup(app, pagename, templatename, context, doctree):
    if "body" not in context:
        return
    for wrong, right in MENDED.items():
        context["body"] = context["body"].replace(wrong, right)
    count = itertools.count(1)  # of figures outside of chapters, which Sphinx counts through all pages
    context["body"] = FIGURE.sub(lambda _: str(next(count)), context["body"])


# How much code a page shows; course.js keeps the choice. Without scripts it is not there.
CODE_CHOICE = """
<div class="course-code pst-js-only" role="group" aria-label="Code on these pages"><span>code:</span>
<button type="button" data-code="key" aria-pressed="true">key</button>
<button type="button" data-code="all" aria-pressed="false">all</button>
<button type="button" data-code="none" aria-pressed="false">none</button></div>
"""
FRAME = '<div class="ex-frame"><p><b'
# From a server the typefaces of the first screen are asked for at once, so that little is drawn in others before them.
# From the disk they are there at once, and a browser would refuse to be asked so.
ASK_FOR_FONTS = """<script>
if (location.protocol !== "file:")
  for (const name of ["inter-latin-wght-normal", "source-serif-4-latin-wght-normal",
                      "source-serif-4-latin-wght-italic"]) {
    const href = `FOLDER/${name}.woff2`;
    document.head.append(
      Object.assign(document.createElement("link"), { rel: "preload", as: "font", crossOrigin: "", href }),
    );
  }
</script>"""


def frame_page(app, pagename, templatename, context, doctree):
    """The choice of code below a chapter's title, the numbers of its figures that answer, its typefaces at once."""
    fonts = ASK_FOR_FONTS.replace("FOLDER", context["pathto"]("_static/vendor/fonts", 1))
    context["metatags"] = context.get("metatags", "") + fonts
    body = context.get("body", "")
    if '<div class="cell ' in body:
        body = body.replace("</h1>", "</h1>" + CODE_CHOICE, 1)
    if chapter := re.match(r"book/0*(\d+)_", pagename):
        count = itertools.count(1)
        body = re.sub(FRAME, lambda found: f'{found[0]} data-number="{chapter[1]}.{next(count)}"', body)
    context["body"] = body


def is_picture(node) -> bool:
    """An image, or a table of tokens, which is one of words."""
    return isinstance(node, nodes.image) or isinstance(node, nodes.raw) and 'class="course-tokens' in node.astext()


def caption_pictures_alone(app) -> None:
    """A cell's caption belongs to its picture, not to what it prints or shows beside it."""
    wrap = sphinx_.create_figure_context

    @contextlib.contextmanager
    def create_figure_context(self, figure_options, line):
        here, output = self.current_node, nodes.container()
        self.current_node = output
        yield
        self.current_node = here
        with wrap(self, figure_options if any(output.findall(is_picture)) else None, line):
            self.current_node.extend(output.children)

    sphinx_.create_figure_context = create_figure_context


class Claim(SphinxRole):
    """A recorded number: key, perhaps [index], perhaps a format as in Python."""

    def run(self):
        results = Path(self.env.srcdir) / "book" / "results.json"
        self.env.note_dependency(str(results))
        found = re.fullmatch(r"([\w.-]+?)((?:\[\d+\])*)(?::([^:\[\]]+))?", self.text)
        recorded = json.loads(results.read_text("utf-8"))["claims"].get(found[1]) if found else None
        try:
            value = recorded["value"]
            for place in re.findall(r"\d+", found[2]):
                value = value[int(place)]
            text = format(value, found[3] or "").replace("-", "\N{MINUS SIGN}").replace("%", "\N{NO-BREAK SPACE}%")
        except (IndexError, TypeError, ValueError):
            message = f"{self.text}: no claim of this key, place and format is in book/results.json"
            return [], [self.inliner.reporter.error(message, line=self.lineno)]
        return [nodes.inline("", text, classes=["claim"])], []


class ExplorableFigure(SphinxDirective):
    """A figure of course_utils.figures on a page without cells."""

    has_content = True

    def run(self):
        import course_utils
        from course_utils import figures

        for path in figures.HERE.rglob("*.*"):
            self.env.note_dependency(str(path))
        figure = eval("\n".join(self.content), vars(course_utils) | vars(figures))
        # The class is what a cell's output has, and what the style sheet knows.
        return [nodes.raw("", f'<div class="output text_html">{figure._repr_html_()}</div>', format="html")]


def ship_weights(app, exception) -> None:
    if exception is None and app.builder.name == "html" and "book/induction_lab" in app.env.found_docs:
        from course_utils.figures.induction_lab import ship

        ship(Path(app.outdir) / "_static" / "lab")


def number_by_file_name(app) -> None:
    """Sphinx counts the chapters; figures take the chapter's number from here as well."""
    count = TocTreeCollectorWithStyles.assign_section_numbers

    def assign_section_numbers(self, env):
        changed = count(self, env)
        for page, numbers in env.toc_secnumbers.items():
            if found := re.match(r"book/(\d\d)_", page):
                first = int(found[1])
                env.toc_secnumbers[page] = {anchor: n and (first, *n[1:]) for anchor, n in numbers.items()}
                for node in (env.titles[page], *env.tocs[page].findall(nodes.reference)):
                    if number := node.get("secnumber"):
                        node["secnumber"] = [first, *number[1:]]
        return changed

    TocTreeCollectorWithStyles.assign_section_numbers = assign_section_numbers


def draw_into_pages(app) -> None:
    os.environ.update(KERNELS)


def require_pictures(app, doctree) -> None:
    """Raise an error if a cell has alternative text of a picture and drew none."""
    for cell in doctree.findall(nodes.container):
        alt = cell.get("cell_metadata", {}).get("mystnb", {}).get("image", {}).get("alt")
        if alt and not any(cell.findall(nodes.image)):
            place = f"{app.env.docname}, cell {cell['cell_index'] + 1}"
            raise ExtensionError(f"{place}: it has alternative text ({alt:.60}…), but no picture in its outputs")


def sources_in_scripts(app, exception) -> None:
    if exception is None and app.builder.name == "html":
        for path in (Path(app.outdir) / "_sources").rglob("*"):
            if path.suffix in (".ipynb", ".md"):
                text = json.dumps(path.read_text("utf-8"))
                path.with_name(f"{path.name}.js").write_text(f"courseSource({text});\n", "utf-8")


INLINE = re.compile(r'<script(?: data-cfasync="false")?>(.+?)</script>', re.S)
HANDLERS = ("toggleFullScreen()", "window.print()")  # of the theme's buttons


def scripts_to_files(app, exception) -> None:
    if exception is not None or app.builder.name != "html":
        return
    folder = Path(app.outdir) / "_static" / "inline"
    folder.mkdir(parents=True, exist_ok=True)
    for page in Path(app.outdir).rglob("*.html"):

        def to_file(found, page=page) -> str:
            name = f"{hashlib.sha256(found[1].encode()).hexdigest()[:16]}.js"
            (folder / name).write_bytes(found[1].encode())
            return f'<script src="{Path(os.path.relpath(folder / name, page.parent)).as_posix()}"></script>'

        before = page.read_bytes().decode()
        after = INLINE.sub(to_file, before)
        for handler in HANDLERS:
            after = after.replace(f' onclick="{handler}"', f' data-click="{handler}"')
        if after != before:
            page.write_bytes(after.encode())


def record_sources(app, exception) -> None:
    record = Path(app.outdir).parent / DIGEST_FILE
    if exception is not None or (app.keep_going and app._warncount):
        # The next build reads all pages again: it must not succeed because they have not changed.
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)
        record.unlink(missing_ok=True)
    elif app.builder.name == "html":
        record.write_text(digest(Path(app.srcdir), USED_BY_SITE) + "\n", encoding="utf-8")


def setup(app):
    app.add_role("claim", Claim())
    app.add_directive("explorable", ExplorableFigure)
    app.connect("config-inited", refuse_another_folders_package)
    app.connect("builder-inited", number_by_file_name)
    app.connect("builder-inited", draw_into_pages)
    app.connect("builder-inited", caption_pictures_alone)
    app.connect("doctree-read", require_pictures)
    app.connect("config-inited", key_execution_cache)
    app.connect("config-inited", open_in_buttons)
    app.connect("env-updated", write_if_assets_changed)
    app.connect("html-page-context", mend_markup)
    app.connect("html-page-context", frame_page)
    app.connect("html-page-context", open_the_student_edition, priority=502)  # after the theme's, which have 501
    app.connect("build-finished", ship_weights)
    app.connect("build-finished", scripts_to_files)
    app.connect("build-finished", sources_in_scripts)
    app.connect("build-finished", record_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
