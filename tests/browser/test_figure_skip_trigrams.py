"""Skip-trigrams of one source, in a real browser from the disk, with the network blocked."""

import numpy as np
import pytest
from any_figure import AnyFigure
from hostile import HOSTILE

from course_utils.figures import skip_trigrams_figure, visible

pytestmark = pytest.mark.browser
N = 24
rng = np.random.default_rng(1)
NAMES = [f"·name{i}" for i in range(N)]
QK, OV = np.abs(rng.normal(size=(2, N, N)))
COUNTS = rng.choice([0, 0, 1234], size=(N, N))
FIGURE = skip_trigrams_figure({4: (QK, OV), 10: (OV, QK)}, {4: [1, 2], 10: [3]}, NAMES, COUNTS)
GRIDS = [grid for head in FIGURE.data["heads"] for grid in head["sources"]]


@pytest.fixture(scope="module")
def folder(pages_of):
    names = [f"{text}{i}" for i, text in enumerate(HOSTILE)]
    size = len(names)
    tables = np.abs(np.random.default_rng(2).normal(size=(2, size, size)))
    hostile = skip_trigrams_figure({"<b>": tables}, {"<b>": range(0, size, 9)}, names, np.zeros((size, size), int))
    return pages_of(light=[FIGURE, hostile])


def opened(visited, name="light.html"):
    page = visited.open(name)
    figure = page.locator(".course-explorable").first
    figure.locator(".ex-grid table").wait_for()
    return page, figure


def grid_shown(figure) -> dict:
    return figure.locator(".ex-grid").evaluate("""place => {
        const text = (element) => element.firstElementChild.textContent;
        const number = (element) => element.querySelector('small').textContent;
        const rows = [...place.querySelectorAll('tbody tr')];
        const cells = rows.map(row => [...row.querySelectorAll('button')]);
        const where = (test) => cells.flatMap((row, i) => row.flatMap((cell, j) => test(cell) ? [[i, j]] : []));
        return {
            outs: [...place.querySelectorAll('thead th + th')].map(text),
            rise: [...place.querySelectorAll('thead th + th')].map(number),
            destinations: rows.map(row => text(row.firstElementChild)),
            look: rows.map(row => number(row.firstElementChild)),
            values: cells.map(row => row.map(cell => cell.childNodes[1].textContent)),
            counts: cells.map(row => row.map(number)),
            picked: where(cell => cell.getAttribute('aria-pressed') === 'true'),
            forced: where(cell => cell.classList.contains('is-forced')),
        };
    }""")


def assert_shows(figure, grid):
    shown = grid_shown(figure)
    assert (shown["outs"], shown["destinations"]) == (grid["outs"], grid["destinations"])
    np.testing.assert_allclose(np.float64(shown["rise"]), grid["rise"], atol=0.051)
    np.testing.assert_allclose(np.float64(shown["look"]), grid["look"], atol=0.051)
    np.testing.assert_allclose(np.float64(shown["values"]), np.outer(grid["look"], grid["rise"]), atol=0.51)
    assert shown["counts"] == [[f"{n:,}\u00a0×" if n else "never" for n in row] for row in grid["counts"]]
    (i, j), (k, m) = pairs = grid["pairs"]
    assert shown["picked"] == sorted(pairs) and shown["forced"] == sorted([[i, m], [k, j]])


def test_every_source_shows_its_numbers(visit, folder):
    visited = visit(folder.as_uri())
    page, figure = opened(visited)
    assert_shows(figure, GRIDS[0])
    figure.get_by_label("Source").select_option(label="·name2")
    assert_shows(figure, GRIDS[1])
    figure.get_by_label("Head").select_option(label="head 10")
    assert_shows(figure, GRIDS[2])
    assert visited.errors == [] == visited.outside


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_two_cells_force_the_two_crossed(visit, folder, by):
    page, figure = opened(visit(folder.as_uri()))
    cells = figure.locator(".ex-grid button")

    def pick(i, j):
        if by == "mouse":
            cells.nth(6 * i + j).click()
            return
        at = cells.evaluate_all("cells => cells.findIndex(cell => cell.tabIndex === 0)")
        cells.nth(at).focus()
        keys = [("ArrowDown", "ArrowUp", i - at // 6), ("ArrowRight", "ArrowLeft", j - at % 6)]
        for forward, back, steps in keys:
            for _ in range(abs(steps)):
                page.keyboard.press(forward if steps > 0 else back)
        page.keyboard.press("Enter")

    pick(0, 0), pick(2, 3)
    shown = grid_shown(figure)
    assert shown["picked"] == [[0, 0], [2, 3]] and shown["forced"] == [[0, 3], [2, 0]]
    assert "raised as well" in cells.nth(3).inner_text() and "raised as well" not in cells.nth(0).inner_text()
    lines = figure.locator(".ex-forced li").all_inner_texts()
    for line, (i, j) in zip(lines, [(0, 0), (2, 3), (0, 3), (2, 0)], strict=True):
        look, rise = GRIDS[0]["look"][i], GRIDS[0]["rise"][j]
        assert line.startswith(f"{GRIDS[0]['destinations'][i]} → {GRIDS[0]['outs'][j]} {look:.1f} × {rise:.1f} = ")
    pick(2, 5)
    assert grid_shown(figure)["forced"] == [] and "share" in figure.locator(".ex-forced").inner_text()
    assert figure.locator(".ex-grid button[tabindex='0']").count() == 1


def test_hostile_tokens_are_text(visit, folder):
    visited = visit(folder.as_uri())
    page, _ = opened(visited)
    hostile = page.locator(".course-explorable").nth(1)
    options = hostile.get_by_label("Source").locator("option").evaluate_all("all => all.map(o => o.textContent)")
    assert options == [visible(f"{HOSTILE[i]}{i}") for i in range(0, len(HOSTILE), 9)]
    for i in range(len(options)):
        hostile.get_by_label("Source").select_option(str(i))
    assert page.evaluate("window.hacked") is None and visited.errors == []
    assert hostile.locator(".ex-grid :is(b, img, svg, script)").count() == 0


class TestAnyFigure(AnyFigure):
    start = ".ex-grid button[tabindex='0']"
    keys = ("ArrowRight", "Enter", "ArrowDown", "Enter", "ArrowLeft", "Enter", "ArrowUp", "Enter")
    marks = {".ex-grid thead i": 3, ".ex-grid tbody i": 3, ".ex-grid button.is-forced": 3,
             ".ex-grid button:not([aria-pressed=true], .is-forced)": 1.5, ".ex-forced ul": 3}  # fmt: skip

    def touch(self, page):
        figure = page.locator(".course-explorable").first
        for head, sources in (("0", 2), ("1", 1)):
            figure.get_by_label("Head").select_option(head)
            for i in range(sources):
                figure.get_by_label("Source").select_option(str(i))
                yield
