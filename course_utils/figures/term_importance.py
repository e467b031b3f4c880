"""The loss as it goes down term by term, and what is inside each step (chapter 8)."""

from collections.abc import Sequence

import numpy as np

from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, table

STEPS = ["direct path", "single heads", "virtual heads"]


def term_importance_figure(
    losses: Sequence[float],
    other: Sequence[float],
    layers: dict,
    heads: dict,
    virtual,
    constant,
    apart: Sequence[float],
    paper: dict,
) -> Explorable:
    """The loss in nats from a uniform guess to the whole two-layer model, step by step; each step opens.

        losses    [uniform guess, with the direct path, with single heads, with virtual heads]
        other     the last three of these with the patterns of another text
        layers    {"alone": [layer 0, layer 1], "beside": [...]}: fall by one layer's direct terms, without the other
                  layer's and beside them
        heads     {"direct": [2, heads], "real": [2, heads]}: rise of the loss without a head's direct term, patterns
                  frozen, and with the head really taken out
        virtual   [earlier, later]: rise of the loss without each virtual head
        constant  [earlier, later]: True where it writes the same at every place of every text
        apart     fall by these constants together, and then by the others
        paper     {"falls": [3], "alone": [2], "beside": [2]}: the paper's numbers

    Raises CourseError for other shapes, and for numbers that are not finite.
    """
    for name, value, keys in (
        ("layers", layers, {"alone", "beside"}),
        ("heads", heads, {"direct", "real"}),
        ("paper", paper, {"falls", "alone", "beside"}),
    ):
        if not isinstance(value, dict) or set(value) != keys:
            given = sorted(map(str, value)) if isinstance(value, dict) else type(value).__name__
            raise CourseError(f"{name} has {given}", f"it is a dict with the keys {sorted(keys)}", "give each of them")
    n_heads = np.shape(virtual)[-1:] or (0,)
    square = (*n_heads, *n_heads)
    data = {
        "losses": _numbers(losses, (4,), "losses"),
        "other": _numbers(other, (3,), "other"),
        "layers": {key: _numbers(value, (2,), f"layers[{key!r}]") for key, value in layers.items()},
        "heads": {key: _numbers(value, (2, *n_heads), f"heads[{key!r}]") for key, value in heads.items()},
        "virtual": _numbers(virtual, square, "virtual"),
        "constant": np.asarray(_numbers(constant, square, "constant")).astype(bool).tolist(),
        "apart": _numbers(apart, (2,), "apart"),
        "paper": {key: _numbers(value, (3 if key == "falls" else 2,), f"paper[{key!r}]")
                  for key, value in paper.items()},
    }  # fmt: skip
    if min(data["losses"]) <= 0:
        raise CourseError(f"losses are {data['losses']}", "a loss is above 0", "pass losses in nats, not falls")
    return Explorable("term_importance", data, _plain(data))


def _numbers(values, shape: tuple[int, ...], what: str) -> list:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape:
        raise CourseError(f"{what} has shape {list(values.shape)}", f"it must be {list(shape)}", "see term_importance")
    if not np.isfinite(values).all():
        raise CourseError(f"{what} has a number that is not finite", "all must be finite", "look where it comes from")
    return values.round(6).tolist()


def strongest(data: dict, constants: bool = True, most: int = 7) -> list[tuple[float, int, int]]:
    """(rise of the loss, earlier head, later head) of the virtual heads that are missed most."""
    found = [
        (rise, i, j)
        for i, row in enumerate(data["virtual"])
        for j, rise in enumerate(row)
        if constants or not data["constant"][i][j]
    ]
    return sorted(found, key=lambda each: (-each[0], *each[1:]))[:most]


def _plain(data: dict) -> str:
    losses, n_heads = data["losses"], len(data["virtual"])
    counts = [1, 2 * n_heads, n_heads**2]
    steps = [
        [f"{name} ({counts[k]})", f"{losses[k]:.2f}", f"{losses[k + 1]:.2f}", f"{losses[k] - losses[k + 1]:.2f}",
         f"{data['paper']['falls'][k]}"]
        for k, name in enumerate(STEPS)
    ]  # fmt: skip
    layers = [
        [f"layer {layer}", *(f"{of[way][layer]:.2f}" for way in ("alone", "beside") for of in (data["layers"],)),
         *(f"{data['paper'][way][layer]}" for way in ("alone", "beside"))]
        for layer in range(2)
    ]  # fmt: skip
    heads = [
        [f"{layer}.{head}", *(f"{data['heads'][way][layer][head]:+.3f}" for way in ("direct", "real"))]
        for layer in range(2)
        for head in range(n_heads)
    ]
    pairs = [
        [f"0.{i} → 1.{j}", f"{rise:+.3f}", "the same everywhere" if data["constant"][i][j] else "what the text says"]
        for rise, i, j in strongest(data)
    ]
    return "\n".join(
        [
            table(["terms", "loss before", "after", "fall", "in the paper"], steps, "The loss in nats, term by term"),
            table(["direct terms of", "alone", "beside the other", "paper: alone", "beside"], layers,
                  "Fall of the loss, in nats"),
            table(["head", "direct term left out", "really taken out"], heads, "Rise of the loss, in nats"),
            table(["virtual head", "rise without it", "it writes"], pairs, "The strongest virtual heads"),
        ]
    )  # fmt: skip
