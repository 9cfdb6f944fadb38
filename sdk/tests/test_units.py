"""Durations, ports, identifiers and secrets, as an operator writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from safekit_sdk import Config, ConfigError, Duration, Ident, Port, Secret

DURATION = TypeAdapter(Duration)
SECRET = TypeAdapter(Secret)
seconds = st.floats(min_value=0, max_value=1e9, exclude_max=True)


@given(seconds)
def test_a_duration_that_is_written_and_read_again_is_the_same(value_s: float) -> None:
    assert Duration.parse(str(Duration(value_s))) == Duration(value_s)


@given(st.integers(min_value=0, max_value=999_999), st.sampled_from(["us", "ms", "s"]))
def test_a_whole_number_of_a_unit_is_exactly_that(count: int, unit: str) -> None:
    sizes = {"us": 1e6, "ms": 1e3, "s": 1}
    assert Duration.parse(f"{count}{unit}").seconds == count / sizes[unit]


@given(seconds)
def test_what_a_duration_writes_is_what_the_schema_allows(value_s: float) -> None:
    schema = DURATION.json_schema()
    assert re.fullmatch(schema["pattern"], str(Duration(value_s)))
    assert DURATION.validate_json(DURATION.dump_json(Duration(value_s))) == Duration(value_s)


@pytest.mark.parametrize(
    ("text", "value_s"),
    [("100ms", 0.1), ("1.5s", 1.5), ("1h30m", 5400), ("1d", 86400), ("250us", 0.00025), ("0", 0), ("0s", 0)],
)
def test_a_duration_reads_as_it_looks(text: str, value_s: float) -> None:
    assert DURATION.validate_python(text).seconds == value_s


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (0.1, "100ms"),
        (1.5, "1500ms"),
        (90, "90s"),
        (120, "2m"),
        (5400, "90m"),
        (86400, "1d"),
        (0, "0s"),
        (1e-7, "0.0000001s"),
    ],
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(value_s: float, text: str) -> None:
    assert str(Duration(value_s)) == text


@pytest.mark.parametrize("text", ["5", "", "s", "-1s", "1 s", "5sec", "1e3s", "1s ", "0.5", ".5s", "1s\n"])
def test_a_duration_without_number_and_unit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError, match=r"write a number and a unit .*: 500ms"):
        DURATION.validate_python(text)


@pytest.mark.parametrize("value", [5, 0, 1.5, True, None, [], b"5s"])
def test_a_bare_number_is_no_duration(value: object) -> None:
    with pytest.raises(ValidationError, match=r"is not a duration; write a number and a unit"):
        DURATION.validate_python(value)


@pytest.mark.parametrize("value_s", [-1e-9, 1e9, float("nan"), float("inf")])
def test_a_duration_out_of_bounds_is_refused(value_s: float) -> None:
    with pytest.raises(ValueError, match="a duration is from 0s to 1e9s"):
        Duration(value_s)


def test_durations_are_compared_by_length() -> None:
    assert Duration.parse("90s") < Duration.parse("2m")
    assert Duration.parse("60s") == Duration.parse("1m")


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_a_port_is_from_1_to_65535(port: int) -> None:
    assert TypeAdapter(Port).validate_python(65535) == 65535
    with pytest.raises(ValidationError):
        TypeAdapter(Port).validate_python(port)


@pytest.mark.parametrize("name", ["a", "home.page", "10.0.0.1:80", "fe80::1", "A_b-9", "x" * 63])
def test_an_identifier_is_what_rules_can_name(name: str) -> None:
    assert TypeAdapter(Ident).validate_python(name) == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "é", "x" * 64, "a\n", "a\nb"])
def test_what_rules_cannot_name_is_no_identifier(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Ident).validate_python(name)


class Timed(Config):
    wait: Duration = Duration(5)
    """A time."""
    secret: Secret = Secret("env:A")
    """A secret."""


@pytest.mark.parametrize("read", [Timed.model_validate, lambda given: Timed.model_validate_json(json.dumps(given))])
def test_a_default_is_as_good_as_what_is_written(read: Callable[[object], Timed]) -> None:
    assert read({}) == Timed(wait=Duration(5), secret=Secret("env:A"))
    assert read({"wait": "1m", "secret": "env:B"}) == Timed(wait=Duration(60), secret=Secret("env:B"))


# -- secrets


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("s3cret\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_secret_is_read_from_a_file_of_its_own(secret_file: Path) -> None:
    assert SECRET.validate_python(f"file:{secret_file}").reveal() == "s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o610, 0o601])
def test_a_secret_file_that_others_can_reach_is_refused_with_the_command_that_mends_it(
    secret_file: Path, mode: int
) -> None:
    secret_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"open to others\n  to do: chmod 600 {secret_file}"):
        Secret(f"file:{secret_file}").reveal()


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_secret_file_that_only_its_owner_can_reach_is_accepted(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    assert Secret(f"file:{secret_file}").reveal() == "s3cret"


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"secret file .*missing cannot be read: No such file"):
        Secret(f"file:{tmp_path}/missing").reveal()


def test_a_secret_file_that_is_no_text_is_refused_without_its_content(secret_file: Path) -> None:
    secret_file.write_bytes(b"s3cret\xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text") as failure:
        Secret(f"file:{secret_file}").reveal()
    assert "s3cret" not in str(failure.value).replace(str(secret_file), "")


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cret")
    assert Secret.parse("env:A_SECRET").reveal() == "s3cret"
    monkeypatch.delenv("A_SECRET")
    with pytest.raises(ConfigError, match="A_SECRET is not set"):
        Secret.parse("env:A_SECRET").reveal()


@pytest.mark.parametrize("text", [17, None, "s3cret", "env:", "env:1A", "env:A B", "file:relative", "file:", "env:A\n"])
def test_a_secret_written_into_the_configuration_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="by reference, as env:NAME or file:/path"):
        SECRET.validate_python(text)


def test_a_secret_shows_its_reference_wherever_it_is_written(secret_file: Path) -> None:
    secret = Secret.parse(f"file:{secret_file}")
    written = SECRET.dump_json(secret).decode()
    assert written == f'"file:{secret_file}"'
    assert SECRET.validate_json(written) == secret
    assert "s3cret" not in repr(secret) + str(secret) + written.replace(str(secret_file), "")
