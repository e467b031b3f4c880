"""Every head's eigenvalues in the complex plane, and the tokens that each eigenvector moves (chapter 5)."""

import html
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from course_utils.checked import FILLED, checked
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
from course_utils.figures.host import Explorable, Texts, code, table, visible

TOKENS = 8  # of each eigenvector
KINDS = ("trained", "random")
Circuits = Annotated[Mapping[Any, FactoredMatrix], FILLED, "pass one FactoredMatrix a head"]


@checked
def eigenvalues_figure(trained: Circuits, random: Circuits, names: Texts, first: Any = None) -> Explorable:
    """The complex plane of each head, one of them large; of each eigenvalue the tokens largest in its eigenvector.

    `trained` and `random`: FactoredMatrix by head, a map from `names`, the tokens made visible, to themselves. A
    conjugate pair is one entry, with its upper half. An eigenvector may be turned: its largest token has angle 0.
    `first`: the head that is large at first.
    Raises CourseError for other heads in one than in the other, and for tables that are no map over `names`.
    """
    names = [visible(name) for name in names]
    if list(random) != list(trained):
        raise CourseError(f"random has {list(random)}", f"both have the heads {list(trained)}", "give all to both")
    for head, circuit in [*trained.items(), *random.items()]:
        if tuple(circuit.shape) != (len(names),) * 2:
            rule = f"it maps the {len(names)} names to themselves"
            raise CourseError(f"head {head} has shape {list(circuit.shape)}", rule, "take rows and columns alike")
    if first is not None and first not in trained:
        raise CourseError(f"first is {first!r}", f"it is one of {list(trained)}", "name a head, or leave it out")
    used: dict[str, int] = {}
    heads = []
    for head in trained:
        kinds = {
            what: _entries(circuits[head], names, used) for what, circuits in zip(KINDS, (trained, random), strict=True)
        }
        heads.append({"head": str(head), **kinds})
    at = list(trained).index(first) if first is not None else 0
    data = {"heads": heads, "names": list(used), "first": at}
    return Explorable("eigenvalues", data, _plain(data))


def _entries(circuit, names: list[str], used: dict[str, int]) -> dict:
    """Positivity, and eigenvalues, the largest first: [real, imaginary, [token, weight, angle, …]]."""
    values, vectors = (part.cpu().numpy() for part in circuit.eig())
    if not np.isfinite(values).all() or not np.abs(values).max() > 0:
        raise CourseError("eigenvalues that are zero or not finite", "one at least differs from 0", "check the table")
    shown = []
    for value, vector in zip(values, vectors, strict=True):
        if value.imag < -1e-9 * abs(value):
            continue  # its conjugate is there
        real = abs(value.imag) <= 1e-9 * abs(value)
        size = np.abs(vector)
        best = np.argsort(-size, kind="stable")[:TOKENS]
        turns = np.rint(np.degrees(np.angle(vector[best] / vector[best[0]]))).astype(int)
        tokens = []
        for token, turn in zip(best, turns.tolist(), strict=True):
            place = used.setdefault(names[token], len(used))
            tokens += [place, round(100 * float(size[token] / size[best[0]])), abs(turn) if real else turn]
        shown.append([_round(value.real), 0 if real else _round(value.imag), tokens])
    return {"positivity": round(float(values.sum().real / np.abs(values).sum()), 2), "values": shown}


def _round(x: float) -> float:
    return float(f"{x:.3g}")


def number(real: float, imaginary: float) -> str:
    """An eigenvalue in words, with true minus signs."""
    digits = 0 if abs(complex(real, imaginary)) >= 10 else 2
    text = f"{real:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if imaginary == 0 else f"{text} ± {imaginary:.{digits}f} i"


def _plain(data: dict) -> str:
    rows = []
    for each in data["heads"]:
        for real, imaginary, tokens in each["trained"]["values"][:3]:
            words = ", ".join(f"{code(data['names'][tokens[i]])} {tokens[i + 2]}°" for i in range(0, len(tokens), 3))
            ratios = f"{each['trained']['positivity']:.2f}; {each['random']['positivity']:.2f}"
            rows.append([f"head {html.escape(each['head'])}", ratios, number(real, imaginary), words])
    caption = (
        "Of each head the three largest eigenvalues, with the tokens that weigh most in the eigenvector; "
        "0° and 180° are the two ends of a mix"
    )
    return table(["head", "positivity; of random weights", "eigenvalue", "tokens"], rows, caption)
