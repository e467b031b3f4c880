"""What holds for every figure that answers: the test file of each has a class of these tests, and what is its own.

Figures stand on pages of their own, which are read from the disk, with the network blocked.
"""

import io

import pytest
from PIL import Image
from playwright.sync_api import ElementHandle, Locator, Page
from visits import Visit, watch_shifts

WIDE = 1280
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
HEIGHT = "figure => figure.getBoundingClientRect().height"
# A page answers to its new size in the frame that has it.
SCROLLS = """async width => {
    const frame = () => new Promise(requestAnimationFrame);
    do await frame(); while (innerWidth !== width);
    await frame();
    return document.documentElement.scrollWidth;
}"""
SPARE = """frame => {
    const kept = parseFloat(getComputedStyle(frame).minHeight) || 0;
    frame.style.minHeight = 0;
    const needed = frame.offsetHeight;
    frame.style.minHeight = "";
    return kept && kept - needed;
}"""


def page_of(*bodies: str, theme="light") -> str:
    ground, ink = GROUNDS[theme]
    return PAGE.format(theme=theme, ground=ground, ink=ink, body="\n".join(bodies))


def fits(page: Page, width: int) -> bool:
    page.set_viewport_size({"width": width, "height": 740})
    return page.evaluate(SCROLLS, width) <= width


class AnyFigure:
    """`folder` is the test file's own fixture: a folder with the page light.html, its first figure the one tested."""

    plain = ".ex-baseline tbody tr"  # stands there without JavaScript
    start = ".ex-row button[tabindex='0']"  # from here …
    keys = ("ArrowRight",)  # … these keys make the figure say something
    marks: dict[str, float] = {}  # what carries meaning, and the contrast by which it is seen

    def touch(self, page: Page):
        """What a reader does with the figure; yields after each act."""
        yield

    def check_plain(self, page: Page) -> None:
        """What else stands there without JavaScript."""

    def open(self, visited: Visit, theme: str = "light") -> tuple[Page, Locator]:
        page = visited.open(f"{theme}.html")
        return page, page.locator(".course-explorable").first

    def use(self, visited: Visit, figure: Locator) -> None:
        """Touch it: it keeps its height, and the place that the style keeps is the place that it needs."""
        started = figure.evaluate(HEIGHT)
        for _ in self.touch(visited.page):
            assert abs(figure.evaluate(HEIGHT) - started) <= 2
        visited.settle()
        assert abs(figure.locator(".ex-figure").evaluate(SPARE)) <= 48

    def test_accessible_and_steady(self, visit, folder):
        visited = visit(folder.as_uri())
        watch_shifts(visited.page)
        page, figure = self.open(visited)
        assert visited.violations() == [], "as it starts"
        assert page.evaluate("window.shift") < 0.01, "by now all that comes late is there"
        self.use(visited, figure)
        assert visited.violations() == [], "when it was used"
        assert (visited.outside, visited.errors) == ([], [])

    def test_on_a_telephone_and_in_the_dark(self, visit, folder):
        """What only a narrow window can do wrong, and contrast, which is all that colours can change."""
        visited = visit(folder.as_uri(), scheme="dark", width=TELEPHONE)
        watch_shifts(visited.page)
        page, figure = self.open(visited, "dark")
        page.wait_for_timeout(200)
        assert page.evaluate("window.shift") < 0.01
        assert fits(page, WIDE) and visited.contrasts() == [], "as it starts"
        assert fits(page, TELEPHONE)
        self.use(visited, figure)
        assert fits(page, NARROW) and fits(page, TELEPHONE)
        assert visited.violations(colours=False) == [], "telephone"
        assert fits(page, WIDE) and visited.contrasts() == [], "when it was used"
        assert (visited.outside, visited.errors) == ([], [])

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

    def test_by_keyboard_each_row_is_one_stop_and_many_keys_are_told_once(self, visit, folder):
        visited = visit(folder.as_uri())
        visited.page.add_init_script(SPEAKS)
        visited.page.clock.install()
        page, figure = self.open(visited)
        regions = figure.locator("[aria-live]")
        regions.wait_for(state="attached")
        page.clock.run_for(700)
        assert page.evaluate("heard") == [], "what stands there from the start is no news"
        for row in figure.locator(".ex-row:visible").all():
            is_one_stop(row)
        page.clock.run_for(700)
        page.evaluate("heard.length = 0")
        figure.locator(self.start).first.focus()
        for i in range(31):
            page.keyboard.press(self.keys[i % len(self.keys)])
        page.wait_for_function("heard.length > 0 && heard.at(-1).trim()")
        page.clock.run_for(700)
        assert len(page.evaluate("heard")) <= 2, "the keys may be slow on a busy machine"
        assert regions.count() == 1

    def test_without_javascript(self, without_javascript, folder):
        page = without_javascript(f"{folder.as_uri()}/light.html")
        assert page.locator(f".course-explorable {self.plain}").first.is_visible()
        self.check_plain(page)
        assert page.locator(".ex-figure").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE


def is_one_stop(row: Locator) -> None:
    """For the Tab key, whatever other keys do within."""
    keys, within = row.page.keyboard, "row => row.contains(document.activeElement)"
    row.locator("[tabindex='0']").focus()
    for key in ("End", "ArrowLeft", "ArrowLeft"):
        keys.press(key)
        assert row.locator("[tabindex='0']").count() == 1 and row.evaluate(within)
    keys.press("Tab")
    assert not row.evaluate(within)
    keys.press("Shift+Tab")
    assert row.evaluate(within)
    keys.press("Home")
    keys.press("ArrowRight")
    keys.press("Shift+Tab")
    assert not row.evaluate(within)


HIDE, SHOW = "e => { e.style.visibility = 'hidden'; }", "e => { e.style.visibility = ''; }"
AROUND = """e => {
    e.scrollIntoViewIfNeeded();
    const { x, y, width, height } = e.getBoundingClientRect();
    return { x: x - 3, y: y - 3, width: width + 6, height: height + 6 };
}"""
LET_GO, PRESS = (f"e => e.setAttribute('aria-pressed', '{value}')" for value in ("false", "true"))


def shows(marks: list[ElementHandle], change: str, undo: str, least: float) -> bool:
    """Whether one of the marks is there by at least this contrast: as it is, beside as it is when changed."""
    for mark in marks[:12]:
        page = mark.owner_frame().page
        clip = mark.evaluate(AROUND)
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
