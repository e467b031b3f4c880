"""What trains in the page is what PyTorch trains: numbers, gradients, steps, scores, cuts."""

import base64

import numpy as np
import pytest
import torch

from course_utils import repeats
from course_utils.circuits import composition_scores
from course_utils.figures.host import EXPORT, joined
from course_utils.interventions import run_without
from course_utils.repeats import BATCHES, FRESH, RepeatsConfig, initial, sequences, train_on_repeats, uniform

pytestmark = pytest.mark.browser

SMALL = {"n_heads": 2, "d_head": 4, "d_vocab": 10, "n_ctx": 12, "shortest": 3, "longest": 5, "batch": 4}
KINDS = {
    "as it is": {},
    "one layer": {"n_layers": 1},
    "smeared keys": {"n_layers": 1, "smeared_keys": True},
    "two layers with smeared keys": {"smeared_keys": True},
    "positions in the stream": {"positions": "stream"},
    "without positions": {"positions": "none"},
    "a clamped head": {"clamped": True},
    "a fixed length": {"shortest": 4, "longest": 4},
    "another seed": {"seed": 3},
    "four heads": {"n_heads": 4},
    "plain descent": {"optimiser": "sgd", "lr": 0.05},
}
PAGE = """<!doctype html><title>Numbers</title><script>{source};
const bits = {{ 32: Float32Array, 64: Float64Array }};
/** A net after some steps of training, and the losses on the way. */
function trained(settings, steps, kind) {{
    const net = new Net(settings, bits[kind]), run = new Run(net, settings.batch), losses = [];
    for (let step = 0; step < steps; step++) {{
        run.forward(sequences(settings, BATCHES + step, settings.batch).tokens);
        losses.push(run.backward());
        net.step();
    }}
    return {{ net, run, losses }};
}}
const coded = values => btoa(String.fromCharCode(...new Uint8Array(Float64Array.from(values).buffer)));
const saved = (net, from) =>
    Object.fromEntries(Object.keys(net.places).map(name => [name, coded(net.save(name, from))]));
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    source = EXPORT.sub("", joined("train/scores.js"))
    (folder / "numbers.html").write_text(PAGE.format(source=source), "utf-8")
    return folder


@pytest.fixture(scope="module")
def numbers(open_for_all, folder):
    """A page that has the modules, for all tests."""
    return open_for_all(f"{folder.as_uri()}/numbers.html")


@pytest.fixture(params=KINDS)
def settings(request) -> RepeatsConfig:
    return RepeatsConfig(**SMALL | KINDS[request.param])


def decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f8")


def same(got: dict, wanted: dict, relative: float) -> None:
    for name, values in wanted.items():
        largest = values.abs().max().item()
        np.testing.assert_allclose(
            decoded(got[name]), values.detach().flatten(), rtol=relative, atol=1e-9 * largest, err_msg=name
        )


@pytest.mark.parametrize("stream", [0, 7, 2**31])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_random_numbers(numbers, seed, stream):
    got = numbers.evaluate(
        "([seed, stream]) => { const draw = uniform(seed, stream); return Array.from({ length: 500 }, draw); }",
        [seed, stream],
    )
    assert got == uniform(seed, stream, 500).tolist()
    assert 0.45 < np.mean(got) < 0.55 and np.std(got) == pytest.approx(12**-0.5, abs=0.02)


@pytest.mark.parametrize("stream", [FRESH, BATCHES, BATCHES + 999])
def test_sequences(numbers, settings, stream):
    got = numbers.evaluate(
        """([settings, stream]) => {
        const { tokens, lengths } = sequences(settings, stream, 20);
        return [[...tokens], [...lengths]];
    }""",
        [settings.to_dict(), stream],
    )
    tokens, lengths = sequences(settings, stream, 20)
    assert got == [tokens.flatten().tolist(), lengths.tolist()]


def test_first_weights(numbers, settings):
    got = numbers.evaluate("settings => saved(new Net(settings, bits[64]))", settings.to_dict())
    same(got, dict(initial(settings).named_parameters()), 1e-15)


def test_gradients(numbers, settings):
    """After three steps, so that no weight is special."""
    got = numbers.evaluate(
        "settings => { const { net } = trained(settings, 3, 64); return saved(net, net.gradients); }",
        settings.to_dict(),
    )
    model, _ = train_on_repeats(settings, 2)
    model.zero_grad()
    repeats.losses(model, settings, sequences(settings, BATCHES + 2, settings.batch)[0]).mean().backward()
    wanted = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(wanted) >= 6 and all((gradient != 0).any() for gradient in wanted.values())
    same(got, wanted, 1e-5)


def test_ten_steps(numbers, settings):
    losses, got = numbers.evaluate(
        "settings => { const { net, losses } = trained(settings, 10, 64); return [losses, saved(net)]; }",
        settings.to_dict(),
    )
    model, record = train_on_repeats(settings, 10, every=1)
    np.testing.assert_allclose(losses, record["loss"][:10], rtol=1e-6)
    same(got, dict(model.named_parameters()), 1e-4)


def test_losses_in_32_bits(numbers):
    """The size of the page, also in the number of steps that move it a good way."""
    settings = RepeatsConfig()
    losses = numbers.evaluate("settings => trained(settings, 60, 32).losses", settings.to_dict())
    record = train_on_repeats(settings, 59, every=1)[1]
    np.testing.assert_allclose(losses, record["loss"], atol=1e-3)
    assert record["loss"][-1] < record["loss"][0] - 0.1


def test_what_is_measured(numbers, settings):
    got = numbers.evaluate(
        """settings => {
        const { net } = trained(settings, 4, 64), fresh = sequences(settings, FRESH, 32);
        const next = sequences(settings, BATCHES + 4, settings.batch);
        const [run, other] = [new Run(net, 32), new Run(net, settings.batch)];
        run.forward(fresh.tokens);
        other.forward(next.tokens);
        other.lose();
        return [
            previousScores(run), prefixScores(run, fresh.lengths), lossesOfCopies(other, next.lengths),
            compositionScores(net),
        ];
    }""",
        settings.to_dict(),
    )
    model, record = train_on_repeats(settings, 4, every=4)
    np.testing.assert_allclose(got[0], record["previous"][-1].ravel(), rtol=1e-9)
    np.testing.assert_allclose(got[1], record["prefix"][-1].ravel(), rtol=1e-9)
    np.testing.assert_allclose(got[2], [record["first"][-1], record["later"][-1]], rtol=1e-9)
    wanted = composition_scores(model)["K"].flatten().detach() if settings.n_layers == 2 else []
    np.testing.assert_allclose(got[3], wanted, rtol=1e-9)


@pytest.mark.parametrize("kind", ["as it is", "two layers with smeared keys", "positions in the stream"])
def test_heads_and_paths_cut(numbers, kind):
    settings = RepeatsConfig(**SMALL | KINDS[kind])
    offs = [
        {"heads": [[0, 1]], "paths": []},
        {"heads": [[1, 0], [0, 0]], "paths": [[1, 1]]},
        {"heads": [], "paths": [[0, 1], [1, 1]]},
        {"heads": [[0, 1]], "paths": [[1, 0]]},  # what is not written cannot be taken away twice
    ]
    got = numbers.evaluate(
        """([settings, offs]) => {
        const { net } = trained(settings, 4, 64), run = new Run(net, settings.batch);
        const { tokens } = sequences(settings, FRESH, settings.batch);
        return offs.map(off => { run.forward(tokens, off); return [...run.logits]; });
    }""",
        [settings.to_dict(), offs],
    )
    model, _ = train_on_repeats(settings, 4)
    tokens = sequences(settings, FRESH, settings.batch)[0]
    for off, logits in zip(offs, got, strict=True):
        paths = [((0, earlier), (1, later), "K") for earlier, later in off["paths"]]
        with torch.no_grad():
            wanted = run_without(model, tokens, [tuple(head) for head in off["heads"]], paths)[0]
        np.testing.assert_allclose(logits, wanted.flatten(), atol=1e-10)
