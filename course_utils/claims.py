"""Claims: every number that a chapter states is computed in it and compared with `book/results.json`."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from course_utils.checked import checked, within
from course_utils.checkpoints import write_atomically
from course_utils.errors import CourseError

RESULTS = Path(__file__).resolve().parent.parent / "book" / "results.json"
STRICT = "COURSE_CLAIMS"  # "strict": a claim that fails stops the notebook, as in builds and tests
UPDATE = "COURSE_RESULTS_UPDATE"  # names the file to record into, in place of comparing


def load_results() -> dict[str, dict]:
    """The recorded claims, by key."""
    path = _target()
    try:
        return json.loads(path.read_text("utf-8"))["claims"] if path.exists() else {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CourseError(path.name, f"it is no file of results ({error})", "fetch it again") from error


@checked
def claim(
    key: Annotated[str, "write e.g. '02.loss.zero_layer'"],
    value: Any,
    *,
    tolerance: Annotated[float, within(0)],
    says: Annotated[str, "say the claim in a sentence"],
    paper: Any = None,
):
    """State a number: compare the fresh `value` with the recorded one and return it.

    key: chapter number, then words, e.g. "02.loss.zero_layer". value: a number or a list of numbers. tolerance: the
    largest difference that is no news (0 for counts). says: the claim in one sentence. paper: the paper's value.

    Raises CourseError when the value has moved by more than the tolerance, or was never recorded; in a reader's
    notebook it says so and goes on. Where the package is installed without the book, as for a single notebook in
    Colab, nothing is compared.
    """
    try:
        value = _plain(value)
    except (TypeError, ValueError) as error:
        rule = "a claim must be a number or a list of numbers"
        raise CourseError(f"{key} is {value!r:.40}", rule, "look at the cell that computes it") from error
    if not np.all(np.isfinite(value)):
        raise CourseError(f"{key} is {value}", "a claim must be a finite number", "look at the cell that computes it")
    entry = {"chapter": key.split(".")[0], "value": value, "tolerance": tolerance, "paper": paper, "says": says}
    if os.environ.get(UPDATE):
        claims = load_results() | {key: entry}
        text = json.dumps({"claims": dict(sorted(claims.items()))}, indent=1, ensure_ascii=False)
        write_atomically(_target(), (text + "\n").encode())
        return value
    if not RESULTS.parent.exists():  # the package was installed without the book: nothing to compare with
        return value
    recorded = load_results().get(key)
    remedy = "run `python -m course_utils results --update` and read what changed"
    if recorded is None:
        _differs(CourseError(f"{key}", "this claim is not in book/results.json", remedy), value, says)
    elif np.shape(value) != np.shape(recorded["value"]):
        rule = f"it was recorded as {recorded['value']}, of another shape"
        _differs(CourseError(f"{key} is {value}", rule, remedy), value, says)
    elif np.max(np.abs(np.subtract(value, recorded["value"]))) > tolerance:
        rule = f"it was recorded as {recorded['value']} ± {tolerance}"
        _differs(CourseError(f"{key} is {value}", rule, remedy), value, says)
    return value


def _differs(error: CourseError, value, says: str) -> None:
    """Stop a build or a test; tell a reader, whose notebook goes on."""
    kernel = getattr(sys.modules.get("ipykernel.kernelapp"), "IPKernelApp", None)
    if os.environ.get(STRICT) == "strict" or not (kernel and kernel.initialized()):
        raise error
    print(
        f"Nothing is wrong with you, and you can go on: your machine's number is {value}, and the book's is another. "
        f"({says})\n{error.what}: {error.rule}. If you changed a cell above, that is why; if not, read on with your "
        "own number. To see whether the course is whole here: python -m course_utils doctor"
    )


def _plain(value):
    """Tensors and NumPy values as Python numbers, rounded to what is worth recording."""
    value = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if value.dtype.kind in "bui":
        return value.astype(int).tolist()
    return np.vectorize(lambda x: float(f"{x:.6g}"))(value).tolist()


def _target() -> Path:
    return Path(os.environ.get(UPDATE) or RESULTS)
