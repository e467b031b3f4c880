"""Skip-trigrams of one source: who looks at it, what it raises, and what two of them force on two more (chapter 4)."""

import html
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from course_utils.checked import FILLED, check, checked, within
from course_utils.device import to_numpy
from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, Texts, code, table, visible

DESTINATIONS, OUTPUTS = 8, 6  # rows and columns of the grid
LOOKED_THROUGH = 24  # destinations among which pairs that occur are sought
FREQUENT = 30


@checked
def skip_trigrams_figure(
    circuits: Mapping[Any, tuple[Any, Any]],
    sources: Annotated[Mapping[Any, Annotated[Sequence[int], FILLED]], FILLED, "choose among the heads of circuits"],
    names: Texts,
    counts: Any,
) -> Explorable:
    """A grid [destination, out] for each source: values f1(a, b) · f2(a, c), and how often each pair occurs.

        circuits  {head: (qk, ov)}: FactoredMatrix or table [destination, source] and [source, out], both centred
        sources   {head: [source, …]}: which sources a reader may choose, as places in `names`
        names     the tokens that all axes stand for, made visible
        counts    [destination, out]: how often the output follows in the text; an array, or sparse

    Rows are destinations, of the 24 that look most: the best, and those after which an output really comes. The two
    pairs chosen at first are real, and crosswise they never occur, if there are such pairs. Raises CourseError for
    heads or sources that are not there, and for a source with fewer than two positive entries on either side.
    """
    names = [visible(name) for name in names]
    if not set(sources) <= set(circuits):
        rule = f"there are circuits for {list(circuits)}"
        raise CourseError(f"sources for {list(sources)}", rule, "choose among these heads")
    if tuple(counts.shape) != (len(names),) * 2:
        rule = f"it is [destination, out] over the {len(names)} names"
        raise CourseError(f"counts of shape {list(counts.shape)}", rule, "take the rows and columns of these tokens")
    heads = []
    for head, chosen in sources.items():
        check(f"sources[{head!r}]", np.array(chosen), Annotated[Any, within(0, len(names) - 1), "see common_tokens"])
        look, rise = _entries(*circuits[head], chosen, len(names))
        grids = [_grid(names, a, look[:, i], rise[i], counts) for i, a in enumerate(chosen)]
        heads.append({"head": str(head), "sources": grids})
    return Explorable("skip_trigrams", {"heads": heads}, _plain(heads))


def _entries(qk, ov, chosen: list[int], n: int) -> tuple[np.ndarray, np.ndarray]:
    """[destination, chosen source] and [chosen source, out]."""
    for what, circuit in (("qk", qk), ("ov", ov)):
        if tuple(circuit.shape) != (n, n):
            rule = f"it is a table over the {n} names"
            raise CourseError(
                f"{what} of shape {list(circuit.shape)}", rule, "take the rows and columns of these tokens"
            )
    if hasattr(qk, "take") and hasattr(qk, "AB"):  # a FactoredMatrix
        import torch

        places = torch.tensor(chosen, dtype=torch.long)
        return to_numpy(qk.take(columns=places).AB), to_numpy(ov.take(places).AB)
    return to_numpy(qk)[:, chosen], to_numpy(ov)[chosen]


def _grid(names: list[str], a: int, look: np.ndarray, rise: np.ndarray, counts) -> dict:
    """What the figure shows of one source."""
    first = [b for b in np.argsort(-look, kind="stable")[:LOOKED_THROUGH] if look[b] > 0]
    outs = [c for c in np.argsort(-rise, kind="stable")[:OUTPUTS] if rise[c] > 0]
    if min(len(first), len(outs)) < 2:
        found = f"{len(first)} destinations and {len(outs)} outputs with positive entries"
        raise CourseError(f"source {names[a]!r} has {found}", "two of each make a square", "choose another source")
    n = counts[first][:, outs]
    n = np.asarray(n.toarray() if hasattr(n, "toarray") else n, dtype=np.int64)
    best = _square(look[first], rise[outs], n, True) or _square(look[first], rise[outs], n, False)
    real = [i for i in range(len(first)) if n[i].max() >= FREQUENT]
    wanted = [*([best[0], best[2]] if best else []), 0, 1, 2, *real, *range(len(first))]
    rows = sorted(list(dict.fromkeys(wanted))[:DESTINATIONS])
    i1, j1, i2, j2 = best or (rows[0], 0, rows[1], 1)
    return {
        "source": names[a],
        "destinations": [names[first[i]] for i in rows],
        "look": [round(float(look[first[i]]), 3) for i in rows],
        "outs": [names[c] for c in outs],
        "rise": [round(float(rise[c]), 3) for c in outs],
        "counts": n[rows].tolist(),
        "pairs": [[rows.index(i1), j1], [rows.index(i2), j2]],
    }


def _square(look: np.ndarray, rise: np.ndarray, n: np.ndarray, bug: bool) -> tuple[int, int, int, int] | None:
    """(row, column, row, column) of two frequent pairs, in a bug never crosswise; the weakest value is largest."""
    found = [
        (min(look[i], look[k]) * min(rise[j], rise[m]), (i, j, k, m))
        for i, j in np.argwhere(n >= FREQUENT).tolist()
        for k, m in np.argwhere(n >= FREQUENT).tolist()
        if i < k and j != m and not (bug and n[i, m] + n[k, j])
    ]
    return max(found, key=lambda pair: (pair[0], [-x for x in pair[1]]))[1] if found else None


def _plain(heads: list[dict]) -> str:
    rows = []
    for each in heads:
        for grid in each["sources"]:
            looks = ", ".join(f"{code(b)} {x:.1f}" for b, x in zip(grid["destinations"], grid["look"], strict=True))
            rises = ", ".join(f"{code(c)} {x:.1f}" for c, x in zip(grid["outs"], grid["rise"], strict=True))
            (i, j), (k, m) = grid["pairs"]
            cells = "; ".join(_cell(grid, *at) for at in ((i, j), (k, m), (i, m), (k, j)))
            rows.append([f"head {html.escape(each['head'])}: {code(grid['source'])}", looks, rises, cells])
    heads_of_columns = [
        "head and source",
        "destinations that look at it",
        "outputs that it raises",
        "two pairs, crossed",
    ]
    caption = (
        "Skip-trigrams of a source: entries of the QK and OV circuits, centred, and for two pairs of destination "
        "and output the value, which is the product, and how often the pair occurs; then the same for the pairs crossed"
    )
    return table(heads_of_columns, rows, caption)


def _cell(grid: dict, i: int, j: int) -> str:
    value, n = grid["look"][i] * grid["rise"][j], grid["counts"][i][j]
    occurs = f"{n} times" if n else "never"
    return f"{code(grid['destinations'][i])} → {code(grid['outs'][j])} {value:.1f}, {occurs}"
