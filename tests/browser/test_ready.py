"""How soon figures answer."""

import pytest
from test_pages import BOOK

pytestmark = pytest.mark.browser

SOON = 500  # milliseconds after the page's load event
RECORD = """
window.courseReady = {};
new MutationObserver((all) => {
  for (const { target } of all) {
    if (target.dataset?.state === "ready") window.courseReady[target.dataset.explorable] ??= performance.now();
  }
}).observe(document, { attributes: true, attributeFilter: ["data-state"], subtree: true });
"""


@pytest.mark.parametrize("which", ["the largest", pytest.param("all", marks=pytest.mark.release)])
def test_every_figure_is_ready_half_a_second_after_its_page(site, visit, which):
    names = [name for name in BOOK if 'data-explorable="' in (site / name).read_text("utf-8")]
    assert len(names) >= 12
    if which == "the largest":
        names = sorted(names, key=lambda name: (site / name).stat().st_size)[-4:]
    for name in names:
        late = [lateness(visit(site.as_uri()), name)]
        while late[-1] > SOON and len(late) < 3:  # the machine may be busy with other tests
            late.append(lateness(visit(site.as_uri()), name))
        assert min(late) <= SOON, (name, late)


def lateness(visited, name: str) -> float:
    """Milliseconds from the page's load event until its last figure is ready; less than 0 if that came before."""
    page = visited.page
    page.add_init_script(RECORD)
    page.goto(f"{visited.home}/{name}")
    page.wait_for_function(
        "[...document.querySelectorAll('.course-explorable')].every(f => f.dataset.state == 'ready')"
    )
    load = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    return max(page.evaluate("window.courseReady").values()) - load
