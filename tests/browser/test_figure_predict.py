"""A prediction and its veiled result, in a real browser from the disk, with the network blocked."""

import pytest
from any_figure import AnyFigure
from playwright.sync_api import expect
from visits import is_kept

from course_utils.figures import predict_figure, quiz

pytestmark = pytest.mark.browser

HEADS = [f"0.{i}" for i in range(4)]
ASKED = {
    "choices": {"choices": ["`0.2`", "`0.8`", "neither"]},
    "number": {"span": [0, 8], "unit": "nats", "step": 0.1},
    "curve": {"names": ["step", "loss"], "x": [0, 800], "y": [0, 10]},
    "cell": {"rows": HEADS, "columns": ["a", "b"]},
}
TRUE = {"choices": "`0.8`", "number": 3.07, "curve": [[0, 9], [400, 4], [800, 2]], "cell": ["0.3", "b"]}
JUDGED = {
    "choices": "✗ You said 0.2; it is 0.8.",
    "number": "You said 4.1 nats; it is 3.07 nats, less by 1.03.",
    "curve": "At step 800 you said 5; it is 2.",
    "cell": "✗ You said 0.0, b; it is 0.3, b.",
}


def pair(kind: str) -> str:
    """A question and, in a cell's output as the site has it, the result with a picture and a link."""
    asks = {"key": f"02.{kind}", "question": f"What of the `{kind}`?", "kind": kind, **ASKED[kind]}
    answer = predict_figure(asks, TRUE[kind])._repr_html_()
    result = f'<p>Printed</p>{answer}<p><a href="#after" style="color: inherit">The picture</a></p>'
    below = '<p>It says so again</p><div class="cell"><div class="cell_output"><p>It prints so</p></div></div>'
    below = f'<div class="cell tag_claims"></div>{below}<p>And so on</p>'
    below += '<div class="cell tag_veiled"><div class="cell_output"><img alt=""><p>A picture of it</p></div></div>'
    below += '<div class="admonition veiled"><p>A box about it</p></div><h2>And on</h2><p>Something else</p>'
    return f'{predict_figure(asks)._repr_html_()}<div class="cell"><div class="cell_output">{result}</div></div>{below}'


@pytest.fixture(scope="module")
def folder(pages_of):
    pages = {kind: [pair(kind)] for kind in ASKED}
    return pages_of(light=[pair("choices")], **pages, with_another=[pair("cell"), quiz("01")])


def guess(page, kind: str) -> None:
    """Set, by keyboard alone, what JUDGED speaks of."""
    field = page.locator(".ex-predict").first.locator(".ex-field")
    if kind == "choices":
        field.locator("[tabindex='0']").press("Enter")
    elif kind == "number":
        field.locator("input").press("ArrowRight")
    elif kind == "cell":
        field.locator("[tabindex='0']").press("ArrowRight")
        page.keyboard.press("Enter")
    else:
        field.locator("[tabindex='0']").press("PageUp")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")


def test_a_table_stays_one_when_another_figure_follows(visit, folder):
    """That brings the shared style once more, and it must not undo the figure's own."""
    page = visit(folder.as_uri()).open("with_another.html")
    places = [button.bounding_box() for button in page.locator(".ex-grid button").all()]
    assert [len({place[side] for place in places}) for side in "xy"] == [2, len(HEADS)]
    assert page.locator(".ex-predict .ex-said").first.evaluate("said => getComputedStyle(said).marginBottom") == "0px"


@pytest.mark.parametrize("kind", ASKED)
def test_the_result_opens_with_the_guess_and_is_kept(kind, visit, folder):
    visited = visit(folder.as_uri())
    page = visited.open(f"{kind}.html")
    output, veil = page.locator(".cell_output").first, page.get_by_role("group", name="Veiled result")
    link = page.get_by_text("The picture")
    commit = page.get_by_role("button", name="Commit")
    assert veil.is_visible() and not link.is_visible() and not page.get_by_text("Printed").is_visible()
    assert page.get_by_role("link", name="The picture").count() == 0, "nor for those who hear the page"
    below = "name => [...document.querySelectorAll('p')].find(p => p.textContent === name).closest('[inert]') !== null"
    said = ["It says so again", "It prints so", "And so on", "A picture of it", "A box about it", "Something else"]
    assert [page.evaluate(below, name) for name in said] == [True] * 5 + [False]
    assert page.locator(".ex-below-veil").first.evaluate("text => getComputedStyle(text).filter").startswith("blur")
    assert all(output.locator("> :not(.ex-veil)").evaluate_all("all => all.map(each => each.inert)"))
    commit.press("Enter")
    assert veil.is_visible(), "nothing was said yet"
    assert output.bounding_box()["height"] <= 128, "no taller than its words need"

    def say() -> None:
        guess(page, kind)
        commit.press("Enter")

    say()
    assert link.is_visible() and veil.count() == 0 and not page.evaluate(below, "It says so again")
    said = output.locator(".ex-said")
    assert said.inner_text().startswith(JUDGED[kind])
    assert output.locator(".ex-guess:visible, [data-guess]").count() >= (kind != "choices")
    expect(page.get_by_role("button", name="Go to the result")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.reveals") == f"02.{kind}"
    assert is_kept(page, link.is_visible, say), "on this machine"
    assert said.inner_text().startswith(JUDGED[kind])
    page.get_by_role("button", name="Start over").press("Enter")
    assert veil.is_visible() and not link.is_visible() and page.evaluate("localStorage.length") == 0
    assert page.evaluate("document.activeElement.closest('.ex-field, .ex-predict') !== null")
    assert (visited.outside, visited.errors) == ([], [])


@pytest.mark.parametrize("where", ["question", "veil"])
def test_show_me_opens_it_without_a_guess(where, visit, folder):
    page = visit(folder.as_uri()).open("number.html")
    output = page.locator(".cell_output")
    place = page.locator(".ex-predict").first if where == "question" else output
    place.get_by_role("button", name="Show me").click()
    assert output.locator(".ex-said").inner_text() == "It is 3.07 nats." and output.locator(".ex-guess").count() == 0
    assert page.evaluate("document.activeElement !== document.body"), "the focus went on"
    assert page.get_by_role("button", name="Start over").is_visible()


def test_a_curve_is_drawn_by_the_pointer(visit, folder):
    page = visit(folder.as_uri()).open("curve.html")
    chart = page.locator(".ex-predict .ex-chart").first
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], box["y"] + box["height"] * 0.8, steps=2)
    page.mouse.up()
    values = [float(dot.get_attribute("aria-valuenow")) for dot in chart.locator(".ex-dot").all()]
    assert values == sorted(values, reverse=True) and values[0] > 8 and values[-1] < 2 and len(set(values)) == 9


def test_a_kept_guess_that_no_longer_fits_is_none(visit, folder):
    visited = visit(folder.as_uri())
    visited.page.add_init_script("""localStorage.setItem('course-predict:02.choices', '"gone"')""")
    assert visited.open("choices.html").get_by_role("group", name="Veiled result").is_visible()


def test_on_paper_and_without_javascript_everything_is_open(visit, without_javascript, folder):
    page = visit(folder.as_uri()).open("cell.html")
    page.emulate_media(media="print")
    assert page.get_by_text("The picture").is_visible() and not page.locator(".ex-veil").is_visible()
    assert page.locator(".cell_output .ex-baseline").inner_text().endswith("0.3, b")
    page = without_javascript(f"{folder.as_uri()}/cell.html")
    assert page.get_by_text("The picture").is_visible() and page.locator(".cell_output .ex-baseline").is_visible()


class TestAnyFigure(AnyFigure):
    plain = ".ex-question"
    keys = ("Enter", "ArrowRight")
    marks = {".ex-row button": 3}

    def touch(self, page):
        page.locator(".ex-row button").first.click()
        yield
        page.get_by_role("button", name="Commit").click()
        yield
