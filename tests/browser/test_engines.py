"""The site in Firefox and in WebKit, from a server and from a folder: figures start, the lab runs and fails well."""

import json
import os
import re

import pytest
from engines import TAB, Firefox, WebKit
from visits import serve

from course_utils.corpus import load_tokenizer
from course_utils.figures.induction_lab import text_losses

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

LAB = "book/induction_lab.html"
ROWS = ("book/05_eigenvalue_analysis.html", "book/06_composition.html", "book/07_induction_heads.html")
TEXT = "def read(path):\n    return open(path).read()\n\n\ndef read(path):\n"
HARD = "na\u00efve \u65e5\u672c \U0001f469\u200d\U0001f52c \u05e9\u05dc  \t'll <|start|> \u2028 </script> e\u0301 1"
# The rows of the lab's table: name, tokens, loss with everything on.
SUMS = "[...document.querySelectorAll('.lab-sums tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
LOAD = """[...document.querySelectorAll('.lab-door button')]
    .filter(button => button.checkVisibility()).map(button => [button.click()]).length"""


@pytest.fixture(scope="module", params=[Firefox, WebKit], ids=lambda kind: kind.__name__)
def engine(request, tmp_path_factory):
    missing = [package for package, there in request.param.NEEDS.items() if not there]
    if missing:
        what = f"not installed: Debian's {', '.join(missing)}"
        pytest.fail(what) if os.environ.get("CI") == "true" else pytest.skip(what)
    engine = request.param(tmp_path_factory.mktemp(request.param.__name__))
    yield engine
    engine.close()


def pages_with_figures(site) -> list[str]:
    pages = sorted((site / "book").rglob("*.html"))
    names = [path.relative_to(site).as_posix() for path in pages if 'data-explorable="' in path.read_text("utf-8")]
    assert len(names) >= 12
    return names


def write(engine, text: str) -> None:
    engine.evaluate(f"""(area => {{
        area.value = {json.dumps(text)};
        area.dispatchEvent(new InputEvent('input', {{ bubbles: true }}));
    }})(document.querySelector('.lab textarea'))""")


def open_page(engine, address: str) -> None:
    """Open a page and see that its figures have started."""
    engine.open(address)
    states = "[...document.querySelectorAll('.course-explorable')].map(f => [f.dataset.figure, f.dataset.state])"
    assert [figure for figure, state in engine.evaluate(states) if state != "ready"] == [], address


@pytest.mark.parametrize(
    "engine", [Firefox, pytest.param(WebKit, marks=pytest.mark.release)], ids=lambda kind: kind.__name__, indirect=True
)
def test_every_figure_starts(engine, site):
    """Each on one page, from the disk; those of the first of ROWS and the lab's are opened below."""
    figures = {
        name: set(re.findall(r'data-figure="(\w+)"', (site / name).read_text("utf-8")))
        for name in pages_with_figures(site)
    }
    seen = set().union(*(figures[name] for name in (ROWS[0], LAB)))
    for name in sorted(figures, key=lambda name: len(figures[name]), reverse=True):  # so fewest are opened
        if figures[name] - seen:
            open_page(engine, f"{site.as_uri()}/{name}")
            seen |= figures[name]
    assert len(seen) >= 12


@pytest.mark.release
def test_every_page_starts_its_figures(engine, home, site):
    for name in pages_with_figures(site):
        open_page(engine, f"{home}/{name}")


@pytest.mark.parametrize(
    "names", [ROWS[:1], pytest.param(ROWS[1:], marks=pytest.mark.release)], ids=["the first page", "the others"]
)
def test_a_row_is_one_stop(engine, site, names):
    """Also where what scrolls is a stop for the Tab key."""
    at = "document.activeElement.closest('.ex-row')?.getAttribute('aria-label') ?? document.activeElement.className"
    for name in names:
        open_page(engine, f"{site.as_uri()}/{name}")
        engine.evaluate("document.querySelectorAll('.ex-veil button').forEach(button => button.click())")
        rows = "[...document.querySelectorAll('.course-explorable:not([inert], [inert] *) .ex-row:not([inert] *)')]"
        rows += ".filter(row => row.checkVisibility() && getComputedStyle(row).visibility === 'visible')"
        for i, label in enumerate(engine.evaluate(f"{rows}.map(row => row.getAttribute('aria-label'))")):
            engine.evaluate(f"{rows}[{i}].querySelector('[tabindex=\"0\"]').focus()")
            assert engine.evaluate(at) == label
            engine.press(TAB)
            after = engine.evaluate(
                f"[{at}, document.activeElement.matches('.course-explorable :not(button, select, input, a, summary)')]"
            )
            assert after[0] != label and not after[1], (name, label, after)


def test_the_lab_computes_what_pytorch_does(engine, home):
    engine.open(f"{home}/{LAB}")
    for text in (TEXT, HARD):
        write(engine, text)
        engine.evaluate(LOAD)
        ids = [0, *load_tokenizer().encode(text)]
        engine.wait(f"{SUMS}[0]?.[1] === '{len(ids) - 2}'")
        everything, again, _ = text_losses("two-layer", text)
        shown = engine.evaluate(SUMS)
        assert float(shown[0][2]) == pytest.approx(everything, abs=0.0051)
        if text == TEXT:
            assert float(shown[1][2]) == pytest.approx(again, abs=0.0051)
        tokens = engine.evaluate("[...document.querySelectorAll('.lab-strip code')].map(token => token.textContent)")
        assert tokens == [load_tokenizer().show(token) for token in ids]


def test_the_page_trains(engine, site):
    """And what was trained opens in the lab's views."""
    engine.open(f"{site.as_uri()}/book/train_in_the_page.html")
    root = "document.querySelector('[data-figure=train_in_page]')"
    press = f"[...{root}.querySelectorAll('button')].find(button => button.textContent === '%s').click()"
    engine.wait(f"{root}.dataset.step === '0'")
    engine.evaluate(press % "Train")
    engine.wait(f"{root}.dataset.step >= 10 && {root}.dataset.state === 'running'")
    engine.evaluate(press % "Take it apart")
    engine.wait(f"{root}.querySelectorAll('.lab-strip button').length === 32")
    assert engine.evaluate(f"{root}.dataset.state") == "paused"


@pytest.fixture
def without_a_part(site, tmp_path):
    """The lab's page, and all that it needs but a part of the weights."""
    (tmp_path / "book").mkdir()
    (tmp_path / LAB).write_bytes((site / LAB).read_bytes())
    (tmp_path / "_static" / "lab").mkdir(parents=True)
    for path in (site / "_static").iterdir():
        if path.name != "lab":
            (tmp_path / "_static" / path.name).symlink_to(path)
    for path in (site / "_static" / "lab").iterdir():
        if path.name not in ("two-layer.safetensors", "two-layer-3.js"):
            (tmp_path / "_static" / "lab" / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.parametrize("kind", ["http", "file"])
def test_weights_that_do_not_arrive(engine, site, without_a_part, kind):
    with serve(without_a_part) as address:
        engine.open(f"{address if kind == 'http' else without_a_part.as_uri()}/{LAB}")
        engine.evaluate(LOAD)
        engine.wait("document.querySelector('.lab-door').innerText.includes('did not arrive')")
        for name in ("two-layer.safetensors", "two-layer-3.js"):
            (without_a_part / "_static" / "lab" / name).symlink_to(site / "_static" / "lab" / name)
        assert engine.evaluate(LOAD) == 1, "it can be tried again"
        engine.wait(f"{SUMS}.length > 0")
