"""What the unit tests of several figures hold alike."""

import json

import pytest

from course_utils.errors import CourseError


def same_and_small(make, most_data: int | None = None) -> None:
    """Made twice it is the same text; without its data and its plain version it takes 30 kB at most."""
    made = make()
    assert made._repr_html_() == make()._repr_html_()
    json.dumps(made.data, allow_nan=False)
    assert len(made._repr_html_().encode()) - len(made._json()) - len(made.plain.encode()) <= 30_000
    assert most_data is None or len(made._json()) < most_data


def refused(words, make, *given, **named) -> None:
    """A mistake is told with these words and a remedy."""
    with pytest.raises(CourseError) as caught:
        make(*given, **named)
    assert all(word in str(caught.value) for word in [*words, "Remedy:"]), caught.value
