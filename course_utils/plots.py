"""The figures' one style: colour-blind safe, labelled, on a light ground that reads in light and dark pages."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.backends import BackendFilter, backend_registry
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from course_utils.checked import FILLED, FINITE, along, check, checked, numbers, within
from course_utils.errors import CourseError

Count = Annotated[int, within(1)]
Names = Sequence[str]

# Okabe and Ito's palette, which readers with any colour vision can tell apart, in the order in which we use it.
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#222222",
)  # fmt: skip
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
# What means the same has one colour, in still figures as in theme.css (--ex-induction, --ex-previous).
ROLE_COLOURS = {"induction": RED, "previous": GREEN}
MODEL_COLOURS = {"zero-layer": ORANGE, "one-layer": GREEN, "two-layer": BLUE}


def use_style() -> None:
    """Set the style for all figures that follow, and show them in the notebook.

    MPLBACKEND=Agg and its like in the environment, meant for programs that write files, would show none of them.
    """
    writes_files = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)
    if hasattr(get_ipython(), "kernel") and matplotlib.get_backend().lower() in writes_files:
        get_ipython().run_line_magic("matplotlib", "inline")
    plt.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK]),
            "figure.figsize": (7.2, 3.6),
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E5E5E5",
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "font.size": 10,
            "font.family": ["DejaVu Sans"],
            "legend.frameon": False,
            "image.cmap": SEQUENTIAL,
        }
    )


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
        _, ax = plt.subplots(figsize=(1.8 + 0.34 * len(columns), 1.6 + 0.17 * len(rows)))
    limit = np.abs(values).max()
    scale = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit} if centred else {"cmap": SEQUENTIAL}
    image = ax.imshow(values, aspect="auto", interpolation="nearest", **scale)
    ax.set_xticks(range(len(columns)), columns, rotation=90, fontfamily="monospace", fontsize=8)
    ax.set_yticks(range(len(rows)), rows, fontsize=7)
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
    colours = plt.get_cmap(SEQUENTIAL).with_extremes(bad="#CCCCCC")
    size = 1.2 + 0.2 * len(names)
    fig, axes = plt.subplots(1, len(values), figsize=(size * len(values), size), sharey=True)
    for ax, (title, table) in zip(np.atleast_1d(axes), values.items(), strict=True):
        shown = np.ma.masked_invalid(table)
        image = ax.imshow(shown, cmap=colours, vmin=finite.min(), vmax=finite.max(), interpolation="nearest")
        ax.set_xticks(range(len(names)), names, rotation=90, fontfamily="monospace", fontsize=8)
        ax.set_yticks(range(len(names)), names, fontfamily="monospace", fontsize=8)
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
    columns, size = min(columns, len(patterns)), 1.9 if names is None else 0.9 + 0.17 * len(names)
    size = min(size, 9 / columns)  # wider than the page, and its words would shrink
    rows = -(-len(patterns) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns + 0.7, size * rows), sharex=True, sharey=True, squeeze=False
    )
    colours = plt.get_cmap(SEQUENTIAL).with_extremes(bad="#DDDDDD")
    for ax, (title, pattern) in zip(axes.flat, patterns.items(), strict=False):
        later = np.triu(np.ones_like(pattern, dtype=bool), 1)  # a key after its query: nothing to see there
        shown = np.ma.masked_where(later | ~np.isfinite(pattern), pattern)
        image = ax.imshow(shown, cmap=colours, vmin=0, vmax=top, interpolation="nearest")
        ax.set_title(title, fontsize=9)
        ax.grid(False)
        if names is not None:
            ax.set_xticks(range(len(names)), names, rotation=90, fontfamily="monospace", fontsize=8)
            ax.set_yticks(range(len(names)), names, fontfamily="monospace", fontsize=8)
    for ax in axes.flat[len(patterns) :]:
        ax.axis("off")
    figure.supxlabel("key: the position looked at", fontsize=10)
    figure.supylabel("query: the position that looks", fontsize=10)
    figure.colorbar(image, ax=axes, label=label, pad=0.01)
    return figure


@checked
def token_table(
    rows: Annotated[Names, FILLED, along("rows")],
    groups: titled(tuple[Annotated[Sequence[Names], along("rows")], numbers("rows _", FILLED)]),
    *,
    label: str,
) -> Figure:
    """Tables of tokens, one row for each name in `rows`; a group is (tokens [row][column], values of the same shape).

    Each cell shows a token, and its value by its shade, from 0 to the largest of the group.
    """
    for title, (tokens, values) in groups.items():
        check(f"groups[{title!r}]", tokens, Sequence[Annotated[Names, along("columns")]], {"columns": values.shape[1]})
    widest = [max(len(token) for row in tokens for token in row) for tokens, _ in groups.values()]
    counts = [len(tokens[0]) for tokens, _ in groups.values()]
    ratios = [count * (wide + 2) for count, wide in zip(counts, widest, strict=True)]
    figure, axes = plt.subplots(
        1, len(groups), figsize=(min(11, 1.6 + 0.085 * sum(ratios)), 0.75 + 0.27 * len(rows)), sharey=True,
        squeeze=False, width_ratios=ratios,
    )  # fmt: skip
    for ax, (title, (tokens, values)) in zip(axes[0], groups.items(), strict=True):
        shade = np.clip(values, 0, None)
        shade = shade / max(shade.max(), 1e-12)
        ax.imshow(0.75 * shade, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for y, row in enumerate(tokens):
            for x, token in enumerate(row):
                colour = "white" if shade[y, x] > 0.75 else BLACK
                ax.text(x, y, token, ha="center", va="center", fontfamily="monospace", fontsize=8, color=colour)
        ax.set_title(title, fontsize=10)
        ax.set_xticks([])
        ax.set_yticks(range(len(rows)), rows, fontfamily="monospace", fontsize=9)
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    axes[0, 0].set_ylabel(label)
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
    figure, axes = plt.subplots(
        rows, columns, figsize=(2 * columns, 2.25 * rows), squeeze=False, subplot_kw={"projection": "polar"}
    )
    for ax, (title, values) in zip(axes.flat, eigenvalues.items(), strict=False):
        if baseline is not None:
            grey = baseline[title]
            ax.plot(np.angle(grey), radius(grey), ".", color="#9A9A9A", markersize=3, label="random weights")
        ax.plot(np.angle(values), radius(values), "o", color=BLUE, markersize=3.5, alpha=0.8, label="trained")
        ax.set_title(title, fontsize=9, loc="center", pad=10)
        ax.set_ylim(0, decades + 0.2)
        ax.set_yticks(range(decades + 1), [])
        ax.set_xticks(np.deg2rad([0, 90, 180, 270]), ["+", "i", "−", "−i"], fontsize=8)
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
    colours: Mapping | None = None,
) -> Figure:
    """Histograms by name on one axis. A name with more values than the first has its counts scaled to the first's."""
    values = {name: these.ravel() for name, these in values.items()}
    bins = bins if bins.ndim else check("bins", int(bins), Count)
    figure, ax = plt.subplots()
    first = len(next(iter(values.values())))
    for number, (name, these) in enumerate(values.items()):
        colour = (colours or {}).get(name, BLUE if number == 0 else "#8A8A8A")
        style = {"alpha": 0.85} if number == 0 else {"histtype": "step", "lw": 2}
        scale = first / len(these)
        ax.hist(these, bins, weights=np.full(len(these), scale), color=colour, label=name, **style)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return figure


@checked
def architecture(n_heads: Count) -> Figure:
    """The two-layer model drawn as one stream, left to right, that heads read from and add to."""
    fig, ax = canvas(10.6, 3.7)
    arrow(ax, (0.75, 0.9), (9.5, 0.9), SKY, lw=7)
    box(ax, 0.55, 0.9, "tokens\n$t$")
    box(ax, 1.75, 0.9, "embed\n$W_E$", YELLOW)
    box(ax, 8.8, 0.9, "unembed\n$W_U$", YELLOW)
    ax.text(9.6, 0.9, "logits", va="center")
    for layer, read in enumerate((2.75, 5.85)):
        add = read + 2.05
        heads = "\n".join(f"head {layer}.{h}" for h in (0, 1)) + f"\n⋮\nhead {layer}.{n_heads - 1}"
        box(ax, read + 1.05, 2.3, heads, width=1.15, height=1.3)
        arrow(ax, (read, 0.98), (read + 0.45, 2.3), ORANGE, "angle,angleA=90,angleB=0,rad=10")
        arrow(ax, (read + 1.65, 2.3), (add, 1.1), GREEN, "angle,angleA=0,angleB=90,rad=10")
        ax.text(read - 0.08, 1.6, "read", color="#8A5F00", ha="right", va="center")
        ax.text(add + 0.08, 1.6, "add", color="#00694D", va="center")
        ax.add_patch(Circle((add, 0.9), 0.19, facecolor="white", edgecolor=BLACK, zorder=3))
        ax.text(add, 0.89, "+", ha="center", va="center", fontsize=13, zorder=4)
    ax.text(5.35, 3.35, "positions $W_{pos}$: into queries and keys only", ha="center", color="#555555")
    after_layer = r"$x^{} = x^{} + \sum_h h(x^{})$"
    formulas = r"$x^0 = t\,W_E$", after_layer.format(1, 0, 0), after_layer.format(2, 1, 1), r"$x^2\,W_U$"
    for x, formula in zip((2.3, 4.8, 7.75, 9.85), formulas, strict=True):
        ax.text(x, 0.2, formula, ha="center", va="center")
    return fig


def virtual_weights() -> Figure:
    """Matrices that read from and write to the stream; products that join writers to later readers."""
    fig, ax = canvas(10.6, 3.5)
    arrow(ax, (0.2, 0.6), (10.3, 0.6), SKY, lw=7)
    ax.text(0.25, 0.16, "the stream, $d_{model}$ wide", va="center")
    writers = {"$W_E$": 1.3, "$W_O^1$": 4.5, "$W_O^2$": 8.0}
    readers = {"$W_V^1$": 3.1, "$W_I^2$": 6.6, "$W_U$": 9.6}
    for places, colour, ends in ((writers, GREEN, (1.3, 0.68)), (readers, ORANGE, (0.68, 1.3))):
        for name, x in places.items():
            box(ax, x, 1.55, name, width=0.75, height=0.5, edge=colour)
            arrow(ax, (x, ends[0]), (x, ends[1]), colour)
    for middle, name in ((3.8, "earlier head"), (7.3, "later head")):
        outline = {"boxstyle": "round,pad=0.04", "facecolor": "none", "edgecolor": "#999999", "ls": ":"}
        ax.add_patch(FancyBboxPatch((middle - 1.15, 1.2), 2.3, 0.7, **outline))
        ax.text(middle, 1.02, name, ha="center", va="center", fontsize=9, color="#555555")
    products = (("$W_O^1$", "$W_I^2$", 2.2), ("$W_E$", "$W_I^2$", 3.2), ("$W_O^1$", "$W_U$", 2.95))
    for start, end, top in products:
        a, b = writers[start], readers[end]
        arrow(ax, (a, 1.86), (b, 1.86), PURPLE, f"arc3,rad={-2 * (top - 1.86) / (b - a)}", ls=(0, (4, 2)))
        name = (start + end).replace("$$", "\\,")
        background = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text((a + b) / 2, top, name, ha="center", va="center", color="#8C4A6F", bbox=background)
    return fig


@checked
def canvas(width: Annotated[float, within(0.1)], height: Annotated[float, within(0.1)]) -> tuple[Figure, Axes]:
    """An empty sheet for a drawing, in its own units."""
    fig, ax = plt.subplots(figsize=(0.75 * width, 0.75 * height))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return fig, ax


def box(ax, x: float, y: float, text: str, fill="white", width=0.95, height=0.7, edge=BLACK) -> None:
    """A box with a word in it, about its middle."""
    corner, style = (x - width / 2, y - height / 2), "round,pad=0.03"
    patch = FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=fill, edgecolor=edge, zorder=3)
    ax.add_patch(patch)
    ax.text(x, y, text, ha="center", va="center", fontsize=9, zorder=4)


def arrow(ax, start: tuple, end: tuple, colour: str, path: str = "arc3", **line) -> None:
    """An arrow; `path` bends it, as matplotlib's connection styles do."""
    style = {"arrowstyle": "-|>", "lw": 1.5, "color": colour, "connectionstyle": path, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=style | line)
