"""Which head is what: a role follows from a score and a threshold, and stands on the model's card.

An induction head attends to what followed an earlier occurrence of the present token, a previous-token head to the
token before ([O22]). Figures, slides and the lab read the card; `measure` makes what stands there.
"""

import torch

from course_utils.checkpoints import load_card
from course_utils.corpus import load_text, windows
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer, check_model
from course_utils.scores import prefix_matching_scores, previous_token_scores

# Role → the score that decides, and from which value on. Between the heads that have a role and the rest is a wide gap.
LEAST = {"induction": ("prefix_matching", 0.3), "previous": ("previous_token", 0.4)}


@torch.no_grad()
def measure(model: AttentionOnlyTransformer, n: int = 64) -> dict:
    """For a card: every head's scores, [n_layers][n_heads], and the heads of each role with the threshold.

    `n`: the number of random sequences and of windows of validation text that are looked at.
    """
    check_model(model)
    text = windows(load_text("validation", model.cfg.d_vocab), model.cfg.n_ctx)
    scores = {
        "prefix_matching": prefix_matching_scores(model, n),
        "previous_token": previous_token_scores(model, text[:: max(1, len(text) // n)][:n]),
    }
    roles = {}
    for role, (score, least) in LEAST.items():
        found = [(value, place) for place, value in enumerate(scores[score].flatten().tolist()) if value >= least]
        heads = [list(divmod(place, model.cfg.n_heads)) for _, place in sorted(found, reverse=True)]
        roles[role] = {"score": score, "least": least, "heads": heads}
    return {
        "scores": {name: table.double().round(decimals=3).tolist() for name, table in scores.items()},
        "roles": roles,
    }


def heads_of(card: dict | str, role: str) -> list[tuple[int, int]]:
    """The heads, (layer, head), that have a role, the strongest first: of a card, or of a model that ships, by name."""
    if role not in LEAST:
        raise CourseError(f"role {role!r}", f"it must be one of {sorted(LEAST)}", "use 'induction'")
    card = load_card(card) if isinstance(card, str) else card
    return [(layer, head) for layer, head in card.get("roles", {}).get(role, {"heads": []})["heads"]]


def role_of(card: dict, layer: int, head: int) -> str:
    """The role of one head, or ""."""
    return next((role for role in LEAST if (layer, head) in heads_of(card, role)), "")
