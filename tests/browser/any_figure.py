"""What holds for every figure that answers: the test file of each has a class of these tests, and what is its own.

Figures stand on pages of their own, which are read from the disk, with the network blocked.
"""

import io

import pytest
from PIL import Image
from playwright.sync_api import ElementHandle, Locator, Page
from visits import Visit, watch_shifts

TELEPHONE = 360
NARROW = 320  # what is left of 1280 pixels at 400 %
GROUNDS = {"light": ("#fff", "#1c2529"), "dark": ("#101416", "#dbe3e6")}
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8"><title>Figures</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>html {{ font: 16px sans-serif; background: {ground}; color: {ink} }} body {{ margin: 0.6rem }}</style>
<main><h1>Figures</h1>{body}<p id="after">After the <a href="#" style="color: inherit">figures</a>.</p></main></html>"""
SPEAKS = """
window.heard = [];
new MutationObserver(all => all.forEach(({ target }) => {
  const region = (target.nodeType === 1 ? target : target.parentElement)?.closest('[aria-live]');
  if (region) heard.push(region.innerText);
})).observe(document, { childList: true, characterData: true, subtree: true });
"""


def page_of(*bodies: str, theme="light") -> str:
    ground, ink = GROUNDS[theme]
    return PAGE.format(theme=theme, ground=ground, ink=ink, body="\n".join(bodies))


def fits(page: Page, width: int) -> bool:
    page.set_viewport_size({"width": width, "height": 740})
    page.wait_for_timeout(100)
    return page.evaluate("document.documentElement.scrollWidth") <= width


class AnyFigure:
    """`folder` is the test file's own fixture: a folder with the page light.html, its first figure the one tested."""

    plain = ".ex-baseline tbody tr"  # stands there without JavaScript
    start = ".ex-row button[tabindex='0']"  # from here …
    keys = ("ArrowRight",)  # … these keys make the figure say something
    marks: dict[str, float] = {}  # what carries meaning, and the contrast by which it is seen

    def touch(self, page: Page):
        """What a reader does with the figure; yields after each act."""
        yield

    def open(self, visited: Visit, theme: str = "light") -> tuple[Page, Locator]:
        page = visited.open(f"{theme}.html")
        return page, page.locator(".course-explorable").first

    def test_accessible_and_fits(self, visit, folder):
        visited = visit(folder.as_uri())
        page, _ = self.open(visited)
        assert visited.violations() == [], "as it starts"
        for _ in self.touch(page):
            pass
        page.wait_for_timeout(300)  # colours change over time
        assert visited.violations() == [], "when it was used"
        assert fits(page, NARROW) and fits(page, TELEPHONE)
        assert visited.violations(colours=False) == [], "telephone"
        assert (visited.outside, visited.errors) == ([], [])

    def test_legible_in_the_dark(self, visit, folder):
        """All that colours can change is contrast."""
        visited = visit(folder.as_uri(), scheme="dark")
        page, _ = self.open(visited, "dark")
        assert visited.contrasts() == []
        for _ in self.touch(page):
            pass
        page.wait_for_timeout(300)
        assert visited.contrasts() == []

    @pytest.mark.parametrize("width", [1280, TELEPHONE])
    def test_nothing_moves_when_it_starts_or_answers(self, visit, folder, width):
        visited = visit(folder.as_uri(), width=width)
        watch_shifts(visited.page)
        page, figure = self.open(visited)
        page.wait_for_timeout(200)
        assert page.evaluate("window.shift") < 0.01
        size = "figure => figure.getBoundingClientRect().height"
        started = figure.evaluate(size)
        for _ in self.touch(page):
            assert abs(figure.evaluate(size) - started) <= 2
        spare = figure.locator(".ex-figure").evaluate("""frame => {
            const kept = parseFloat(getComputedStyle(frame).minHeight) || 0;
            frame.style.minHeight = 0;
            return kept && kept - frame.offsetHeight;
        }""")
        assert abs(spare) <= 48, "the place that the style keeps is the place that it needs"

    # The browser's own colours are two sets; marks are told by what is drawn, in either.
    @pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.release)])
    def test_forced_colours(self, visit, folder, scheme):
        """Without a mark, and without a state, the picture is another one; on a page of the other colours, too."""
        visited = visit(folder.as_uri(), scheme=scheme, forced=True)
        page, figure = self.open(visited, "dark" if scheme == "light" else "light")
        assert page.evaluate("matchMedia('(forced-colors: active)').matches")
        page.mouse.move(1, 1)
        gone = [
            mark
            for mark, least in self.marks.items()
            if not shows(figure.locator(f"{mark}:visible").element_handles(), HIDE, SHOW, least)
        ]
        assert gone == []
        # The token that is shown has a ring of its own, picked or not.
        for button in figure.locator("[aria-pressed=true]:not(.ex-now):visible").element_handles()[:4]:
            assert shows([button], LET_GO, PRESS, 3), button.inner_text()
        assert visited.contrasts(".ex-figure") == [], "elsewhere axe reads the colours that the browser leaves out"

    def test_what_it_says_is_read_aloud_once(self, visit, folder):
        """Many keys in a row, one change of the one live region."""
        visited = visit(folder.as_uri())
        visited.page.add_init_script(SPEAKS)
        page, figure = self.open(visited)
        regions = figure.locator("[aria-live]")
        regions.wait_for(state="attached")
        page.wait_for_timeout(700)
        assert page.evaluate("heard") == [], "what stands there from the start is no news"
        figure.locator(self.start).first.focus()
        for i in range(31):
            page.keyboard.press(self.keys[i % len(self.keys)])
        page.wait_for_function("heard.length > 0 && heard.at(-1).trim()")
        page.wait_for_timeout(700)
        assert len(page.evaluate("heard")) <= 2, "the keys may be slow on a busy machine"
        assert regions.count() == 1

    def test_each_row_is_one_stop(self, visit, folder):
        page, figure = self.open(visit(folder.as_uri()))
        within = "row => row.contains(document.activeElement)"
        for row in figure.locator(".ex-row:visible").all():
            row.locator("[tabindex='0']").focus()
            for key in ("End", "ArrowLeft", "ArrowLeft"):
                page.keyboard.press(key)
                assert row.locator("[tabindex='0']").count() == 1 and row.evaluate(within)
            page.keyboard.press("Tab")
            assert not row.evaluate(within)
            page.keyboard.press("Shift+Tab")
            assert row.evaluate(within)
            page.keyboard.press("Home")
            page.keyboard.press("ArrowRight")
            page.keyboard.press("Shift+Tab")
            assert not row.evaluate(within)

    def test_without_javascript(self, without_javascript, folder):
        page = without_javascript(f"{folder.as_uri()}/light.html")
        assert page.locator(f".course-explorable {self.plain}").first.is_visible()
        assert page.locator(".ex-figure").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE


HIDE, SHOW = "e => { e.style.visibility = 'hidden'; }", "e => { e.style.visibility = ''; }"
LET_GO, PRESS = (f"e => e.setAttribute('aria-pressed', '{value}')" for value in ("false", "true"))


def shows(marks: list[ElementHandle], change: str, undo: str, least: float) -> bool:
    """Whether one of the marks is there by at least this contrast: as it is, beside as it is when changed."""
    for mark in marks[:12]:
        mark.scroll_into_view_if_needed()
        page = mark.owner_frame().page
        box = mark.bounding_box()
        clip = {"x": box["x"] - 3, "y": box["y"] - 3, "width": box["width"] + 6, "height": box["height"] + 6}
        before = pixels(page, clip)
        mark.evaluate(change)
        after = pixels(page, clip)
        mark.evaluate(undo)
        if sum(contrast(a, b) >= least for a, b in zip(before, after, strict=True) if a != b) >= 6:
            return True
    return False


def pixels(page: Page, clip: dict) -> list[tuple]:
    image = Image.open(io.BytesIO(page.screenshot(clip=clip, animations="disabled"))).convert("RGB")
    return list(zip(*[iter(image.tobytes())] * 3, strict=True))


def contrast(one, other) -> float:
    """As WCAG has it."""
    lights = []
    for colour in (one, other):
        parts = [x / 255 / 12.92 if x <= 10 else ((x / 255 + 0.055) / 1.055) ** 2.4 for x in colour]
        lights.append(sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)) + 0.05)
    return max(lights) / min(lights)
