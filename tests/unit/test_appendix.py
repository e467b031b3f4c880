"""The examples of the appendix, recomputed from what the pages show; the glossary; the bibliography."""

import ast
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from course_utils import claims
from course_utils.checkpoints import SHIPPED, load_card

BOOK = Path(claims.__file__).parents[1] / "book"


def page(name: str) -> str:
    return (BOOK / name).read_text(encoding="utf-8")


def matrices(text: str) -> list[np.ndarray]:
    """The matrices of numbers that a text shows, in order. Fractions may be written \\tfrac12."""
    found = []
    for body in re.findall(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", text, flags=re.DOTALL):
        rows = [[entry.strip() for entry in row.split("&")] for row in body.split(r"\\")]
        rows = [[re.sub(r"\\tfrac(\d)(\d)", r"\1/\2", entry) for entry in row] for row in rows]
        if all(re.fullmatch(r"-?\d+(\.\d+)?(/\d+)?", entry) for row in rows for entry in row):
            found.append(np.array([[float(Fraction(entry)) for entry in row] for row in rows]))
    return found


def same(left, right) -> bool:
    return np.shape(left) == np.shape(right) and np.allclose(left, right, atol=1e-12)


def multiset(values) -> list:
    """Complex numbers in an order that rounding errors don't change."""
    return sorted(np.round(np.asarray(values, dtype=complex), 9) + 0, key=lambda z: (z.real, z.imag))


def copying_measure(M) -> float:
    values = np.linalg.eigvals(M)
    return values.sum().real / np.abs(values).sum()


def test_kronecker_example():
    shown = matrices(page("appendix/kronecker_products.md"))
    X, A, W, AX, AX_W, XW, A_XW, big, vec_X, vec_head, W2, A2A1, W1W2, both = shown
    assert same(AX, A @ X) and same(AX_W, A @ X @ W)
    assert same(XW, X @ W) and same(A_XW, AX_W)
    assert same(big, np.kron(A, W.T))
    assert same(vec_X.ravel(), X.reshape(-1)) and same(vec_head.ravel(), AX_W.reshape(-1))
    assert same(big @ vec_X, vec_head)
    assert same(A2A1, A @ A) and same(W1W2, W @ W2)
    assert same(both, A2A1 @ X @ W1W2) and same(both, A @ (A @ X @ W) @ W2)
    # The paper's columns: (A2 (x) W2)(A1 (x) W1) = A2 A1 (x) W2 W1, with transposed matrices.
    assert same(np.kron(A, W2.T) @ np.kron(A, W.T), np.kron(A2A1, W1W2.T))


def test_one_layer_multiplies_out_to_a_sum():
    """The last formula of the Kronecker page, in the paper's columns, on random matrices."""
    rng = np.random.default_rng(0)
    n_pos, d_vocab, d_model, n_heads = 3, 5, 4, 2
    Id, stream = np.eye(n_pos), np.eye(d_model)
    W_U, W_E = rng.normal(size=(d_vocab, d_model)), rng.normal(size=(d_model, d_vocab))
    A, W_OV = rng.normal(size=(n_heads, n_pos, n_pos)), rng.normal(size=(n_heads, d_model, d_model))
    layer = np.kron(Id, stream) + sum(np.kron(A[h], W_OV[h]) for h in range(n_heads))
    product = np.kron(Id, W_U) @ layer @ np.kron(Id, W_E)
    terms = np.kron(Id, W_U @ W_E) + sum(np.kron(A[h], W_U @ W_OV[h] @ W_E) for h in range(n_heads))
    assert same(product, terms)


def test_eigenvalue_examples():
    shown = matrices(page("appendix/eigenvalues.md"))
    M, swap, turn, uneven, A, B, AB, BA, poor_copier, constant = shown
    assert same(np.array([1, 1]) @ M, [3, 3]) and same(np.array([1, -1]) @ M, [1, -1])
    assert np.isclose(np.trace(M), 4) and np.isclose(np.linalg.det(M), 3)
    assert multiset(np.linalg.eigvals(swap)) == [-1, 1]
    assert multiset(np.linalg.eigvals(turn)) == [-1j, 1j]
    assert multiset(np.linalg.eigvals(uneven)) == [0.5, 1]
    assert same(np.array([1, 2]) @ uneven, [1, 2]) and same(np.array([0, 1]) @ uneven, [0, 0.5])
    assert same(AB, A @ B) and same(BA, B @ A)
    assert multiset(np.linalg.eigvals(AB)) == [0, 1, 2] and multiset(np.linalg.eigvals(BA)) == [1, 2]
    assert np.isclose((AB**2).sum(), 10) and np.isclose((BA**2).sum(), 5)
    assert np.isclose(copying_measure(swap), 0) and np.isclose(copying_measure(turn), 0)
    assert np.isclose(copying_measure(poor_copier), 1) and poor_copier[0].argmax() == 1
    assert multiset(np.linalg.eigvals(constant)) == [0, 6] and np.isclose(copying_measure(constant), 1)
    assert not (constant - constant.mean(axis=1, keepdims=True)).any()
    right, left = np.linalg.eigvals(uneven), np.linalg.eigvals(uneven.T)
    assert multiset(right) == multiset(left)


def test_eigvalsh_is_wrong_where_the_page_says_so():
    turn = matrices(page("appendix/eigenvalues.md"))[2]
    assert multiset(np.linalg.eigvalsh(turn)) != multiset(np.linalg.eigvals(turn))


@pytest.mark.parametrize("name", ["kronecker_products", "eigenvalues"])
def test_code_on_a_page_gives_what_its_comments_say(name):
    (code,) = re.findall(r"```python\n(.*?)```", page(f"appendix/{name}.md"), flags=re.DOTALL)
    names: dict = {}
    said = 0
    for statement in ast.parse(code).body:
        source = ast.get_source_segment(code, statement)
        if not isinstance(statement, ast.Expr):
            exec(source, names)
            continue
        comment = code.splitlines()[statement.end_lineno - 1].split("#")[1]
        numbers = [float(number) for number in re.findall(r"\d+\.?\d*", comment)]
        value = eval(source, names)
        assert multiset(value) == multiset(numbers) if "eigvals" in source else same(value, numbers)
        said += 1
    assert said


def test_a_perceptron_computes_and_but_not_xor():
    text = page("appendix/transformers_and_mlps.md")
    ((w0, w1, b),) = re.findall(r"\$w = \((\d+), (\d+)\)\$ and \$b = (-[\d.]+)\$", text)
    bits = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
    assert ((bits @ [float(w0), float(w1)] + float(b) > 0) == bits.all(axis=1)).all()
    # No line separates XOR: the four conditions, added up, say 0 > 0 whatever the weights.
    xor = bits[:, 0] ^ bits[:, 1]
    conditions = np.where(xor, 1, -1)[:, None] * np.column_stack([bits, np.ones(4)])
    assert not conditions.sum(axis=0).any()


def test_two_hidden_units_compute_xor():
    rows = re.findall(
        r"^\| ([01]) \| ([01]) \| (\d) \| (\d) \| \*\*(\d)\*\* \|$",
        page("appendix/transformers_and_mlps.md"),
        re.M,
    )
    assert len(rows) == 4
    for row in rows:
        a, b, h1, h2, out = map(int, row)
        assert (h1, h2) == (max(0, a + b), max(0, a + b - 1)) and out == h1 - 2 * h2 == a ^ b


@pytest.mark.parametrize("name", SHIPPED)
def test_sizes_named_in_the_pages_are_those_of_the_shipped_models(name):
    config = load_card(name)["config"]
    assert (config["d_model"], config["d_vocab"], config["n_ctx"]) == (384, 4096, 256)
    if config["n_layers"]:
        assert (config["n_heads"], config["d_head"]) == (12, 32)
    assert f"{256 * 384:,}".replace(",", "&nbsp;") in page("appendix/kronecker_products.md")


def pages() -> dict[str, str]:
    found = {path: path.read_text(encoding="utf-8") for path in BOOK.rglob("*.md")}
    for path in BOOK.rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            found[path] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return found


def glossary() -> list[str]:
    (body,) = re.findall(r"```\{glossary\}\n(.*?)```", page("appendix/glossary.md"), flags=re.DOTALL)
    return re.findall(r"^(\S.*)$", body, flags=re.M)


def test_the_glossary_is_in_order_and_has_each_term_once():
    terms = [term.lower() for term in glossary() if term not in ("BPE", "SVD")]  # second names of an entry
    assert terms == sorted(terms, key=lambda term: term.replace("-", " "))
    assert len(set(glossary())) == len(glossary()) >= 35


def test_every_term_that_a_page_uses_is_in_the_glossary():
    terms = {term.lower() for term in glossary()}
    for path, text in pages().items():
        for used in re.findall(r"\{term\}`([^`]+)`", text):
            target = re.sub(r".*<(.+)>", r"\1", " ".join(used.split()))
            assert target.lower() in terms, f"{path.name} uses {target!r}"


def test_every_source_is_cited_and_every_citation_has_its_source():
    keys = re.findall(r"^@\w+\{(\w+),", page("references.bib"), flags=re.M)
    assert len(keys) == len(set(keys))
    cited = {
        key.strip()
        for text in pages().values()
        for group in re.findall(r"\{cite:[pt]\}`([^`]+)`", text)
        for key in group.split(",")
    }
    assert cited == set(keys)
