"""Where a value stands in a YAML file, and where a file is none."""

from __future__ import annotations

import pytest

from safekit_sdk import ConfigError
from safekit_sdk.marked_yaml import parse, place_of

TEXT = "top:\n  - name: a\n    port: 1\n  - {name: b, port: x}\n"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("top",), "1:1"),
        (("top", 0, "port"), "3:5"),
        (("top", 1, "port"), "4:15"),
        (("top", 1, "none"), "4:5"),
        (("none",), "1:1"),
        ((), "1:1"),
    ],
)
def test_a_value_or_the_nearest_thing_around_it_has_a_place(path: tuple[int | str, ...], place: str) -> None:
    assert place_of(parse(TEXT, "f", ""), path) == place


def test_what_is_none_is_told_with_its_place() -> None:
    with pytest.raises(ConfigError, match="this is not YAML") as told:
        parse("a: [1\nb: 2\n", "/etc/f", "correct it")
    assert (str(told.value.where).startswith("/etc/f:2:"), told.value.hint) == (True, "correct it")
