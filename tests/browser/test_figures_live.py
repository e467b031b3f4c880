"""Figures that answer, in a real browser from the disk, with the network blocked."""

import datetime

import pytest
from any_figure import TELEPHONE, AnyFigure
from hostile import HOSTILE
from visits import Visit

from course_utils.figures import induction_at_work_figure, visible

pytestmark = pytest.mark.browser

TOKENS = "<|start|> def ·read ( ·path ) : ↵ return ·open ( ·path ) . read ( ) ↵ ↵ def ·write ( ·path ) : ↵ x".split()
STEPS = [
    {"at": 19, "look": [[2, 0.5], [0, 0.31]], "carried": [[2, 1, 0.97]], "copied": "·read",
     "right": False, "caption": "A"},
    {"at": 21, "look": [[4, 0.4], [11, 0.22], [16, 0.1]], "carried": [[4, 3, 0.96], [11, 10, 0.9], [16, 15, 0.93]],
     "copied": "·path", "right": True, "caption": "After the three earlier parentheses came ·path."},
    {"at": 22, "look": [[5, 0.45], [12, 0.4], [22, 0.05]], "carried": [[5, 4, 0.95], [12, 11, 0.99]], "copied": ")",
     "right": True, "caption": "B " * 120},
    {"at": 24, "look": [[7, 0.8]], "carried": [[7, 6, 1.0]], "copied": "↵", "right": True, "caption": "D"},
]  # fmt: skip


def hostile_figure():
    steps = [
        {"at": at, "look": [], "carried": [], "copied": text, "right": False, "caption": text}
        for at, text in enumerate(HOSTILE)
    ]
    return induction_at_work_figure(HOSTILE, steps)


@pytest.fixture(scope="module")
def folder(pages_of):
    work = induction_at_work_figure(TOKENS, STEPS)
    return pages_of(light=[work, hostile_figure()], twice=[work, work], empty=['<div id="output"></div>'])


TOLD = """figure => {
    const slider = figure.querySelector("[type=range]"), words = figure.querySelector(".ex-now");
    const texts = [...words.querySelectorAll(".ex-caption, code")].map(part => part.textContent);
    return [Number(slider.value), slider.ariaValueText, words.innerText, texts];
}"""


def step_told(told: list) -> int:
    """The number of the step shown, said in three places, counted from 0."""
    number, value, words, _ = told
    assert words.startswith(f"Step {number} of ") and value.startswith(f"{number} of ")
    return number - 1


class Shown:
    """The first figure of a page, and what it shows."""

    def __init__(self, visited: Visit, name: str, nth: int = 0):
        self.page = visited.open(name)
        self.figure = self.page.locator(".course-explorable").nth(nth)
        self.figure.locator(".ex-controls").wait_for()
        self.stage, self.words = self.figure.locator(".ex-stage"), self.figure.locator(".ex-now")
        self.slider = self.figure.get_by_label("Step", exact=True)

    def button(self, name: str):
        return self.figure.get_by_role("button", name=name, exact=True)

    def step(self) -> int:
        """The step shown, counted from 0."""
        return step_told(self.figure.evaluate(TOLD))

    def boxes(self) -> list[dict]:
        return self.stage.evaluate("""stage => [...stage.querySelectorAll('li')].map(box => ({
            token: box.querySelector('code').textContent,
            index: box.querySelector('.ex-index').textContent,
            kinds: [...box.classList].sort(),
            look: [...box.querySelectorAll('.ex-look')].map(mark => mark.textContent),
            carried: [...box.querySelectorAll('.ex-carried')].map(mark => mark.textContent),
        }))""")


def expected_boxes(step: dict) -> list[dict]:
    at, looked = step["at"], dict(step["look"])
    boxes = []
    for i, token in enumerate(TOKENS):
        same = i < at and token == TOKENS[at]
        copied = token == step["copied"] and (i in looked or (step["right"] and i == at + 1))
        kinds = {"is-present": i == at, "is-same": same, "is-later": i > at, "is-copied": copied}
        boxes.append(
            {
                "token": token,
                "index": f"{i}{' now' if i == at else ' next' if i == at + 1 else ' same' if same else ''}",
                "kinds": sorted(kind for kind, holds in kinds.items() if holds),
                "look": [f"looked at: {looked[i]:.0%}".replace("%", "\xa0%")] if i in looked else [],
                "carried": [
                    f"carries token ←\u2009{source} {weight:.0%}".replace("%", "\xa0%")
                    for position, source, weight in step["carried"]
                    if position == i
                ],
            }
        )
    return boxes


@pytest.mark.parametrize("width", [1280, TELEPHONE])
def test_marks_lines_and_caption_say_what_the_data_say(visit, folder, width):
    visited = visit(folder.as_uri(), width=width)
    shown = Shown(visited, "light.html")
    for number, step in enumerate(STEPS):
        if number:
            shown.button("Forward").click()
        assert shown.step() == number
        assert shown.boxes() == expected_boxes(step)
        assert shown.words.locator(".ex-caption").text_content() == step["caption"]
        assert shown.words.locator("code").all_text_contents() == [TOKENS[step["at"]], step["copied"]]
        assert ("✓ right" in shown.words.inner_text()) == step["right"]
        ends = shown.stage.evaluate("""stage => {
            const frame = stage.getBoundingClientRect();
            const places = [...stage.querySelectorAll('li')].map(box => box.getBoundingClientRect());
            return [...stage.querySelectorAll('path.ex-head')].map(head => {
                const [x, y] = head.getAttribute('d').slice(1).split('l')[0].split(',').map(Number);
                const near = box => Math.abs(box.left + box.width / 2 - frame.left - x) < 8 &&
                    Math.min(Math.abs(box.top - frame.top - y), Math.abs(box.bottom - frame.top - y)) < 2;
                return [head.classList[0], places.findIndex(near)];
            });
        }""")
        wanted = [["ex-carried", position] for position, _, _ in step["carried"]]
        assert ends == wanted + [["ex-look", key] for key, _ in step["look"] if key != step["at"]]
        crossed = shown.stage.evaluate("""stage => {
            const frame = stage.getBoundingClientRect();
            const words = [...stage.querySelectorAll('code, .ex-index, .ex-mark')].map(e => e.getBoundingClientRect());
            return [...stage.querySelectorAll('path:not(.ex-head)')].some(path => {
                for (let at = 0; at < path.getTotalLength(); at += 2) {
                    const { x, y } = path.getPointAtLength(at);
                    const [left, top] = [x + frame.left, y + frame.top];
                    if (words.some(w => w.left < left && left < w.right && w.top < top && top < w.bottom)) return true;
                }
            });
        }""")
        assert not crossed, "a line crosses a word"
    assert (visited.outside, visited.errors) == ([], [])


def test_controls_by_mouse(visit, folder):
    shown = Shown(visit(folder.as_uri()), "light.html")
    assert shown.step() == 0
    assert shown.button("Back").get_attribute("aria-disabled") == "true"
    shown.button("Back").click(force=True)  # nothing comes before
    assert shown.step() == 0
    shown.button("Forward").click()
    shown.button("Forward").click()
    assert shown.step() == 2
    shown.button("Back").click()
    assert shown.step() == 1
    box = shown.slider.bounding_box()
    shown.slider.click(position={"x": box["width"] - 3, "y": box["height"] / 2})
    assert shown.step() == 3 and shown.button("Forward").get_attribute("aria-disabled") == "true"
    shown.button("Forward").click(force=True)
    assert shown.step() == 3
    shown.stage.click(position={"x": 5, "y": 5})
    shown.page.keyboard.press("ArrowLeft")
    assert shown.step() == 2


def test_controls_by_keyboard(visit, folder):
    shown = Shown(visit(folder.as_uri()), "light.html")
    keys, seen = shown.page.keyboard, []
    keys.press("Tab")  # past the button that begins anew
    for _ in range(5):
        keys.press("Tab")
        seen.append(
            shown.page.evaluate("""() => [
            document.activeElement.className || document.activeElement.textContent.slice(0, 7),
            getComputedStyle(document.activeElement).outlineStyle,
        ]""")
        )
    assert [name for name, _ in seen[:3]] == ["Play", "Back", "Forward"]
    assert all(outline == "solid" for _, outline in seen), "focus is visible"
    shown.button("Forward").focus()
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("ArrowLeft")
    assert shown.step() == 1
    shown.slider.focus()
    keys.press("ArrowRight")
    assert shown.step() == 2, "one step a key"
    keys.press("Home")
    assert shown.step() == 0
    keys.press("End")
    assert shown.step() == 3
    shown.button("Back").focus()
    keys.press("Enter")
    keys.press("Space")
    assert shown.step() == 1
    keys.press("ArrowRight")
    assert shown.step() == 2
    shown.figure.get_by_label("Speed").focus()
    keys.press("ArrowDown")
    assert shown.step() == 2, "this key chose a speed"


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_playing(visit, folder, motion):
    visited = visit(folder.as_uri())
    visited.page.emulate_media(reduced_motion=motion)
    clock = visited.page.clock
    clock.install(time=datetime.datetime(2030, 1, 1))
    shown = Shown(visited, "light.html")
    clock.pause_at(datetime.datetime(2030, 1, 1, 1))
    assert shown.step() == 0, "it never plays by itself"
    shown.button("Play").click()
    assert shown.step() == 0
    clock.run_for(3010)
    assert shown.step() == 1
    clock.run_for(1000)
    live = shown.figure.locator("[aria-live]")
    assert live.inner_text() == "", "a voice that reads would never catch up"
    moves = shown.stage.locator(".ex-mark").first.evaluate("mark => getComputedStyle(mark).animationName != 'none'")
    assert moves == (motion == "no-preference")
    shown.button("Pause").click()
    clock.run_for(20_000)
    assert shown.step() == 1
    shown.figure.get_by_label("Speed").select_option("fast")
    shown.button("Play").click()
    clock.run_for(1210)
    assert shown.step() == 2
    shown.button("Back").click()  # a hand on it stops it
    clock.run_for(20_000)
    assert live.inner_text().startswith("Step 2 of 4")
    assert shown.step() == 1
    shown.button("Play").click()
    clock.run_for(20_000)
    assert shown.step() == 3
    shown.button("Play").click()  # from the end it begins again
    assert shown.step() == 0
    shown.figure.get_by_label("Speed").select_option("slow")
    clock.run_for(4000)
    assert shown.step() == 0
    clock.run_for(1010)
    assert shown.step() == 1
    shown.button("Pause").press("Space")
    assert shown.button("Play").is_visible()


def test_hostile_texts_are_shown_as_they_are(visit, folder):
    visited = visit(folder.as_uri())
    shown, wanted = Shown(visited, "light.html", nth=1), [visible(text) for text in HOSTILE]
    assert [box["token"] for box in shown.boxes()] == wanted
    all_told = shown.figure.evaluate(
        f"""(figure, steps) => Array.from({{ length: steps }}, (_, step) => {{
            if (step) [...figure.querySelectorAll("button")].find(each => each.textContent === "Forward").click();
            return ({TOLD})(figure);
        }})""",
        len(wanted),
    )
    for number, (text, told) in enumerate(zip(wanted, all_told, strict=True)):
        assert step_told(told) == number and told[-1] == [text] * 3
    assert shown.figure.locator(":is(img, b, a, iframe, svg svg):not(.ex-frame *)").count() == 0
    assert shown.page.evaluate("window.hacked") is None
    assert (visited.outside, visited.errors) == ([], [])


def test_the_same_figure_twice(visit, folder):
    visited = visit(folder.as_uri())
    shown, other = Shown(visited, "twice.html"), visited.page.locator(".course-explorable").nth(1)
    shown.button("Forward").click()
    assert shown.step() == 1
    assert other.locator(".ex-now").inner_text().startswith("Step 1 of")
    ids = shown.page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(ids) == len(set(ids)) and sum(name.startswith("explorable-") for name in ids) == 2
    assert visited.errors == []


def test_put_into_a_running_page(visit, folder):
    """As JupyterLab does: markup first, then each script made anew, and keys that the page takes for itself."""
    visited = visit(folder.as_uri())
    page = visited.open("empty.html")
    page.evaluate(
        """html => {
        document.addEventListener('keydown', event => event.preventDefault());
        const output = document.getElementById('output');
        output.innerHTML = html;
        for (const script of output.querySelectorAll('script')) {
            const fresh = document.createElement('script');
            for (const { name, value } of script.attributes) fresh.setAttribute(name, value);
            fresh.textContent = script.textContent;
            script.replaceWith(fresh);
        }
    }""",
        induction_at_work_figure(TOKENS, STEPS)._repr_html_(),
    )
    page.get_by_role("button", name="Forward").click()
    assert page.locator(".ex-now").inner_text().startswith("Step 2 of 4")
    page.keyboard.press("Enter")
    assert page.locator(".ex-now").inner_text().startswith("Step 3 of 4")
    page.get_by_label("Step", exact=True).press("ArrowRight")
    assert page.locator(".ex-now").inner_text().startswith("Step 4 of 4")
    page.get_by_label("Speed").press("ArrowDown")
    assert page.get_by_label("Speed").input_value() == "1200"
    assert visited.errors == []


def assert_plain(page):
    assert page.locator(".ex-controls").count() == 0
    figure = page.locator(".course-explorable").first
    assert figure.locator(".ex-tokens code").all_text_contents() == TOKENS
    for step in STEPS:
        assert figure.locator(".ex-caption", has_text=step["caption"].strip()).last.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= TELEPHONE


def test_without_javascript(without_javascript, folder):
    page = without_javascript(f"{folder.as_uri()}/light.html")
    assert_plain(page)


def test_the_plain_version_shows_again_when_the_module_fails(visit, folder):
    text = (folder / "light.html").read_text("utf-8")
    (folder / "broken.html").write_text(text.replace("model.get(", "model.nothing("), "utf-8")
    visited = visit(folder.as_uri(), width=TELEPHONE)
    page = visited.open("broken.html")
    page.locator(".ex-words").first.wait_for()
    assert_plain(page)
    assert visited.errors, "and the console says why"


class TestAnyFigure(AnyFigure):
    plain = ".ex-tokens code"
    start = ".ex-controls button"
    keys = ("ArrowRight", "ArrowLeft")
    marks = {"li.is-present": 3, "li.is-same": 3, "path.ex-look": 3, "path.ex-carried": 3, ".ex-mark.ex-look": 3,
             ".ex-legend .ex-look": 3, ".ex-legend .ex-carried": 3, ".ex-legend .is-copied": 3}  # fmt: skip

    def touch(self, page):
        for _ in STEPS[1:]:
            page.get_by_role("button", name="Forward").first.click()
            yield
