"""The graph of heads: which pairs compose, and what a cut of each path did (chapter 6)."""

from typing import Annotated, TypedDict

from course_utils.checked import checked, long, numbers, within
from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, table

READS = {"Q": "queries", "K": "keys", "V": "values"}
# What is negative by rounding alone will do; the baseline is subtracted in the figure.
Pairs = Annotated[numbers("earlier later", within(-1e-6)), long("earlier", 2, 16), long("later", 2, 16)]
Tables = Annotated[TypedDict("Tables", dict.fromkeys(READS, Pairs)), "pass what was measured, one number a pair"]
Measure = Annotated[float, within(0)]


@checked
def composition_figure(
    measure: Tables, effect: Tables, baseline: Measure, spread: Measure, least: Measure = 0.03
) -> Explorable:
    """The heads of two layers and a line for each pair that composes, above a threshold that the reader moves.

    `measure` and `effect`: a table [earlier head, later head] for each of "Q", "K" and "V": the composition measure,
    and what the cut of that path did, in nats for Q and K and as a share of the later head's output for V.
    `baseline` and `spread`: mean and standard deviation of the measure between random heads. `least`: the threshold
    at first, above the baseline. Raises CourseError for tables of other shapes or with numbers that make no sense.
    """
    largest = max(values.max() for values in measure.values()) - baseline
    if largest <= least:
        rule = f"it must lie below the strongest composition, {largest:.3f} above the baseline"
        raise CourseError(f"least is {least!r}", rule, "take a smaller one, or show another model")
    rounded = lambda kinds: {kind: values.clip(min=0).round(4).tolist() for kind, values in kinds.items()}  # noqa: E731
    data = {"measure": rounded(measure), "effect": rounded(effect)}
    data |= {"baseline": round(float(baseline), 4), "spread": round(float(spread), 4), "least": round(float(least), 4)}
    return Explorable("composition", data, _plain(data))


def edges(data: dict) -> list[tuple[float, str, int, int]]:
    """(above the baseline, kind, earlier head, later head) of each line at first, the strongest first."""
    found = [
        (round(value - data["baseline"], 4), kind, i, j)
        for kind, rows in data["measure"].items()
        for i, row in enumerate(rows)
        for j, value in enumerate(row)
        if value - data["baseline"] > data["least"]
    ]
    return sorted(found, key=lambda edge: -edge[0])


def _plain(data: dict) -> str:
    rows = []
    for above, kind, i, j in edges(data):
        value, effect = data["measure"][kind][i][j], data["effect"][kind][i][j]
        did = f"{effect:.0%} of the output" if kind == "V" else f"{effect:.3f} nats"
        rows.append([f"0.{i} → 1.{j}, {READS[kind]} ({kind})", f"{value:.3f}", f"{above:+.3f}", did])
    caption = (
        f"Pairs of heads whose composition is more than {data['least']:.3f} above that of random heads, "
        f"{data['baseline']:.4f} ± {data['spread']:.4f}"
    )
    return table(["pair", "composition", "above random heads", "what the cut did"], rows, caption)
