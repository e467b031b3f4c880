"""The process that answers: it has a submission's definitions and nothing else, and calls one of them when asked.

Nothing that it says is believed. It tells what a function returned; whether that is right is found elsewhere.
"""

import ast
import contextlib
import os
import warnings

import torch

from course_utils.checks.base import FiniteEigenvalues
from course_utils.grading import confine, wire


def definitions(cells: list[str], wanted: list[str]) -> list[list[ast.stmt]]:
    """What of each cell is run: imports, functions, classes, literal constants, and all of the answers' own cells."""
    kept = []
    for source in cells:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError):  # a magic, or unfinished: the other cells may still be right
            continue
        own = any(name in wanted for node in body for name in _names(node))
        kept.append([node for node in body if own or _defines(node)])
    return kept


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.name] if isinstance(node, ast.FunctionDef) else []


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, ast.Assign):
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            ast.literal_eval(node.value)
            return True
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def load(cells: list[str], wanted: list[str]) -> dict:
    """The names that the definitions make. One that fails leaves the others: a notebook may need what is not here."""
    names = {"__name__": "__main__"}
    for body in definitions(cells, wanted):
        for node in body:
            with contextlib.suppress(Exception):
                exec(compile(ast.Module([node], []), "submission", "exec"), names)
    return names


def main() -> None:
    asked, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.environ["HOME"] + "/said", os.O_RDWR | os.O_CREAT)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    task = wire.receive(asked)
    if task["memory"]:
        confine.limit(task["memory"])
    wire.send(said, {"ready": True})
    warnings.simplefilter("ignore")
    names = load(task["cells"], task["functions"])
    wire.send(said, {"missing": [name for name in task["functions"] if not callable(names.get(name))]})
    torch.manual_seed(0)  # once: an answer that draws draws anew at every call
    while True:
        name, packed = wire.receive(asked)
        arguments = wire.unpack(packed)
        try:
            with FiniteEigenvalues():
                reply = {"returned": wire.pack(names[name](*arguments)), "arguments": wire.pack(arguments)}
        except MemoryError:
            reply = {"raised": "MemoryError", "words": "it wanted more memory than it may have"}
        except Exception as error:
            reply = {"raised": type(error).__name__, "words": str(error)[:500]}
        wire.send(said, reply)


if __name__ == "__main__":
    with contextlib.suppress(EOFError):  # the judge has heard enough
        main()
