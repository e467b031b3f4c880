"""The residual stream as a sum, in a real browser from the disk, with the network blocked."""

import pytest
from any_figure import AnyFigure
from hostile import HOSTILE

from course_utils.corpus import Tokenizer
from course_utils.figures import residual_stream_figure, visible

pytestmark = pytest.mark.browser

TEXT = "def area(width, height):\n    return width * height\n\ndef volume(width, height"


@pytest.fixture(scope="module")
def figure():
    return residual_stream_figure("two-layer", TEXT, last=16, offer=[" self", "\n"])


@pytest.fixture(scope="module")
def folder(pages_of, figure):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tokenizer, "show", lambda self, token: HOSTILE[token % len(HOSTILE)])
        hostile = residual_stream_figure("two-layer", TEXT)
    return pages_of(light=[figure], hostile=[hostile])


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def opened(visited, name="light.html"):
    page = visited.open(name)
    page.locator(".ex-sum").wait_for()
    return page


def bars(page) -> list[tuple[str, float]]:
    rows = page.locator(".ex-sum li").evaluate_all(
        "all => all.map(row => [row.children[0].textContent, row.children[2].textContent])"
    )
    return [(name, number(value)) for name, value in rows]


def values(figure, at: int, which: int) -> list[float]:
    """What Python packed, unpacked again."""
    import base64

    import numpy as np

    packed = figure.data["values"]
    steps = np.frombuffer(base64.b64decode(packed["data"]), "<u2").reshape(packed["shape"])
    return (packed["low"] + (packed["high"] - packed["low"]) * steps[at, which] / 65535).tolist()


def assert_shows(page, figure, at: int, which: int):
    wanted, shown = values(figure, at, which), bars(page)
    assert [name for name, _ in shown] == [*figure.data["parts"], "the logit"]
    assert [value for _, value in shown] == pytest.approx([*wanted, sum(wanted)], abs=0.0051)
    word = figure.data["words"][figure.data["candidates"][at][which]]
    assert page.locator(".ex-said code").all_text_contents()[1] == word


def test_position_token_and_order_by_mouse(visit, folder, figure):
    visited = visit(folder.as_uri())
    page, at = opened(visited), figure.data["at"]
    assert_shows(page, figure, at, 0)
    page.get_by_role("group", name="Position").get_by_role("button").nth(2).click()
    page.mouse.move(2, 2)
    assert_shows(page, figure, 2, 0)
    page.get_by_label("Logit of").select_option("3")
    assert_shows(page, figure, 2, 3)
    page.get_by_role("group", name="Position").get_by_role("button").nth(5).hover()
    assert_shows(page, figure, 5, 3)
    page.mouse.move(2, 2)
    page.get_by_role("button", name="Largest first").click()
    sizes = [abs(value) for _, value in bars(page)[:-1]]
    assert sizes == sorted(sizes, reverse=True)
    assert bars(page)[-1][1] == pytest.approx(sum(values(figure, 2, 3)), abs=0.0051)
    assert (visited.outside, visited.errors) == ([], [])


def test_bars_begin_where_the_last_one_ended(visit, folder):
    page = opened(visit(folder.as_uri()))
    places = page.locator(".ex-sum li").evaluate_all("""all => all.map(row => {
        const bar = row.querySelector('.ex-plus, .ex-minus').getBoundingClientRect();
        return [bar.left, bar.left + Math.max(bar.width, 0), row.querySelector('.ex-minus') !== null];
    })""")
    end = places[-1][0]  # the whole begins at zero
    for left, right, minus in places[:-1]:
        assert (right if minus else left) == pytest.approx(end, abs=3)
        end = left if minus else right
        end = end if right - left > 2.5 else (left + right) / 2  # a bar is drawn two pixels wide at least
    assert places[-1][1] == pytest.approx(end, abs=4)


def test_by_keyboard(visit, folder, figure):
    page = opened(visit(folder.as_uri()))
    at, keys = figure.data["at"], page.keyboard
    keys.press("Tab")  # past the button that begins anew
    keys.press("Tab")
    keys.press("Home")
    assert_shows(page, figure, 0, 0)
    keys.press("ArrowRight")
    keys.press("Enter")
    assert_shows(page, figure, 1, 0)
    keys.press("Tab")
    assert_shows(page, figure, 1, 0)
    keys.press("ArrowDown")
    assert_shows(page, figure, 1, 1)
    keys.press("Tab")
    keys.press("Space")
    assert page.get_by_role("button", name="Largest first").get_attribute("aria-pressed") == "true"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert at != 1


def test_tokens_are_shown_as_text(visit, folder):
    visited = visit(folder.as_uri())
    page = opened(visited, "hostile.html")
    known = {visible(text) for text in HOSTILE}
    assert set(page.locator(".ex-strip code").all_text_contents()) <= known
    assert page.locator(".ex-figure :is(img, b, a, iframe, script)").count() == 0
    assert page.evaluate("window.hacked") is None and visited.errors == []


class TestAnyFigure(AnyFigure):
    plain = ".ex-baseline tbody tr:nth-child(16)"
    marks = {".ex-sum .ex-plus": 3, ".ex-sum .ex-minus": 3, ".ex-key .ex-plus": 3, ".ex-key .ex-minus": 3,
             ".ex-track": 3, ".ex-run": 3}  # fmt: skip

    def touch(self, page):
        for at in (0, 7, 15):
            page.get_by_role("group", name="Position").get_by_role("button").nth(at).click()
            for which in ("0", "2", "7"):
                page.get_by_label("Logit of").select_option(which)
                yield
        page.get_by_role("button", name="Largest first").click()
        yield
