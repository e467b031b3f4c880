"""The site over http, and a page's record of all that it asked for and all that went wrong."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Callable
from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
# Also the rules that axe holds for experimental: the theme breaks one of them, and the site mends it.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]
# On a telephone the markup is the same: only what a finger must hit and what scrolls can differ.
SIZES = ["target-size", "scrollable-region-focusable"]
# The colours of two texts whose elements, and all those around them, agree in all that a style sheet asks for, are
# alike: one of them is looked at, the others are out of sight meanwhile. Code that is alike becomes one piece of text.
HIDE_ALIKE = """within => {
    const told = ["class", "style", "hidden", "open", "disabled", "role", "fill", "stroke", "type"];
    const seen = new Set(), sheet = new CSSStyleSheet();
    const look = (each, path) => {
        const room = each => each.value.startsWith("--wide"); // of a formula
        const ours = each => /^(data|aria)-(?!label|describedby)/.test(each.name);
        const tells = each => told.includes(each.name) && !room(each) || ours(each);
        const said = [...each.attributes].filter(tells).map(each => `${each.name}=${each.value}`).sort().join(" ");
        const row = each.localName === "tr" ? [...each.parentElement.children].indexOf(each) % 2 : "";
        const kind = `${path}/${each.localName}${row} ${said}`;
        const text = [...each.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        let alike = !text || seen.has(kind);
        if (text) seen.add(kind);
        for (const child of each.children) alike = look(child, kind) && alike;
        each.toggleAttribute("data-alike", alike);
        if (alike && each.matches(".highlight > pre")) each.textContent = each.textContent;
        return alike;
    };
    for (const each of document.querySelectorAll(within)) look(each, "");
    sheet.replaceSync("[data-alike] { visibility: hidden !important }");
    document.adoptedStyleSheets.push(sheet);
}"""
FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
SHOW_ALIKE = """() => {
    document.adoptedStyleSheets.pop();
    for (const each of document.querySelectorAll("[data-alike]")) each.removeAttribute("data-alike");
}"""

# What axe walks through and says nothing about: pictures inside and out but for their words, and of a block of code all
# pieces of one kind but the first, and formulas. `read`: also what has been looked at otherwise.
SLIM = """read => {
    for (const part of document.querySelectorAll(["mjx-assistive-mml > *", ...read].join())) part.remove();
    const says = "text, title, desc, a, foreignObject, [tabindex], [role], [aria-label], [aria-labelledby]";
    for (const part of document.querySelectorAll("svg *"))
        if (!part.closest("text, foreignObject") && !part.matches(says) && !part.querySelector(says)) part.remove();
    for (const code of document.querySelectorAll(".highlight > pre")) {
        const seen = new Set();
        for (const piece of code.querySelectorAll("span:not(:has(*))")) {
            if (seen.has(piece.className)) piece.replaceWith(...piece.childNodes);
            seen.add(piece.className);
        }
        code.normalize();
    }
}"""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    policy = ""

    def log_message(self, *_):
        pass

    def end_headers(self):
        if self.policy:
            self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()


@contextlib.contextmanager
def serve(folder: Path, policy: str = ""):
    """The folder on a port of this machine, perhaps under a Content-Security-Policy; yields its address."""
    kind = type("Handler", (QuietHandler,), {"policy": policy})
    handler = functools.partial(kind, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def watch_shifts(page: Page) -> None:
    """Add up in `window.shift` how far the next page's layout moves by itself."""
    page.add_init_script("""
        window.shift = 0;
        new PerformanceObserver(list => list.getEntries().forEach(entry => { window.shift += entry.value; }))
            .observe({ type: 'layout-shift', buffered: true });
    """)


def is_kept(page: Page, seen: Callable[[], bool], again: Callable[[], object]) -> bool:
    """Whether what the page keeps is seen when it is loaded again; `again` does once more what it is to keep.

    Chromium's store forgets what a page wrote in the moment before it is loaded again, once in a thousand times: what
    is really lost is lost three times.
    """
    for _ in range(3):
        page.reload()
        if seen():
            return True
        again()
    return False


class Visit:
    """A page opened with the network blocked, and what it did."""

    def __init__(self, browser, home: str, scheme: str = "light", width: int = 1280, forced: bool = False):
        self.home = home
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            forced_colors="active" if forced else "none",
        )
        self.context.set_default_timeout(15_000)  # milliseconds; a busy machine is slow, not wrong
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.context.route("**/*", self._judge)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"{request.url} {request.failure}"))

    def _judge(self, route):
        if route.request.url.startswith((self.home, "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()

    def open(self, name: str) -> Page:
        self.page.goto(f"{self.home}/{name}")
        self.page.wait_for_load_state("load")
        # MathJax says itself when it has typeset the page.
        self.page.evaluate("window.MathJax?.startup?.promise")
        self.page.evaluate(FRAMES)
        return self.page

    def settle(self) -> None:
        """Wait until colours have changed and what scrolls has its keyboard stop."""
        self.page.evaluate(FRAMES)
        self.page.evaluate("Promise.all(document.getAnimations().map(each => each.finished.catch(() => 0)))")

    def colour(self, scheme: str) -> None:
        """Go to the light page or to the dark one."""
        self.page.emulate_media(color_scheme=scheme)
        # No function in words: the policy forbids to evaluate some.
        self.page.locator(f"html[data-theme={scheme}]").wait_for()

    def slim(self, *read: str) -> None:
        """Leave out of a page, for good, what axe would look at for nothing: half of its time on long pages."""
        self.page.evaluate(SLIM, list(read))

    def violations(self, within: str = "html", colours: bool = True, sizes: bool = True) -> list[str]:
        """What axe-core finds, of any weight; `colours` cost the most, and then `sizes`."""
        found = self.contrasts(within) if colours else []
        left_out = ["color-contrast", *SIZES[: not sizes]]
        rules = {"rules": {rule: {"enabled": False} for rule in left_out}, "runOnly": {"type": "tag", "values": TAGS}}
        return found + self._axe(within, rules)

    def contrasts(self, within: str = "html") -> list[str]:
        """What axe-core finds of texts that are too pale: all that other colours can do wrong."""
        self.page.evaluate(HIDE_ALIKE, within)
        found = self._axe(within, {"runOnly": {"type": "rule", "values": ["color-contrast"]}})
        self.page.evaluate(SHOW_ALIKE)
        return found

    def sizes(self) -> list[str]:
        """What axe-core finds that another width of the window can do wrong."""
        return self._axe("html", {"runOnly": {"type": "rule", "values": SIZES}})

    def _axe(self, within: str, options: dict) -> list[str]:
        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(AXE.read_text("utf-8"))
        # preload: axe would read the style sheets again by requests that file:// pages may not make.
        options |= {"preload": False, "resultTypes": ["violations"]}
        result = self.page.evaluate("([within, options]) => axe.run(within, options)", [within, options])
        return [
            f"{violation['impact']} {violation['id']}: {node['html'][:200]} {node['failureSummary']}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]
