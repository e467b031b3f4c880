"""The loss as it goes down term by term, and what is inside each step (chapter 8)."""

from typing import TypedDict

from course_utils.checked import FILLED, FINITE, checked, numbers, within
from course_utils.figures.host import Explorable, table

STEPS = ["direct path", "single heads", "virtual heads"]
Two, Three, Heads = (numbers(axes, FINITE) for axes in ("2", "3", "2 heads"))
Pairs = numbers("heads heads", FINITE, FILLED)


@checked
def term_importance_figure(
    losses: numbers("4", within(1e-9), "pass losses in nats, not falls"),
    other: Three,
    layers: TypedDict("Layers", {"alone": Two, "beside": Two}),
    heads: TypedDict("Rises", {"direct": Heads, "real": Heads}),
    virtual: Pairs,
    constant: Pairs,
    apart: Two,
    paper: TypedDict("Paper", {"falls": Three, "alone": Two, "beside": Two}),
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
    kept = lambda values: values.round(6).tolist()  # noqa: E731
    data = {
        "losses": kept(losses),
        "other": kept(other),
        "layers": {key: kept(value) for key, value in layers.items()},
        "heads": {key: kept(value) for key, value in heads.items()},
        "virtual": kept(virtual),
        "constant": constant.astype(bool).tolist(),
        "apart": kept(apart),
        "paper": {key: kept(value) for key, value in paper.items()},
    }
    return Explorable("term_importance", data, _plain(data))


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
