"""Training runs to scrub through, in a real browser from the disk, with the network blocked."""

import datetime

import numpy as np
import pytest
from any_figure import TELEPHONE, AnyFigure
from hostile import HOSTILE

from course_utils.figures import formation_figure, visible

pytestmark = pytest.mark.browser

TEXT = "<|start|> def ·mean ( values ): ↵ return ·sum ( values ) / len ( values ) ↵ def x".split()
RUNS = ["two layers", "one layer"]


def made_log(layers, heads=3, measured=9, snaps=6, tokens=20, seed=0) -> dict:
    """A log of made-up numbers: a head that looks back, and with two layers one that matches prefixes."""
    rng = np.random.default_rng(seed)
    previous, prefix = (rng.uniform(0, 0.1, (measured, layers, heads)) for _ in range(2))
    previous[:, 0, 1] = np.linspace(0, 0.9, measured)
    if layers == 2:
        prefix[:, 1, 2] = np.linspace(0, 0.7, measured) ** 2
    pattern = np.tril(rng.uniform(size=(snaps, layers, heads, tokens, tokens)) ** 4)
    return {
        "tokens_per_step": 1000,
        "eval_step": 250 * np.arange(measured),
        "validation_loss": np.linspace(7.5, 3.2, measured),
        "in_context": np.linspace(0.05, -0.2, measured),
        "previous_token": previous,
        "prefix_matching": prefix,
        "snap_step": np.array([0, *np.geomspace(60, 2000, snaps - 1).astype(int)]),
        "pattern": np.round(255 * pattern / pattern.sum(-1, keepdims=True)),
    }


LOGS = {RUNS[0]: made_log(2), RUNS[1]: made_log(1, seed=1)}


@pytest.fixture(scope="module")
def figure():
    return formation_figure(LOGS, dict.fromkeys(RUNS, TEXT))


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    hostile = formation_figure({HOSTILE[1]: made_log(2, tokens=len(HOSTILE))}, {HOSTILE[1]: HOSTILE})
    return pages_of(light=[figure], hostile=[hostile])


class Shown:
    def __init__(self, page):
        self.page = page
        self.figure = self.page.locator(".course-explorable")
        self.slider = self.figure.get_by_label("Moment", exact=True)
        self.slider.wait_for()
        self.said, self.looks = self.figure.locator(".ex-said"), self.figure.locator(".ex-looks")

    def button(self, name):
        return self.figure.get_by_role("button", name=name, exact=True)

    def check(self, data) -> int:
        """All that is shown is what Python gave for the chosen run, head and moment; returns the moment."""
        at = int(self.slider.input_value())
        run = data["runs"][int(self.figure.get_by_label("Run").input_value())]
        head = run["heads"][int(self.figure.get_by_label("Head").input_value())]
        nearest = int(np.abs(np.array(run["measured"]) - run["moments"][at]).argmin())
        values = [run["loss"], head["previous"], head["prefix"], run["inContext"]]
        shown = [text.replace("−", "-") for text in self.figure.locator(".ex-chart strong").all_text_contents()]
        assert [float(text) for text in shown] == pytest.approx([one[nearest] for one in values], abs=0.0051)
        assert self.said.text_content().startswith(f"Step {run['steps'][at]}: loss {shown[0]}, ")
        told = self.figure.locator(".ex-time").inner_text()
        assert self.slider.get_attribute("aria-valuetext") == told and told.endswith(" M tokens")
        assert float(told.split()[0]) == pytest.approx(run["moments"][at], abs=0.0051)
        layer, number = map(int, head["name"].split("."))
        log = LOGS[run["name"]]
        pattern = log["pattern"][list(log["snap_step"]).index(run["steps"][at]), layer, number] / 255
        n = len(TEXT)
        cells = run["successors"] if head["goal"] == "successor" else [[j, j - 1] for j in range(1, n)]
        share = sum(pattern[j, i] for j, i in cells) / len({j for j, _ in cells})
        told = self.figure.locator(".ex-share strong").text_content()
        assert float(told.removesuffix("\xa0%")) == pytest.approx(100 * share, abs=0.8)
        query = self.figure.locator(".ex-strip button[aria-pressed=true]").evaluate(
            "button => [...button.parentElement.children].indexOf(button)"
        )
        most = np.argsort(-pattern[query, : query + 1], kind="stable")[:1]
        assert f"looks most at {most[0]} {TEXT[most[0]]} " in self.looks.text_content()
        return at


@pytest.mark.parametrize("width", [1280, TELEPHONE])
def test_by_mouse(visit, folder, figure, width):
    visited = visit(folder.as_uri(), width=width)
    shown = Shown(visited.open("light.html"))
    assert shown.check(figure.data) == 5
    before = shown.figure.bounding_box()["height"]
    shown.slider.fill("2")
    assert shown.check(figure.data) == 2
    shown.figure.get_by_label("Head").select_option("0")
    shown.check(figure.data)
    shown.figure.get_by_label("Run").select_option("1")
    assert shown.check(figure.data) == 2
    shown.figure.locator(".ex-strip button").nth(7).click()
    shown.check(figure.data)
    marks = shown.figure.locator("path.ex-goal")
    assert marks.get_attribute("d")
    shown.button("Where it should look").click()
    assert not marks.get_attribute("d")
    line = shown.figure.locator("path.ex-line").first
    logarithmic = line.get_attribute("d")
    shown.button("Log axis").click()
    assert line.get_attribute("d") != logarithmic
    assert abs(shown.figure.bounding_box()["height"] - before) <= 2
    assert (visited.outside, visited.errors) == ([], [])


def test_by_keyboard(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"))
    shown.button("Play").focus()
    shown.page.keyboard.press("ArrowLeft")
    shown.page.keyboard.press("ArrowLeft")
    assert shown.check(figure.data) == 3
    shown.slider.focus()
    shown.page.keyboard.press("ArrowRight")
    assert shown.check(figure.data) == 4
    shown.figure.locator(".ex-strip button[aria-pressed=true]").focus()
    shown.page.keyboard.press("ArrowLeft")  # moves within the text, not in time
    shown.page.keyboard.press("Enter")
    assert shown.check(figure.data) == 4


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_it_plays_from_the_beginning_and_pauses(visit, folder, figure, motion):
    visited = visit(folder.as_uri())
    visited.page.emulate_media(reduced_motion=motion)
    visited.page.clock.install(time=datetime.datetime(2030, 1, 1))
    shown = Shown(visited.open("light.html"))
    visited.page.clock.pause_at(datetime.datetime(2030, 1, 1, 1))
    assert shown.check(figure.data) == 5
    shown.button("Play").click()
    live = shown.figure.locator("[aria-live]")
    assert shown.check(figure.data) == 0
    shown.page.clock.run_for(1000)
    assert shown.check(figure.data) == (2 if motion == "no-preference" else 0)
    shown.page.clock.run_for(600)
    assert shown.check(figure.data) == (3 if motion == "no-preference" else 1)
    assert live.inner_text() == "", "a voice could not keep up"
    shown.button("Pause").click()
    at = shown.check(figure.data)
    shown.page.clock.run_for(5000)
    assert shown.check(figure.data) == at
    shown.button("Play").click()
    shown.page.clock.run_for(20000)
    assert shown.check(figure.data) == 5 and shown.button("Play").is_visible()
    assert live.inner_text() == ""
    shown.page.keyboard.press("ArrowLeft")
    shown.page.clock.run_for(600)
    assert live.inner_text().startswith("Step ") and "it looks most at" in live.inner_text()


def test_hostile_texts_are_shown(visit, folder):
    visited = visit(folder.as_uri())
    shown = Shown(visited.open("hostile.html"))
    tokens = shown.figure.locator(".ex-strip code").all_text_contents()
    assert tokens == [visible(text).encode("utf-8", "replace").decode() for text in HOSTILE]
    assert shown.page.evaluate("window.hacked") is None
    assert (visited.outside, visited.errors) == ([], [])


class TestAnyFigure(AnyFigure):
    start = ".ex-controls button"
    keys = ("ArrowLeft", "ArrowRight")
    marks = {"path.ex-line": 3, "path.ex-cell": 1.5, "path.ex-goal": 3, "path.ex-query": 3, ".ex-strip button": 3}

    def touch(self, page):
        shown = Shown(page)
        for moment in ("2", "0", "5"):
            shown.slider.fill(moment)
            yield
        shown.button("Log axis").click()
        yield
        shown.figure.locator(".ex-strip button").nth(7).click()
        yield

    def check_plain(self, page):
        assert page.locator(".ex-baseline table").count() == 2
        assert page.locator("caption").first.inner_text() == "two layers, head 1.2"
