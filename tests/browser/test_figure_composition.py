"""The graph of heads, in a real browser from the disk, with the network blocked."""

import numpy as np
import pytest
from any_figure import AnyFigure

from course_utils.figures import composition_figure, quiz
from course_utils.figures.composition import READS, edges

pytestmark = pytest.mark.browser

rng = np.random.default_rng(0)
MEASURE = {kind: rng.uniform(0.02, 0.1, (12, 12)) for kind in "QKV"}
EFFECT = {kind: rng.uniform(0, 1, (12, 12)) for kind in "QKV"}
MEASURE["K"][8, 1], EFFECT["K"][8, 1] = 0.17, 1.5
MEASURE["K"][7, 8], EFFECT["K"][7, 8] = 0.18, 0.0
BASELINE, STEP = 0.051, 0.005


@pytest.fixture(scope="module")
def figure():
    return composition_figure(MEASURE, EFFECT, BASELINE, 0.0012)


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    # with a quiz, as in the chapter: its style comes later, and must not undo the figure's
    return pages_of(light=[figure, quiz("06")])


class Shown:
    def __init__(self, page, data):
        self.page, self.data = page, data
        self.figure = self.page.locator("[data-figure=composition]")
        self.list, self.said = self.figure.locator(".ex-list"), self.figure.locator(".ex-said")
        self.list.locator("button").first.wait_for()
        self.threshold, self.width = self.figure.get_by_label("Threshold"), self.figure.get_by_label("Width of a line")

    def button(self, name):
        return self.figure.get_by_role("button", name=name, exact=True)

    def panel(self) -> str:
        return self.figure.locator(".ex-edge").inner_text()

    def lines(self) -> list[dict]:
        return self.figure.evaluate("""root => [...root.querySelectorAll('.ex-graph line')].reverse().map(line => ({
            kind: line.classList[0], ends: ['x1', 'x2'].map(name => Number(line.getAttribute(name))),
            width: parseFloat(line.style.strokeWidth), aside: line.classList.contains('is-aside'),
        }))""")

    def check(self, kinds="QKV", least=0.03, head=None, by="measure"):
        """The lines, the list and the count are those of the data."""
        wanted = [
            edge for edge in edges(self.data | {"least": least})
            if edge[1] in kinds and (head is None or edge[2 + head[0]] == head[1])
        ]  # fmt: skip
        names = [f"{kind} 0.{i} → 1.{j}" for _, kind, i, j in wanted]
        assert self.list.locator("button").all_text_contents() == names
        strongest = edges(self.data)[0][0]
        for line, (above, kind, i, j) in zip(self.lines(), wanted, strict=True):
            assert line["kind"] == f"ex-{kind}"
            assert np.allclose(line["ends"], [i + 0.5, j + 0.5], atol=0.2)
            effect = self.data["effect"]
            most = np.max(effect["V"]) if kind == "V" else max(np.max(effect["Q"]), np.max(effect["K"]))
            share = above / strongest if by == "measure" else effect[kind][i][j] / most
            assert line["width"] == pytest.approx(0.5 + 6.5 * share, abs=0.01)
        said = self.said.text_content()
        assert said.startswith(f"{len(wanted)} line") and f"{least:.3f}" in said
        assert all(f"{sum(edge[1] == kind for edge in wanted)} {kind}" in said for kind in "QKV")
        return wanted

    def tells(self, edge) -> None:
        """The panel has the numbers of this line."""
        above, kind, i, j = edge
        text, effect = self.panel().replace("\xa0", " "), self.data["effect"][kind]
        assert f"0.{i} → 1.{j}" in text and f"by its {READS[kind]} ({kind}-composition)" in text
        assert f"{above + BASELINE:.3f}, that is {above:.3f} above random heads, 0.0510 ± 0.0012" in text
        did = f"changes {round(100 * effect[i][j])} % of its output" if kind == "V" else f"by {effect[i][j]:.3f} nats"
        assert did in text
        for table, value in ((self.data["measure"][kind], above + BASELINE), (effect, effect[i][j])):
            assert f"rank {1 + int((np.array(table) > value + 1e-9).sum())} of 144" in text


def test_every_control_by_mouse(visit, folder, figure):
    visited = visit(folder.as_uri())
    shown = Shown(visited.open("light.html"), figure.data)
    wanted = shown.check()
    assert wanted[0][1:] == ("K", 7, 8)
    middle = "all => all.map(e => e.getBoundingClientRect()).map(({ left, width, top }) => [left + width / 2, top])"
    over, below = np.array(shown.figure.locator(".ex-heads button").evaluate_all(middle)).reshape(2, 12, 2)
    svg = shown.figure.locator(".ex-graph svg").bounding_box()
    for heads in (over, below):  # each head stands where its lines end
        assert np.allclose(heads[:, 0], svg["x"] + (np.arange(12) + 0.5) * svg["width"] / 12, atol=2)
        assert np.ptp(heads[:, 1]) == 0
    shown.tells(wanted[0])
    assert "by 0.000 nats" in shown.panel()
    shown.button("V values").click()
    shown.check("QK")
    shown.button("Q queries").click()
    shown.check("K")
    shown.width.select_option("effect")
    wanted = shown.check("K", by="effect")
    for edge, button in list(zip(wanted, shown.list.locator("button").all(), strict=True))[:4]:
        button.hover()
        shown.tells(edge)
    shown.list.locator("button").nth(1).click()
    shown.page.mouse.move(2, 2)
    shown.tells(wanted[1])  # picked: it stays
    shown.button("head 1.1").click()
    wanted = shown.check("K", head=(1, 1), by="effect")
    assert wanted and shown.button("head 1.1").get_attribute("aria-pressed") == "true"
    shown.button("head 0.8").click()
    shown.check("K", head=(0, 8), by="effect")
    assert shown.button("head 1.1").get_attribute("aria-pressed") == "false"
    shown.button("head 0.8").click()
    shown.check("K", by="effect")
    shown.button("K keys").click()
    shown.check("", by="effect")
    assert "No line here" in shown.panel()
    assert (visited.outside, visited.errors) == ([], [])


def test_a_line_is_found_by_the_pointer(visit, folder, figure):
    visited = visit(folder.as_uri())
    shown = Shown(visited.open("light.html"), figure.data)
    shown.threshold.fill("0.1")
    wanted = shown.check(least=0.1)
    assert len(wanted) == 2
    box = shown.figure.locator(".ex-graph svg").bounding_box()
    for _, _, i, j in wanted:
        x, y = box["x"] + box["width"] * (0.25 * i + 0.75 * j + 0.5) / 12, box["y"] + 0.25 * box["height"]
        shown.page.mouse.move(x + 3, y)
        assert f"0.{i} → 1.{j}" in shown.panel()
    shown.page.mouse.click(x, y)
    shown.page.mouse.move(2, 2)
    shown.tells(wanted[1])
    assert shown.list.locator("button").nth(1).get_attribute("aria-pressed") == "true"


def test_every_control_by_keyboard(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    keys, seen = shown.page.keyboard, []
    keys.press("Tab")  # past the button that begins anew
    for _ in range(8):
        keys.press("Tab")
        seen.append(
            shown.page.evaluate("""() => {
            const at = document.activeElement;
            return [at.textContent.trim().slice(0, 8) || at.type, getComputedStyle(at).outlineStyle];
        }""")
        )
    assert [name for name, _ in seen] == [
        "head 1.0", "head 0.0", "Q querie", "K keys", "V values", "the meas", "range", "K 0.7 → ",
    ]  # fmt: skip
    assert all(outline == "solid" for _, outline in seen), "focus is visible"
    wanted = shown.check()
    for edge in wanted[1:6]:
        keys.press("ArrowRight")
        shown.tells(edge)
    keys.press("Enter")
    keys.press("End")
    shown.tells(wanted[-1])
    shown.width.focus()
    shown.tells(wanted[5])  # picked
    keys.press("ArrowDown")
    shown.check(by="effect")
    keys.press("Tab")
    keys.press("ArrowLeft")
    shown.check(least=0.025, by="effect")
    keys.press("End")
    least = round(float(shown.threshold.input_value()), 3)
    assert least == 0.125 and "0.125" in shown.threshold.get_attribute("aria-valuetext")
    shown.check(least=least, by="effect")
    keys.press("Home")
    shown.check(least=0, by="effect")
    shown.button("head 0.0").focus()
    for _ in range(8):
        keys.press("ArrowRight")
    aside = [line["aside"] for line in shown.lines()]
    assert aside == [edge[2] != 8 for edge in edges(shown.data | {"least": 0})], "a head in focus shows its lines"
    keys.press("Enter")
    shown.check(least=0, head=(0, 8), by="effect")
    shown.button("V values").press("Space")
    shown.check("QK", least=0, head=(0, 8), by="effect")


class TestAnyFigure(AnyFigure):
    start = ".ex-list button[tabindex='0']"
    marks = {"line.ex-Q": 3, "line.ex-K": 3, "line.ex-V": 3, ".ex-edge i": 3, ".ex-controls svg": 3, ".ex-tag.ex-K": 3}

    def touch(self, page):
        shown = Shown(page, None)
        for button in shown.list.locator("button").all()[::6]:
            button.focus()
            yield
        shown.button("head 0.8").click()
        yield
        for least in (0, 0.12, 0.03):
            shown.threshold.fill(str(least))
            yield
        for kind in ("Q queries", "K keys", "V values", "K keys"):
            shown.button(kind).click()
            yield

    def test_a_row_for_each_line(self, without_javascript, folder, figure):
        rows = without_javascript(f"{folder.as_uri()}/light.html").locator(".course-explorable tbody tr")
        assert rows.count() == len(edges(figure.data))
        assert rows.first.inner_text().startswith("0.7 → 1.8, keys (K)")
