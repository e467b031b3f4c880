"""What the tests of all checkers hold alike."""

from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType

import pytest


def checkers_of(module: ModuleType) -> list[str]:
    """The names of a chapter's own checkers: what it imports may be wrapped, too."""
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    return [name for name, value in own.items() if hasattr(value, "__wrapped__") and name[0] != "_"]


def same_tests(
    module: ModuleType, right: list, mistakes: list, count: int, second: Mapping = MappingProxyType({})
) -> tuple[Callable, Callable, Callable]:
    """Three tests of a chapter's `count` checkers: `right` (checker, answer), `mistakes` (checker, answer, message).

    An answer is a function, or a tuple of them. `second`: by checker, the second function that goes with a single one.
    """

    def ask(checker, answer):
        answers = answer if isinstance(answer, tuple) else (answer,)
        return checker(*answers, second[checker]) if checker in second else checker(*answers)

    @pytest.mark.parametrize(("checker", "answer"), right)
    def test_a_right_answer_passes(checker, answer):
        outcome = ask(checker, answer)
        assert outcome.status == "passed", outcome

    @pytest.mark.parametrize(("checker", "answer", "says"), mistakes, ids=[says[:40] for *_, says in mistakes])
    def test_a_mistake_is_told_what_is_wrong(checker, answer, says):
        outcome = ask(checker, answer)
        assert outcome.status == "failed" and says.lower() in outcome.message.lower(), outcome

    def test_every_checker_has_three_mistakes_or_more():
        told = [checker.__name__ for checker, *_ in mistakes]
        checkers = checkers_of(module)
        assert len(checkers) == count and all(told.count(name) >= 3 for name in checkers)

    return (
        test_a_right_answer_passes,
        test_a_mistake_is_told_what_is_wrong,
        test_every_checker_has_three_mistakes_or_more,
    )
