"""Induction heads as they form: loss, scores and patterns through training (chapter 10)."""

import html
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import numpy as np

from course_utils.checked import FILLED, FINITE, check, checked, numbers
from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, Texts, code, packed, table, visible

HEADS, MOMENTS = 5, 23  # of each run, at most: with these a run's patterns take 180 kB
Measured = numbers("measured", FINITE, FILLED)
Scores = numbers("measured layers heads", FINITE, FILLED)


class Log(TypedDict):
    tokens_per_step: numbers("", FINITE)
    eval_step: Measured
    validation_loss: Measured
    in_context: Measured
    previous_token: Scores
    prefix_matching: Scores
    snap_step: numbers("moments", FINITE, FILLED)
    pattern: numbers("moments layers heads tokens tokens", FINITE, "give the text that the run was shown")  # fmt: skip


@checked
def formation_figure(
    logs: Annotated[Mapping[str, Any], FILLED, "use {name: load_log(name)}"], tokens: Mapping[str, Texts]
) -> Explorable:
    """Scrub through training runs: loss, scores of heads, and a head's pattern on the fixed text.

    `logs`: by the run's name, what `checkpoints.load_log` gives. `tokens`: by the same names, the fixed text as it is
    to be shown. Of each run it takes the heads with the highest scores at the end, and the first and the last moments
    at which patterns were kept. Raises CourseError for a log that lacks an array, holds numbers that are not finite,
    or has patterns of another length than its text.
    """
    if set(tokens) != set(logs):
        rule = f"each run has its text: {list(logs)}"
        raise CourseError(f"tokens for {list(tokens)}", rule, "give the same names to both")
    runs = [_run(name, log, tokens[name]) for name, log in logs.items()]
    plain = "\n".join(_plain(run, logs[name]) for run, name in zip(runs, logs, strict=True))
    return Explorable("formation", {"runs": runs, "run": 0, "moment": _bend(runs[0])}, plain)


def _bend(run: dict) -> int:
    """The first moment at which the best head's score is half of what it comes to."""
    head = run["heads"][run["best"]]
    score = np.interp(run["moments"], run["measured"], head["prefix" if head["goal"] == "successor" else "previous"])
    return int(np.argmax(score >= score[-1] / 2))


def _run(name: str, log: dict, tokens: list[str]) -> dict:
    sizes = {"tokens": len(tokens)}
    arrays = check(f"logs[{name!r}]", log, Annotated[Log, "use checkpoints.load_log, of contexts of 256"], sizes)
    pattern = arrays["pattern"]
    previous, prefix = arrays["previous_token"], arrays["prefix_matching"]
    final = np.maximum(previous[-1], prefix[-1])
    heads = sorted(np.argsort(-final, axis=None, kind="stable")[:HEADS].tolist())
    heads = [divmod(head, final.shape[1]) for head in heads]
    inducing = prefix[-1].max() > 0.1
    best = max(heads, key=lambda head: (prefix if inducing else previous)[-1][head])
    moments = np.arange(len(pattern))
    moments = np.concatenate([moments[:1], moments[1:][-(MOMENTS - 1) :]])
    million = float(arrays["tokens_per_step"]) / 1e6
    rows, columns = np.tril_indices(len(tokens))
    rounded = lambda values, digits=3: np.round(values, digits).tolist()  # noqa: E731
    return {
        "name": visible(name),
        "tokens": [visible(token) for token in tokens],
        "measured": rounded(arrays["eval_step"] * million),
        "loss": rounded(arrays["validation_loss"]),
        "inContext": rounded(running_mean(arrays["in_context"])),
        "moments": rounded(arrays["snap_step"][moments] * million),
        "steps": arrays["snap_step"][moments].astype(int).tolist(),
        "best": heads.index(best),
        "successors": [[j, i] for j in range(len(tokens)) for i in range(1, j + 1) if tokens[i - 1] == tokens[j]],
        "heads": [
            {
                "name": f"{layer}.{head}",
                "previous": rounded(previous[:, layer, head], 2),
                "prefix": rounded(prefix[:, layer, head], 2),
                "goal": "one back" if previous[-1, layer, head] >= prefix[-1, layer, head] else "successor",
                "pattern": packed(pattern[moments, layer, head][:, rows, columns] / 255),
            }
            for layer, head in heads
        ],
    }


def running_mean(values, width: int = 5) -> np.ndarray:
    """Each value's mean with its neighbours; at the ends with fewer of them."""
    half = width // 2
    return np.array([np.mean(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def goal_cells(run: dict, head: dict) -> list[list[int]]:
    """The [query, key] at which a head should look: one back, or at successors of earlier occurrences."""
    return run["successors"] if head["goal"] == "successor" else [[j, j - 1] for j in range(1, len(run["tokens"]))]


def _plain(run: dict, log: dict) -> str:
    """The best head's run in some rows; the pattern in one number: how much of it lies where it should."""
    head = run["heads"][run["best"]]
    cells = goal_cells(run, head)
    queries = {query for query, _ in cells}
    layer, number = map(int, head["name"].split("."))
    rows = []
    for step, moment in list(zip(run["steps"], run["moments"], strict=True))[:: -max(1, len(run["steps"]) // 7)][::-1]:
        at = int(np.abs(np.array(run["measured"]) - moment).argmin())
        pattern = np.asarray(log["pattern"])[list(log["snap_step"]).index(step), layer, number] / 255
        share = sum(float(pattern[query, key]) for query, key in cells) / (len(queries) or 1)
        values = [run["loss"][at], run["inContext"][at], head["previous"][at], head["prefix"][at], share]
        rows.append([f"{moment:.2f}", *(f"{value:.2f}".replace("-", "\N{MINUS SIGN}") for value in values)])
    heads = ["million tokens", "loss (nats)", "in-context score (nats)", "previous-token score", "prefix matching"]
    goal = {"one back": "one back", "successor": "at the successor"}[head["goal"]]
    caption = f"{html.escape(run['name'])}, head {head['name']}"
    return table([*heads, f"attention {goal}, on the text"], rows, caption) + (
        f"\n<p>The text: {' '.join(map(code, run['tokens']))}</p>"
    )
