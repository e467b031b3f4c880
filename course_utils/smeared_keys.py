"""Smeared keys ([O22], "Smeared Keys"): what lets one layer do what else takes two (chapter 10)."""

import torch
from jaxtyping import Float
from torch import Tensor


def smeared(k: Float[Tensor, "*batch n_heads pos d_head"], alpha: Float[Tensor, " n_heads"]) -> Tensor:
    """Keys σ(α) k_j + (1 − σ(α)) k_{j−1}: each head mixes a key with the one before it."""
    own = alpha.sigmoid()[:, None, None]
    before = torch.cat([k[..., :1, :], k[..., :-1, :]], dim=-2)  # the first key has none before it
    return own * k + (1 - own) * before
