"""Eigenvalues in one number: does a head copy? ([E21], "Summarizing OV/QK Matrices".)"""

from typing import Annotated

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from course_utils.checked import checked

Eigenvalues = Annotated[Inexact[Tensor, "... n"], "see FactoredMatrix.eigenvalues"]


@checked
def positivity(eigenvalues: Eigenvalues) -> Float[Tensor, "..."]:
    """Σλ / Σ|λ| over the last axis: 1 if all eigenvalues are positive, −1 if all are negative ([E21], Fig. 16).

    For eigenvalues of a real matrix, whose sum is real. Without any but zeros it is 0.
    """
    total = eigenvalues.abs().sum(-1)
    return torch.where(total > 0, eigenvalues.sum(-1).real / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)
