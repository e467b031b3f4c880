"""The population of small models, in a real browser from the disk, with the network blocked."""

import numpy as np
import pytest
from any_figure import NARROW, AnyFigure
from population_record import made_record

from course_utils.figures import population_figure, quiz

pytestmark = pytest.mark.browser

ROOM = 0.86  # of the axis, where some seeds have no value


@pytest.fixture(scope="module")
def figure():
    return population_figure(made_record())


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    # with a quiz, as in the chapter: its style comes later, and must not undo the figure's
    record = made_record()
    few = {name: record[name] for name in ("norm-muon-0.006-seed-0", "mlp-muon-0.006-seed-0", "mlp-muon-0.006-seed-1")}
    return pages_of(light=[figure, quiz("06")], few=[population_figure(few)])


class Shown:
    def __init__(self, page, data):
        self.page, self.data = page, data
        self.figure = page.locator("[data-figure=population]")
        self.figure.locator(".ex-kinds").wait_for()
        self.headlines = self.figure.get_by_role("group", name="Headlines").get_by_role("button")
        self.kinds = self.figure.get_by_role("group", name="Kinds of model").get_by_role("button")

    def choose(self, name: str) -> dict:
        self.headlines.filter(has_text=name).click()
        return next(headline for headline in self.data["headlines"] if headline["name"] == name)

    def tells(self, headline: dict, k: int) -> None:
        """The words give the kind, mean, interval and count, and every seed's value."""
        said = self.figure.locator(".ex-said")
        lines = [line.replace("\xa0", " ") for line in said.locator("p").all_text_contents()]
        assert lines[0] == f"{self.data['kinds'][k]['name']}: {headline['name']}"
        one, of_mean = headline["digits"]
        minus = lambda value, digits: f"{value:.{digits}f}".replace("-", "−")  # noqa: E731
        for line, values, mark in zip(lines[1:], said.locator("ul").all(), headline["marks"], strict=True):
            row = mark["kinds"][k]
            assert f"mean {minus(row['mean'], of_mean)}" in line
            assert f"interval {minus(row['low'], of_mean)} to {minus(row['high'], of_mean)}" in line
            some = sum(value is not None and value >= (headline["line"] or -9) for value in row["seeds"])
            assert (f"{some} of 5 seeds {headline['counted']}, " in line) == bool(headline["counted"])
            assert values.locator("li").all_text_contents() == [
                f"seed {seed}: {headline['never'] if value is None else minus(value, one)}"
                for seed, value in enumerate(row["seeds"])
            ]

    def dots(self, k: int) -> np.ndarray:
        """Middle of each dot of a row, mark by mark: left and top, in shares of the track and in pixels."""
        return np.array(
            self.kinds.nth(k).evaluate("""button => {
                const track = button.querySelector('.ex-track').getBoundingClientRect();
                return [...button.querySelectorAll('.ex-dot')].map(dot => dot.getBoundingClientRect()).map(
                    ({ x, y, width, height }) => [(x + width / 2 - track.x) / track.width, y + height / 2 - track.y]);
            }""")
        )


def place(headline: dict, value: float) -> float:
    low, high = headline["low"], headline["high"]
    share = np.log(value / low) / np.log(high / low) if headline["log"] else (value - low) / (high - low)
    return share * (ROOM if headline["never"] else 1)


def test_every_headline_and_kind_by_mouse(visit, folder, figure):
    visited = visit(folder.as_uri())
    shown = Shown(visited.open("light.html"), figure.data)
    assert shown.kinds.count() == 9 and shown.headlines.count() == 8
    for headline in figure.data["headlines"]:
        assert shown.choose(headline["name"]) == headline
        meaning = shown.figure.locator(".ex-meaning").inner_text()
        assert meaning == f"{headline['name'].capitalize()}. {headline['meaning']}"
        for k in (3, 8):
            shown.kinds.nth(k).hover()
            shown.tells(headline, k)
            seeds = [value for mark in headline["marks"] for value in mark["kinds"][k]["seeds"]]
            dots = shown.dots(k)
            for (left, _), value in zip(dots, seeds, strict=True):
                assert left == pytest.approx(place(headline, value), abs=2e-3) if value is not None else left > 0.91
            for own in dots.reshape(-1, 5, 2):
                assert (np.diff(own[:, 1]) >= 5).all(), "each seed has a height of its own: none hides another"
        shown.page.mouse.move(2, 2)
        shown.tells(headline, 0)  # picked: it stays
    shown.kinds.nth(4).click()
    shown.page.mouse.move(2, 2)
    shown.tells(headline, 4)
    assert (visited.outside, visited.errors) == ([], [])


def test_shapes_tell_the_optimisers_and_the_two_marks_apart(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    shapes = lambda k: [shown.kinds.nth(k).locator(f".ex-{shape}").count() for shape in SHAPES]  # noqa: E731
    assert shapes(0) == [5, 0, 0, 0] and shapes(8) == [0, 5, 0, 0]
    shown.choose("by keys or queries")
    assert shapes(0) == shapes(8) == [0, 0, 5, 5]
    assert shown.figure.locator(".ex-axis").inner_text().split()[-2:] == ["1", "none"]


def test_the_plain_models_mean_and_the_threshold_run_through_all_rows(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    headline = figure.data["headlines"][0]
    for kind, value in ((".ex-plain", headline["marks"][0]["kinds"][0]["mean"]), (".ex-line", headline["line"])):
        lefts = shown.figure.locator(f".ex-track {kind}").evaluate_all("all => all.map(e => parseFloat(e.style.left))")
        assert len(lefts) == 9 and lefts == pytest.approx([100 * value] * 9, abs=0.01)


def test_by_keyboard(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    keys, steps = shown.page.keyboard, figure.data["headlines"][6]
    keys.press("Tab")  # past the button that begins anew
    keys.press("Tab")
    for _ in range(6):
        keys.press("ArrowRight")
    keys.press("Enter")
    keys.press("Tab")
    for k in (1, 2, 3):
        keys.press("ArrowDown")
        shown.tells(steps, k)
    assert "never" in shown.figure.locator(".ex-said").inner_text()
    keys.press("Space")
    keys.press("End")
    shown.tells(steps, 8)
    keys.press("Tab")
    shown.tells(steps, 3)


def test_a_record_in_the_making(visit, folder):
    visited = visit(folder.as_uri())
    shown = Shown(visited.open("few.html"), None)
    assert shown.kinds.count() == 2 and shown.figure.locator(".ex-track .ex-plain").count() == 0
    for button in shown.headlines.all():
        button.click()
        for k in range(2):
            shown.kinds.nth(k).hover()
            said = shown.figure.locator(".ex-said").inner_text()
            assert not any(word in said for word in ("NaN", "null", "undefined"))
    assert visited.errors == []


def test_on_a_telephone_the_words_stay_in_sight(visit, folder, figure):
    shown = Shown(visit(folder.as_uri(), width=NARROW).open("light.html"), figure.data)
    headline = shown.choose("by keys or queries")
    for k in (0, 5):
        shown.kinds.nth(k).focus()
        shown.tells(headline, k)
        said, kind = shown.figure.locator(".ex-said").bounding_box(), shown.kinds.nth(k).bounding_box()
        height = shown.page.viewport_size["height"]
        assert said["y"] + said["height"] <= height + 1 and kind["y"] + kind["height"] <= said["y"] + 1


SHAPES = ("disc", "diamond", "triangle", "ring")


class TestAnyFigure(AnyFigure):
    start = ".ex-kinds button[tabindex='0']"
    keys = ("ArrowDown",)
    marks = {".ex-disc": 3, ".ex-diamond": 3, ".ex-bar": 3, ".ex-mean": 3, ".ex-track .ex-plain": 3,
             ".ex-track .ex-line": 3, ".ex-sample": 3}  # fmt: skip

    def touch(self, page):
        shown = Shown(page, None)
        for button in shown.headlines.all()[::-1]:
            button.click()
            for k in (3, 7):
                shown.kinds.nth(k).click()
                yield
