"""The decimal numbers of a chapter's prose, and the claims that they are roundings of."""

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

# What is no statement about results: code, maths, roles and directives' options, addresses, tags, comments.
NOT_PROSE = [
    r"^(```|~~~|:::)\{(?:math|code|code-block|bibliography)\b.*?^\1",
    r"^(```|~~~)(?!\{).*?^\1",
    r"\$\$.*?\$\$",
    r"(?<!\\)\$[^$\n]+(?<!\\)\$",
    r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}",
    r"\{[\w:-]+\}`[^`]*`",
    r"(?<!`)(`{1,2})(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)",
    r"^:\w[\w-]*:[^\n]*$",
    r"https?://\S+",
    r"\]\([^)]*\)",
    r"<!--.*?-->",
    r"<[^>\n]+>",
]
# Decimal numbers that are names: versions, licences, sections of a document.
NAMES = r"\b(?:Python|PyTorch|torch|version|CC BY|[Cc]hapter|[Ss]ection|[Ee]xercise|Figure|Fig\.|Table)\s+\d+(?:\.\d+)+"
DECIMAL = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:[,\u202f\u00a0 ]\d{3})+|\d+)\.\d+(?![\w]|\.\d)")


def decimals(markdown: str) -> list[str]:
    """The decimal numbers that the text states, as written."""
    for pattern in NOT_PROSE:
        markdown = re.sub(pattern, " ", markdown, flags=re.S | re.M)
    return DECIMAL.findall(re.sub(NAMES, " ", markdown))


def is_rounding(written: str, values: Iterable[float]) -> bool:
    """Whether some value, or the percentage that it is, rounds to what is written (signs are told in words)."""
    digits = len(written.split(".")[1])
    number = float(re.sub(r"[^\d.]", "", written))
    slack = 0.5 * 10**-digits * (1 + 1e-9)
    return any(abs(abs(factor * value) - number) <= slack for value in values for factor in (1, 100))


def recorded_values(claims: dict[str, dict], chapter: str) -> list[float]:
    """All numbers of a chapter's claims: our values and the paper's."""
    values = []
    for claim in claims.values():
        if claim["chapter"] == chapter:
            values += np.ravel(claim["value"]).tolist()
            paper = claim.get("paper")
            if isinstance(paper, str):
                values += [float(number) for number in re.findall(r"\d+\.\d+|\d+", paper.replace(",", ""))]
            elif paper is not None:
                values += np.ravel(paper).tolist()
    return values


def claimed_keys(notebook) -> list[str]:
    """The keys that a notebook's cells claim, as regular expressions (an f-string stands for several keys)."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "claim" and node.args:
                    found.append(_pattern(node.args[0]))
    return found


def load_claims(root: Path) -> dict[str, dict]:
    path = root / "book/results.json"
    return json.loads(path.read_text("utf-8"))["claims"] if path.exists() else {}


def chapter_of(path: Path) -> str:
    """What the keys of a chapter's claims begin with: its number, or its name if it has none."""
    return path.stem.split("_")[0] if path.stem[0].isdigit() else path.stem


def _pattern(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(part) if isinstance(part, ast.Constant) else r"[^.]+" for part in node.values)
    return r".+"
