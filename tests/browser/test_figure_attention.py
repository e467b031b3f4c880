"""Every head over a text, in a real browser from the disk, with the network blocked."""

import base64

import pytest
import torch
from any_figure import AnyFigure
from visits import Visit

from course_utils import AttentionOnlyTransformer, ModelConfig
from course_utils.figures import attention_figure

pytestmark = pytest.mark.browser

TEXTS = {
    "Python": "def read(path):\n    return open(path).read()\n",
    "Hostile": "</script><img src=x onerror='window.hacked = 1'>\u202e $x$ \x00",
    "Ids": [5, 6, 7, 5, 6, 7],
}


@pytest.fixture(scope="module")
def figure():
    cfg = ModelConfig(n_layers=2, n_heads=12, d_model=24, d_head=8, d_vocab=1024, n_ctx=96)
    model = AttentionOnlyTransformer.init(cfg, seed=3).requires_grad_(False)
    model.W_Q.mul_(4)  # sharper
    return attention_figure(model, TEXTS, head="1.2", token=9)


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    return pages_of(light=[figure])


class Shown:
    def __init__(self, visited: Visit, name: str = "light.html"):
        self.page = visited.open(name)
        self.figure = self.page.locator(".course-explorable")
        self.figure.locator(".ex-square").wait_for()
        self.heads = self.figure.get_by_role("group", name="Heads").get_by_role("button")
        self.tokens = self.figure.get_by_role("group", name="Tokens").get_by_role("button")

    def said(self) -> list[str]:
        return [text.replace("\xa0", " ") for text in self.figure.locator(".ex-said > span").all_text_contents()]

    def picked(self, buttons) -> int:
        return buttons.evaluate_all("all => all.findIndex(b => b.getAttribute('aria-pressed') === 'true')")


def wanted(figure, text: int, head: int, query: int) -> tuple[str, str]:
    """What is said of attention, computed from the data: where the query looks, and who looks at it."""
    block = figure.data["texts"][text]
    n, packed = len(block["tokens"]), block["attention"]
    steps = torch.frombuffer(bytearray(base64.b64decode(packed["data"])), dtype=torch.uint8).double()
    values = (packed["low"] + steps * (packed["high"] - packed["low"]) / 255).reshape(packed["shape"])[head]
    at = lambda q, k: values[q * (q + 1) // 2 + k].item()  # noqa: E731
    most = values.max().item()

    def ranked(pairs, least):
        largest = sorted((pair for pair in pairs if pair[1] > least), key=lambda pair: -pair[1])[:3]
        return ", ".join(f"{i} {block['tokens'][i]} {int(100 * x + 0.5)} %" for i, x in largest)

    looks = ranked([(k, at(query, k)) for k in range(query + 1)], 0)
    looked = ranked([(q, at(q, query)) for q in range(query + 1, n)], most / 50)
    return f"looks at: {looks}", f"is looked at by: {looked or '–'}"


def test_tokens_and_heads_by_mouse(visit, folder, figure):
    visited = visit(folder.as_uri())
    shown = Shown(visited)
    tokens = figure.data["texts"][0]["tokens"]
    assert shown.tokens.all_text_contents() == tokens
    assert (shown.picked(shown.heads), shown.picked(shown.tokens)) == (14, 9)
    assert shown.said() == [f"9 {tokens[9]} · head 1.2", *wanted(figure, 0, 14, 9)]
    shown.tokens.nth(4).hover()
    assert shown.said()[1:] == [*wanted(figure, 0, 14, 4)]
    shown.heads.nth(1).hover()
    assert shown.said() == [f"9 {tokens[9]} · head 0.1", *wanted(figure, 0, 1, 9)]
    shown.heads.nth(1).click()
    shown.tokens.nth(5).click()
    shown.page.mouse.move(2, 2)
    assert shown.said() == [f"5 {tokens[5]} · head 0.1", *wanted(figure, 0, 1, 5)]
    assert (shown.picked(shown.heads), shown.picked(shown.tokens)) == (1, 5)

    square = shown.figure.locator(".ex-square")
    size = square.bounding_box()["width"] / len(tokens)
    square.hover(position={"x": 2.5 * size, "y": 7.5 * size})
    assert shown.said()[0].startswith(f"7 {tokens[7]} ·") and shown.said()[1].startswith(f"looks at: 2 {tokens[2]} ")
    square.click(position={"x": 2.5 * size, "y": 7.5 * size})
    assert shown.picked(shown.tokens) == 7
    assert (visited.outside, visited.errors) == ([], [])


def test_by_keyboard(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()))
    keys = shown.page.keyboard
    shown.figure.locator("select").focus()
    keys.press("Tab")  # to the modes
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("Enter")
    assert "adds to what comes next" in shown.said()[1]
    keys.press("Tab")  # to the heads
    keys.press("ArrowRight")
    assert shown.said()[0].endswith("head 1.3") and shown.picked(shown.heads) == 14
    keys.press("Space")
    assert shown.picked(shown.heads) == 15
    keys.press("Tab")  # to the tokens
    keys.press("Home")
    assert shown.said()[0].startswith("0 <|start|>")
    keys.press("Enter")
    assert shown.picked(shown.tokens) == 0
    outline = shown.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    shown.figure.locator("select").select_option("Ids")
    assert shown.tokens.all_text_contents() == figure.data["texts"][2]["tokens"]


def test_each_mode_paints_its_numbers(visit, folder, figure):
    shown = Shown(visit(folder.as_uri()))
    ink = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.width).data]"
    n = len(figure.data["texts"][0]["tokens"])
    pictures = []
    for name in ("Attention", "Value-weighted", "Effect on the next token"):
        shown.figure.get_by_role("button", name=name, exact=True).click()
        pixels = torch.tensor(shown.figure.locator(".ex-square canvas").evaluate(ink)).reshape(n, n, 4)
        assert pixels[..., 3].triu(1).max() == 0 and pixels[..., 3].max() == 255
        pictures.append(pixels)
    assert not torch.equal(pictures[0], pictures[1]) and pictures[2][-1, :, 3].max() == 0, "nothing follows the last"


def test_hostile_tokens_are_text(visit, folder, figure):
    visited = visit(folder.as_uri())
    shown = Shown(visited)
    shown.figure.locator("select").select_option("Hostile")
    assert shown.tokens.all_text_contents() == figure.data["texts"][1]["tokens"]
    assert shown.figure.locator("img, b b, a, iframe").count() == 0 and shown.page.evaluate("window.hacked") is None
    assert (visited.outside, visited.errors) == ([], [])


class TestAnyFigure(AnyFigure):
    start = ".ex-strip button[tabindex='0']"
    marks = {".ex-heads canvas": 2, ".ex-square canvas": 2, ".ex-across": 2, ".ex-scale": 2,
             ".ex-strip button": 3}  # fmt: skip

    def touch(self, page):
        tokens = page.get_by_role("group", name="Tokens").get_by_role("button")
        for name in ("Value-weighted", "Effect on the next token"):
            page.get_by_role("button", name=name).click()
            for i in (0, 5, 9):
                tokens.nth(i).click()
                yield
        page.locator("select").select_option("Ids")
        yield

    def check_plain(self, page):
        assert page.locator(".course-explorable table").count() == len(TEXTS)
