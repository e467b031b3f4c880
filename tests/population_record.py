"""A made-up record of the population, for its figure: what `tools.population` would write, from no model."""

import numpy as np

from course_utils.figures.population import KINDS


def made_run(place: int) -> dict:
    """A run with headlines of its own; the same number gives the same."""
    rng = np.random.default_rng(place)
    matching, moved = round(rng.uniform(0.25, 0.9), 4), rng.uniform(0, 0.2)
    return {
        "validation_loss": round(rng.uniform(2.7, 3.0), 4),
        "prefix_matching": [[0.0] * 4, [0.01, matching, 0.02, 0.0]],
        "previous_token": [[0.8, 0.1, 0.0, 0.1], [0.0] * 4],
        "rests": rng.uniform(0, 1, (2, 4)).tolist(),
        "prefix_without": {"K": 0.05 * matching, "Q": matching * (1.05 - moved)},
        "positivity": rng.uniform(-1, 1, (2, 4)).tolist(),
        "outlier": {"variance": float(rng.uniform(1.2, 20)), "rise": 0.01},
        "direct_loss": 5.0,
        "few_loss": 3.0,
        "loss_without_virtual_heads": 3.0 + moved,
        "first_step": {
            "previous_token": 50 * int(rng.integers(2, 6)),
            "prefix_matching": 50 * int(rng.integers(6, 15)),
        },
    }


def made_record() -> dict[str, dict]:
    """Nine kinds, five seeds each; of the one with MLPs two have no induction head."""
    record = {
        f"{put_back}-{optimiser}-0.006-seed-{seed}": made_run(10 * place + seed)
        for place, (put_back, optimiser) in enumerate(KINDS)
        for seed in range(5)
    }
    for seed in (1, 3):
        run = record[f"mlp-muon-0.006-seed-{seed}"]
        run["prefix_matching"][1], run["first_step"]["prefix_matching"] = [0.05, 0.0, 0.0, 0.01], None
    return record
