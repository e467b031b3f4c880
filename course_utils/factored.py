"""Low-rank matrices kept as a product ([E21], "Splitting attention head terms into circuits").

The tables of a head, vocabulary × vocabulary, have rank d_head at most: we keep their two thin factors and multiply
them out in blocks only.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.errors import CourseError


class FactoredMatrix:
    """The matrix `A @ B`, never multiplied out unless asked. A is [rows, rank], B is [rank, columns]."""

    def __init__(self, A: Float[Tensor, "rows rank"], B: Float[Tensor, "rank columns"]):
        if A.ndim != 2 or B.ndim != 2 or A.shape[1] != B.shape[0]:
            raise CourseError(
                f"factors of shapes {list(A.shape)} and {list(B.shape)}",
                "they must be [rows, rank] and [rank, columns]",
                "check the order of the two factors",
            )
        self.A, self.B = A, B

    @property
    def shape(self) -> tuple[int, int]:
        return self.A.shape[0], self.B.shape[1]

    @property
    def T(self) -> "FactoredMatrix":
        return FactoredMatrix(self.B.T, self.A.T)

    @property
    def AB(self) -> Float[Tensor, "rows columns"]:
        """The product, multiplied out: for small matrices."""
        return self.A @ self.B

    def __matmul__(self, other: "FactoredMatrix | Tensor") -> "FactoredMatrix":
        _check_product(self, other)
        if isinstance(other, FactoredMatrix):
            middle = self.B @ other.A  # rank × rank: give it to the side that keeps the rank low
            if middle.shape[0] <= middle.shape[1]:
                return FactoredMatrix(self.A, middle @ other.B)
            return FactoredMatrix(self.A @ middle, other.B)
        return FactoredMatrix(self.A, self.B @ other)

    def __rmatmul__(self, other: Tensor) -> "FactoredMatrix":
        _check_product(other, self)
        return FactoredMatrix(other @ self.A, self.B)

    def norm(self) -> Float[Tensor, ""]:
        """Frobenius norm: ‖AB‖² = tr(AᵀA BBᵀ), from two rank × rank matrices."""
        return ((self.A.T @ self.A) * (self.B @ self.B.T)).sum().clamp(min=0).sqrt()

    def trace(self) -> Float[Tensor, ""]:
        self._check_square()
        return torch.einsum("ir,ri->", self.A, self.B)

    def eigenvalues(self) -> Float[Tensor, " rank"]:
        """The eigenvalues that can differ from zero: those of BA, rank × rank, since λ(AB) = λ(BA)."""
        self._check_square()
        return torch.linalg.eigvals(self.B @ self.A)

    def svdvals(self) -> Float[Tensor, " rank"]:
        """The singular values that can differ from zero, from two QR decompositions."""
        return torch.linalg.svdvals(torch.linalg.qr(self.A).R @ torch.linalg.qr(self.B.T).R.T)

    def __repr__(self) -> str:
        return f"FactoredMatrix({self.shape[0]} × {self.shape[1]}, rank at most {self.A.shape[1]})"

    def _check_square(self) -> None:
        if self.shape[0] != self.shape[1]:
            rule = "only a square matrix has a trace and eigenvalues"
            raise CourseError(f"a matrix of shape {list(self.shape)}", rule, "use norm or svdvals")


def _check_product(left: FactoredMatrix | Tensor, right: FactoredMatrix | Tensor) -> None:
    shapes = list(left.shape), list(right.shape)
    if [len(shape) for shape in shapes] != [2, 2] or shapes[0][1] != shapes[1][0]:
        rule = "both must be matrices, the first with as many columns as the second has rows"
        raise CourseError(f"a product of shapes {shapes[0]} and {shapes[1]}", rule, "check the order, or transpose one")
