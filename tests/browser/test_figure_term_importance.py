"""The loss term by term, in a real browser from the disk, with the network blocked."""

import numpy as np
import pytest
from any_figure import AnyFigure

from course_utils.figures import quiz, term_importance_figure
from course_utils.figures.term_importance import strongest

pytestmark = pytest.mark.browser

rng = np.random.default_rng(1)
STEPS = ["direct path", "single heads", "virtual heads"]
VIRTUAL = rng.normal(0, 0.01, (12, 12))
VIRTUAL[7, 2] = 0.4067
CONSTANT = rng.uniform(size=(12, 12)) < 0.4
CONSTANT[7, 2] = True


@pytest.fixture(scope="module")
def figure():
    direct, real = rng.normal(0.02, 0.1, (2, 12)), rng.normal(0.1, 0.1, (2, 12))
    real[0, 8] = 0.7359
    return term_importance_figure(
        losses=[8.31777, 5.54502, 2.7846, 2.34129],
        other=[5.54502, 5.1126, 4.6417],
        layers={"alone": [0.3231, 2.7086], "beside": [0.0518, 2.4373]},
        heads={"direct": direct, "real": real},
        virtual=VIRTUAL,
        constant=CONSTANT,
        apart=[0.3308, 0.1125],
        paper={"falls": [1.8, 5.2, 0.3], "alone": [1.3, 5.2], "beside": [0.05, 4.0]},
    )


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    # with a quiz, as in the chapter: its style comes later, and must not undo the figure's
    return pages_of(light=[figure, quiz("08")])


class Shown:
    def __init__(self, page, data):
        self.page, self.data = page, data
        self.figure = self.page.locator("[data-figure=term_importance]")
        self.steps = self.figure.locator(".ex-steps button")
        self.steps.first.wait_for()
        self.beside = self.figure.get_by_label("Beside")
        self.inside, self.heads = self.figure.locator(".ex-inside"), self.figure.locator(".ex-columns button")

    def button(self, name):
        return self.figure.get_by_role("button", name=name, exact=True)

    def opened(self) -> int:
        """The step that is open, said in three places."""
        pressed = [button.get_attribute("aria-pressed") == "true" for button in self.steps.all()]
        panels = self.inside.evaluate("e => [...e.children].map(one => getComputedStyle(one).visibility == 'visible')")
        assert pressed == panels and sum(pressed) == 1
        at = pressed.index(True)
        assert self.figure.locator(".ex-said").first.text_content().startswith(f"Inside: {STEPS[at]}, ")
        return at

    def check_steps(self, beside="") -> None:
        losses, longest = self.data["losses"], max(self.data["losses"])
        for k, step in enumerate(self.steps.all()):
            text = step.inner_text().replace("−", "-")
            assert STEPS[k] in text and f"{[1, 24, 144][k]} term" in text
            assert f"{losses[k]:.2f} → {losses[k + 1]:.2f}, {losses[k + 1] - losses[k]:.2f}" in text
            bars = step.evaluate("""e => [...e.querySelectorAll('i')].map(i => [i.className,
                parseFloat(i.style.getPropertyValue('--from')), parseFloat(i.style.getPropertyValue('--size'))])""")
            place = [("ex-left", 0, losses[k + 1]), ("ex-gain", losses[k + 1], losses[k] - losses[k + 1])]
            if beside:
                theirs = [losses[0], *self.data["other"]]
                start, fall = losses[k], self.data["paper"]["falls"][k]
                if beside == "other":
                    start, fall = theirs[k], theirs[k] - theirs[k + 1]
                place.append(("ex-beside", start - fall, fall))
                assert (f"the paper {-fall}" if beside == "paper" else f"other patterns {-fall:.2f}") in text
            assert [bar[0] for bar in bars] == [bar[0] for bar in place]
            for bar, wanted in zip(bars, place, strict=True):
                assert bar[1:] == pytest.approx([100 * value / longest for value in wanted[1:]], abs=0.02)

    def tells(self, layer: int, head: int) -> None:
        text = self.inside.locator(".ex-said").inner_text().replace("−", "-")
        direct, real = (self.data["heads"][way][layer][head] for way in ("direct", "real"))
        assert f"Head {layer}.{head}:" in text and f"by {direct:+.3f} nats" in text and f"by {real:+.3f}." in text


def test_every_control_by_mouse(visit, folder, figure):
    visited = visit(folder.as_uri())
    shown = Shown(visited.open("light.html"), figure.data)
    assert shown.opened() == 1
    shown.check_steps()
    shown.tells(0, 8)
    cells = shown.inside.locator("td").all_text_contents()
    assert cells == ["0.32", "0.05", "2.71", "2.44"]
    shown.beside.select_option("paper")
    shown.check_steps("paper")
    assert shown.inside.locator("td").all_text_contents()[2:] == ["2.71 (paper 5.2)", "2.44 (paper 4.0)"]
    shown.beside.select_option("other")
    shown.check_steps("other")
    for at in (0, 11, 12, 23):
        shown.heads.nth(at).hover()
        shown.tells(1 - at // 12, at % 12)
    shown.heads.nth(13).click()
    shown.page.mouse.move(2, 2)
    shown.tells(0, 1)  # picked: it stays
    shown.steps.nth(0).click()
    assert shown.opened() == 0
    assert "8.32 nats, a uniform guess, to 5.55" in shown.inside.inner_text()
    shown.steps.nth(2).click()
    assert shown.opened() == 2
    assert f"{CONSTANT.sum()} of 144 write the same vector" in shown.inside.inner_text()
    for out in (False, True):
        rows = [text.replace("−", "-") for text in shown.figure.locator(".ex-pairs li").all_text_contents()]
        wanted = [
            f"0.{i} → 1.{j}{rise:+.3f}{', constant' if CONSTANT[i, j] else ''}"
            for rise, i, j in strongest(shown.data, constants=not out)
        ]
        assert rows == wanted
        assert shown.button("Leave the constants out").get_attribute("aria-pressed") == str(out).lower()
        shown.button("Leave the constants out").click()
    assert (visited.outside, visited.errors) == ([], [])


def test_the_bars_of_the_heads(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    bars = shown.heads.evaluate_all("""all => all.map(button => [...button.querySelectorAll('i')].map(i => {
        const [bar, room] = [i, i.parentElement].map(e => e.getBoundingClientRect());
        return [(room.bottom - bar.bottom) / room.height, bar.height / room.height];
    }))""")
    direct, real = (np.array(shown.data["heads"][way]) for way in ("direct", "real"))
    low, high = min(direct.min(), real.min(), 0), max(direct.max(), real.max())
    for at, pair in enumerate(bars):
        for (foot, size), table in zip(pair, (direct, real), strict=True):
            value = table[1 - at // 12, at % 12]
            assert foot == pytest.approx((min(value, 0) - low) / (high - low), abs=0.02)
            assert size == pytest.approx(abs(value) / (high - low), abs=0.02)


def test_every_control_by_keyboard(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    keys, seen = shown.page.keyboard, []
    keys.press("Tab")  # past the button that begins anew
    for _ in range(3):
        keys.press("Tab")
        seen.append(
            shown.page.evaluate("""() => {
            const at = document.activeElement;
            return [at.textContent.trim().slice(0, 7), getComputedStyle(at).outlineStyle];
        }""")
        )
    assert [name for name, _ in seen] == ["single ", "nothing", "0.8"]
    assert all(outline == "solid" for _, outline in seen), "focus is visible"
    keys.press("ArrowRight")
    shown.tells(0, 9)
    keys.press("Home")
    shown.tells(1, 0)
    keys.press("End")
    keys.press("Enter")
    shown.beside.focus()
    shown.tells(0, 11)
    keys.press("ArrowDown")
    shown.check_steps("paper")
    keys.press("ArrowDown")
    shown.check_steps("other")
    shown.steps.nth(1).focus()
    keys.press("ArrowDown")
    keys.press("Enter")
    assert shown.opened() == 2
    keys.press("Tab")
    keys.press("Tab")
    assert shown.page.evaluate("document.activeElement.textContent") == "Leave the constants out"
    keys.press("Space")
    assert "constant" not in shown.figure.locator(".ex-pairs").inner_text()
    shown.steps.nth(2).focus()
    keys.press("Home")
    keys.press("Space")
    assert shown.opened() == 0
    keys.press("Tab")
    keys.press("Tab")
    assert not shown.inside.evaluate("e => e.contains(document.activeElement)"), "what is shut takes no focus"


class TestAnyFigure(AnyFigure):
    start = ".ex-columns button[tabindex='0']"
    marks = {".ex-track .ex-gain": 3, ".ex-track .ex-left": 3, ".ex-columns .ex-direct": 3, ".ex-columns .ex-real": 3,
             ".ex-key .ex-direct": 3, ".ex-key .ex-real": 3}  # fmt: skip

    def touch(self, page):
        shown = Shown(page, None)
        for beside in ("", "paper", "other"):
            shown.beside.select_option(beside)
            for step in shown.steps.all():
                step.click()
                yield
        shown.button("Leave the constants out").click()
        yield
        shown.steps.nth(1).click()
        for at in range(0, 24, 5):
            shown.heads.nth(at).focus()
            yield

    def check_plain(self, page):
        tables = page.locator(".course-explorable table")
        assert tables.count() == 4
        first = tables.first.locator("tbody tr").first.inner_text().split("\t")
        assert first[:3] == ["direct path (1)", "8.32", "5.55"]
