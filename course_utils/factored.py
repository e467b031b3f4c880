"""Low-rank matrices kept as a product ([E21], "Splitting attention head terms into circuits").

The tables of a head, vocabulary × vocabulary, have rank d_head at most: we keep their two thin factors and multiply
them out in blocks only.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.errors import CourseError, check_finite, check_type, is_integer

BLOCK = 256  # rows that are multiplied out at a time: 51 MB at 50 257 columns
CHUNK = 16  # columns that share a maximum, so that most of a block is read once and sorted never


class Entries(NamedTuple):
    """Entries of a matrix, largest first: their values, and where they stand."""

    values: Float[Tensor, " n"]
    rows: Int[Tensor, " n"]
    columns: Int[Tensor, " n"]


class FactoredMatrix:
    """The matrix `A @ B`, never multiplied out unless asked. A is [..., rows, rank], B is [..., rank, columns].

    Leading axes, if any, are many matrices at once, as of all heads of a layer; they broadcast as PyTorch's do.
    """

    def __init__(self, A: Float[Tensor, "*batch rows rank"], B: Float[Tensor, "*batch rank columns"]):
        for factor in (A, B):
            check_type("a factor", factor, Tensor, "pass two tensors")
        if A.dtype != B.dtype:
            raise CourseError(
                f"factors of {A.dtype} and {B.dtype}", "they must be of one type", "convert one: .to(...)"
            )
        _check_shapes("factors", A.shape, B.shape)
        self.A, self.B = A, B

    @property
    def shape(self) -> tuple[int, ...]:
        return *torch.broadcast_shapes(self.A.shape[:-2], self.B.shape[:-2]), self.A.shape[-2], self.B.shape[-1]

    @property
    def T(self) -> "FactoredMatrix":
        return FactoredMatrix(self.B.mT, self.A.mT)

    @property
    def AB(self) -> Float[Tensor, "*batch rows columns"]:
        """The product, multiplied out: for small matrices."""
        return self.A @ self.B

    def __getitem__(self, index) -> "FactoredMatrix":
        """Some of many matrices, by the leading axes."""
        return FactoredMatrix(self.A[index], self.B[index])

    def __matmul__(self, other: "FactoredMatrix | Tensor") -> "FactoredMatrix":
        check_product(self, other)
        if isinstance(other, FactoredMatrix):
            middle = self.B @ other.A  # rank × rank: give it to the side that keeps the rank low
            if middle.shape[-2] <= middle.shape[-1]:
                return FactoredMatrix(self.A, middle @ other.B)
            return FactoredMatrix(self.A @ middle, other.B)
        return FactoredMatrix(self.A, self.B @ other)

    def __rmatmul__(self, other: Tensor) -> "FactoredMatrix":
        check_product(other, self)
        return FactoredMatrix(other @ self.A, self.B)

    def norm(self) -> Float[Tensor, "*batch"]:
        """Frobenius norm: ‖AB‖² = tr(AᵀA BBᵀ), from two rank × rank matrices."""
        return ((self.A.mT @ self.A) * (self.B @ self.B.mT)).sum((-2, -1)).clamp(min=0).sqrt()

    def trace(self) -> Float[Tensor, "*batch"]:
        self._check_square()
        return torch.einsum("...ir,...ri->...", self.A, self.B)

    def eigenvalues(self) -> Float[Tensor, "*batch rank"]:
        """The eigenvalues that can differ from zero: those of BA, rank × rank, since λ(AB) = λ(BA)."""
        self._check_square()
        product = self.B @ self.A
        check_finite("the product BA", product)
        return torch.linalg.eigvals(product)

    def eig(self) -> tuple[Float[Tensor, " rank"], Float[Tensor, "rank rows"]]:
        """Those eigenvalues, largest modulus first, and for each a row v with v @ AB = λ v, of length 1 (complex).

        If w BA = λ w, then v = w B has v AB = w BA B = λ w B = λ v.
        """
        self._check_square()
        product = self.B @ self.A
        check_finite("the product BA", product)
        values, columns = torch.linalg.eig(product.T)  # a row's eigenvector is a column's of the transpose
        order = values.abs().argsort(descending=True)
        rows = columns.T[order] @ self.B.to(columns.dtype)
        return values[order], rows / rows.norm(dim=1, keepdim=True)

    def take(self, rows: Int[Tensor, " n"] | None = None, columns: Int[Tensor, " m"] | None = None) -> "FactoredMatrix":
        """The matrix of some rows and columns only, still factored."""
        for name, index, size in (("rows", rows, self.shape[0]), ("columns", columns, self.shape[1])):
            _check_index(name, index, size)
        A = self.A if rows is None else self.A[rows]
        return FactoredMatrix(A, self.B if columns is None else self.B[:, columns])

    @torch.no_grad()
    def row_topk(self, k: int) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
        """The k largest entries of each row and their columns, exact; rows are multiplied out in blocks.

        Takes about 1.4 times as long as the block products alone: see `benchmarks/tables.py`.
        """
        height, width = self.shape
        if not is_integer(k) or not 1 <= k <= width:
            raise CourseError(f"k is {k}", f"a row has {width} entries", f"choose k from 1 to {width}")
        values, columns = self.A.new_empty(height, k), torch.empty(height, k, dtype=torch.long, device=self.A.device)
        chunks = -(-width // CHUNK)
        block = self.A.new_full((min(BLOCK, height), chunks * CHUNK), float("-inf"))
        B = torch.nn.functional.pad(self.B, (0, chunks * CHUNK - width))  # whole chunks, so that products fill them
        for start in tqdm(range(0, height, BLOCK), desc="blocks of rows", leave=False, disable=height < 50 * BLOCK):
            part = slice(start, start + BLOCK)
            out = block[: len(self.A[part])]
            torch.mm(self.A[part], B, out=out)
            out[:, width:] = float("-inf")
            if k >= chunks:
                values[part], columns[part] = out.topk(k, dim=1)
                continue
            # The k largest entries stand in the k chunks of largest maximum. Entry c * chunks + j is in chunk j.
            by_chunk = out.unflatten(1, (CHUNK, chunks))
            best = by_chunk.amax(dim=1).topk(k, dim=1).indices
            candidates = by_chunk.gather(2, best[:, None].expand(-1, CHUNK, -1)).flatten(1)
            values[part], place = candidates.topk(k, dim=1)
            columns[part] = place // k * chunks + best.gather(1, place % k)
        return values, columns

    @torch.no_grad()
    def largest(self, k: int, row_topk: tuple[Tensor, Tensor] | None = None) -> Entries:
        """The k largest entries of the whole matrix, exact. `row_topk`, if it is at hand, saves a pass over the blocks.

        A row may hold more of them than were kept of it: such rows, few of them, are multiplied out again.
        """
        height, width = self.shape
        if not is_integer(k) or not 1 <= k <= height * width:
            rule = f"the matrix has {height * width} entries"
            raise CourseError(f"k is {k}", rule, f"choose k from 1 to {height * width}")
        kept, columns = row_topk or self.row_topk(min(8, width))
        each = kept.shape[1]
        first = kept.flatten().topk(min(k, kept.numel()))
        more = kept[:, -1] >= first.values[-1] if each < width else kept.new_zeros(height, dtype=torch.bool)
        whole = more.nonzero().flatten()
        values = [kept[~more].flatten()]
        rows = [(~more).nonzero().flatten().repeat_interleave(each)]
        places = [columns[~more].flatten()]
        for part in whole.split(BLOCK):
            value, place = self.take(part).row_topk(min(k, width))
            values.append(value.flatten()), places.append(place.flatten())
            rows.append(part.repeat_interleave(value.shape[1]))
        top = torch.cat(values).topk(k)
        return Entries(top.values, torch.cat(rows)[top.indices], torch.cat(places)[top.indices])

    def svdvals(self) -> Float[Tensor, "*batch rank"]:
        """The singular values that can differ from zero, from two QR decompositions."""
        product = torch.linalg.qr(self.A).R @ torch.linalg.qr(self.B.mT).R.mT
        check_finite("the product of the triangular factors", product)
        return torch.linalg.svdvals(product)

    def __repr__(self) -> str:
        return f"FactoredMatrix({' × '.join(map(str, self.shape))}, rank at most {self.A.shape[-1]})"

    def _check_square(self) -> None:
        if self.shape[-2] != self.shape[-1]:
            rule = "only a square matrix has a trace and eigenvalues"
            raise CourseError(f"a matrix of shape {list(self.shape)}", rule, "use norm or svdvals")


def check_product(left: FactoredMatrix | Tensor, right: FactoredMatrix | Tensor) -> None:
    """Raise CourseError unless the two are matrices that can be multiplied in this order."""
    for matrix in (left, right):
        check_type("a side of a product", matrix, (FactoredMatrix, Tensor), "pass a tensor")
    _check_shapes("a product", left.shape, right.shape)


def _check_shapes(what: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    try:
        if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
            raise RuntimeError
        torch.broadcast_shapes(left[:-2], right[:-2])
    except RuntimeError as error:
        rule = "both must be matrices, the first with as many columns as the second has rows"
        remedy = "check the order, or transpose one"
        raise CourseError(f"{what} of shapes {list(left)} and {list(right)}", rule, remedy) from error


def _check_index(name: str, index, size: int) -> None:
    """Raise CourseError if numbers of rows or columns go beyond the matrix."""
    numbers = torch.as_tensor([] if index is None else index)
    if numbers.numel() and numbers.dtype != torch.bool and not (-size <= numbers.min() and numbers.max() < size):
        rule = f"the matrix has {size} of them, 0 to {size - 1}"
        raise CourseError(f"{name} from {numbers.min()} to {numbers.max()}", rule, "choose among these")
