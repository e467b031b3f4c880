"""The graph of heads: which pairs compose, and what a cut of each path did (chapter 6)."""

from collections.abc import Mapping

import numpy as np

from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, table

READS = {"Q": "queries", "K": "keys", "V": "values"}


def composition_figure(measure: dict, effect: dict, baseline: float, spread: float, least: float = 0.03) -> Explorable:
    """The heads of two layers and a line for each pair that composes, above a threshold that the reader moves.

    `measure` and `effect`: a table [earlier head, later head] for each of "Q", "K" and "V": the composition measure,
    and what the cut of that path did, in nats for Q and K and as a share of the later head's output for V.
    `baseline` and `spread`: mean and standard deviation of the measure between random heads. `least`: the threshold
    at first, above the baseline. Raises CourseError for tables of other shapes or with numbers that make no sense.
    """
    tables = {"measure": _tables(measure, "measure"), "effect": _tables(effect, "effect")}
    shapes = {values.shape for kinds in tables.values() for values in kinds.values()}
    if len(shapes) > 1:
        raise CourseError(f"tables of shapes {sorted(shapes)}", "all have one shape, [earlier, later]", "cut none off")
    for name, value, low in (("baseline", baseline, 0.0), ("spread", spread, 0.0), ("least", least, 0.0)):
        if not np.isfinite(float(value)) or float(value) < low:
            raise CourseError(f"{name} is {value!r}", "it must be a finite number, not negative", "see composition")
    largest = max(values.max() for values in tables["measure"].values()) - float(baseline)
    if largest <= float(least):
        rule = f"it must lie below the strongest composition, {largest:.3f} above the baseline"
        raise CourseError(f"least is {least!r}", rule, "take a smaller one, or show another model")
    data = {name: {kind: values.round(4).tolist() for kind, values in kinds.items()} for name, kinds in tables.items()}
    numbers = {"baseline": float(baseline), "spread": float(spread), "least": float(least)}
    data |= {name: round(value, 4) for name, value in numbers.items()}
    return Explorable("composition", data, _plain(data))


def _tables(kinds: dict, what: str) -> dict[str, np.ndarray]:
    if not isinstance(kinds, Mapping) or set(kinds) != set(READS):
        keys = sorted(map(str, kinds)) if isinstance(kinds, Mapping) else type(kinds).__name__
        raise CourseError(f"{what} has {keys}", f"it has a table for each of {list(READS)}", "give all three")
    tables = {kind: np.asarray(kinds[kind], dtype=np.float64) for kind in READS}
    for kind, values in tables.items():
        if values.ndim != 2 or not 2 <= min(values.shape) <= max(values.shape) <= 16:
            rule = "a table is [earlier head, later head], with 2 to 16 heads in a layer"
            raise CourseError(f"{what}[{kind!r}] has shape {list(values.shape)}", rule, "pass one number a pair")
        if not np.isfinite(values).all() or values.min() < -1e-6:
            rule = "all must be finite and not negative: the baseline is subtracted in the figure"
            raise CourseError(f"{what}[{kind!r}] has {values.min()}", rule, "pass what was measured")
    return {kind: values.clip(min=0) for kind, values in tables.items()}


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
