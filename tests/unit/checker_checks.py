"""What the tests of all checkers hold alike."""

from types import ModuleType


def checkers_of(module: ModuleType) -> list[str]:
    """The names of a chapter's own checkers: what it imports may be wrapped, too."""
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    return [name for name, value in own.items() if hasattr(value, "__wrapped__") and name[0] != "_"]
