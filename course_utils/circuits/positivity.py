"""Eigenvalues in one number: does a head copy? ([E21], "Summarizing OV/QK Matrices".)"""

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.errors import CourseError


def positivity(eigenvalues: Tensor) -> Float[Tensor, "..."]:
    """Σλ / Σ|λ| over the last axis: 1 if all eigenvalues are positive, −1 if all are negative ([E21], Fig. 16).

    For eigenvalues of a real matrix, whose sum is real. Without any but zeros it is 0.
    """
    if not isinstance(eigenvalues, Tensor) or not (eigenvalues.is_floating_point() or eigenvalues.is_complex()):
        rule = "they must be a tensor of real or complex numbers"
        raise CourseError(f"eigenvalues of type {type(eigenvalues).__name__}", rule, "see FactoredMatrix.eigenvalues")
    total = eigenvalues.abs().sum(-1)
    return torch.where(total > 0, eigenvalues.sum(-1).real / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)
