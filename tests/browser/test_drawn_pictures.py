"""Words in the chapters' pictures can be read in every width, on light and dark pages, in the site's typeface."""

import pytest
from test_pages import CHAPTERS

pytestmark = pytest.mark.browser

LOOK = """() => {
    const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = colour => {
        pixel.clearRect(0, 0, 1, 1);
        pixel.fillStyle = colour;
        pixel.fillRect(0, 0, 1, 1);
        return [...pixel.getImageData(0, 0, 1, 1).data];
    };
    const luminance = colour => rgba(colour).slice(0, 3)
        .map(part => part / 255).map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = luminance(getComputedStyle(document.documentElement).getPropertyValue('--ex-ground'));
    const contrast = colour => {
        const [low, high] = [luminance(colour), ground].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const found = { pictures: 0, words: 0, small: [], pale: [], slabs: [], fonts: [], cut: [] };
    for (const picture of document.querySelectorAll('.course-picture')) {
        if (!picture.getClientRects().length) continue; // the one for another width
        found.pictures += 1;
        const area = ({ width, height }) => width * height;
        for (const text of picture.querySelectorAll('text')) {
            if (!text.textContent.trim()) continue;
            found.words += 1;
            const { a, b } = text.getScreenCTM(), style = getComputedStyle(text);
            const pixels = parseFloat(style.fontSize) * Math.hypot(a, b);
            if (pixels < 10.95 && !text.querySelector('tspan')) found.small.push([text.textContent, pixels]);
            if (contrast(style.fill) < 4.5) found.pale.push([text.textContent, style.fill]);
            const ours = /^(Inter|ui-monospace)/.test(style.fontFamily) || text.querySelector("tspan");
            if (!ours) found.fonts.push(style.fontFamily);
        }
        for (const path of picture.querySelectorAll('path')) {
            const { fill, fillOpacity } = getComputedStyle(path);
            const opaque = fill !== 'none' && fillOpacity * rgba(fill)[3] > 200;
            if (opaque && document.documentElement.dataset.theme === 'dark' && luminance(fill) > 0.6
                && area(path.getBBox()) > 0.1 * area(picture.viewBox.baseVal)) found.slabs.push(fill);
        }
    }
    for (const drawn of document.querySelectorAll('.course-drawn'))
        if (drawn.scrollWidth > drawn.clientWidth + 1) found.cut.push(drawn.firstChild.ariaLabel);
    return found;
}"""


def test_words_in_pictures_can_be_read(visit, served):
    visited = visit(served)
    pictures = words = 0
    for name in CHAPTERS:
        visited.page.emulate_media(color_scheme="light")
        page = visited.open(name)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.locator(f"html[data-theme={scheme}]").wait_for()
            for width in (1280, 390):
                page.set_viewport_size({"width": width, "height": 900})
                found = page.evaluate(LOOK)
                wrong = [found[wrong] for wrong in ("small", "pale", "slabs", "fonts", "cut")]
                assert wrong == [[]] * 5, (name, scheme, width)
        pictures, words = pictures + found["pictures"], words + found["words"]
    assert pictures >= 60 and words >= 1000


def test_a_head_that_the_text_names_is_lit_in_a_picture(visit, served):
    visited = visit(served)
    [name] = [name for name in CHAPTERS if "induction_heads" in name and "form" not in name]
    page = visited.open(name)
    lit = "() => [...document.querySelectorAll('.course-lit')].map(text => [text.textContent, text.dataset.role])"
    heads = page.locator("p > .course-head:visible")
    assert heads.count() >= 10 and page.evaluate(lit) == []
    heads.first.focus()
    shown = page.evaluate(lit)
    assert shown and all(heads.first.inner_text() in text and role == "induction" for text, role in shown)
    heads.first.blur()
    assert page.evaluate(lit) == []
    heads.first.hover()
    assert page.evaluate(lit) == shown
