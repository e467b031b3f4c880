"""The form of the chapters' notebooks: what they may hold, and how to bring them into that form.

A notebook in the repository holds no pictures and no widget state. It holds text outputs only in the cells tagged
`nbval-check-output`, whose outputs the tests compare. Cell ids and counts follow from the cells, and the time that a
chapter takes with its exercises from theirs, so that two people who write the same cells get the same file.
"""

import ast
import hashlib
import re
from collections import Counter
from pathlib import Path

import nbformat
import yaml

from course_utils.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent

COMPARED, NOT_COMPARED = "nbval-check-output", "nbval-ignore-output"
FOLDED = {"hide-cell", "hide-input", "hide-output", "remove-cell", "remove-input", "remove-output"}
EXERCISE = ("exercise", "check", "solution")
CLAIMS = "claims"
VEILED = "veiled"  # with the result above it, until the reader has guessed (figures/predict.js)
TAGS = {COMPARED, NOT_COMPARED, CLAIMS, VEILED, "raises-exception", *FOLDED, *EXERCISE}
PROMPTS = {"code_prompt_show": "Show the claims", "code_prompt_hide": "Hide the claims"}
MOST_CLAIMS = 4  # lines of claims that may stand among the code that a reader should read

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SHORTEST_ALT = 20  # characters; a shorter alternative text cannot say what a figure shows
STUB = re.compile(r"\braise NotImplementedError(\(.*\))?$")
DRAWS = re.compile(r"^((plt|plots)\.(?!use_style$|rc|style|get_|close$)\w+|playground)$")

EXERCISE_HEAD = re.compile(r"### Exercise (\d+): (.+)\n+\*Difficulty: (easy|medium|hard) · (\d+) minutes\.\*(?:\n|$)")
WITH_EXERCISES = re.compile(r"(\*\*Time\.\*\* (\d+) minutes[^.]*?, )\d+(?=\s+with\s+the\s+exercises)")

ANSWERS = re.compile(r"^from course_utils\.figures import|^figures\.\w+\(", re.M)


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the table of contents, in reading order."""
    return [path for path in pages(root) if path.suffix == ".ipynb"]


def pages(root: Path = ROOT) -> list[Path]:
    """All pages of the table of contents, in reading order."""
    return [_page(root, name) for name in _entries(_contents(root))]


def captions(root: Path = ROOT) -> dict[str, str]:
    """What stands above a page in the table of contents, where a part begins; pages without their ending."""
    return {part["chapters"][0]["file"]: part["caption"] for part in _contents(root).get("parts", [])}


def label(path: Path) -> str | None:
    """What the exercises of a page are numbered by: "7" of chapter 7, "F" of *Find it yourself*, else None."""
    if path.name == "find_it_yourself.ipynb":
        return "F"
    return str(int(path.stem[:2])) if re.match(r"\d\d_", path.name) else None


def cell_limit(root: Path = ROOT) -> int:
    """Seconds after which a cell is taken to hang: for the site, for the numbers, and in the tests."""
    return yaml.safe_load((root / "_config.yml").read_text("utf-8"))["execute"]["timeout"]


def report(check: bool = False) -> int:
    """Normalise all chapters, or with `check` only say what is wrong; 0 if all have the committed form."""
    paths = chapters()
    if not check:
        changed = normalise(paths)
        print(f"{len(changed)} of {len(paths)} notebooks changed" + "".join(f"\n  {path}" for path in changed))
    wrong = [f"{path.name}: {problem}" for path in paths for problem in problems(path)]
    print("\n".join(wrong) or "All notebooks have the committed form.")
    return 1 if wrong else 0


def normalise(paths: list[Path]) -> list[Path]:
    """Bring notebooks into the repository's form; return those that were rewritten."""
    changed = []
    for path in map(Path, paths):
        text = _normal_text(_read(path))
        if text != path.read_text("utf-8"):
            path.write_text(text, "utf-8", newline="\n")
            changed.append(path)
    return changed


def problems(path: Path) -> list[str]:
    """What is wrong with a notebook's form, a sentence each; empty if nothing is."""
    path = Path(path)
    notebook = _read(path)
    found = []
    if path.read_text("utf-8") != _normal_text(_read(path)):
        found.append("it is not in the repository's form: run `python -m course_utils notebooks`")
    found += _title_problems(notebook)
    for number, cell in enumerate(notebook.cells):
        found += [f"cell {number} {problem}" for problem in _cell_problems(cell)]
    return found + _exercise_problems([cell for cell in enumerate(notebook.cells) if cell[1].cell_type == "code"])


# --- reading and writing ---


def _entries(node) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _entries(item)]
    here = [node[key] for key in ("root", "file") if key in node]
    return here + [name for key in ("parts", "chapters", "sections") for name in _entries(node.get(key, []))]


def _page(root: Path, name: str) -> Path:
    for suffix in (".ipynb", ".md"):
        if (path := root / f"{name}{suffix}").exists():
            return path
    raise CourseError(f"{name} in _toc.yml", "there is no such notebook or page", "mend the table of contents")


def _contents(root: Path) -> dict:
    toc = root / "_toc.yml"
    if not toc.exists():
        raise CourseError(f"{toc}", "the table of contents is missing", "work in a checkout of the whole repository")
    return yaml.safe_load(toc.read_text("utf-8"))


def _read(path: Path):
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise CourseError(f"{path}", f"it cannot be read as a notebook ({error})", "restore the file") from error


def _normal_text(notebook) -> str:
    seen, code_cells = Counter(), 0
    exercises = sum(int(head[4]) for cell in notebook.cells for head in EXERCISE_HEAD.finditer(cell.source))
    for cell in notebook.cells:
        cell.source = WITH_EXERCISES.sub(lambda time: f"{time[1]}{int(time[2]) + exercises}", cell.source.rstrip())
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and _holds_claims(cell.source, alone=True):
            tags = [*tags, CLAIMS, "hide-input"]
        tags = list(dict.fromkeys(tags))
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "mystnb"})
        if tags:
            cell.metadata["tags"] = tags
        if CLAIMS in tags:
            cell.metadata["mystnb"] = nbformat.from_dict(PROMPTS)
        if {"solution", CLAIMS} & set(tags):  # JupyterLab folds it too
            cell.metadata["jupyter"] = {"source_hidden": True}
        if cell.cell_type == "code":
            code_cells += 1
            cell.outputs = _text_outputs(cell.outputs, code_cells) if COMPARED in tags else []
            # nbval takes outputs without a count for stale ones; a cell's place is its count after Run All.
            cell.execution_count = code_cells if cell.outputs else None
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _text_outputs(outputs, count: int) -> list:
    """What nbval compares: stdout and the text forms of shown values."""
    kept = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stdout" and kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text  # how the kernel cut the stream is chance
            elif output.name == "stdout":
                kept.append(output)
        elif output.output_type in ("display_data", "execute_result"):
            data = {kind: value for kind, value in output.data.items() if kind.startswith("text/")}
            if data:
                kept.append(nbformat.v4.new_output(output.output_type, data=data))
                if output.output_type == "execute_result":
                    kept[-1].execution_count = count
    return kept


# --- rules ---


def _title_problems(notebook) -> list[str]:
    code_fences = re.compile(r"^(```|~~~).*?^\1", re.S | re.M)
    markdown = [code_fences.sub("", cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    titles = re.findall(r"^# \S.*", "\n".join(markdown), re.M)
    if len(titles) != 1 or not notebook.cells[0].source.startswith("# "):
        return [f"the first cell begins with the chapter's one title (# …); found {len(titles)} titles"]
    return []


def _cell_problems(cell) -> list[str]:
    tags = cell.metadata.get("tags", [])
    found = []
    if not cell.source.strip():
        found.append("is empty")
    if unknown := sorted(set(tags) - TAGS):
        found.append(f"has unknown tags {unknown}; known are {sorted(TAGS)}")
    if cell.cell_type != "code":
        return found
    if COMPARED in tags and not cell.outputs:
        found.append(f"is tagged {COMPARED} but holds no output: nothing would be compared")
    if ANSWERS.search(cell.source) and NOT_COMPARED not in tags:
        found.append(f"draws a figure that answers and is not tagged {NOT_COMPARED}: its data have tests of their own")
    if _holds_claims(cell.source, alone=False) and "hide-input" not in tags:
        found.append(f"has more than {MOST_CLAIMS} lines of claims among other code; they stand in a cell of their own")
    if CLAIMS in tags and not _holds_claims(cell.source, alone=True):
        found.append(f"is tagged {CLAIMS}, so it is folded and left out on paper, and holds other code than claims")
    if "NBVAL_" in cell.source:
        found.append("steers nbval by a comment; use a tag")
    if "solution" in tags and "hide-cell" not in tags:
        found.append("is a solution without the tag hide-cell")
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    if (_draws(cell.source) or alt) and len(alt) < SHORTEST_ALT:
        found.append(f"draws a figure whose alternative text is {alt!r}; say what it shows (metadata mystnb.image.alt)")
    return found


def _holds_claims(source: str, alone: bool) -> bool:
    """Whether a cell holds more than a few lines of claims, and nothing else (`alone`) or other code as well."""
    statements = _statements(source)
    claims = [node for node in statements if re.match(r"claim\(|says \+?= |del ", ast.unparse(node))]
    lines = sum(node.end_lineno - node.lineno + 1 for node in claims if not isinstance(node, ast.Delete))
    return lines > MOST_CLAIMS and (len(claims) == len(statements)) == alone


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a magic or a shell line
        return []


def _draws(source: str) -> bool:
    """Whether the cell calls plt.…, plots.… or playground when it runs, not only inside a function."""
    todo = _statements(source)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call) and DRAWS.match(ast.unparse(node.func)):
            return True
        todo.extend(ast.iter_child_nodes(node))
    return False


def _exercise_problems(code_cells) -> list[str]:
    """An exercise is three code cells in this order: the task's stub, the checker's call, a solution."""
    found = []
    roles = [next((role for role in EXERCISE if role in cell.metadata.get("tags", [])), None) for _, cell in code_cells]
    for place, ((number, cell), role) in enumerate(zip(code_cells, roles, strict=True)):
        if role == "exercise" and tuple(roles[place : place + 3]) != EXERCISE:
            found.append(f"cell {number} is an exercise: the next code cells must be its check and its solution")
        if role == "exercise" and not STUB.search(cell.source.rstrip()):
            found.append(f"cell {number} is an exercise and must end in `raise NotImplementedError`")
        if role == "check" and "check" not in cell.source:
            found.append(f"cell {number} is tagged check but calls no checker")
        if role in EXERCISE[1:] and (place == 0 or roles[place - 1] != EXERCISE[EXERCISE.index(role) - 1]):
            found.append(f"cell {number} is a {role} that follows no {EXERCISE[EXERCISE.index(role) - 1]}")
    return found
