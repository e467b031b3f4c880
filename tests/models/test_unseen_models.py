"""The unseen models: what makes them worth looking for, without saying which is which."""

import json

import pytest
import torch

from course_utils import checkpoints, load_model, load_text, windows
from course_utils.checkpoints import LIVE, UNSEEN, WEIGHTS
from course_utils.circuits import composition_scores
from course_utils.corpus import spread
from course_utils.roles import LEAST, heads_by
from course_utils.scores import composition_shares, prefix_matching_scores, previous_token_scores


@pytest.fixture(scope="module")
def models():
    return {name: load_model(name, "cpu") for name in UNSEEN}


@pytest.fixture(scope="module")
def text():
    return spread(windows(load_text("validation", 1024), 128), 32)


@pytest.fixture(scope="module")
def matching(models):
    return {name: prefix_matching_scores(model) for name, model in models.items()}


@pytest.fixture(scope="module")
def back(models, text):
    return {name: previous_token_scores(model, text) for name, model in models.items()}


def test_they_load_in_32_bits_and_ship_in_16(models):
    for name, model in models.items():
        assert all(weight.dtype == torch.float32 for weight in model.parameters()) and not model.training
        stored = checkpoints.read_tensors(WEIGHTS / f"{name}.safetensors")
        assert all(tensor.dtype == torch.float16 for tensor in stored.values())
    assert sum(path.stat().st_size for path in WEIGHTS.glob("unseen-*")) < 10e6


def test_one_has_no_induction_head_and_the_others_have_clear_ones(matching):
    best = sorted(scores.max().item() for scores in matching.values())
    assert best[0] < 0.1 and all(score > 0.45 for score in best[1:])


def test_each_has_a_head_that_looks_one_back_and_none_is_at_the_border(matching, back):
    for role, scores in (("induction", matching), ("previous", back)):
        least = LEAST[role][1]
        for table in scores.values():
            assert not ((table > 0.8 * least) & (table < 1.2 * least)).any()
    assert all(heads_by(table, LEAST["previous"][1]) for table in back.values())


def test_no_two_have_the_same_answer(matching, back):
    answers = {(*heads_by(matching[name], 0.3), "and", *heads_by(back[name], 0.4)) for name in UNSEEN}
    assert len(answers) == len(UNSEEN)


def test_of_one_the_norms_point_to_a_head_that_feeds_nothing(models, matching, text):
    misleads = []
    for name, model in models.items():
        if matching[name].max() >= 0.3:
            later = matching[name][1].argmax()
            feeds = composition_shares(model, text[:8])["K"][:, later].argmax()
            misleads.append(bool(composition_scores(model)["K"][:, later].argmax() != feeds))
    assert sorted(misleads) == [False, True]


def test_cards_say_nothing_of_heads_or_training():
    for name in UNSEEN:
        card = json.loads((WEIGHTS / f"{name}.json").read_text("utf-8"))
        assert set(card) == {"config", "sha256", "command", "torch"}


def spectra(model) -> dict[str, torch.Tensor]:
    """Sorted singular values of every matrix, a row each; of heads also of their two products."""
    heads = {"W_QK": model.W_Q @ model.W_K.mT, "W_OV": model.W_V @ model.W_O}
    heads |= {name: getattr(model, name) for name in ("W_Q", "W_K", "W_V", "W_O")}
    found = {name: torch.linalg.svdvals(each)[..., :64].flatten(0, 1) for name, each in heads.items()}
    for name in ("W_E", "W_U", "W_pos"):
        if hasattr(model, name):
            found[name] = torch.linalg.svdvals(getattr(model, name))[None]
    return found


def nearest(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """How far the two most similar spectra are apart, as a share of their size."""
    return ((mine[:, None] - theirs[None]).norm(dim=-1) / mine.norm(dim=-1)[:, None]).min().item()


def test_no_singular_values_are_those_of_a_model_that_ships(models):
    others = [spectra(load_model(name, "cpu")) for name in LIVE.values()]
    for place, (name, model) in enumerate(models.items()):
        mine = spectra(model)
        for theirs in [*others, *(spectra(models[other]) for other in UNSEEN[:place])]:
            for matrix in set(mine) & set(theirs):
                assert nearest(mine[matrix], theirs[matrix]) > 0.005, (name, matrix)
    rounded = spectra(load_model(LIVE["mlp"], "cpu").bfloat16().float())  # one that does ship, roughly
    assert all(nearest(rounded[matrix], others[list(LIVE).index("mlp")][matrix]) < 0.005 for matrix in rounded)
