"""What the site needs beyond Jupyter Book's own settings (loaded by `_config.yml`).

1. Jupyter Book's execution cache knows a notebook's cells and nothing else. Here the cache is kept under a
   digest of all that the cells use (the package, its data, the recorded results, the pinned versions), so that
   a change in any of these executes the chapters again.
2. The buttons that open a chapter elsewhere appear only if `_config.yml` has the repository's address.
3. Sphinx copies style sheets and scripts only when it writes a page: a change in them writes all pages.
4. Two kinds of element are written with names or roles that assistive technology cannot use; they are mended.
5. When a build has come to its end, `source_digest.txt` beside the site says what it was built from. Tests read it.
6. The role {claim}`02.loss.unigram:.2f` writes a number of `book/results.json`; `[1]` after the key, one of a list.
7. The directive {explorable} puts a figure that answers on a page without cells. Its content is the call, as a cell
   would have it: `quiz("10")`; the names of `course_utils` and `course_utils.explorables` are known.
8. If the site has the induction lab, the models' weights are put beside it, in `_static/lab`.
9. No page has scripts or handlers of events in its markup, so that a site's policy may forbid them: scripts are moved
   into files, handlers into `data-click`, for course.js.
10. Each page's source also lies beside itself in a script: course.js downloads it from there if the site is a folder.
11. While the site is built `COURSE_STATIC` is set: a playground then shows its default state and no controls.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

USED_BY_CELLS = ("course_utils", "book/results.json", "requirements.txt")
USED_BY_SITE = (*USED_BY_CELLS, "book", "_config.yml", "_toc.yml")
DIGEST_FILE = "source_digest.txt"
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", "full"}  # data/full: for training only, and not shipped


def digest(root: Path, parts: Iterable[str]) -> str:
    """One hash over the names and contents of all files below `parts`."""
    total = hashlib.sha256()
    for part in parts:
        top = root / part
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and not LEFT_OUT.intersection(path.parts):
                total.update(path.relative_to(root).as_posix().encode() + b"\0")
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def key_execution_cache(app, config) -> None:
    """Execute afresh whenever something that the cells use has changed."""
    caches = Path(app.outdir).parent / ".jupyter_cache"
    cache = caches / digest(Path(app.srcdir), USED_BY_CELLS)[:16]
    for old in caches.glob("*"):
        if old != cache:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
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
    if options["launch_buttons"].get("colab_url"):
        options["extra_footer"] += (
            f"<p>In Colab, first run <code>%pip install git+{address}</code> in a cell of its own.</p>"
        )


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


def mend_markup(app, pagename, templatename, context, doctree):
    for wrong, right in MENDED.items():
        if "body" in context:
            context["body"] = context["body"].replace(wrong, right)


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
            text = format(value, found[3] or "").replace("-", "\N{MINUS SIGN}")
        except (IndexError, TypeError, ValueError):
            message = f"{self.text}: no claim of this key, place and format is in book/results.json"
            return [], [self.inliner.reporter.error(message, line=self.lineno)]
        return [nodes.inline("", text, classes=["claim"])], []


class ExplorableFigure(SphinxDirective):
    """A figure of course_utils.explorables on a page without cells."""

    has_content = True

    def run(self):
        import course_utils
        from course_utils import explorables

        for path in explorables.HERE.rglob("*.*"):
            self.env.note_dependency(str(path))
        figure = eval("\n".join(self.content), vars(course_utils) | vars(explorables))
        # The class is what a cell's output has, and what the style sheet knows.
        return [nodes.raw("", f'<div class="output text_html">{figure._repr_html_()}</div>', format="html")]


def ship_weights(app, exception) -> None:
    if exception is None and app.builder.name == "html" and "book/induction_lab" in app.env.found_docs:
        from course_utils.explorables.induction_lab import ship

        ship(Path(app.outdir) / "_static" / "lab")


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


def mark_static(app) -> None:
    os.environ["COURSE_STATIC"] = "1"  # the kernels inherit it


def record_sources(app, exception) -> None:
    if exception is None and app.builder.name == "html":
        text = digest(Path(app.srcdir), USED_BY_SITE) + "\n"
        (Path(app.outdir).parent / DIGEST_FILE).write_text(text, encoding="utf-8")


def setup(app):
    app.add_role("claim", Claim())
    app.add_directive("explorable", ExplorableFigure)
    app.connect("builder-inited", mark_static)
    app.connect("config-inited", key_execution_cache)
    app.connect("config-inited", open_in_buttons)
    app.connect("env-updated", write_if_assets_changed)
    app.connect("html-page-context", mend_markup)
    app.connect("build-finished", ship_weights)
    app.connect("build-finished", scripts_to_files)
    app.connect("build-finished", sources_in_scripts)
    app.connect("build-finished", record_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
