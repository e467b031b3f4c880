"""The figures' one style: colour-blind safe, labelled, on a light ground that reads in light and dark pages."""

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill
from typing import Annotated, Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.axes import Axes
from matplotlib.backends import BackendFilter, backend_registry
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import AutoLocator
from matplotlib_inline.backend_inline import set_matplotlib_formats

from course_utils import colours
from course_utils.checked import FILLED, FINITE, along, check, checked, numbers, within
from course_utils.errors import CourseError
from course_utils.roles import LEAST

Count = Annotated[int, within(1)]
Names = Sequence[str]

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK = map(
    colours.light, ("blue", "amber", "green", "purple", "sky", "orange", "yellow", "ink")
)
ROLE_COLOURS = {role: colours.light(role) for role in LEAST}
KIND_COLOURS = {kind: colours.light(kind) for kind in "QKV"}
MODEL_COLOURS = {f"{layers}-layer": colours.light(f"{layers}-layer") for layers in ("zero", "one", "two")}


def ramp(low: str | None, high: str) -> ListedColormap:
    """From the page's own ground to a colour; with `low` from that one through the ground.

    The ground shines through: it is right on a light and on a dark page.
    """
    steps = np.linspace(0 if low is None else -1, 1, 256)
    shades = [to_rgba(high if step > 0 else low or high, abs(step)) for step in steps]
    return ListedColormap(shades).with_extremes(bad=to_rgba("#808080", 0.2))


RAMPS = {"ground to blue": ramp(None, BLUE), "blue to red": ramp(BLUE, colours.light("red"))}
RAMPS |= {f"ground to {role}": ramp(None, colour) for role, colour in ROLE_COLOURS.items()}
for name in RAMPS.keys() - set(matplotlib.colormaps):
    matplotlib.colormaps.register(RAMPS[name], name=name)
SEQUENTIAL, DIVERGING = list(RAMPS)[:2]
WIDEST = 7  # inches: as wide as the text, so that no word in a picture is smaller than it was drawn
NARROW = 3.5  # inches, on a telephone
LINE = "the name of a line"
MANY = 2000  # points: so many are drawn as a raster within their picture
SMALL = 8.5  # points, the smallest words: 11 pixels on the page


def use_style() -> None:
    """Set the style for all figures that follow, and show them in the notebook.

    MPLBACKEND=Agg and its like in the environment, meant for programs that write files, would show none of them.
    COURSE_PICTURES=svg, as the site's build has it, draws lines and words, which take the page's colours and typeface.
    """
    form = os.environ.get("COURSE_PICTURES", "retina")
    shell = get_ipython()
    if hasattr(shell, "kernel"):
        if matplotlib.get_backend().lower() in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE):
            shell.run_line_magic("matplotlib", "inline")
        set_matplotlib_formats(form)
        if form == "svg":
            shell.display_formatter.formatters["image/svg+xml"].for_type(Figure, for_both)
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK]),
            "figure.figsize": (7, 3.6),
            "figure.hooks": ["course_utils.plots:fit_page"],
            "figure.dpi": 160 if form == "svg" else 110,  # there, of its rasters
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.edgecolor": BLACK,
            "axes.labelcolor": BLACK,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "font.size": 10,
            "font.family": ["DejaVu Sans"],
            "grid.color": "#E5E5E5",
            "image.cmap": SEQUENTIAL,
            "image.interpolation": "none",
            "legend.frameon": False,
            "savefig.pad_inches": 0.04,
            "svg.fonttype": "none",
            "svg.hashsalt": "course",
            "text.color": BLACK,
            "xtick.color": BLACK,
            "xtick.labelsize": 9,
            "ytick.color": BLACK,
            "ytick.labelsize": 9,
        }
    )


def fit_page(figure: Figure) -> None:
    """Keep a new figure as narrow as the text: a wider one would be made smaller there, with its words."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(min(width, WIDEST), height)


def for_both(figure: Figure) -> str:
    """The figure as lines and words; within it, unseen until the site shows it there, the same for a telephone."""
    wide = print_figure(figure, "svg", bbox_inches="tight")
    narrow(figure)
    telephone = print_figure(figure, "svg", bbox_inches="tight")
    telephone = telephone[telephone.index("<svg") :].replace("<svg", '<svg display="none"', 1)
    return wide[: wide.rindex("</svg>")] + telephone + "</svg>"


def narrow(figure: Figure) -> None:
    """Make a figure as narrow as a telephone: its panels one under the other, small ones two in a row."""
    every = [ax for ax in figure.axes if ax.get_subplotspec()]
    panels = [ax for ax in every if ax.axison or ax.texts]
    rows, across = panels[0].get_gridspec().get_geometry()
    width, height = figure.get_size_inches()
    square = all(ax.get_aspect() != "auto" for ax in panels)
    columns = max(2 if square and len(panels) > 4 else 1, int(across * NARROW / width + 0.4))
    figure.set_size_inches(min(width, NARROW), height)
    if square:
        figure.set_layout_engine("compressed")
    if columns < across:
        taller = across / columns * NARROW / width if square else 1
        grid = figure.add_gridspec(-(-len(panels) // columns), columns)
        figure.set_size_inches(NARROW, height / rows * grid.nrows * taller)
        for ax in every:  # those without anything would keep their old place
            ax.set_subplotspec(grid[len(panels) - 1])
        for ax, place in zip(panels, grid, strict=False):
            ax.set_subplotspec(place)
            ax.tick_params(labelleft=True)
            ax.set_ylabel(max((each.get_ylabel() for each in ax.get_shared_y_axes().get_siblings(ax)), key=len))
    for ax in panels:
        for loc in ("left", "center"):
            ax.set_title(folded(ax.get_title(loc), 44 // columns), loc=loc, fontsize=10)
        ax.set_xlabel(folded(ax.get_xlabel(), 40 // columns))
        for name in ax.texts:
            if name.get_gid() == LINE:
                name.set_text(folded(name.get_text(), 14))
        keep_apart(ax)
    for owner in (figure, *panels):
        for legend in figure.legends if owner is figure else filter(None, [owner.get_legend()]):
            if len(legend.get_texts()) > 2:
                legend.remove()
                shown = (panels[0] if owner is figure else owner).get_legend_handles_labels()
                where = "outside upper left" if owner is figure else legend._loc
                owner.legend(*shown, loc=where, title=legend.get_title().get_text() or None)
    figure.draw_without_rendering()
    for ax in panels:
        names = [name.get_window_extent() for name in ax.get_xticklabels() if name.get_text()]
        touch = any(one.x1 + 4 > other.x0 for one, other in pairwise(names))
        if touch and ax.name != "polar" and not isinstance(ax.xaxis.get_major_locator(), AutoLocator):
            ax.tick_params("x", rotation=90)


def folded(text: str, width: int) -> str:
    """Each of its lines in lines of some letters."""
    return "\n".join(fill(line, width) for line in text.split("\n"))


def titled(values):
    """The declaration of values of one kind by their titles."""
    return Annotated[Mapping[Any, values], FILLED, "pass e.g. {'head 1.6': values}"]


@checked
def heatmap(
    values: numbers("rows columns", FILLED),
    rows: Annotated[Names, along("rows")],
    columns: Annotated[Names, along("columns")],
    *,
    label: str,
    centred: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """A table of numbers as colours, one row per name in `rows`; `centred` puts zero in mid-scale."""
    if ax is None:
        _, ax = plt.subplots(figsize=(1.8 + 0.34 * len(columns), 1.6 + 0.18 * len(rows)))
    limit = np.abs(values).max()
    scale = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit} if centred else {"cmap": SEQUENTIAL}
    image = ax.imshow(values, aspect="auto", **scale)
    ax.set_xticks(range(len(columns)), columns, rotation=90, fontfamily="monospace", fontsize=SMALL)
    ax.set_yticks(range(len(rows)), rows, fontsize=SMALL)
    ax.grid(False)
    ax.figure.colorbar(image, ax=ax, label=label, pad=0.01)
    return ax.figure


@checked
def tables(
    values: titled(numbers("names names", FILLED)), names: Annotated[Names, along("names")], *, label: str
) -> Figure:
    """Tables with the same rows and columns side by side, on one colour scale; −∞ and NaN in grey."""
    finite = np.concatenate([table[np.isfinite(table)] for table in values.values()])
    if not finite.size:
        raise CourseError("tables without a finite number", "there is nothing to draw", "look at how they were made")
    size = min(1.2 + 0.2 * len(names), WIDEST / len(values))
    fig, axes = plt.subplots(1, len(values), figsize=(size * len(values), size), sharey=True)
    for ax, (title, table) in zip(np.atleast_1d(axes), values.items(), strict=True):
        shown = np.ma.masked_invalid(table)
        image = ax.imshow(shown, vmin=finite.min(), vmax=finite.max())
        ax.set_xticks(range(len(names)), names, fontfamily="monospace", fontsize=SMALL)
        for name in ax.get_xticklabels():
            name.set_rotation(90 if len(name.get_text()) > 1 else 0)
        ax.set_yticks(range(len(names)), names, fontfamily="monospace", fontsize=SMALL)
        ax.set(title=title, xlabel="next token")
        ax.grid(False)
    np.atleast_1d(axes)[0].set_ylabel("present token")
    fig.colorbar(image, ax=axes, label=label)
    return fig


@checked
def attention(
    patterns: titled(numbers("pos pos", FILLED)),
    names: Annotated[Names, along("pos")] | None = None,
    *,
    label: str = "attention",
    columns: Count = 4,
    top: Annotated[float, within(0)] | None = None,
) -> Figure:
    """Patterns [query, key] by title, side by side on one colour scale; `names`, the tokens, name rows and columns."""
    top = top or max(np.nanmax(pattern) for pattern in patterns.values())
    least, beside = (1.5, 0.7) if names is None else (0.14 * len(names), 1.6)  # inches
    columns = min(columns, len(patterns), max(1, int((WIDEST - beside) / least)))
    size = max(least, min(2.1 if names is None else 0.2 * len(names), (WIDEST - beside) / columns))
    rows = -(-len(patterns) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(size * columns + beside - 0.5, size * rows + beside / 2 + 0.6),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for ax, (title, pattern) in zip(axes.flat, patterns.items(), strict=False):
        later = np.triu(np.ones_like(pattern, dtype=bool), 1)  # a key after its query: nothing to see there
        shown = np.ma.masked_where(later | ~np.isfinite(pattern), pattern)
        image = ax.imshow(shown, vmin=0, vmax=top)
        ax.set_title(title, fontsize=9)
        ax.grid(False)
        if names is not None:
            ax.set_xticks(range(len(names)), names, rotation=90, fontfamily="monospace", fontsize=SMALL)
            ax.set_yticks(range(len(names)), names, fontfamily="monospace", fontsize=SMALL)
    for ax in axes.flat[len(patterns) :]:
        ax.axis("off")
    figure.supxlabel("key: the position looked at", fontsize=10)
    figure.supylabel("query: the position that looks", fontsize=10)
    figure.colorbar(image, ax=axes, label=label, location="top", shrink=0.5, aspect=30)
    return figure


@checked
def largest_terms(
    values: numbers("rows columns", FILLED, FINITE),
    rows: Annotated[Names, along("rows")],
    columns: Annotated[Names, along("columns")],
    *,
    label: str,
    count: Count = 5,
) -> Figure:
    """The largest of many terms as bars, named row × column, and the sum of all others beneath them."""
    flat = values.ravel()
    best = np.argsort(-abs(flat))[:count]
    names = [f"{rows[i]} × {columns[j]}" for i, j in zip(*np.unravel_index(best, values.shape), strict=True)]
    rest = np.delete(flat, best)
    figure, ax = plt.subplots(figsize=(6, 0.9 + 0.32 * len(names)))
    colours = [BLUE, *["#9A9A9A"] * len(names)]
    bars = ax.barh([*names, f"{len(rest)} others, summed"], [*flat[best], rest.sum()], color=colours)
    ax.bar_label(bars, fmt="%.1f", padding=4)
    ax.axvline(0, color=BLACK, lw=1)
    ax.margins(x=0.2)
    ax.invert_yaxis()
    ax.set_xlabel(label)
    ax.grid(False, axis="y")
    return figure


@checked
def complex_plane(
    eigenvalues: titled(numbers("_", FILLED, kind=complex)),
    baseline: titled(numbers("_", kind=complex)) | None = None,
    *,
    columns: Count = 4,
) -> Figure:
    """Eigenvalues by title in the complex plane: the angle as it is, the distance from the centre on a log scale.

    `baseline`: others, by the same titles, drawn in grey behind them.
    """
    if missing := [title for title in eigenvalues if baseline is not None and title not in baseline]:
        raise CourseError(f"a baseline without {missing[0]!r}", "it needs the same titles", "add it, or leave it out")
    largest = max(np.abs(values).max() for values in eigenvalues.values())
    decades = 4  # what is smaller is drawn at the centre
    radius = lambda values: np.clip(np.log10(np.abs(values) / largest + 1e-30) + decades, 0, None)  # noqa: E731
    columns = min(columns, len(eigenvalues))
    rows = -(-len(eigenvalues) // columns)
    points = sum(map(len, [*eigenvalues.values(), *(baseline or {}).values()]))
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.75 * columns, 2.05 * rows), squeeze=False, subplot_kw={"projection": "polar"}
    )
    for ax, (title, values) in zip(axes.flat, eigenvalues.items(), strict=False):
        if baseline is not None:
            grey = baseline[title]
            ax.plot(
                np.angle(grey), radius(grey), ".", color="#9A9A9A", markersize=3, label="random weights",
                rasterized=points > MANY,
            )  # fmt: skip
        ax.plot(np.angle(values), radius(values), "o", color=BLUE, markersize=3.5, alpha=0.8, label="trained")
        ax.set_title(title, fontsize=9, loc="center", pad=10)
        ax.set_ylim(0, decades + 0.2)
        ax.set_yticks(range(1, decades + 1), [])
        ax.set_xticks(np.deg2rad([0, 90, 180, 270]), ["+", "i", "−", "−i"], fontsize=SMALL)
        ax.tick_params(pad=-2)
    for ax in axes.flat[len(eigenvalues) :]:
        ax.axis("off")
    outermost = f"circles: |λ| = {largest:.0f}, and a tenth, a hundredth … of it"
    figure.supxlabel(outermost, fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


@checked
def histogram(
    values: titled(numbers("...", FILLED, FINITE)),
    bins: Annotated[numbers("..."), "pass a number of bins, or their edges"],
    *,
    xlabel: str,
    ylabel: str = "number of heads",
    palette: Mapping | None = None,
) -> Figure:
    """Histograms by name on one axis. A name with more values than the first has its counts scaled to the first's."""
    values = {name: these.ravel() for name, these in values.items()}
    bins = bins if bins.ndim else check("bins", int(bins), Count)
    figure, ax = plt.subplots()
    first = len(next(iter(values.values())))
    for number, (name, these) in enumerate(values.items()):
        colour = (palette or {}).get(name, BLUE if number == 0 else "#8A8A8A")
        style = {"alpha": 0.85} if number == 0 else {"histtype": "step", "lw": 2}
        scale = first / len(these)
        ax.hist(these, bins, weights=np.full(len(these), scale), color=colour, label=name, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return figure


@checked
def architecture(n_heads: Count) -> Figure:
    """The two-layer model drawn as one stream, left to right, that heads read from and add to."""
    fig, ax = canvas(10.6, 3.9)
    ax.plot([0.8, 9.6], [0.9, 0.9], color=SKY, lw=7)
    box(ax, 0.8, 0.9, "tokens\n$t$")
    box(ax, 2.55, 0.9, "embed\n$W_E$", YELLOW)
    arrow(ax, box(ax, 9.55, 0.9, "unembed\n$W_U$", YELLOW), (9.55, 2.0), BLACK)
    ax.text(9.55, 2.05, "logits\n$x^2\\,W_U$", ha="center", va="bottom")
    for layer, x in enumerate((4.2, 7.3)):
        ax.add_patch(Rectangle((x - 1.1, 2.0), 2.2, 1.4, facecolor="white", edgecolor=BLACK))
        heads = "\n".join(f"head {layer}.{h}" for h in (0, 1)) + f"\n⋮\nhead {layer}.{n_heads - 1}"
        ax.text(x, 2.7, heads, ha="center", va="center", fontsize=9)
        arrow(ax, (x - 0.6, 0.98), (x - 0.6, 2.0), RED)
        arrow(ax, (x + 0.6, 2.0), (x + 0.6, 1.1), GREEN)
        ax.text(x - 0.7, 1.6, "read", color=RED, ha="right", va="center", fontsize=9)
        ax.text(x + 0.7, 1.6, "add", color=GREEN, va="center", fontsize=9)
        box(ax, x + 0.6, 0.9, "+")
    ax.text(5.75, 3.65, "positions $W_{pos}\\,$: into queries and keys only", ha="center", color="#555555", fontsize=9)
    after_layer = r"$x^{} = x^{} + \sum_h h(x^{})$"
    formulas = r"$x^0 = t\,W_E$", after_layer.format(1, 0, 0), after_layer.format(2, 1, 1)
    for x, formula in zip((1.9, 5.1, 8.8), formulas, strict=True):
        ax.text(x, 0.12, formula, ha="center", va="center", fontsize=9)
    return fig


def virtual_weights() -> Figure:
    """Matrices that read from and write to the stream; products that join writers to later readers."""
    fig, ax = canvas(10.6, 3.5)
    arrow(ax, (0.2, 0.6), (10.4, 0.6), SKY, lw=7)
    ax.text(0.25, 0.16, "the stream, $d_{model}$ wide", va="center")
    writers = {"$W_E$": 1.3, "$W_O^1$": 4.5, "$W_O^2$": 8.0}
    readers = {"$W_V^1$": 3.1, "$W_I^2$": 6.6, "$W_U$": 9.6}
    for places, colour, writes in ((writers, GREEN, True), (readers, RED, False)):
        for name, x in places.items():
            ends = box(ax, x, 1.55, name, edge=colour), (x, 0.68)
            arrow(ax, *(ends if writes else ends[::-1]), colour)
    for middle, name in ((3.8, "earlier head"), (7.3, "later head")):
        ax.add_patch(Rectangle((middle - 1.4, 1.15), 2.8, 0.8, fill=False, edgecolor="#999999", ls=":"))
        ax.text(middle, 0.98, name, ha="center", va="center", fontsize=9, color="#555555")
    products = (("$W_O^1$", "$W_I^2$", 2.45, -0.27), ("$W_E$", "$W_I^2$", 3.2, 0), ("$W_O^1$", "$W_U$", 2.95, 0))
    for start, end, top, lower in products:
        a, b = writers[start], readers[end]
        along = np.linspace(0, 1, 40)
        x, y = a + (b - a) * along, 1.86 + 4 * (top - 1.86) * along * (1 - along)
        ax.plot(x[:-1], y[:-1], color=PURPLE, ls=(0, (4, 2)))
        arrow(ax, (x[-2], y[-2]), (x[-1], y[-1]), PURPLE)
        name = (start + end).replace("$$", "\\,")
        background = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text((a + b) / 2, top + lower, name, ha="center", va="center", color=PURPLE, bbox=background)
    return fig


@checked
def canvas(width: Annotated[float, within(0.1)], height: Annotated[float, within(0.1)]) -> tuple[Figure, Axes]:
    """An empty sheet for a drawing, in its own units."""
    fig, ax = plt.subplots(figsize=(0.75 * width, 0.75 * height))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return fig, ax


def name_lines(ax: Axes) -> None:
    """Put each line's label at its right end, in its colour, in place of a legend; labels keep apart."""
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    ax.get_xlim(), ax.get_ylim()  # which makes the scales final
    ends = [ax.transAxes.inverted().transform(ax.transData.transform(line.get_xydata()[-1])) for line in lines]
    for (x, y), line in zip(ends, lines, strict=True):
        style = {"color": line.get_color(), "va": "center", "transform": ax.transAxes, "gid": LINE}
        gap = 0.025 if line.get_marker() in ("None", ".") else 0.045  # past the last mark
        ax.text(x + gap, y, line.get_label(), **style)
    keep_apart(ax)


def keep_apart(ax: Axes) -> None:
    """Move names of lines upwards until none stands on another."""
    line = 1.6 * SMALL / 72 / ax.figure.get_figheight() / ax.get_position().height
    top = -np.inf
    for name in sorted((text for text in ax.texts if text.get_gid() == LINE), key=lambda text: text.get_position()[1]):
        x, y = name.get_position()
        half = line * (1 + name.get_text().count("\n")) / 2
        name.set_position((x, max(y, top + half)))
        top = name.get_position()[1] + half


def label_cell(ax: Axes, row: int, column: int, text: str = "") -> None:
    """Frame one cell of a heat map, and say beside it what it is, or in the title if its neighbours are to be seen."""
    ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=BLACK, lw=1.5))
    if not text:
        return
    left = column > sum(ax.get_xlim()) / 2
    ax.annotate(
        text, (column - 0.5 if left else column + 0.5, row), (-6 if left else 6, 0), textcoords="offset points",
        ha="right" if left else "left", va="center", fontsize=9, zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
    )  # fmt: skip


def box(ax: Axes, x: float, y: float, text: str, fill="white", edge=BLACK, **font) -> Text:
    """A word or two in a box, about its middle: as large as they are."""
    style = {"boxstyle": "round,pad=0.4", "facecolor": fill, "edgecolor": edge, "lw": 1.2}
    return ax.text(x, y, text, ha="center", va="center", zorder=3, bbox=style, **{"fontsize": 9} | font)


def arrow(ax: Axes, start: tuple | Text, end: tuple | Text, colour: str, path: str = "arc3", **line) -> None:
    """An arrow from a place or a box to another; `path` bends it, as matplotlib's connection styles do."""
    style = {"arrowstyle": "-|>", "lw": 1.5, "color": colour, "connectionstyle": path, "shrinkA": 0, "shrinkB": 0}
    places = []
    for at, patch in ((start, "patchA"), (end, "patchB")):
        boxed = isinstance(at, Text)
        places.append(at.get_position() if boxed else at)
        style |= {patch: at.get_bbox_patch()} if boxed else {}
    ax.annotate("", places[1], places[0], arrowprops=style | line)
