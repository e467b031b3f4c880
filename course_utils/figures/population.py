"""What moved when an assumption was put back: every seed of a population of small models (chapter 11)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from course_utils.figures.host import Explorable, table
from course_utils.headlines import COPIES, MATCHES, RESTS, interval, population, summary
from course_utils.roles import LEAST

KINDS = {
    ("plain", "muon"): "plain",
    ("norm", "muon"): "LayerNorm",
    ("biases", "muon"): "biases",
    ("mlp", "muon"): "MLPs",
    ("stream", "muon"): "positions in the stream",
    ("rotary", "muon"): "rotary positions",
    ("all", "muon"): "all together",
    ("plain", "adamw"): "plain, AdamW",
    ("all", "adamw"): "all together, AdamW",
}
LINE = LEAST["induction"][1]


class Headline(NamedTuple):
    """One number of each seed, or two; `marks`: of `summary`, each with its name and its colour."""

    name: str
    meaning: str
    marks: dict[str, tuple[str, str]]
    ends: tuple[float, ...] = ()  # of the axis, which goes on where a value lies beyond
    digits: tuple[int, int] = (2, 2)  # of a value and of a mean
    counted: str = ""  # what is said of the seeds that have a value, from `line` on
    never: str = ""  # what is said of a seed that has none
    line: float | None = None
    log: bool = False


HEADLINES = (
    Headline(
        "induction head",
        "The best head's prefix matching: how much it attends, on random tokens read twice, to what followed the same "
        f"token before; from {LINE} on it is an induction head.",
        {"prefix matching": ("one seed", "orange")}, (0, 1), counted=f"reach {LINE}", line=LINE,
    ),
    Headline(
        "by keys or queries",
        "The share of the best head's prefix matching that goes when the paths from layer 0 to its keys, or to "
        f"its queries, are cut; none is given of a head that matches less than {MATCHES}.",
        {"K": ("keys cut", "orange"), "Q": ("queries cut", "blue")}, (0, 1),
        counted="have one", never="none",
    ),
    Headline(
        "copying heads",
        f"The heads of layer 1, of four, that copy: the positivity of their full OV circuit is at least {COPIES}.",
        {"copying heads": ("one seed", "blue")}, (0, 4), (0, 1),
    ),
    Headline(
        "virtual heads",
        "The share of what the layers gain over the direct path, in loss, that goes when the values of layer 1 read "
        "nothing that the heads of layer 0 wrote.",
        {"virtual heads": ("one seed", "purple")}, (0,), (3, 3),
    ),
    Headline(
        "resting heads",
        f"The heads, of all eight, that rest: over text at least {RESTS} of their attention stays on the start token.",
        {"resting heads": ("one seed", "blue")}, (0, 8), (0, 1),
    ),
    Headline(
        "outlier",
        "The variance of the final stream's largest coordinate over that of its median coordinate, on a logarithmic "
        "axis.",
        {"outlier": ("one seed", "purple")}, (1,), (1, 1), log=True,
    ),
    Headline(
        "first steps",
        "The first of 900 steps of training, looked at every 50, at which a head of layer 0 has a previous-token score "
        "of 0.4, and one of layer 1 a prefix matching of 0.2.",
        {"first previous token": ("previous token", "green"), "first prefix matching": ("prefix matching", "orange")},
        (0, 900), (0, 0), counted="get there", never="never",
    ),
    Headline(
        "loss",
        "The mean loss on 200 windows of validation text, in nats: the lower, the better.",
        {"loss": ("one seed", "ink")}, digits=(3, 3),
    ),
)  # fmt: skip


def population_figure(record: dict[str, dict] | None = None) -> Explorable:
    """Each kind's seeds beside each other, with mean and 95 % interval, by one headline of the book after another.

    `record`: what `tools.population` writes, also while kinds and seeds are missing; without it, the one that ships.
    """
    runs = population(record)
    kinds = [kind for kind in KINDS if kind in runs]
    numbers = [[summary(run) for run in runs[kind]] for kind in kinds]
    data = {
        "kinds": [{"name": KINDS[kind], "optimiser": kind[1]} for kind in kinds],
        "headlines": [_told(headline, numbers) for headline in HEADLINES],
        "headline": 0,
        "kind": 0,
    }
    return Explorable("population", data, _plain(data))


def axis(values: Sequence[float], ends: Sequence[float], log: bool) -> dict:
    """Where an axis begins and ends, and its ticks: about five, at round numbers; at powers of ten if they are many."""
    span = [*values, *ends] or [0, 1]
    low, high = min(span), max(span)
    round_numbers = [m * 10.0**e for e in range(-4, 6) for m in (1, 2, 5)]
    if log:
        high = next((x for x in round_numbers if x >= high), high)
        ticks = [x for x in round_numbers if low <= x <= high]
        ticks = ticks if len(ticks) <= 6 else [x for x in ticks if math.log10(x).is_integer()]
    else:
        step = next(x for x in round_numbers if (high - low) / x <= 6)
        low = low if ends else math.floor(low / step) * step
        high = high if len(ends) == 2 else math.ceil(high / step) * step
        ticks = np.arange(math.ceil(low / step - 1e-9), high / step + 1e-9) * step
    return {"low": float(low), "high": float(high), "ticks": [round(float(tick), 4) for tick in ticks]}


def _told(headline: Headline, numbers: list[list[dict]]) -> dict:
    marks = [
        {"name": name, "colour": colour, "kinds": [_row([run[key] for run in runs]) for runs in numbers]}
        for key, (name, colour) in headline.marks.items()
    ]
    values = [value for mark in marks for row in mark["kinds"] for value in row["seeds"]]
    given = [value for value in values if value is not None]
    return headline._asdict() | axis(given, headline.ends, headline.log) | {
        "marks": marks, "never": headline.never or ("none" if len(given) < len(values) else ""),
    }  # fmt: skip


def _row(values: list[float]) -> dict:
    """A kind's values by seed, None for one that has none; mean and interval of the rest, None of fewer than two."""
    seeds = [round(float(value), 6) if math.isfinite(value) else None for value in values]
    given = [value for value in seeds if value is not None]
    found = [round(value, 6) for value in interval(given)] if len(given) > 1 else [*given, None, None, None]
    return {"seeds": seeds, **dict(zip(("mean", "low", "high"), found, strict=False))}


def _plain(data: dict) -> str:
    tables = []
    for headline in data["headlines"]:
        of_one, of_mean = headline["digits"]
        say = lambda value, digits: headline["never"] if value is None else f"{value:.{digits}f}"  # noqa: B023, E731
        for mark in headline["marks"]:
            rows = []
            for kind, row in zip(data["kinds"], mark["kinds"], strict=True):
                ends = [say(row[end], of_mean) for end in ("low", "high") if row[end] is not None]
                values = ", ".join(say(value, of_one) for value in row["seeds"])
                rows.append([kind["name"], say(row["mean"], of_mean), " to ".join(ends), values])
            name = headline["name"] if len(headline["marks"]) == 1 else f"{headline['name']}, {mark['name']}"
            heads = ["kind of model", "mean", "95 % interval", "each seed"]
            tables.append(table(heads, rows, f"{name.capitalize()}. {headline['meaning']}"))
    return "\n".join(tables)
