"""A matrix kept as two factors behaves as the matrix multiplied out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.errors import CourseError
from course_utils.factored import BLOCK, FactoredMatrix

SIZE = st.integers(1, 7)
SEED = st.integers(0, 999)


def matrix(rows: int, columns: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def factored(rows: int, rank: int, columns: int, seed: int) -> FactoredMatrix:
    return FactoredMatrix(matrix(rows, rank, seed), matrix(rank, columns, seed + 1000))


def close(got, want, tolerance=1e-9):
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@given(SIZE, SIZE, SIZE, SEED)
def test_shape_product_transpose_and_norm(rows, rank, columns, seed):
    it = factored(rows, rank, columns, seed)
    dense = it.A @ it.B
    assert it.shape == tuple(dense.shape) == (rows, columns)
    close(it.AB, dense)
    assert it.T.shape == (columns, rows)
    close(it.T.AB, dense.T)
    close(it.norm(), dense.norm())


@given(SIZE, SIZE, SEED)
def test_trace_and_eigenvalues(size, rank, seed):
    it = factored(size, rank, size, seed)
    dense = it.AB
    close(it.trace(), dense.trace())
    mine, power = it.eigenvalues(), torch.eye(size, dtype=torch.float64)
    assert len(mine) == rank
    # The sums of the first powers decide a set of numbers, whatever their order: Σ λᵏ = tr Mᵏ.
    for k in range(1, max(size, rank) + 1):
        power = power @ dense
        scale = max(1.0, mine.abs().max().item()) ** k
        assert abs((mine**k).sum().item() - power.trace().item()) < 1e-8 * scale


@given(SIZE, SIZE, SIZE, SEED)
def test_singular_values(rows, rank, columns, seed):
    it = factored(rows, rank, columns, seed)
    mine, dense = it.svdvals(), torch.linalg.svdvals(it.AB)
    shared = min(rows, rank, columns)
    close(mine[:shared], dense[:shared])
    assert (mine[shared:].abs() < 1e-9).all() and (dense[shared:].abs() < 1e-9).all()


@pytest.mark.parametrize("kind", [torch.Tensor.clone, torch.nn.Parameter], ids=["tensor", "parameter"])
@given(left=SIZE, rows=SIZE, rank=SIZE, columns=SIZE, right=SIZE, seed=SEED)
def test_products_with_matrices_on_both_sides(kind, left, rows, rank, columns, right, seed):
    it = factored(rows, rank, columns, seed)
    before, after = kind(matrix(left, rows, seed + 1)), kind(matrix(columns, right, seed + 2))
    for product, dense in [
        (it @ after, it.AB @ after), (before @ it, before @ it.AB), (before @ it @ after, before @ it.AB @ after)
    ]:  # fmt: skip
        assert isinstance(product, FactoredMatrix) and product.A.shape[1] == rank
        close(product.AB, dense)


@given(rows=SIZE, rank=SIZE, middle=SIZE, other_rank=SIZE, columns=SIZE, seed=SEED)
def test_products_of_two_keep_the_lower_rank(rows, rank, middle, other_rank, columns, seed):
    first, then = factored(rows, rank, middle, seed), factored(middle, other_rank, columns, seed + 1)
    product = first @ then
    assert product.A.shape[1] == min(rank, other_rank)
    close(product.AB, first.AB @ then.AB)
    close(product.norm(), (first.AB @ then.AB).norm())


def test_gradients_flow_through_a_parameter():
    W = torch.nn.Parameter(matrix(4, 3, 0))
    (matrix(2, 4, 1) @ FactoredMatrix(W, matrix(3, 5, 2))).norm().backward()
    assert W.grad is not None and W.grad.abs().sum() > 0


def test_a_zero_matrix_has_norm_zero():
    assert FactoredMatrix(torch.zeros(3, 2), torch.zeros(2, 3)).norm().item() == 0


def test_the_table_of_a_real_vocabulary_needs_no_room():
    it = FactoredMatrix(torch.ones(4096, 32), torch.ones(32, 4096))
    assert it.norm().item() == pytest.approx(32 * 4096)
    assert it.trace().item() == pytest.approx(32 * 4096)
    assert len(it.eigenvalues()) == len(it.svdvals()) == 32
    assert repr(it) == "FactoredMatrix(4096 × 4096, rank at most 32)"


@given(SIZE, SIZE, SEED)
def test_eigenvectors_in_rows(size, rank, seed):
    it = factored(size, rank, size, seed)
    values, rows = it.eig()
    assert (values.abs().diff() <= 1e-9).all()
    moved = rows @ it.AB.to(rows.dtype)
    kept = values.abs() > 1e-6  # more rank than size: the others are zeros, whose rows may vanish
    close(moved[kept], (values[:, None] * rows)[kept], 1e-7)
    close(rows[kept].norm(dim=1), torch.ones(int(kept.sum()), dtype=torch.float64))
    everything = torch.cat([values, torch.zeros(0)])
    close(everything.abs().sort().values, it.eigenvalues().abs().sort().values, 1e-7)


@given(rows=st.integers(1, 40), columns=st.integers(1, 90), k=st.integers(1, 12), seed=SEED)
def test_the_largest_of_each_row_and_of_all(rows, columns, k, seed):
    it = factored(rows, 3, columns, seed)
    if seed % 3 == 0:  # one row holds more of the largest entries than are kept of each
        it.A[seed % rows] *= 100
    k = min(k, columns)
    values, places = it.row_topk(k)
    close(values, it.AB.topk(k, dim=1).values)
    close(it.AB.gather(1, places), values)
    assert all(len(set(row)) == k for row in places.tolist())
    for total in {1, k, rows * columns // 2 + 1, rows * columns}:
        entries = it.largest(total)
        close(entries.values, it.AB.flatten().topk(total).values)
        close(it.AB[entries.rows, entries.columns], entries.values)
        assert len(set(zip(entries.rows.tolist(), entries.columns.tolist(), strict=True))) == total
        close(it.largest(total, (values, places)).values, entries.values)


def test_the_largest_of_many_blocks_of_rows():
    it = factored(3 * BLOCK + 5, 4, 300, 1)
    close(it.row_topk(7)[0], it.AB.topk(7, dim=1).values)
    close(it.largest(1000).values, it.AB.flatten().topk(1000).values)


@given(SIZE, SIZE, SIZE, SEED)
def test_some_rows_and_columns(rows, rank, columns, seed):
    it = factored(rows, rank, columns, seed)
    some, few = torch.arange(rows).flip(0)[: rows // 2 + 1], torch.arange(columns)[::2]
    close(it.take(some, few).AB, it.AB[some][:, few])
    close(it.take(columns=few).AB, it.AB[:, few])
    close(it.take(some).AB, it.AB[some])


MISFITS = {
    "no largest": (lambda: factored(5, 2, 6, 0).row_topk(0), "k is 0", "6 entries"),
    "more than a row": (lambda: factored(5, 2, 6, 0).row_topk(7), "k is 7", "6 entries"),
    "more than all": (lambda: factored(5, 2, 6, 0).largest(31), "k is 31", "30 entries"),
    "eigenvectors of an oblong": (lambda: factored(5, 2, 6, 0).eig(), "[5, 6]", "square"),
    "factors": (lambda: FactoredMatrix(torch.ones(2, 3), torch.ones(4, 5)), "[2, 3]", "[4, 5]"),
    "a vector": (lambda: FactoredMatrix(torch.ones(2), torch.ones(2, 5)), "[2]", "[2, 5]"),
    "a product": (lambda: factored(5, 2, 6, 0) @ torch.ones(7, 3), "[5, 6]", "[7, 3]"),
    "a product from the left": (lambda: torch.ones(3, 7) @ factored(5, 2, 6, 0), "[3, 7]", "[5, 6]"),
    "a product of two": (lambda: factored(5, 2, 6, 0) @ factored(7, 1, 8, 0), "[5, 6]", "[7, 8]"),
    "the trace of an oblong": (lambda: factored(5, 2, 6, 0).trace(), "[5, 6]", "square"),
    "eigenvalues of an oblong": (lambda: factored(5, 2, 6, 0).eigenvalues(), "[5, 6]", "square"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_misfits_are_told_with_their_shapes(name):
    build, *words = MISFITS[name]
    with pytest.raises(CourseError) as caught:
        build()
    assert all(word in str(caught.value) for word in [*words, "Remedy:"])


def test_many_matrices_at_once_are_each_what_they_are_alone():
    draw = torch.Generator().manual_seed(0)
    A, B = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((3, 1, 7, 2), (4, 2, 7)))
    many = FactoredMatrix(A, B)
    assert many.shape == (3, 4, 7, 7)
    other = torch.randn(7, 5, generator=draw, dtype=torch.float64)
    for i, j in ((0, 0), (2, 3)):
        one = FactoredMatrix(A[i, 0], B[j])
        close(many.AB[i, j], one.AB)
        close(many.T.AB[i, j], one.AB.T)
        close(many.norm()[i, j], one.norm())
        close(many.trace()[i, j], one.trace())
        close(many.eigenvalues()[i, j].abs().sort().values, one.eigenvalues().abs().sort().values)
        close((many @ other).AB[i, j], one.AB @ other)
        close((many @ many.T).AB[i, j], one.AB @ one.AB.T)
    batch = FactoredMatrix(A[:, 0], B[:3])
    close(batch[1].AB, A[1, 0] @ B[1])
    with pytest.raises(CourseError, match="factors of shapes"):
        FactoredMatrix(torch.ones(3, 7, 2), torch.ones(4, 2, 7))


NOT_FINITE = {
    "eigenvalues of a division by zero": ("eigenvalues", torch.ones(4, 2), torch.ones(2, 4) / 0),
    "eigenvalues of a nan": ("eigenvalues", torch.ones(4, 2) * torch.nan, torch.ones(2, 4)),
    "eigenvalues of numbers too large": ("eigenvalues", torch.full((4, 2), 1e38), torch.full((2, 4), 1e38)),
    "eigenvectors": ("eig", torch.ones(4, 2) * torch.nan, torch.ones(2, 4)),
    "singular values of a nan": ("svdvals", torch.ones(4, 2), torch.ones(2, 5) * torch.nan),
    "singular values of infinity": ("svdvals", torch.ones(4, 2) * torch.inf, torch.ones(2, 5)),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_what_is_not_finite_is_told_before_a_decomposition(name):
    """`torch.linalg.eigvals` of a nan ends Python: without the check this whole file of tests does."""
    method, A, B = NOT_FINITE[name]
    with pytest.raises(CourseError, match="4 of its 4 entries are not finite numbers. Remedy: .*division by zero"):
        getattr(FactoredMatrix(A, B), method)()
