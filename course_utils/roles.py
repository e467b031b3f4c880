"""Which head is what: a role follows from a score and a threshold, and stands on the model's card.

An induction head attends to what followed an earlier occurrence of the present token, a previous-token head to the
token before ([O22]). Figures, slides and the lab read the card; `measure` makes what stands there.
"""

from typing import Annotated, Literal, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.checked import Made, checked
from course_utils.checkpoints import load_card
from course_utils.config import AnyModel, Count, Step
from course_utils.corpus import load_text, spread, windows
from course_utils.scores import prefix_matching_scores, previous_token_scores

# Role → the score that decides, and from which value on. Between the heads that have a role and the rest is a wide gap.
LEAST = {"induction": ("prefix_matching", 0.3), "previous": ("previous_token", 0.4)}
Role = Literal[tuple(LEAST)]
Scores = TypedDict("Scores", {score: Float[Tensor, "n_layers n_heads"] for score, _ in LEAST.values()})
Card = Annotated[dict, Made(lambda card: load_card(card) if isinstance(card, str) else card), "see load_card"]


@checked
@torch.no_grad()
def measure(model: AnyModel, n: Count = 64) -> dict:
    """For a card: every head's scores, [n_layers][n_heads], and the heads of each role with the threshold.

    `n`: the number of random sequences and of windows of validation text that are looked at.
    """
    text = windows(load_text("validation", model.cfg.d_vocab), model.cfg.n_ctx)
    scores = {
        "prefix_matching": prefix_matching_scores(model, n),
        "previous_token": previous_token_scores(model, spread(text, n)),
    }
    return {
        "scores": {name: table.double().round(decimals=3).tolist() for name, table in scores.items()},
        "roles": roles_by(scores),
    }


@checked
def roles_by(scores: Annotated[Scores, "pass both scores that decide"]) -> dict:
    """The heads of each role, the strongest first, with the score and the threshold by which they have it."""
    return {
        role: {"score": score, "least": least, "heads": [list(head) for head in heads_by(scores[score], least)]}
        for role, (score, least) in LEAST.items()
    }


@checked
def heads_by(table: Float[Tensor, "n_layers n_heads"], least: float) -> list[tuple[int, int]]:
    """The heads, (layer, head), whose score is `least` or more, the strongest first."""
    found = [(value, place) for place, value in enumerate(table.flatten().tolist()) if value >= least]
    return [divmod(place, table.shape[1]) for _, place in sorted(found, reverse=True)]


@checked
def heads_of(card: Card, role: Role) -> list[tuple[int, int]]:
    """The heads, (layer, head), that have a role, the strongest first: of a card, or of a model that ships, by name."""
    return [(layer, head) for layer, head in card.get("roles", {}).get(role, {"heads": []})["heads"]]


@checked
def role_of(card: Card, layer: Step, head: Step) -> str:
    """The role of one head, or ""."""
    return next((role for role in LEAST if (layer, head) in heads_of(card, role)), "")
