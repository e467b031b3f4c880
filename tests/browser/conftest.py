"""A real browser, and the site over http and from the disk."""

import contextlib
import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

pytest.register_assert_rewrite("any_figure")

from any_figure import page_of  # noqa: E402
from visits import Visit, serve  # noqa: E402

from tools.paper import BROWSERS  # noqa: E402

NAMES = ("chromium-headless-shell", *BROWSERS)  # the first has no windows of its own, and takes less time
SETTINGS = [
    "--no-sandbox",  # needed where tests run as root, as in a container
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser():
    program = os.environ.get("COURSE_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        what = "no Chromium or Chrome was found; install one, or name it in COURSE_BROWSER"
        pytest.fail(what) if os.environ.get("CI") == "true" else pytest.skip(what)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=SETTINGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Make visits; all are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(home: str, **settings) -> Visit:
            made = Visit(browser, home, **settings)
            stack.callback(made.context.close)
            return made

        yield make


@pytest.fixture(scope="module")
def open_for_all(browser):
    """Open the page that all tests of a file share."""
    page = browser.new_page()
    yield lambda address: page.goto(address) and page
    page.close()


@pytest.fixture
def without_javascript(browser):
    """Open a page on a telephone that runs no scripts."""
    with contextlib.ExitStack() as stack:

        def open_page(address: str) -> Page:
            context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
            stack.callback(context.close)
            page = context.new_page()
            page.goto(address)
            return page

        yield open_page


@pytest.fixture(scope="module")
def pages_of(tmp_path_factory):
    """Make a folder with a page of figures for each name; the page light.html also in the dark."""

    def make(**pages) -> Path:
        folder = tmp_path_factory.mktemp("figures")
        for name, figures in pages.items():
            bodies = [figure if isinstance(figure, str) else figure._repr_html_() for figure in figures]
            (folder / f"{name}.html").write_text(page_of(*bodies), "utf-8")
            if name == "light":
                (folder / "dark.html").write_text(page_of(*bodies, theme="dark"), "utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def served(site, root):
    """The site under the policy that README.md tells who publishes it."""
    [policy] = re.findall(r"^Content-Security-Policy: (.+)$", (root / "README.md").read_text("utf-8"), re.M)
    with serve(site, policy) as address:
        yield address


@pytest.fixture(params=["http", "file"])
def home(request, site) -> str:
    """The site's address, from a server and from the disk."""
    return request.getfixturevalue("served") if request.param == "http" else site.as_uri()
