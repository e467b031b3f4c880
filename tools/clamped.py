"""What has to go right for an induction head? Runs of chapter 10 in which parts of it are held from the first step.

    nice python -m tools.clamped          # trains what is missing, two runs at a time, one thread each

Eight seeds of each condition, on random tokens that repeat (`course_utils.repeats`). What a run shows is written down
when it ends, in course_utils/data/clamped.json; interrupted, the command goes on with the runs that are missing. What
is to be found was written down before the first run, in benchmarks/clamped_expected.md.
"""

from dataclasses import dataclass
from itertools import combinations

from course_utils.clamping import Part
from course_utils.headlines import first_step
from course_utils.repeats import RepeatsConfig, train_on_repeats
from tools import shipped

SEEDS, STEPS, EVERY = range(8), 800, 10
PARTS = ("previous", "match", "copy")
CHANGED = ("quiet positions", "shuffled copies")  # nothing is held: the start, or what is learnt from, is another
CONDITIONS = ["free", *PARTS, *(" + ".join(pair) for pair in combinations(PARTS, 2)), *CHANGED]
LEAST = {"previous": (0, 0.4), "prefix": (1, 0.2)}  # layer, and the score from which on a head is there


@dataclass(frozen=True)
class Clamped(RepeatsConfig):
    """A run of chapter 10 under one condition."""

    condition: str = "free"

    @property
    def held(self) -> tuple[Part, ...]:
        return tuple(part for part in PARTS if part in self.condition.split(" + "))

    @property
    def spread(self) -> dict[str, float]:
        return super().spread | ({"W_pos": 0.25} if self.condition == "quiet positions" else {})

    @property
    def shuffled(self) -> bool:
        return self.condition == "shuffled copies"


def main() -> None:
    runs = [Clamped(condition=condition, seed=seed) for seed in SEEDS for condition in CONDITIONS]
    shipped.measure_runs(__doc__, "clamped.json", STEPS, train, {name(run): run for run in runs})


def name(run: Clamped) -> str:
    return f"{run.condition}, seed {run.seed}"


def train(job: tuple[Clamped, int]) -> tuple[str, dict]:
    """Of a run: the first steps at which a head is there, and the loss on later copies on the way."""
    run, steps = job
    log = train_on_repeats(run, steps, EVERY)[1]
    found = {key: first_step(log["step"], log[key][:, layer].max(-1), least) for key, (layer, least) in LEAST.items()}
    return name(run), found | {"steps": steps, "later": log["later"][:: 50 // EVERY].round(3).tolist()}


if __name__ == "__main__":
    main()
