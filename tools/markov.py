"""What comes first, counts of states or of pairs? Runs of chapter 10 on Markov chains in context.

    nice python -m tools.markov          # trains what is missing, two runs at a time, one thread each

Eight seeds each of two layers, one layer, and one layer with smeared keys (`course_utils.markov`). What a run shows is
written down when it ends, in course_utils/data/markov.json; interrupted, the command goes on with the runs that are
missing. What is to be found was written down before the first run, in benchmarks/markov_expected.md.
"""

from course_utils.markov import MarkovConfig, train_on_chains
from tools import shipped

SEEDS, STEPS, EVERY = range(8), 800, 10
MODELS = {
    "two layers": {},
    "one layer": {"n_layers": 1},
    "one layer, smeared keys": {"n_layers": 1, "smeared_keys": True},
}


def main() -> None:
    runs = {name(model, seed): (model, seed) for seed in SEEDS for model in MODELS}
    shipped.measure_runs(__doc__, "markov.json", STEPS, train, runs)


def name(model: str, seed: int) -> str:
    return f"{model}, seed {seed}"


def train(job: tuple[tuple[str, int], int]) -> tuple[str, dict]:
    """Of a run, on the way: both distances; the first layer's best previous-token score, the last's best successors."""
    (model, seed), steps = job
    log = train_on_chains(MarkovConfig(seed=seed, **MODELS[model]), steps, EVERY)[1]
    found = {"bigrams": log["bigrams"], "unigrams": log["unigrams"]}
    found |= {"previous": log["previous"][:, 0].max(-1), "successors": log["successors"][:, -1].max(-1)}
    return name(model, seed), {"steps": steps} | {key: values.round(4).tolist() for key, values in found.items()}


if __name__ == "__main__":
    main()
