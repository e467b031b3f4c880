"""Checkers of *Find it yourself*: right claims with right evidence pass, likely slips are named."""

import functools
import re
import time

import pytest
import torch
import tqdm.notebook
from checker_checks import same_tests

from course_utils import CourseError, load_model, load_text, windows
from course_utils.checkpoints import UNSEEN
from course_utils.checks import find_it_yourself as check
from course_utils.corpus import spread
from course_utils.interventions import ablate, cut
from course_utils.scores import prefix_matching_scores, repeated_tokens
from tools.mutants import exercises, run
from tools.notebooks import chapters

[PAGE] = [path for path in chapters() if path.stem == "find_it_yourself"]


@functools.cache
def solution(number: int):
    """The page's own function."""
    source = exercises(PAGE)[number - 1][2].source.splitlines()
    return run(PAGE, "\n".join([*source[:-1], source[-1].split("(")[1].rstrip(")")]))


ANSWERED = {}


def answered(number: int, model) -> dict:
    """The page's answer for a model, worked out once."""
    key = number, model.W_Q[:, 0].sum().item()
    if key not in ANSWERED:
        ANSWERED[key] = solution(number)(model)
    return dict(ANSWERED[key])


def but(number: int, **changes):
    """The page's answer with some entries changed: each by a function of the model and of the whole answer."""

    def answer(model):
        got = answered(number, model)
        return got | {key: change(model, got) for key, change in changes.items()}

    return answer


def without(number: int, key: str):
    return lambda model: {name: value for name, value in answered(number, model).items() if name != key}


def on_text(model, got):
    return spread(windows(load_text("validation", model.cfg.d_vocab), model.cfg.n_ctx), 64)


def first_query_too(model, got):
    return model.run_with_cache(got["tokens"])[1].pattern.diagonal(-1, -2, -1).mean((1, -1))


def on_repeats(shortest, longest):
    """Exercise 2 on repeats of other lengths."""

    def answer(model):
        got = answered(2, model)
        got["tokens"], got["lengths"] = repeated_tokens(model.cfg.d_vocab, 64, shortest, longest)
        return got

    return answer


def same_token(model, got):
    place, N = torch.arange(got["tokens"].shape[1]), got["lengths"][:, None]
    second = ((place > N) & (place <= 2 * N))[:, :, None]
    earlier = (got["tokens"][:, :, None] == got["tokens"][:, None]).tril(-1) & second
    pattern = model.run_with_cache(got["tokens"])[1].pattern
    return (pattern * earlier[:, None]).sum((1, 3, 4)) / second.sum()


def most_harmful(model):
    """The path to the best head of layer 1 whose cut takes most of its matching, by the course's own cut."""
    later = (1, int(prefix_matching_scores(model, 32)[1].argmax()))
    paths = [((0, head), later, side) for head in range(4) for side in "KQ"]
    return min(paths, key=lambda path: prefix_matching_scores(model, 32, edit=cut(model, [path]))[later].item())


def another_path(model):
    (layer, head), *rest = most_harmful(model)
    return ((layer, (head + 1) % 4), *rest)


def head_taken_out(model, got):
    later = (1, int(prefix_matching_scores(model, 32)[1].argmax()))
    return [prefix_matching_scores(model, 32, edit=ablate([(0, head)]))[later].item() for head in range(4)]


def resting(model, got):
    """The head that matches least, however short the repeats."""
    return divmod(int(prefix_matching_scores(model, 64, 2, 2).argmin()), model.cfg.n_heads)


def bet(low, high, before=None):
    """Exercise 4: the same interval for each path."""

    def answer(model, bench):
        if before:
            before(model, bench)
        for path in bench.paths:
            bench.commit(path, low, high)
        return [bench.cut(path) for path in bench.paths]

    return answer


def at_another_bench(model, bench):
    other = check.Bench(model, bench.paths)
    for path in bench.paths:
        other.commit(path, 0, 0.1)
    return [other.cut(path) for path in bench.paths]


def afterwards(model, bench):
    for path in bench.paths:
        bench.commit(path, 0, 0.1)
    rises = [bench.cut(path) for path in bench.paths]
    bench.committed[bench.paths[0]] = (rises[0] - 0.1, rises[0] + 0.1)
    return rises


def emptied(model):
    with torch.no_grad():
        for weight in (model.W_Q, model.W_K):
            weight.zero_()
    return solution(1)(model)


def one_query_more(model, got):
    return model.run_with_cache(got["tokens"])[1].pattern.diagonal(-2, -2, -1).mean((1, -1))


def nothing_measured(file, name):
    return file["evidence"] if file["induction"] else dict.fromkeys(file["evidence"], 0.0)


def one_token(model, got):
    """The control's first copies: of one token, another one in each row."""
    rows = torch.arange(1, 1 + len(got["tokens"]))[:, None].expand_as(got["tokens"]).clone()
    rows[:, 0] = 0
    place, N = torch.arange(rows.shape[1]), got["lengths"][:, None]
    return torch.where((place > N) & (place <= 2 * N), got["tokens"], rows)


def counting(model, got):
    tokens = (torch.arange(got["tokens"].shape[1]) + 3 * torch.arange(len(got["tokens"]))[:, None]) % model.cfg.d_vocab
    tokens[:, 0] = 0
    return tokens


def stub(model):
    raise NotImplementedError


def only_one(model, bench):
    bench.commit(bench.paths[0], 2.9, 3.3)
    return [bench.cut(bench.paths[0])]


@functools.cache
def case_files() -> dict:
    return solution(6)()


def files(**changes):
    """Exercise 6 with entries of every file changed."""
    return lambda: {
        name: file | {key: change(file, name) for key, change in changes.items()} for name, file in case_files().items()
    }


def weak_evidence(file, name):
    model = load_model(name, "cpu")
    return file["evidence"] | {"whole": prefix_matching_scores(model, 64, 2, 2).max().item()}


MISTAKES = [
    (check.look_back, without(1, "control"), "'control' is missing"),
    (check.look_back, but(1, tokens=on_text), "at random"),
    (check.look_back, but(1, tokens=lambda model, got: got["tokens"][:8]), "too few"),
    (check.look_back, but(1, tokens=lambda model, got: got["tokens"][:, 1:]), "start token"),
    (check.look_back, but(1, scores=first_query_too), "Query 1"),
    (check.look_back, but(1, control=lambda model, got: got["scores"]), "the score itself"),
    (check.look_back, but(1, scores=lambda model, got: got["control"]), "two before"),
    (check.look_back, but(1, heads=lambda model, got: [head[::-1] for head in got["heads"]]), "the other way round"),
    (check.look_back, but(1, heads=lambda model, got: []), "isn't there"),
    (check.look_back, but(1, heads=lambda model, got: [*got["heads"], (0, 0), (0, 1)]), "doesn't look one back"),
    (check.match_prefix, on_repeats(5, 60), "too short"),
    (check.match_prefix, on_repeats(50, 50), "so far back"),
    (check.match_prefix, but(2, control_tokens=lambda model, got: got["tokens"]), "nothing should be there"),
    (check.match_prefix, but(2, control=lambda model, got: got["scores"]), "run the control's tokens"),
    (check.match_prefix, but(2, scores=same_token), "the earlier occurrence itself"),
    (check.match_prefix, but(2, heads=lambda model, got: [(0, 0), (1, 0)]), "doesn't match the prefix"),
    (check.feed, but(3, K=lambda model, got: got["Q"], Q=lambda model, got: got["K"]), "to the other side"),
    (check.feed, but(3, K=head_taken_out), "is taken out"),
    (check.feed, but(3, K=lambda model, got: [got["whole"] - left for left in got["K"]]), "that is left"),
    (check.feed, but(3, path=lambda model, got: None), "is above the line"),
    (
        check.feed,
        but(3, path=lambda model, got: got["path"] and (got["path"][1], got["path"][0], "K")),
        "(earlier, later)",
    ),
    (check.feed, but(3, path=lambda model, got: got["path"] and (*got["path"][:2], "Q")), "the side isn't"),
    (check.feed, but(3, path=lambda model, got: got["path"] or another_path(model)), "or the faint path"),
    (check.feed, but(3, K=lambda model, got: [round(left, 3) for left in got["K"]]), "give all its digits"),
    (check.feed, but(3, whole=lambda model, got: got["whole"] + 2e-4), "on the tokens that you return"),
    (
        check.predict_the_cut,
        lambda model, bench: [bench.cut(path) for path in bench.paths],
        "comes before the first result",
    ),
    (check.predict_the_cut, bet(-1, 5), "can hardly fail"),
    (check.predict_the_cut, bet(-0.1, 0.1), "outside of"),
    (check.predict_the_cut, bet(0.1, -0.1), "the lower end comes first"),
    (check.predict_the_cut, only_one, "call commit(path, low, high) for"),
    (check.predict_the_cut, at_another_bench, "at another bench"),
    (check.predict_the_cut, afterwards, "does not support item assignment"),
    (check.look_back, emptied, "weights were changed"),
    (check.match_prefix, but(2, control_tokens=one_token), "repeat themselves"),
    (check.look_back, but(1, tokens=counting), "follow a rule"),
    (
        check.predict_the_cut,
        bet(0, 0.2, lambda model, bench: model.run_with_cache(bench.tokens, ablate([(1, 0)]))),
        "that is looking",
    ),
    (check.fooled, but(5, head=resting), "deceives nobody"),
    (
        check.fooled,
        but(5, head=lambda model, got: divmod(int(prefix_matching_scores(model).argmax()), 4)),
        "does match",
    ),
    (check.fooled, but(5, short=lambda model, got: repeated_tokens(1024, 64, 50, 50)[0]), "are a good test"),
    (check.fooled, but(5, short=lambda model, got: repeated_tokens(1024, 64, 2, 3)[0]), "stands there twice"),
    (check.fooled, but(5, strict=lambda model, got: got["weak"]), "long repeats"),
    (check.fooled, but(5, strict=lambda model, got: 0.0), "not the score"),
    (check.fooled, but(5, strict=lambda model, got: 0.01), "not the score"),
    (check.fooled, but(5, weak=lambda model, got: got["weak"] - 0.01), "your short repeats"),
    (check.look_back, but(1, control=one_query_more), "begin with query 3"),
    (check.case_files, files(evidence=nothing_measured), "another number"),
    (check.case_files, lambda: {}, "one file for each"),
    (check.case_files, files(evidence=weak_evidence), "short repeats"),
    (check.case_files, files(path=lambda file, name: None), "is not the path"),
    (
        check.case_files,
        files(path=lambda file, name: file["path"] or another_path(load_model(name, "cpu"))),
        "is not the path",
    ),
    (check.case_files, files(induction=lambda file, name: []), "isn't there"),
    (check.case_files, files(evidence=lambda file, name: {"whole": 0.5}), "'without' is missing"),
]
RIGHT = [
    (check.look_back, lambda model: answered(1, model)),
    (check.match_prefix, lambda model: answered(2, model)),
    (check.feed, lambda model: answered(3, model)),
    (check.predict_the_cut, lambda *given: solution(4)(*given)),
    (check.fooled, lambda model: answered(5, model)),
    (check.case_files, lambda: case_files()),
]

(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(check, RIGHT, MISTAKES, 6)


def test_a_faint_path_is_as_right_as_none_and_is_told_with_its_numbers():
    outcome = check.feed(but(3, path=lambda model, got: got["path"] or most_harmful(model)))
    assert outcome.status == "passed" and "none, or a faint path, both are right" in outcome.message
    outcome = check.case_files(files(path=lambda file, name: file["path"] or most_harmful(load_model(name, "cpu"))))
    assert outcome.status == "passed" and outcome.message.count("both are right") == 1
    takes, leaves, even = map(float, re.findall(r"0\.\d{3}", outcome.message))
    assert even < 1.2 * leaves < 0.5 * takes, "what the cut leaves is hardly more than even attention has"


def test_a_bench_wants_one_prediction_and_wants_it_first():
    path = ((0, 0), (1, 0), "K")
    bench = check.Bench(load_model(UNSEEN[0], "cpu"), [path])
    with pytest.raises(CourseError, match="every prediction comes before the first result"):
        bench.cut(path)
    for low, high, says in ((-10, 10, "can hardly fail"), (0.1, -0.1, "lower end"), (float("nan"), 1, "lower end")):
        with pytest.raises(CourseError, match=says):
            bench.commit(path, low, high)
    bench.commit(path, -0.2, 0.2)
    with pytest.raises(CourseError, match="a second prediction"):
        bench.commit(path, 0, 0.1)
    with pytest.raises(CourseError, match="this bench has"):
        bench.commit(((0, 1), (1, 0), "K"), 0, 0.1)
    assert -10 < bench.cut(path) == bench.measured[path] < 10


@pytest.mark.parametrize("path", [((1, 0), (0, 0), "K"), ((0, 4), (1, 0), "K"), ((0, 0), (1, 0), "V"), (0, 0), None])
def test_a_bench_says_what_a_path_is(path):
    with pytest.raises(CourseError, match="earlier, later, side"):
        check.Bench(load_model(UNSEEN[0], "cpu"), [path])


@pytest.mark.parametrize("kind", [tqdm.std.tqdm, tqdm.notebook.tqdm])
def test_a_stub_has_no_line_of_progress_and_what_takes_long_has(kind, monkeypatch, capsys):
    monkeypatch.setattr(check, "tqdm", kind)
    monkeypatch.setattr(tqdm.notebook, "display", lambda container: print(container.children[0].value))
    assert check.look_back(stub).status == "not attempted"
    assert "".join(capsys.readouterr()) == ""

    waits = iter((1.1, 0, 0))

    def slow(model):
        time.sleep(next(waits))
        return answered(1, model)

    assert check.look_back(slow).status == "passed"
    assert "33%" in "".join(capsys.readouterr())
