"""The figures' one style: colour-blind safe, labelled, on a light ground that reads in light and dark pages."""

import matplotlib.pyplot as plt
from cycler import cycler

# Okabe and Ito's palette, which readers with any colour vision can tell apart, in the order in which we use it.
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#222222",
)  # fmt: skip
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
MODEL_COLOURS = {"zero-layer": ORANGE, "one-layer": GREEN, "two-layer": BLUE}


def use_style() -> None:
    """Set the style for all figures that follow."""
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
