"""Exercises of *Find it yourself*: a claim about a trained model, and the evidence for it.

What is right is computed from the model by a forward of this module's own; no answer is stored. Each function of the
reader's is tried on the unseen models in yet another disguise.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from unittest import mock

import torch
from torch import Tensor
from tqdm.auto import tqdm

from course_utils.checkpoints import UNSEEN, load_model
from course_utils.checks.base import (
    close,
    disguised,
    exercise,
    later_keys,
    name_mistake,
    numbers,
    one_number,
    require,
    require_close,
    require_given,
    require_parts,
)
from course_utils.config import Head
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer
from course_utils.roles import LEAST
from course_utils.scores import repeated_tokens

Path = tuple[Head, Head, str]
EXACT, SEQUENCES, SHORTEST = 5e-5, 32, 40
MATCHES, LOOKS_BACK = LEAST["induction"][1], LEAST["previous"][1]
NARROW = 0.5  # nats, the widest interval that is a prediction


class Bench:
    """One model, repeated random tokens, and some paths: `commit` to a rise of the loss, and then `cut`.

    The loss is that of predicting the second copy, in nats: of each sequence the predictions made at N + 1 … 2N − 1.
    """

    def __init__(self, model: AttentionOnlyTransformer, paths: list[Path], seed: int = 0):
        for path in paths:
            _check_path(model, path)
        self.model, self.paths, self._committed, self._measured = model, tuple(paths), {}, {}
        self.tokens, self.lengths = _repeats(model, seed)
        self._run = _Run(model, self.tokens)
        self._whole = self._loss(self._run.streams[2])

    @property
    def committed(self) -> Mapping[Path, tuple[float, float]]:
        """What has been predicted, by path."""
        return MappingProxyType(self._committed)

    @property
    def measured(self) -> Mapping[Path, float]:
        """What the cuts have shown, by path."""
        return MappingProxyType(self._measured)

    def commit(self, path: Path, low: float, high: float) -> None:
        """Say between which two numbers the rise of the loss will lie, at most half a nat apart. Once for each path."""
        if path not in self.paths:
            raise CourseError(f"a prediction for {path}", f"this bench has {self.paths}", "name one of these")
        if path in self._committed:
            raise CourseError(f"a second prediction for {path}", "one counts, the first", "cut the path")
        low, high = float(low), float(high)
        what = f"a prediction of [{low:.3g}, {high:.3g}] for {path}"
        if not low <= high:
            raise CourseError(what, "the lower end comes first", f"call commit(path, {high:.3g}, {low:.3g})")
        if not high - low <= NARROW:
            rule = f"{high - low:.2g} nats are wide and can hardly fail"
            raise CourseError(what, rule, f"make it a prediction: at most {NARROW} nats")
        self._committed[path] = (low, high)

    def cut(self, path: Path) -> float:
        """The rise of the loss when the later head reads the stream without what the earlier head wrote."""
        if missing := [each for each in self.paths if each not in self._committed]:
            rule = "every prediction comes before the first result"
            raise CourseError(f"a cut of {path}", rule, f"call commit(path, low, high) for {missing[0]} first")
        self._measured[path] = self._loss(self._run.cut(*path)) - self._whole
        return self._measured[path]

    def _loss(self, stream: Tensor) -> float:
        return _loss(stream @ self.model.W_U, self.tokens, self.lengths)


@exercise("Exercise F.1")
def look_back(answer) -> str:
    for model in _models():
        got = _report(answer(model), "heads", "scores", "control", "tokens")
        tokens = _fresh(model, got["tokens"])
        patterns = _Run(model, tokens).patterns
        scores, control = (_back(patterns, by) for by in (1, 2))
        told = {
            "These are the scores with heads and layers swapped: the table is [layer, head].": scores.mT,
            "Query 1 is among them. One before it is the start token, on which heads rest: begin with query 2.": (
                patterns.diagonal(-1, -2, -1).mean((-1, -2))
            ),
            "This is the attention to the token itself.": _back(patterns, 0),
            "This is the attention to two before.": control,
        }
        _told(got["scores"], scores, told, "A previous-token score")
        told = {
            "The control is the score itself: take the key that lies two before.": scores,
            "Query 2 is in the control. Two before it is the start token, on which heads rest: begin with query 3.": (
                patterns.diagonal(-2, -2, -1).mean((-1, -2))
            ),
        }
        _told(got["control"], control, told, "The control, the attention to two before,")
        _heads(got["heads"], scores, LOOKS_BACK, "look one back")
    return "The heads that look one back, and that they look one back and no further."


@exercise("Exercise F.2")
def match_prefix(answer) -> str:
    for model in _models():
        got = _report(answer(model), "heads", "scores", "control", "tokens", "lengths", "control_tokens")
        tokens, lengths = _long_repeats(model, got["tokens"], got["lengths"])
        second = _second(tokens, lengths)
        others = _ids(model, got["control_tokens"], "control_tokens")
        require(others.shape == tokens.shape, "control_tokens has another shape than tokens.")
        require(bool((others == tokens)[second].all()), "The control's second copies must be those of the tokens.")
        first = torch.arange(tokens.shape[1]).gt(0) & (torch.arange(tokens.shape[1]) <= lengths[:, None])
        found = (others[:, 1:, None] == others[:, None, 1:]).tril(-1)[second[:, 1:]].any(-1).float().mean()
        same = (others == tokens)[first].float().mean()
        another = "draw another first copy, of other random tokens."
        require(
            same < 0.1,
            f"In the control nothing should be there to find, but {same:.0%} of the first copy is as before: {another}",
        )
        says = f"In the control {found:.0%} of the second copy's tokens stand in the first as well: {another}"
        require(found < 0.5, says)
        _random(others, lengths, "The control's first copies", 0.25)
        patterns = _Run(model, tokens).patterns
        scores, control = (_matching(each, tokens, lengths) for each in (patterns, _Run(model, others).patterns))
        told = {
            "This is the attention to the earlier occurrence itself; the key is its successor.": _matching(
                patterns, tokens, lengths, by=0
            ),
            "The queries of the first copy, or of what fills the rows up, are among them: take the second copy.": (
                _matching(patterns, tokens, lengths, everywhere=True)
            ),
            "Only the occurrence N before counts here; sum over the successors of all earlier ones.": _matching(
                patterns, tokens, lengths, all_of_them=False
            ),
        }
        _told(got["scores"], scores, told, "A prefix-matching score")
        told = {"The control is the score itself: run the control's tokens.": scores}
        hint = "Same queries, same keys as for the scores; only the run is another."
        _told(got["control"], control, told, "The control", hint)
        _heads(got["heads"], scores, MATCHES, "match the prefix")
    return "The heads that match the prefix, and nothing where nothing is to be matched."


@exercise("Exercise F.3")
def feed(answer) -> str:
    praise = "One of eight cuts takes the matching away; the other seven are its control."
    for model in _models():
        got = _report(answer(model), "path", "whole", "K", "Q", "tokens", "lengths", may_be_none=("path",))
        tokens, lengths = _long_repeats(model, got["tokens"], got["lengths"])
        whole, later, cuts = found = _cuts(_Run(model, tokens), tokens, lengths)
        _told(got["whole"], whole, {}, "The matching of the strongest head as it is")
        for side, other, read in (("K", "Q", "keys"), ("Q", "K", "queries")):
            told = {
                f"These are the cuts to the other side: {side} is the later head's {read}.": cuts[other],
                f"The head is taken out: cut its path to the {read}, and leave the other one.": cuts["KQ"],
                "These are the falls; give the matching that is left.": whole - cuts[side],
                "Nothing is cut.": whole.expand(len(cuts[side])),
            }
            _told(got[side], cuts[side], told, f"The matching with a path to the {read} cut")
        path, want = _path(got["path"]), _feeds(later, cuts)
        if whole < MATCHES:
            right = path in _right(*found)
            require(right, "The best head is below the line: say None, or the faint path that your own cuts show.")
            praise += _faint(*found, tokens, lengths)
            continue
        require(path is not None, f"A head is above the line of {MATCHES}: one of the eight cuts takes its matching.")
        swapped = (path[1], path[0], path[2]) == want
        require(not swapped, "The order of the heads is (earlier, later): the earlier one is in layer 0.")
        require(path[1] == later, f"The later head should be the strongest one that matches; {path[1]} is not.")
        right = path[:2] != want[:2] or path[2] == want[2]
        require(right, "The heads are right, the side isn't: queries ask, keys are asked. Which cut hurts?")
        require(path == want, "Another of the eight cuts leaves less. Norms, or a look at one pattern, don't decide.")
    return praise


@exercise("Exercise F.4")
def predict_the_cut(answer) -> str:
    for seed, model in enumerate(_models()):
        bench = Bench(model, _some_paths(model, seed), seed)
        edited, run_with_cache = [], model.run_with_cache

        def watched(tokens, edit=None, run=run_with_cache, edited=edited, bench=bench):
            if edit is not None and len(bench.committed) < len(bench.paths):
                edited.append(edit)
            return run(tokens, edit)

        model.run_with_cache = watched

        def cut(self, path, bench=bench, cut=Bench.cut):
            says = "A cut at another bench, before all predictions were made: that is looking."
            require(self is bench or len(bench.committed) == len(bench.paths), says)
            return cut(self, path)

        try:
            with mock.patch.object(Bench, "cut", cut):
                got = answer(model, bench)
        except CourseError as error:
            require("prediction" not in f"{error}", f"{error}")
            raise
        require(not edited, "The model was run with a part cut out before all predictions were made: that is looking.")
        for path in bench.paths:
            require(
                path in bench.committed, f"No prediction for {path}: a path that does nothing is a prediction, too."
            )
            require(path in bench.measured, f"{path} was predicted and not cut: now look.")
            (low, high), rise = bench.committed[path], bench.measured[path]
            outside = f"The cut of {path} raises the loss by {rise:.3f}, outside of [{low:.3f}, {high:.3f}]."
            require(low <= rise <= high, outside)
        require_given(got)
        require_close(
            got, [bench.measured[path] for path in bench.paths], "A rise", 1e-6, "In the order of bench.paths."
        )
    return "Predicted, then measured: what should hurt does, and what should not does not."


@exercise("Exercise F.5")
def fooled(answer) -> str:
    for model in _models():
        got = _report(answer(model), "head", "short", "weak", "strict")
        short = _ids(model, got["short"], "short")
        pos = short.shape[1]
        require(pos % 2 == 1 and pos >= 5, "short is the start token and a text of two tokens or more, twice.")
        N = pos // 2
        require(torch.equal(short[:, 1 : N + 1], short[:, N + 1 :]), "short is no text that stands there twice.")
        require(N < SHORTEST, f"{N} tokens twice are a good test. Find one that deceives.")
        require(len(short) >= SEQUENCES, f"{len(short)} sequences: use {SEQUENCES} or more, chance is no control.")
        head = _head(got["head"])
        lengths = torch.full((len(short),), N)
        weak = _matching(_Run(model, short).patterns, short, lengths)
        tokens, lengths = _repeats(model, 7)
        strict = _matching(_Run(model, tokens).patterns, tokens, lengths)
        require(strict[head] < MATCHES, f"{head} passes the long test as well: it does match. Who only seems to?")
        says = f"{head} has {weak[head]:.2f} with {N} tokens twice, and the line is {MATCHES}: it deceives nobody."
        require(weak[head] >= MATCHES, says)
        mine = one_number(got["weak"], "The score on the short repeats")
        says = f"{mine:.4f} is not the score of {head} on your short repeats, over the queries of the second copy."
        require(abs(mine - weak[head]) < EXACT, says)
        mine = one_number(got["strict"], "The score on long repeats")
        says = f"{mine:.4f} is not the score of {head} on long repeats of 40 tokens and more, all lengths alike likely."
        require(mine > 0 and abs(mine - strict[head]) < 0.001 + 0.6 * strict[head], says)
    return "A head that a short test takes for an induction head, and a long one doesn't."


@exercise("Exercise F.6")
def case_files(answer) -> str:
    files, praise = answer(), "Three cases closed."
    require(isinstance(files, dict) and set(files) == set(UNSEEN), f"A dict with one file for each of {UNSEEN}.")
    for name in _bar(UNSEEN):
        model = load_model(name, "cpu")
        got = _report(files[name], "previous", "induction", "path", "evidence", may_be_none=("path",), of=f"{name}: ")
        tokens, lengths = _repeats(model, 11)
        run, once = _Run(model, tokens), tokens[:, : SHORTEST + 1]
        _heads(got["previous"], _back(_Run(model, once).patterns, 1), LOOKS_BACK, "look one back", name)
        _heads(got["induction"], _matching(run.patterns, tokens, lengths), MATCHES, "match the prefix", name)
        whole, later, cuts = found = _cuts(run, tokens, lengths)
        fed = _path(got["path"]) in _right(*found)
        require(fed, f"{name}: {got['path']} is not the path that feeds its strongest matching head.")
        if whole < MATCHES:
            praise += f" {name}:{_faint(*found, tokens, lengths)}"
        least, rest = torch.cat([cuts["K"], cuts["Q"]]).sort().values[:2]
        short = torch.cat([tokens[:, :3], tokens[:, 1:3]], 1)
        weak = _matching(_Run(model, short).patterns, short, torch.full((len(short),), 2)).max()
        wanted = {"whole": whole, "without": least, "other cuts": rest}
        evidence = _report(got["evidence"], *wanted, of=f"{name}, evidence: ")
        for key, value in wanted.items():
            mine = one_number(evidence[key], f"{name}: evidence[{key!r}]")
            near = mine > 0 and abs(mine - value) < 0.01 + 0.1 * value
            require(near or abs(mine - weak) > 0.05, f"{name}: {key!r} is of short repeats.")
            says = f"{name}: evidence[{key!r}] is {mine:.3f}, and should be another number: it is of the strongest"
            require(bool(near), f"{says} matching head, on long random repeats.")
    return praise


# --- what is right, by a way of this module's own ---


def _bar(names: tuple[str, ...]) -> Iterator[str]:
    """The names, and a line that shows how many are done. After a second: a stub has no line."""
    with tqdm(
        total=len(names), desc="unseen models", leave=False, delay=1
    ) as bar:  # tqdm's own loop shows it at an end
        for name in names:
            yield name
            bar.update()


def _models() -> Iterator[AttentionOnlyTransformer]:
    """The unseen models, disguised once more: a number that was copied leads nowhere."""
    for seed, name in enumerate(_bar(UNSEEN)):
        model = disguised(load_model(name, "cpu"), seed)[0]
        before = {part: weight.clone() for part, weight in model.state_dict().items()}
        yield model
        same = all(torch.equal(weight, before[part]) for part, weight in model.state_dict().items())
        require(same, "The model's weights were changed: read them, leave them.")


def _pattern(model: AttentionOnlyTransformer, x: Tensor, head: Head, **less: Tensor) -> Tensor:
    """One head's pattern. `less`: what its queries or keys are not to read."""
    place = model.W_pos[: x.shape[1]]
    q, k = ((x - less.get(side, 0) + place) @ W[head] for side, W in (("Q", model.W_Q), ("K", model.W_K)))
    scores = q @ k.mT / model.cfg.d_head**0.5
    return scores.masked_fill(later_keys(x.shape[1]), -torch.inf).softmax(-1)


def _written(model: AttentionOnlyTransformer, x: Tensor, head: Head, pattern: Tensor) -> Tensor:
    """What one head of this pattern writes."""
    return pattern @ (x @ model.W_V[head]) @ model.W_O[head]


class _Run:
    """A model of two layers on some tokens, head by head."""

    def __init__(self, model: AttentionOnlyTransformer, tokens: Tensor):
        self.model, self.written, patterns = model, {}, []
        self.streams = [model.W_E[tokens]]
        for layer in range(2):
            x = self.streams[layer]
            for head in range(model.cfg.n_heads):
                patterns.append(_pattern(model, x, (layer, head)))
                self.written[layer, head] = _written(model, x, (layer, head), patterns[-1])
            self.streams.append(x + sum(self.written[layer, head] for head in range(model.cfg.n_heads)))
        self.patterns = torch.stack(patterns).unflatten(0, (2, -1))  # [layer, head, n, query, key]

    def cut_pattern(self, earlier: Head, later: Head, sides: str) -> Tensor:
        """The later head's pattern with the earlier one's paths to these sides cut."""
        return _pattern(self.model, self.streams[1], later, **{side: self.written[earlier] for side in sides})

    def cut(self, earlier: Head, later: Head, sides: str) -> Tensor:
        """The last stream, likewise."""
        written = _written(self.model, self.streams[1], later, self.cut_pattern(earlier, later, sides))
        return self.streams[2] - self.written[later] + written


def _back(patterns: Tensor, by: int) -> Tensor:
    """Mean attention to the key that lies `by` before, where that is not the start token, [layer, head]."""
    query = torch.arange(by + 1, patterns.shape[-1])
    return patterns[..., query, query - by].mean((-1, -2))


def _second(tokens: Tensor, lengths: Tensor) -> Tensor:
    """[n, pos]: in the second copy."""
    place = torch.arange(tokens.shape[1])
    return (place > lengths[:, None]) & (place <= 2 * lengths[:, None])


def _matching(
    patterns: Tensor, tokens: Tensor, lengths: Tensor, by: int = 1, everywhere: bool = False, all_of_them: bool = True
) -> Tensor:
    """Mean attention, in the second copy, to the keys `by` after earlier occurrences of the query's token."""
    row, query, earlier = (tokens[:, :, None] == tokens[:, None, :]).tril(-1).nonzero().T
    queries = torch.ones_like(tokens, dtype=torch.bool) if everywhere else _second(tokens, lengths)
    counts = queries[row, query] & (all_of_them | (query - earlier == lengths[row]))
    row, query, key = row[counts], query[counts], earlier[counts] + by
    return patterns[..., row, query, key].sum(-1) / queries.sum()


def _cuts(run: _Run, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Head, dict[str, Tensor]]:
    """Matching of the strongest head of layer 1, the head, and what each of the cuts to its keys or queries leaves."""
    scores = _matching(run.patterns[1], tokens, lengths)
    later, heads = (1, int(scores.argmax())), range(run.model.cfg.n_heads)
    cuts = {
        sides: torch.stack([_matching(run.cut_pattern((0, head), later, sides), tokens, lengths) for head in heads])
        for sides in ("K", "Q", "KQ")
    }
    return scores.max(), later, cuts


def _feeds(later: Head, cuts: dict[str, Tensor]) -> Path:
    """The path whose cut leaves least."""
    side = min("KQ", key=lambda side: cuts[side].min())
    return (0, int(cuts[side].argmin())), later, side


def _right(whole: Tensor, later: Head, cuts: dict[str, Tensor]) -> list[Path | None]:
    """What may be said of the feeding path. Below the line also none; and a faint one, if its cut takes most."""
    path, least = _feeds(later, cuts), min(cuts[side].min() for side in "KQ")
    return [path] if whole >= MATCHES else [None, path] if least < whole / 2 else [None]


def _faint(whole: Tensor, later: Head, cuts: dict[str, Tensor], tokens: Tensor, lengths: Tensor) -> str:
    """What is to be said where no head is above the line, but one cut takes most of what there is."""
    path = _right(whole, later, cuts)[-1]
    if path is None:
        return ""
    pos = tokens.shape[1]
    even = torch.ones(pos, pos).tril() / torch.arange(1, pos + 1)[:, None]
    chance = _matching(even.expand(len(tokens), pos, pos), tokens, lengths)
    takes = f"one cut takes {whole:.3f} to {cuts[path[2]].min():.3f}, and even attention has {chance:.3f}"
    return f" No head is above the line, and still {takes}: none, or a faint path, both are right."


def _loss(logits: Tensor, tokens: Tensor, lengths: Tensor) -> float:
    """Mean loss of the predictions made in the second copy, of tokens of the second copy."""
    nats = -logits.log_softmax(-1)[:, :-1].gather(2, tokens[:, 1:, None])[..., 0]
    inside = _second(tokens, lengths)
    return nats[inside[:, :-1] & inside[:, 1:]].mean().item()


def _some_paths(model: AttentionOnlyTransformer, seed: int) -> list[Path]:
    """The path that feeds the strongest matching head, or would, and controls, in an order of their own."""
    tokens, lengths = _repeats(model, 3)
    (_, later, cuts), H = _cuts(_Run(model, tokens), tokens, lengths), model.cfg.n_heads
    earlier, later, side = _feeds(later, cuts)
    wrong, elsewhere = (0, (earlier[1] + 1 + seed) % H), (1, (later[1] + 1 + seed) % H)
    paths = [(earlier, later, side), (earlier, later, "KQ".replace(side, "")), (wrong, later, side)]
    paths.append((earlier, elsewhere, side))
    return paths[seed:] + paths[:seed]


def _repeats(model: AttentionOnlyTransformer, seed: int) -> tuple[Tensor, Tensor]:
    """Long repeats of the standard lengths, as far as the model's context goes."""
    return repeated_tokens(model.cfg.d_vocab, SEQUENCES, SHORTEST, (model.cfg.n_ctx - 1) // 2, seed)


# --- what is wrong with the evidence ---


def _report(got, *keys: str, may_be_none: tuple[str, ...] = (), of: str = "") -> dict:
    require_given(got)
    require(isinstance(got, dict), f"{of}Return a dict, not {type(got).__name__}.")
    for key in keys:
        require(key in got, f"{of}{key!r} is missing. A claim comes with its evidence: {', '.join(keys)}.")
        require(got[key] is not None or key in may_be_none, f"{of}{key!r} is None.")
    return got


def _ids(model: AttentionOnlyTransformer, tokens, what: str) -> Tensor:
    tokens = numbers(tokens, what).long()
    require(tokens.ndim == 2, f"{what} has shape {list(tokens.shape)}, expected [n, pos].")
    require(bool((tokens[:, 0] == 0).all()), f"{what}: every context begins with the start token, 0.")
    longest = f"{what} has {tokens.shape[1]} positions, the model's context {model.cfg.n_ctx}."
    require(tokens.shape[1] <= model.cfg.n_ctx, longest)
    require(len(torch.unique(tokens, dim=0)) == len(tokens), f"{what}: some sequences are the same. Draw each anew.")
    return tokens


def _fresh(model: AttentionOnlyTransformer, tokens) -> Tensor:
    """Random tokens in which nothing is repeated but by chance."""
    tokens = _ids(model, tokens, "tokens")
    shape = f"{len(tokens)} sequences of {tokens.shape[1]} tokens are too few"
    require(
        len(tokens) >= SEQUENCES and tokens.shape[1] > 2 * SHORTEST, f"{shape}: {SEQUENCES}, and {2 * SHORTEST + 1}."
    )
    different = sum(len(torch.unique(row)) for row in tokens) / tokens.numel()
    says = f"Only {different:.0%} of a sequence's tokens are different: draw them at random, without text and repeats."
    require(different > 0.75, says)
    _random(tokens, torch.full((len(tokens),), tokens.shape[1] - 1), "The tokens")
    return tokens


def _random(tokens: Tensor, lengths: Tensor, what: str, least: float = 0.75) -> None:
    """The first so many tokens of each row are drawn: they differ, from row to row, and don't count up."""
    for row, N in zip(tokens, lengths.tolist(), strict=True):
        steps = row[1 : N + 1].diff().unique()
        says = f"{what} repeat themselves or follow a rule: draw them at random."
        require(min(len(row[1 : N + 1].unique()), len(steps)) > least * N, says)
    require(len(tokens[:, 1 : SHORTEST + 1].unique(dim=0)) == len(tokens), f"{what} are alike: draw each anew.")


def _long_repeats(model: AttentionOnlyTransformer, tokens, lengths) -> tuple[Tensor, Tensor]:
    """Random tokens that stand there twice, of the standard lengths."""
    tokens, lengths = _ids(model, tokens, "tokens"), numbers(lengths, "lengths").long()
    require(lengths.shape == (len(tokens),), f"lengths has shape {list(lengths.shape)}, expected [{len(tokens)}].")
    require(len(tokens) >= SEQUENCES, f"{len(tokens)} sequences are too few: {SEQUENCES}.")
    shortest = int(lengths.min())
    says = f"Repeats of {shortest} tokens are too short: a head that looks one back passes. {SHORTEST} at least."
    require(shortest >= SHORTEST, says)
    says = f"All repeats have {shortest} tokens: a head that looks so far back without reading anything passes."
    require(len(torch.unique(lengths)) >= 5, says)
    require(int(lengths.max()) * 2 < tokens.shape[1], "Some repeats are longer than their rows.")
    for row, N in zip(tokens, lengths.tolist(), strict=True):
        require(torch.equal(row[1 : N + 1], row[N + 1 : 2 * N + 1]), "A second copy is not its first copy.")
    _random(tokens, lengths, "The first copies")
    return tokens, lengths


def _told(got, want: Tensor, told: dict[str, Tensor], what: str, hint: str = "") -> None:
    """Raise Wrong with the name of a likely slip, or where the numbers differ."""
    got, want = numbers(got, what), numbers(want, what)
    name_mistake(got, told, tolerance=EXACT, want=want)
    require(got.shape == want.shape, f"{what} has shape {list(got.shape)}, expected {list(want.shape)}. {hint}".strip())
    far = (got - want).abs().nan_to_num(torch.inf)
    place = torch.unravel_index(far.argmax(), far.shape) if far.ndim else ()
    where = f" at {[int(i) for i in place]}" if place else ""
    says = f"{what} is {got[place]:.6f}{where}, and another number on the tokens that you return."
    rounded = any(close(got, want.round(decimals=digits), 1e-6) for digits in (1, 2, 3))
    remedy = "It seems rounded: give all its digits." if rounded else "Measure on exactly these, all of them."
    require(far.max() <= EXACT, f"{says} The two may differ by {EXACT:.5f}. {remedy} {hint}".strip())


def _check_path(model: AttentionOnlyTransformer, path: Path) -> None:
    """Raise CourseError unless a bench can cut this path."""
    H, known = range(model.cfg.n_heads), ((0, 3), (1, 2), "K")
    rule = f"it is (earlier, later, side): a head of layer 0, one of layer 1, each of {len(H)}, and 'K' or 'Q'"
    try:
        (first, a), (second, b), side = path
        good = (first, second) == (0, 1) and a in H and b in H and side in ("K", "Q")
    except (TypeError, ValueError):
        good = False
    if not good or model.cfg.n_layers != 2:
        raise CourseError(f"the path {path!r}", rule, f"write e.g. {known}")


def _head(got) -> Head:
    head = tuple(int(x) for x in numbers(got, "A head").flatten())
    require(len(head) == 2, f"{got!r} is no head: write (layer, head).")
    return head


def _path(got) -> Path | None:
    if got is None:
        return None
    require_parts(got, 3, f"{got!r} is no path: write (earlier, later, 'K' or 'Q').")
    return _head(got[0]), _head(got[1]), got[2]


def _heads(got, scores: Tensor, least: float, do: str, name: str = "") -> None:
    """The claim: the heads from the line on, the strongest first."""
    require(isinstance(got, list | tuple), f"A list of heads (layer, head), not {type(got).__name__}.")
    got, where = [_head(head) for head in got], f"{name}: " if name else ""
    flat = scores.flatten()
    order = [divmod(int(place), scores.shape[1]) for place in flat.argsort(descending=True) if flat[place] >= least]
    swapped = [head[::-1] for head in order]
    require(got == order or got != swapped, f"{where}Heads are (layer, head); these are the other way round.")
    for head in got:
        inside = all(0 <= place < size for place, size in zip(head, scores.shape, strict=True))
        require(inside, f"{where}There is no head {head}.")
        says = f"{where}{head} doesn't {do}: {scores[head]:.2f} by this test, and the line is {least}."
        require(head in order, says)
    missing = "one of them isn't there" if len(got) + 1 == len(order) else "some of them aren't there"
    require(len(set(got)) == len(order), f"{where}Of the heads that {do}, {missing}: {least} is the line.")
    require(got == order, f"{where}The strongest first.")
