"""The figures show the numbers that they are given, with labels that fit."""

import os

import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from course_utils import colours, plots  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    plots.use_style()
    yield
    plt.close("all")


def drawn(figure: Figure) -> Figure:
    """The figure, laid out and rendered: warnings of the layout are errors."""
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    return figure


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_visible()]


def contrast(one, other) -> float:
    """The ratio that WCAG defines."""

    def luminance(colour):
        parts = np.array(matplotlib.colors.to_rgb(colour))
        parts = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return parts @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_heatmap_shows_its_values_and_names():
    values = torch.arange(6.0).view(2, 3) - 2
    figure = drawn(plots.heatmap(values, ["a", "b"], ["·x", "↵", "z"], label="logit", centred=True))
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), values)
    assert image.norm.vmin == -image.norm.vmax == -3
    assert {"a", "b", "·x", "↵", "z", "logit"} <= set(words(figure))


def test_tables_share_one_scale_and_leave_grey_what_is_not_finite():
    tables = {"one": [[0.0, -np.inf], [1, 2]], "two": [[5.0, 6], [7, 8]]}
    figure = drawn(plots.tables(tables, ["x", "y"], label="nats"))
    images = [ax.images[0] for ax in figure.axes[:2]]
    assert {(image.norm.vmin, image.norm.vmax) for image in images} == {(0, 8)}
    assert images[0].get_array().mask.tolist() == [[False, True], [False, False]]


def test_attention_hides_the_future_and_names_the_tokens():
    generator = torch.Generator().manual_seed(0)
    patterns = {f"head {h}": torch.rand(3, 3, generator=generator).softmax(-1) for h in range(5)}
    figure = drawn(plots.attention(patterns, ["a", "·b", "c"]))
    panels = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in panels] == list(patterns)
    for ax, pattern in zip(panels, patterns.values(), strict=True):
        shown = ax.images[0].get_array()
        assert shown.mask.tolist() == [[False, True, True], [False, False, True], [False] * 3]
        np.testing.assert_allclose(shown[2], pattern[2])
    assert {"key: the position looked at", "query: the position that looks", "·b", "attention"} <= set(words(figure))
    assert len({(ax.images[0].norm.vmin, ax.images[0].norm.vmax) for ax in panels}) == 1


def test_a_table_of_tokens_shows_every_token_legibly():
    tokens = [["·self", "↵↵····"], ["</td>", "$x_{1}$"]]
    groups = {"attended from": (tokens, [[1.0, 0.2], [0.0, -3]]), "makes likelier": (tokens, torch.ones(2, 2))}
    figure = drawn(plots.token_table(["import", "·def"], groups, label="source"))
    for ax in figure.axes:
        cells = {(round(t.get_position()[0]), round(t.get_position()[1])): t for t in ax.texts}
        assert [[cells[x, y].get_text() for x in range(2)] for y in range(2)] == tokens
        image = ax.images[0]
        for (x, y), text in cells.items():
            *shade, opaque = image.cmap(image.norm(image.get_array()[y, x]))
            assert text.get_color() == plots.BLACK  # on the site, the page's ink
            for ground, ink in zip(*(colours.COLOURS[name] for name in ("ground", "ink")), strict=True):
                seen = opaque * np.array(shade) + (1 - opaque) * np.array(matplotlib.colors.to_rgb(ground))
                assert contrast(seen, ink) >= 4.5
    assert {"import", "·def", "source", "attended from", "makes likelier"} <= set(words(figure))


def test_the_complex_plane_keeps_angles_and_the_order_of_sizes():
    values = np.array([100, -10, 1j, 1e-9])
    figure = drawn(plots.complex_plane({"head 0": values, "head 1": 2 * values}, {"head 0": [1j], "head 1": [-1]}))
    grey, blue = figure.axes[0].lines[:2]
    np.testing.assert_allclose(blue.get_xdata(), [0, np.pi, np.pi / 2, 0])
    radius = blue.get_ydata()
    assert radius[0] > radius[1] > radius[2] > radius[3] == 0
    assert figure.axes[1].lines[1].get_ydata()[0] == pytest.approx(4)  # the largest of all is on the outer circle
    np.testing.assert_allclose(np.diff(radius[:3]), -1)  # a tenth is one circle further in
    assert {"head 0", "head 1", "trained", "random weights"} <= set(words(figure))


def test_a_histogram_scales_what_has_more_values():
    figure = drawn(
        plots.histogram({"heads": [0.1, 0.9, 0.9], "random": np.zeros(300)}, [-0.5, 0.5, 1], xlabel="measure")
    )
    ax = figure.axes[0]
    assert [patch.get_height() for patch in ax.patches[:2]] == [1, 2]
    assert ax.dataLim.y1 == pytest.approx(3)  # 300 values, drawn as 3
    assert {"measure", "number of heads", "heads", "random"} <= set(words(figure))


@pytest.mark.parametrize("draw", [lambda: plots.architecture(12), plots.virtual_weights])
def test_drawings_are_drawn(draw):
    assert len(words(drawn(draw()))) > 10


def test_lines_are_named_at_their_ends_and_the_names_keep_apart():
    _, ax = plt.subplots()
    for end, name in enumerate(("low", "near", "high")):
        ax.plot([0, 1], [0, end / 100 if end < 2 else 1], label=name)
    ax.axhline(0.5)
    plots.name_lines(ax)
    drawn(ax.figure)
    low, near, high = ax.texts
    assert [text.get_text() for text in ax.texts] == ["low", "near", "high"]
    assert [text.get_color() for text in ax.texts] == [line.get_color() for line in ax.lines[:3]]
    boxes = [text.get_window_extent() for text in ax.texts]
    assert boxes[0].y1 <= boxes[1].y0 < boxes[1].y1 <= boxes[2].y0
    assert high.get_position()[1] == pytest.approx(21 / 22, abs=0.02)  # where its line ends


def test_the_palettes_colours_stand_out_on_white():
    for colour in (plots.BLUE, plots.GREEN, plots.RED, plots.BLACK):
        assert contrast(colour, "white") > 3


@pytest.mark.parametrize("backend", ["Agg", "pdf"])
def test_a_notebook_shows_its_figures_whatever_the_environment_says(backend):
    sources = [
        "from course_utils import plots\nplots.use_style()",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=os.environ | {"MPLBACKEND": backend})
    (output,) = notebook.cells[1].outputs
    assert "image/png" in output.data
