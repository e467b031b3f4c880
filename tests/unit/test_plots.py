"""The figures show the numbers that they are given, with labels that fit."""

import os
from xml.etree import ElementTree

import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from course_utils import plots  # noqa: E402


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


def test_the_largest_terms_are_named_and_the_others_summed():
    values = torch.zeros(3, 4)
    values[0, 2], values[1, 0], values[2, 3], values[2, 0] = 5, -2, 0.5, 0.25
    figure = drawn(plots.largest_terms(values, ["a", "b", "c"], ["w", "x", "y", "z"], label="nats", count=2))
    ax = figure.axes[0]
    assert [name.get_text() for name in ax.get_yticklabels()] == ["a × y", "b × w", "10 others, summed"]
    assert [bar.get_width() for bar in ax.patches] == [5, -2, 0.75]
    assert {"5.0", "-2.0", "0.8", "nats"} <= set(words(figure))


@pytest.mark.parametrize(("column", "side"), [(0, 1), (3, -1)])
def test_a_cell_is_framed_and_named_towards_the_middle(column, side):
    figure = plots.heatmap(torch.eye(4), list("abcd"), list("wxyz"), label="x")
    plots.label_cell(figure.axes[0], 2, column, "this one")
    drawn(figure)
    [frame], [name] = figure.axes[0].patches, figure.axes[0].texts
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (column - 0.5, 1.5, 1, 1)
    middle, framed = (part.get_window_extent() for part in (name, frame))
    assert np.sign(middle.x0 - framed.x0) == side and abs(middle.y0 + middle.y1 - framed.y0 - framed.y1) < 4


@pytest.mark.parametrize(
    ("panels", "size", "rows", "columns"), [(1, 7, 1, 1), (3, 7, 3, 1), (4, 7, 2, 2), (6, 9, 2, 3)]
)
def test_on_a_telephone_panels_stand_one_under_the_other(panels, size, rows, columns):
    figure, axes = plt.subplots(1, panels, figsize=(size, 2), sharey=True, squeeze=False)
    for ax in axes.flat:
        ax.plot([0, 1], [1, 2])
        ax.set_xlabel("steps")
    axes[0, 0].set(ylabel="loss", title="a title that is a good deal longer than a telephone is wide")
    plots.narrow(figure)
    drawn(figure)
    assert figure.get_size_inches().tolist() == [plots.NARROW, 2 * rows]
    places = [ax.get_subplotspec() for ax in axes.flat]
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [
        divmod(number, columns) for number in range(panels)
    ]
    for ax in axes.flat:
        assert ax.get_ylabel() == "loss" and any(name.get_text() for name in ax.get_yticklabels())
    assert axes[0, 0].title.get_window_extent().x1 <= figure.bbox.x1 or columns > 1


def test_on_a_telephone_a_grid_may_have_an_empty_place():
    figure = plots.attention({f"head {h}": torch.ones(9, 9).tril() / 9 for h in range(3)}, list("abcdefghi"), columns=2)
    plots.narrow(figure)
    drawn(figure)
    panels = [ax.get_position() for ax in figure.axes if ax.images]
    assert panels[0].y0 > panels[1].y1 and panels[1].y0 > panels[2].y1
    assert len({round(panel.x0, 2) for panel in panels}) == 1


def test_on_a_telephone_a_legend_keeps_its_marks_and_names_in_one_column():
    figure, ax = plt.subplots()
    for number in range(4):
        ax.errorbar([1, 2], [number, number], xerr=0.1, fmt="o", label=f"a rather long name, {number}")
    figure.legend(loc="outside upper center", ncols=4, title="kinds")
    plots.narrow(figure)
    drawn(figure)
    [legend] = figure.legends
    assert legend.get_title().get_text() == "kinds"
    names = [name.get_window_extent() for name in legend.get_texts()]
    assert len(names) == 4 and len({round(name.x0) for name in names}) == 1
    assert [line.get_marker() for line in legend.findobj(matplotlib.lines.Line2D)].count("o") == 4


def test_names_that_do_not_fit_on_a_telephone_stand_upright():
    figure, ax = plt.subplots()
    ax.bar(range(20), range(20))
    ax.set_xticks(range(20), [f"1.{head}" for head in range(20)])
    plots.narrow(figure)
    assert {name.get_rotation() for name in ax.get_xticklabels()} == {90}


def test_a_picture_of_the_site_holds_the_one_for_a_telephone():
    figure, _ = plt.subplots()
    root = ElementTree.fromstring(plots.for_both(figure))
    [within] = root.findall("{http://www.w3.org/2000/svg}svg")
    wide, narrow = (float(each.get("width").removesuffix("pt")) for each in (root, within))
    assert wide > 1.8 * narrow and within.get("display") == "none"


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
