"""Training with parts held: an interrupted command goes on with the runs that are missing, and leaves the others."""

from course_utils.repeats import BATCHES, FRESH, sequences
from tools import clamped


def test_only_what_is_missing_is_trained(made_of_missing, monkeypatch):
    monkeypatch.setattr(clamped, "SEEDS", range(1))
    names = [clamped.name(clamped.Clamped(condition=each)) for each in clamped.CONDITIONS]
    made = made_of_missing(clamped, names, "previous + match, seed 0", 10)
    assert made | {"later": []} == {"previous": 0, "prefix": 0, "steps": 10, "later": []}


def test_a_condition_holds_its_parts():
    held = {each: clamped.Clamped(condition=each).held for each in clamped.CONDITIONS}
    assert held["free"] == held["quiet positions"] == () and held["match + copy"] == ("match", "copy")
    loud, quiet = (clamped.Clamped(condition=each).spread["W_pos"] for each in ("free", "quiet positions"))
    assert loud == 4 * quiet


def test_shuffled_copies_hold_the_same_tokens_in_another_order_and_only_in_training():
    free, shuffled = (clamped.Clamped(condition=each) for each in ("free", "shuffled copies"))
    (whole, lengths), (mixed, same) = (sequences(each, BATCHES, 64) for each in (free, shuffled))
    assert (lengths == same).all() and (sequences(free, FRESH, 8)[0] == sequences(shuffled, FRESH, 8)[0]).all()
    changed = 0
    for one, other, n in zip(whole.tolist(), mixed.tolist(), lengths.tolist(), strict=True):
        assert one[: 1 + n] == other[: 1 + n]
        for start in range(1 + n, len(one), n):
            copy, mixed_copy = one[start : start + n], other[start : start + n]
            assert sorted(copy) == sorted(mixed_copy)
            changed += copy != mixed_copy
    assert changed > 64
