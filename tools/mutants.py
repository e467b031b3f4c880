"""Wrong answers made from the right ones: does a checker refuse each?

    python -m tools.mutants 05        # chapter 5: its survivors, and for each exercise the share refused
    python -m tools.mutants find      # the same of Find it yourself
    python -m tools.mutants           # all chapters

A mutant is the solution of an exercise with one thing changed: an operator, a comparison, a constant, an index, an end
of a slice, an argument, an entry of a dict, a call. One that no property could tell from the solution is listed in
`equivalent_mutants.json` with the reason; every other one has to be refused.
"""

import argparse
import ast
import copy
import functools
import json
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from tqdm.auto import tqdm

from course_utils.checks.base import Outcome
from tools import notebooks

EQUIVALENT = Path(__file__).with_name("equivalent_mutants.json")
SECONDS = 60  # of the processor, after which a mutant counts as refused: it would not end, or nobody would wait for it
MEMORY = 12 << 30  # bytes of addresses that a mutant may take

SWAPPED = {
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.FloorDiv],
    ast.Pow: [ast.Mult],
    ast.BitAnd: [ast.BitOr],
    ast.BitOr: [ast.BitAnd],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.Lt: [ast.LtE, ast.Gt],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.Lt],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
}


class Endless(BaseException):
    """A mutant took longer than SECONDS; no `except Exception` of a checker stops it."""


def exercises(path: Path) -> list[list]:
    """The cells (stub, check, solution) of each exercise of a notebook."""
    code = _code(path)
    places = [place for place, cell in enumerate(code) if "exercise" in cell.metadata.get("tags", [])]
    return [code[place : place + 3] for place in places]


def run(path: Path, source: str | ast.Module) -> Outcome:
    """Execute a cell after the notebook's imports and return the value of its last line."""
    tree = ast.parse(source)
    last = ast.Expression(tree.body[-1].value)
    names = {}
    exec(compile(ast.Module(_imports(path) + tree.body[:-1], []), "cell", "exec"), names)
    return eval(compile(last, "cell", "eval"), names)


def _code(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@functools.cache  # a notebook is read once, not for each of its mutants
def _imports(path: Path) -> list[ast.stmt]:
    parsed = (ast.parse(cell.source) for cell in _code(path))
    return [node for tree in parsed for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(name, source) of each mutant of a solution's cell; the name is the changed lines, before → after.

    Imports and the call of the checker stay.
    """
    tree = ast.parse(source)
    before = ast.unparse(tree).split("\n")
    seen = {ast.unparse(tree)}
    answers = [i for i, node in enumerate(tree.body[:-1]) if not isinstance(node, ast.Import | ast.ImportFrom)]
    for i in answers:
        for place, node in enumerate(ast.walk(tree.body[i])):
            for change in range(len(_changes(node))):
                other = copy.deepcopy(tree.body[i])
                twin = next(twin for at, twin in enumerate(ast.walk(other)) if at == place)
                _changes(twin)[change]()
                whole = ast.Module([*tree.body[:i], other, *tree.body[i + 1 :]], [])
                text = ast.unparse(ast.fix_missing_locations(whole))
                if text not in seen:
                    seen.add(text)
                    yield _name(before, text.split("\n")), text


def _name(before: list[str], after: list[str]) -> str:
    start = next(i for i, (old, new) in enumerate(zip(before + [""], after + [""], strict=False)) if old != new)
    end = next(i for i in range(1, len(before) + 1) if before[-i:][:1] != after[-i:][:1])
    old, new = before[start : len(before) - end + 1], after[start : len(after) - end + 1]
    return f"{' '.join(map(str.strip, old))} → {' '.join(map(str.strip, new)) or 'nothing'}"


def _changes(node: ast.AST) -> list:
    """The ways to change a node in place, as functions without arguments."""
    found = []

    def change(act):
        found.append(act)

    match node:
        case ast.BinOp() | ast.BoolOp():
            for other in SWAPPED.get(type(node.op), []):
                change(lambda other=other: setattr(node, "op", other()))
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.MatMult):
                change(lambda: node.__dict__.update(left=node.right, right=node.left))
            if isinstance(node, ast.BinOp):
                change(lambda: _become(node, node.left))
                change(lambda: _become(node, node.right))
        case ast.AugAssign(op=op) if type(op) in SWAPPED:
            change(lambda: setattr(node, "op", SWAPPED[type(op)][0]()))
        case ast.Compare():
            for other in SWAPPED[type(node.ops[0])]:
                change(lambda other=other: node.ops.__setitem__(0, other()))
        case ast.UnaryOp() if not isinstance(node.operand, ast.Constant):
            change(lambda: _become(node, node.operand))
        case ast.Constant(value=bool()):
            change(lambda: setattr(node, "value", not node.value))
        case ast.Constant(value=int()):
            change(lambda: setattr(node, "value", node.value + 1))
            change(lambda: setattr(node, "value", node.value - 1))
        case ast.Constant(value=float()):
            change(lambda: setattr(node, "value", node.value * 2 or 1.0))
            change(lambda: setattr(node, "value", node.value / 2 or -1.0))
        case ast.Slice():
            for end in ("lower", "upper", "step"):
                if getattr(node, end) is not None:
                    change(lambda end=end: setattr(node, end, None))
        case ast.Attribute(attr="T" | "mT"):
            change(lambda: _become(node, node.value))
        case ast.Call():
            for i in range(len(node.keywords)):
                change(lambda i=i: node.keywords.pop(i))
            if len(node.args) > 1:
                change(lambda: node.args.pop())
                change(lambda: node.args.__setitem__(slice(2), node.args[1::-1]))
            if isinstance(node.func, ast.Attribute):
                change(lambda: _become(node, node.func.value))
            elif len(node.args) == 1:
                change(lambda: _become(node, node.args[0]))
        case ast.Dict():
            for i in range(len(node.keys)):
                change(lambda i=i: (node.keys.pop(i), node.values.pop(i)))
            if len(node.values) > 1:
                change(lambda: node.values.__setitem__(slice(2), node.values[1::-1]))
        case ast.IfExp():
            change(lambda: _become(node, node.body))
            change(lambda: _become(node, node.orelse))
        case ast.If():
            change(lambda: setattr(node, "test", ast.Constant(True)))
            change(lambda: setattr(node, "test", ast.Constant(False)))
        case ast.comprehension():
            for i in range(len(node.ifs)):
                change(lambda i=i: node.ifs.pop(i))
    return found


def _become(node: ast.AST, other: ast.AST) -> None:
    """Put another node in a node's place."""
    node.__class__ = other.__class__
    node.__dict__ = dict(other.__dict__)


def judge(path: Path, source: str) -> bool:
    """Whether a mutant is refused: a fault is found, or the mutant doesn't run, doesn't end or wants too much."""

    def ring(*_):
        raise Endless

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return run(path, source).status != "passed"
    except (Exception, Endless):
        return True
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def equivalent(chapter: str) -> dict[str, dict[str, str]]:
    """The mutants of a chapter's exercises that are as right as the solution: by exercise, name and reason."""
    return json.loads(EQUIVALENT.read_text("utf-8")).get(chapter, {})


def survivors(path: Path, only: int | None = None) -> dict[int, tuple[list[str], int]]:
    """For each exercise: the mutants that pass and are not listed, and how many there were, listed ones left out."""
    found = {}
    for number, (_, _, solution) in enumerate(exercises(path), 1):
        if only in (None, number):
            listed = equivalent(path.stem).get(str(number), {})
            made = [(name, text) for name, text in mutants(solution.source) if name not in listed]
            bar = tqdm(made, desc=f"{notebooks.label(path)}.{number}", leave=False)
            found[number] = [name for name, text in bar if not judge(path, text)], len(made)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("chapter", nargs="?", help="the beginning of a notebook's name, such as 05 (all)")
    parser.add_argument("--exercise", type=int, metavar="N", help="only the chapter's exercise N")
    given = parser.parse_args(arguments)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    paths = [path for path in notebooks.chapters() if path.name.startswith(given.chapter or "")]
    good = True
    for path in paths:
        for number, (left, count) in survivors(path, given.exercise).items():
            share = 1 - len(left) / max(count, 1)
            good &= share >= 0.95
            print(f"{path.stem}, exercise {number}: {count - len(left)} of {count} refused ({share:.0%})")
            print("".join(f"    passes: {name}\n" for name in left), end="", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
