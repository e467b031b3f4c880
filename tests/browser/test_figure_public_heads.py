"""The map of the public model's heads, in a real browser from the disk, with the network blocked."""

import pytest
from any_figure import NARROW, AnyFigure

from course_utils.figures import public_heads_figure, quiz

pytestmark = pytest.mark.browser

MODES = {
    "Prefix matching": "match", "Previous token": "previous", "First token": "first", "Effect of zeroing": "rise"
}  # fmt: skip


@pytest.fixture(scope="module")
def figure():
    return public_heads_figure()


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    # with a quiz, as in the chapter: its style comes later, and must not undo the figure's
    return pages_of(light=[figure, quiz("08")])


def at(name: str) -> int:
    """A head's place on the map: the last layer is on top."""
    layer, head = map(int, name.split("."))
    return (29 - layer) * 9 + head


class Shown:
    def __init__(self, page, data):
        self.page, self.data = page, data
        self.figure = page.locator("[data-figure=public_heads]")
        self.figure.locator(".ex-square").wait_for()
        self.heads = self.figure.get_by_role("group", name="Heads").get_by_role("button")
        self.tokens = self.figure.get_by_role("group", name="Tokens").get_by_role("button")

    def said(self) -> list[str]:
        lines = self.figure.locator(".ex-reading .ex-said > span").all_text_contents()
        return [line.replace("\xa0", " ") for line in lines]

    def tells(self, name: str) -> None:
        """Its four numbers, in words and beside the pattern."""
        head = next(head for head in self.data["heads"] if head["name"] == name)
        said = self.said()[0]
        assert said.startswith(f"Head {name}")
        shares = [f"{int(100 * head[key] + 0.5)} %" for key in ("match", "previous", "first")]
        assert all(f"{share} " in said for share in shares)
        assert f"{'falls' if head['rise'] < 0 else 'rises'} by {abs(head['rise']):.2f} nats" in said
        title = [text.replace("\xa0", " ") for text in self.figure.locator(".ex-title > span").all_text_contents()]
        roles = {"induction": "induction head", "previous": "previous-token head", "": ""}
        assert title[0] == roles[head["kind"]] and (not title[0] or f", {title[0]}. On random" in said)
        assert [line.split()[-2:] for line in title[1:4]] == [share.split() for share in shares]

    def picked(self, buttons) -> int:
        return buttons.evaluate_all("all => all.findIndex(b => b.getAttribute('aria-pressed') === 'true')")


def test_heads_and_tokens_by_mouse(visit, folder, figure):
    visited = visit(folder.as_uri())
    shown = Shown(visited.open("light.html"), figure.data)
    assert shown.heads.count() == 270
    best = max(figure.data["heads"], key=lambda head: head["match"])["name"]
    shown.tells(best)
    assert shown.picked(shown.heads) == at(best)
    for name in ("29.0", "0.8", "16.0"):
        shown.heads.nth(at(name)).hover()
        shown.tells(name)
    shown.heads.nth(at("16.0")).click()
    shown.page.mouse.move(2, 2)
    shown.tells("16.0")  # picked: it stays
    shown.tokens.nth(5).click()
    assert shown.said()[1].startswith(f"5 {figure.data['tokens'][5]} looks at: 4 {figure.data['tokens'][4]} ")
    square = shown.figure.locator(".ex-square")
    size = square.bounding_box()["width"] / len(figure.data["tokens"])
    square.click(position={"x": size, "y": 7.5 * size})
    assert shown.picked(shown.tokens) == 7 and shown.said()[1].startswith(f"7 {figure.data['tokens'][7]} ")
    assert (visited.outside, visited.errors) == ([], [])


def test_the_map_is_one_stop_and_arrows_move_in_two_directions(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    keys = shown.page.keyboard
    shown.heads.nth(shown.picked(shown.heads)).focus()
    keys.press("Home")
    shown.tells("29.0")
    for key, name in {"ArrowDown": "28.0", "ArrowRight": "28.1", "ArrowUp": "29.1", "ArrowLeft": "29.0"}.items():
        keys.press(key)
        shown.tells(name)
    keys.press("ArrowUp")
    shown.tells("29.0")  # there is nothing above
    keys.press("End")
    shown.tells("0.8")
    keys.press("ArrowDown")
    shown.tells("0.8")
    keys.press("Enter")
    assert shown.picked(shown.heads) == at("0.8")
    outline = shown.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_each_square_has_the_area_of_its_number(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    for name, key in MODES.items():
        shown.figure.get_by_role("button", name=name, exact=True).click()
        squares = shown.heads.evaluate_all("""all => all.map(({ firstChild: i }) =>
            [i.offsetWidth / 18, i.getBoundingClientRect().width / 18, i.classList.contains('ex-less')])""")
        for head in figure.data["heads"]:
            _, side, less = squares[at(head["name"])]
            assert side == pytest.approx(min(abs(head[key]), 1) ** 0.5, abs=0.01 if not less else 0.2)
            assert less == (head[key] < 0)
        assert shown.figure.locator(".ex-meant").inner_text().startswith(f"{name}: ")


def test_the_pattern_that_is_painted(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()).open("light.html"), figure.data)
    n = len(figure.data["tokens"])
    alpha = shown.figure.locator(".ex-square canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.width).data].filter((_, i) => i % 4 === 3)"
    )
    rows = [alpha[query * n : query * n + n] for query in range(n)]
    assert all(sum(row) == pytest.approx(255, abs=n / 2) for row in rows)
    assert all(value == 0 for query, row in enumerate(rows) for value in row[query + 1 :])
    query = figure.data["token"]
    key = max(range(n), key=lambda k: rows[query][k])
    assert [query, key] in figure.data["successors"]
    assert f"looks at: {key} {figure.data['tokens'][key]} " in shown.said()[1]
    assert shown.figure.locator("rect.ex-goal").count() == len(figure.data["successors"])


def test_on_a_telephone_the_pattern_stays_in_sight_while_the_map_scrolls(visit, folder, figure):
    shown = Shown(visit(folder.as_uri(), width=NARROW).open("light.html"), figure.data)
    for name in ("27.4", "9.1"):
        shown.heads.nth(at(name)).focus()
        shown.tells(name)
        lens, head = shown.figure.locator(".ex-lens").bounding_box(), shown.heads.nth(at(name)).bounding_box()
        height = shown.page.viewport_size["height"]
        assert lens["y"] + lens["height"] <= height + 1 and head["y"] + head["height"] <= lens["y"] + 1


class TestAnyFigure(AnyFigure):
    start = ".ex-map button[tabindex='0']"
    keys = ("ArrowDown", "ArrowRight")
    marks = {".ex-samples i": 3, ".ex-square canvas": 2, ".ex-across": 2, "rect.ex-goal": 3, ".ex-map b": 3,
             ".ex-text .ex-now": 3}  # fmt: skip

    def touch(self, page):
        heads = page.get_by_role("group", name="Heads").get_by_role("button")
        tokens = page.get_by_role("group", name="Tokens").get_by_role("button")
        for name in [*MODES][::-1]:
            page.get_by_role("button", name=name, exact=True).click()
            yield
        for head, token in (("16.0", 3), ("0.5", 20), ("29.8", 26)):
            heads.nth(at(head)).click()
            tokens.nth(token).click()
            yield
