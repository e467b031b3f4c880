"""The plans for a class, `book/workshop/plans.yml`, with clock times and totals that are computed."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from course_utils.errors import CourseError
from tools import notebooks, progress


@dataclass(frozen=True)
class Part:
    """What is done without anything else in between: a chapter, a break."""

    starts: int  # minutes after the sitting began
    minutes: int  # exercises included
    what: str
    how: str
    cut: str
    chapters: tuple[str, ...]  # "07"
    exercises: tuple[progress.Exercise, ...]
    shows: tuple[str, ...]  # predictions and figures
    skip: tuple[str, ...]  # slides
    is_break: bool


@dataclass(frozen=True)
class Sitting:
    name: str
    parts: tuple[Part, ...]

    @property
    def minutes(self) -> int:
        return sum(part.minutes for part in self.parts)


@dataclass(frozen=True)
class Plan:
    key: str
    day: str  # "Half a day"
    title: str
    question: str
    notebook: str  # the name of its class notebook, if it has one
    sittings: tuple[Sitting, ...]

    @property
    def parts(self) -> list[Part]:
        return [part for sitting in self.sittings for part in sitting.parts]


def read(root: Path = notebooks.ROOT) -> dict[str, Plan]:
    """All plans by their keys. Raises CourseError if a sitting is not as long as it says, or an exercise is none."""
    exercises = {each.name: each for chapter in progress.chapters(root) for each in chapter.exercises}
    given = yaml.safe_load((root / "book/workshop/plans.yml").read_text("utf-8"))
    return {key: _plan(key, plan, exercises) for key, plan in given.items()}


def _plan(key: str, given: dict, exercises: dict[str, progress.Exercise]) -> Plan:
    sittings = []
    for sitting in given["sittings"]:
        parts, clock = [], 0
        for part in sitting["parts"]:
            try:
                todo = tuple(exercises[f"Exercise {name}"] for name in part.get("exercises", ()))
            except KeyError as error:
                raise CourseError(f"{error} in the plan {key}", "no chapter has it", "mend plans.yml") from None
            minutes = part.get("break", part.get("talk", 0)) + sum(each.minutes for each in todo)
            lists = (tuple(part.get(name, ())) for name in ("shows", "skip"))
            texts = (" ".join(part.get(name, "").split()) for name in ("how", "cut"))
            chapters = tuple(part.get("chapters", ()))
            parts.append(Part(clock, minutes, part["what"], *texts, chapters, todo, *lists, "break" in part))
            clock += minutes
        if clock != sitting["length"]:
            what = f"{sitting['name'] or key}: its parts take {clock} minutes"
            raise CourseError(what, f"it is said to last {sitting['length']}", "mend book/workshop/plans.yml")
        sittings.append(Sitting(sitting["name"], tuple(parts)))
    return Plan(key, given["day"], given["title"], given["question"], given.get("notebook", ""), tuple(sittings))


def clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02}"


def table(plan: Plan) -> str:
    """The plan as the teacher's page has it; exercises have a column where there are any."""
    rows = [["time", "minutes", "what", "exercises", "how"], ["--:", "--:", "---", "---", "---"]]
    for sitting in plan.sittings:
        if sitting.name:
            rows.append(["", f"**{sitting.minutes}**", f"**{sitting.name}**", "", ""])
        for part in sitting.parts:
            links = " and ".join(f"[chapter {int(name)}]({name}.md)" for name in part.chapters)
            what = f"*{part.what}*" if part.is_break else f"{part.what}: {links}" if links else part.what
            todo = "<br>".join(f"{each.name} (*{each.title}*)" for each in part.exercises)
            how = f"{part.how} **Cut.** {part.cut}" if part.cut else part.how
            rows.append([clock(part.starts), str(part.minutes), what, todo, how.strip()])
    total = sum(sitting.minutes for sitting in plan.sittings)
    breaks = sum(part.minutes for part in plan.parts if part.is_break)
    rest = f", {breaks} of them breaks" if breaks else ""
    rows.append(["", f"**{total}**", f"**together{rest}**", "", ""])
    if not any(part.exercises for part in plan.parts):
        for row in rows:
            del row[3]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
