"""The numbers that a text states, and the claims that they name: `0.85<!-- 02.table.correlation[0] -->`."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

# What is no statement about results: code, maths, roles and directives' options, addresses, tags.
NOT_PROSE = [
    r"^(```|~~~|:::)\{(?:math|code|code-block|bibliography|route)\b.*?^\1",
    r"^(```|~~~)(?!\{).*?^\1",
    r"\$\$.*?\$\$",
    r"(?<!\\)\$[^$\n]+(?<!\\)\$",
    r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}",
    r"\{[\w:-]+\}`[^`]*`",
    r"(?<!`)(`{1,2})(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)",
    r"^:\w[\w-]*:[^\n]*$",
    r"https?://\S+",
    r"\]\([^)]*\)",
    r"<(?!!--)[^>\n]+>",
    # Names: versions, licences, sections of a document, heads, the usual interval.
    r"\b(?:Python|PyTorch|torch|version|CC BY|[Cc]hapter|[Ss]ection|[Ee]xercise|Figure|Fig\.|Table|[Ll]ayer|[Hh]ead)"
    r"\s+\d+(?:\.\d+)*\b",
    r"\b95\s%\s+intervals?\b",
]
WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
NUMBER = rf"(?:(?:\d{{1,3}}(?:[,\u202f\u00a0 ]\d{{3}})+|\d+)(?:\.\d+)?|(?i:{'|'.join(WORDS)})\b)"
# A number, the claim that it names, and what it is a share of: "%", "of the 12", "in five".
STATED = re.compile(
    rf"(?<![\w.,])(?P<number>{NUMBER})(?!\w|[.,]\d)(?:<!--(?P<mark>.*?)-->)?"
    rf"(?=(?P<percent>\s*%|\s+per\s?cent\b)|\s+of\s+(?:(?:the|its|our|these|those)\s+)?(?P<of>{NUMBER})"
    rf"|\s+in\s+(?!one\b)(?P<among>{NUMBER})|)"
)


# Whose number it is, and where it stands there: a section in italics, a figure, a stage. Or it is called ours.
WORKS = r"(?:elhage|olsson|hoogland)\d{4}"
THEIRS = re.compile(rf"(?i:\b(?:the|its) papers?\b|\bthe authors\b)|\{{cite:\w\}}`[^`]*{WORKS}[^`]*`")
REPORTS = re.compile(
    r"\b(?:says?|said|reports?|prints?|counts?|compares?|finds?|found|saw|gives?|claims?|has|have|shows?)\b"
)
COUNTS = re.compile(rf"(?<![\w.])\d|\b(?i:{'|'.join(WORDS[2:])}|half|most)\b")
PLACE = re.compile(r"\*[A-Z][^*\n]+\*|\b(?:[Ff]igures?|stages?|correction|erratum|video|ours|by us)\b")


def stated(markdown: str) -> Iterator[re.Match]:
    """The numbers that must name a claim, and those that do: decimals, percentages, "N of M", "N in M"."""
    for pattern in NOT_PROSE:
        markdown = re.sub(pattern, " ", markdown, flags=re.S | re.M)
    for found in STATED.finditer(markdown):
        counts = found["of"] and found["number"].lower() != "one"  # "one of four" picks, and counts nothing
        if found["mark"] or "." in found["number"] or found["percent"] or counts or found["among"]:
            yield found


def faults(markdown: str, claims: dict[str, dict], sources: set[str]) -> list[str]:
    """A sentence for each number that names nothing, or something else."""
    return [f"{found[0]} {fault}" for found in stated(markdown) if (fault := _fault(found, claims, sources))]


def placeless(text: str) -> list[str]:
    """Sentences, and rows of tables, that give a paper's number and don't say where it stands there."""
    told = [(context, sentence) for context, sentence in _sentences(text) if _gives_their_number(sentence)]
    return [sentence for context, sentence in told if not PLACE.search(context + sentence)]


def _gives_their_number(sentence: str) -> bool:
    """One that is marked as theirs; or, in a sentence that reports, any that is not marked as ours."""
    if any(re.search(rf"\.paper|{WORKS}", found["mark"] or "") for found in stated(sentence)):
        return True
    rest = re.sub(rf"{NUMBER}<!--.*?-->", " ", sentence)
    for pattern in NOT_PROSE:
        rest = re.sub(pattern, " ", rest, flags=re.S | re.M)
    reports = not sentence.startswith("|") and THEIRS.search(sentence) and REPORTS.search(rest)
    return bool(reports and COUNTS.search(rest))


def _sentences(text: str) -> Iterator[tuple[str, str]]:
    """Each sentence, and each row of a table with the paragraph before the table."""
    before = ""
    for block in re.split(r"\n\s*\n", text):
        if block.lstrip().startswith("|"):
            yield from ((before, row) for row in block.splitlines())
        else:
            for sentence in re.split(r"(?<=[.?!:])\s+(?=[A-Z(*\[{`\d])", block):
                yield "", re.sub(r"\s+", " ", sentence)
            before = block


def _fault(found: re.Match, claims: dict[str, dict], sources: set[str]) -> str:
    mark = (found["mark"] or "").strip()
    if not mark:
        return "names no claim: write <!-- KEY -->, <!-- a source in references.bib --> or <!-- given --> after it"
    if mark == "given" or mark in sources:
        return ""
    try:
        value = claimed_value(mark, claims)
    except (KeyError, IndexError, TypeError):
        return "names no number of book/results.json (a list needs [index])"
    value *= 100 if found["percent"] else number(found["among"]) if found["among"] else 1
    told = number(found["number"])
    if found.string[: found.start()].endswith("\N{MINUS SIGN}"):
        told = -told
    digits = len(found["number"].partition(".")[2])
    rounded = abs(value - told) <= 0.5 * 10**-digits * (1 + 1e-9)
    return "" if rounded else f"is no rounding of {value:.6g}"


def claimed_value(mark: str, claims: dict[str, dict]) -> float:
    """The number that `KEY`, `KEY[1]` or `KEY.paper` names; of the paper's words, the one number or those in order."""
    key, paper, places = re.match(r"(.+?)(\.paper)?((?:\[\d+\])*)$", mark).groups()
    value = claims[key]["paper" if paper else "value"]
    if isinstance(value, str):
        shares = re.findall(r"([−-]?\d+(?:\.\d+)?)(\s?%)?", value)
        value = [float(digits.replace("−", "-")) / (100 if percent else 1) for digits, percent in shares]
        value = value[0] if len(value) == 1 else value
    for place in re.findall(r"\d+", places):
        value = value[int(place)]
    return float(value)


def number(written: str) -> float:
    return WORDS.index(written.lower()) if written.lower() in WORDS else float(re.sub(r"[^\d.]", "", written))


def neighbours(found: re.Match) -> list[str]:
    """The text with the number one less and one more in its last digit."""
    digits = len(found["number"].partition(".")[2])
    values = [number(found["number"]) + step * 10**-digits for step in (-1, 1)]
    start, end = found.span("number")
    return [f"{found.string[:start]}{value:.{digits}f}{found.string[end:]}" for value in values if value >= 0]


def texts(path: Path) -> list[str]:
    """What a page or a quiz says: all of it, or a notebook's Markdown cells and captions."""
    if path.suffix != ".ipynb":
        return [path.read_text("utf-8")]
    cells = nbformat.read(path, as_version=4).cells
    captions = [cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "") for cell in cells]
    return [cell.source for cell in cells if cell.cell_type == "markdown"] + captions


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


def load_sources(root: Path) -> set[str]:
    return set(re.findall(r"^@\w+\{([\w-]+),", (root / "book/references.bib").read_text("utf-8"), re.M))


def chapter_of(path: Path) -> str:
    """What the keys of a chapter's claims begin with: its number, or its name if it has none."""
    return path.stem.split("_")[0] if path.stem[0].isdigit() else path.stem


def _pattern(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(_pattern(part) if isinstance(part, ast.Constant) else r"[^.]+" for part in node.values)
    return r".+"
