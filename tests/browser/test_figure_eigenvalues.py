"""Eigenvalues in the complex plane, in a real browser from the disk, with the network blocked."""

import pytest
import torch
from any_figure import AnyFigure
from hostile import HOSTILE

from course_utils.factored import FactoredMatrix
from course_utils.figures import eigenvalues_figure, visible

pytestmark = pytest.mark.browser


def circuit(seed: int, n: int, rank: int = 12) -> FactoredMatrix:
    generator = torch.Generator().manual_seed(seed)
    return FactoredMatrix(*(torch.randn(*shape, generator=generator).double() for shape in ((n, rank), (rank, n))))


HEADS = range(12)
NAMES = [f"·name{i}" for i in range(60)]
FIGURE = eigenvalues_figure({h: circuit(h, 60) for h in HEADS}, {h: circuit(50 + h, 60) for h in HEADS}, NAMES, first=4)
DATA = FIGURE.data


@pytest.fixture(scope="module")
def folder(pages_of):
    names = [f"{text}{i}" for i, text in enumerate(HOSTILE)]
    tables = {h: circuit(h, len(names), 24) for h in HEADS}
    hostile = eigenvalues_figure(tables, tables, names)
    return pages_of(light=[FIGURE, hostile])


def opened(visited, name="light.html"):
    page = visited.open(name)
    figure = page.locator(".course-explorable").first
    figure.locator(".ex-list button").first.wait_for()
    return page, figure


def assert_tokens(figure, head: int, i: int, kind="trained"):
    real, imaginary, tokens = DATA["heads"][head][kind]["values"][i]
    items = figure.locator(".ex-vector li")
    assert items.locator("code").all_text_contents() == [DATA["names"][token] for token in tokens[::3]]
    shares = items.locator("i").evaluate_all("bars => bars.map(bar => parseInt(bar.style.getPropertyValue('--share')))")
    assert shares == tokens[1::3]
    ends = [f"{turn}°".replace("-", "\N{MINUS SIGN}") if imaginary else "other end" if turn else "one end"
            for turn in tokens[2::3]]  # fmt: skip
    assert items.locator("small").all_text_contents() == ends
    said = figure.locator(".ex-vector p").all_inner_texts()
    what = "a pair" if imaginary else "positive" if real > 0 else "negative"
    assert said[1].startswith(what) and said[0].endswith(figure.locator(".ex-list button").nth(i).inner_text())


def test_heads_and_eigenvalues_by_mouse_and_by_keyboard(visit, folder):
    visited = visit(folder.as_uri())
    page, figure = opened(visited)
    chips = figure.locator(".ex-list button")
    assert chips.count() == len(DATA["heads"][4]["trained"]["values"])
    assert_tokens(figure, 4, 0)
    chips.nth(2).hover()
    assert_tokens(figure, 4, 2)
    chips.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert_tokens(figure, 4, 1)
    page.keyboard.press("End")
    assert_tokens(figure, 4, chips.count() - 1)
    heads = figure.locator(".ex-planes button")
    heads.nth(7).click()
    assert_tokens(figure, 7, 0)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert_tokens(figure, 8, 0)
    figure.get_by_label("In front").select_option("random")
    assert_tokens(figure, 8, 0, "random")
    assert visited.errors == [] == visited.outside


def test_points_lie_where_the_eigenvalues_are_and_answer_the_pointer(visit, folder):
    page, figure = opened(visit(folder.as_uri()))
    values = DATA["heads"][4]["trained"]["values"]
    points = figure.locator(".ex-plane > .ex-trained")
    places = points.evaluate_all("all => all.map(p => [+p.getAttribute('cx'), +p.getAttribute('cy')])")
    wanted = [(x, sign * y) for x, y, _ in values for sign in ((-1, 1) if y else (1,))]
    assert len(places) == len(wanted)
    turned = [complex(*at) * complex(*want).conjugate() for at, want in zip(places, wanted, strict=True)]
    assert all(abs(product.imag) < 1e-4 * abs(product) and product.real > 0 for product in turned)
    sizes, far = ([abs(complex(*pair)) for pair in pairs] for pairs in (wanted, places))
    assert sorted(range(len(far)), key=lambda i: (round(far[i], 5), i)) == sorted(
        range(len(far)), key=lambda i: (round(far[i], 5), sizes[i])
    )
    for i in (0, len(values) - 1):
        place = sum(2 if y else 1 for _, y, _ in values[:i])
        points.nth(place).hover(force=True)
        real, imaginary, tokens = values[i]
        assert figure.locator(".ex-vector code").first.inner_text() == DATA["names"][tokens[0]]
        ring = figure.locator(".ex-here")
        assert ring.count() == (2 if imaginary else 1)


def test_positivity_of_all_heads_is_shown(visit, folder):
    _, figure = opened(visit(folder.as_uri()))
    for kind in ("trained", "random"):
        figure.get_by_label("In front").select_option(kind)
        shown = figure.locator(".ex-planes small").all_inner_texts()
        numbers = [float(text.replace("\N{MINUS SIGN}", "-")) for text in shown]
        assert numbers == [each[kind]["positivity"] for each in DATA["heads"]]


def test_hostile_tokens_are_text(visit, folder):
    visited = visit(folder.as_uri())
    page, _ = opened(visited)
    hostile = page.locator(".course-explorable").nth(1)
    known = {visible(f"{text}{i}") for i, text in enumerate(HOSTILE)}
    chips, seen = hostile.locator(".ex-list button"), set()
    for i in range(chips.count()):
        chips.nth(i).hover()
        seen |= set(hostile.locator(".ex-vector code").all_text_contents())
    assert seen <= known and len(seen) > 20
    assert page.evaluate("window.hacked") is None and visited.errors == []
    assert hostile.locator(".ex-vector :is(img, svg, script)").count() == 0


class TestAnyFigure(AnyFigure):
    start = ".ex-list button[tabindex='0']"
    marks = {".ex-plane .ex-trained": 3, ".ex-plane .ex-here": 3, ".ex-planes svg": 3, ".ex-vector i": 3,
             ".ex-key .ex-dot": 3, ".ex-key .ex-open": 3}  # fmt: skip

    def touch(self, page):
        figure = page.locator(".course-explorable").first
        for head in (4, 8):
            figure.locator(".ex-planes button").nth(head).click()
            for i in (0, 1, 3):
                figure.locator(".ex-list button").nth(i).focus()
                yield
