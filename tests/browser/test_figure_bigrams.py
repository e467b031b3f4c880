"""The bigram table as a figure, in a real browser from the disk, with the network blocked."""

import base64

import numpy as np
import pytest
import torch
from any_figure import AnyFigure
from hostile import HOSTILE
from scipy.sparse import csr_array

from course_utils.corpus import Tokenizer
from course_utils.figures import bigrams_figure, visible

pytestmark = pytest.mark.browser

N = 1024
rng = np.random.default_rng(0)
COUNTS = csr_array(rng.poisson(0.05, (N, N)) * rng.integers(1, 50, (N, N)))
TABLE = torch.from_numpy(rng.normal(0, 2, (N, N))).log_softmax(dim=1)


@pytest.fixture(scope="module")
def figure():
    return bigrams_figure(TABLE, COUNTS, ["(", ".", "self"], carried=300)


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokenizer, "show", lambda self, token: HOSTILE[token % len(HOSTILE)])
        hostile = bigrams_figure(TABLE, COUNTS, ["("], carried=len(HOSTILE))
    return pages_of(light=[figure], hostile=[hostile])


def opened(visited, name="light.html"):
    page = visited.open(name)
    page.locator(".ex-next").wait_for()
    return page


def unpacked(packed) -> np.ndarray:
    steps = np.frombuffer(base64.b64decode(packed["data"]), "<u2").reshape(packed["shape"])
    return packed["low"] + (packed["high"] - packed["low"]) * steps / 65535


def assert_shows(page, figure, source: int, by: int = 0):
    data = figure.data
    assert page.locator(".ex-said code").text_content() == data["words"][data["sources"][source]]
    share, after = unpacked(data["share"])[source], unpacked(data["after"])[source].round().astype(int)
    order = np.argsort(-share[:, by], kind="stable")
    rows = page.locator(".ex-next li").evaluate_all("""all => all.map(row => [row.children[0].textContent,
        ...[...row.querySelectorAll('.ex-pair > span:nth-child(2)')].map(cell => parseFloat(cell.textContent))])""")
    assert [row[0] for row in rows[:-1]] == [data["words"][after[k]] for k in order] and rows[-1][0] == "all others"
    np.testing.assert_allclose([row[1:] for row in rows[:-1]], 100 * share[order], atol=0.06)
    np.testing.assert_allclose(np.sum([row[1:] for row in rows], axis=0), 100, atol=0.7)


def test_by_mouse(visit, folder, figure):
    visited = visit(folder.as_uri())
    page, data = opened(visited), figure.data
    assert_shows(page, figure, 0)
    page.get_by_role("button", name=data["words"][data["sources"][2]], exact=True).first.click()
    assert_shows(page, figure, 2)
    page.get_by_label("Sorted by").select_option("1")
    assert_shows(page, figure, 2, by=1)
    following = page.locator(".ex-next button").all_text_contents()
    carried = [data["words"][source] for source in data["sources"]]
    place = next(i for i, word in enumerate(following) if word in carried)
    page.locator(".ex-next button").nth(place).click()
    assert_shows(page, figure, carried.index(following[place]), by=1)
    assert (visited.outside, visited.errors) == ([], [])


def test_a_token_typed(visit, folder, figure):
    page, data = opened(visit(folder.as_uri())), figure.data
    field = page.get_by_label("Another token")
    word = next(
        i
        for i, s in enumerate(data["sources"])
        if i > 5 and data["words"][s].startswith("·") and len(data["words"][s]) > 2
    )
    for typed in (data["words"][data["sources"][word]], data["words"][data["sources"][word]].replace("·", " ")):
        page.get_by_role("button", name="(", exact=True).first.click()
        field.fill(typed)
        field.press("Enter")
        assert_shows(page, figure, word)
    rare = next(w for i, w in enumerate(data["words"]) if i not in data["sources"] and w.isalpha() and len(w) > 2
                and f"·{w}" not in [data["words"][s] for s in data["sources"]])  # fmt: skip
    for typed, says in (("no such token", "is not one token"), (rare, "is a token, but not one of the 300"),
                        ("<img src=x>", "is not one token"), ("", "Type a token")):  # fmt: skip
        field.fill(typed)
        page.get_by_role("button", name="Show", exact=True).click()
        assert says in page.locator(".ex-said").inner_text()
    assert page.locator(".ex-figure img").count() == 0
    assert page.locator("datalist option").count() == 300


def test_by_keyboard(visit, folder, figure):
    page = opened(visit(folder.as_uri()))
    keys = page.keyboard
    keys.press("Tab")  # past the button that begins anew
    keys.press("Tab")
    keys.press("ArrowRight")
    keys.press("Enter")
    assert_shows(page, figure, 1)
    keys.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "INPUT"
    keys.type("self")
    keys.press("Enter")
    assert_shows(page, figure, 2)
    page.get_by_label("Sorted by").focus()
    keys.press("ArrowDown")
    assert_shows(page, figure, 2, by=1)


def test_tokens_are_shown_as_text(visit, folder):
    visited = visit(folder.as_uri())
    page = opened(visited, "hostile.html")
    assert set(page.locator(".ex-next button code").all_text_contents()) <= {visible(text) for text in HOSTILE}
    assert page.locator(".ex-figure :is(img, b, a, iframe, script)").count() == 0
    assert page.evaluate("window.hacked") is None and visited.errors == []


class TestAnyFigure(AnyFigure):
    plain = ".ex-baseline tbody tr:nth-child(3)"
    keys = ("ArrowRight", "Enter", "ArrowLeft", "Enter")
    marks = {".ex-next .ex-weights": 3, ".ex-next .ex-counts": 3, ".ex-head .ex-weights": 3, ".ex-head .ex-counts": 3}

    def touch(self, page):
        field = page.get_by_label("Another token")
        for typed in ("self", "no such token", "self", ""):
            field.fill(typed)
            field.press("Enter")
            yield
