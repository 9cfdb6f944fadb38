"""pydantic's findings become sentences with a place, also where a model has unions, lists and models within models."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safekit.config.errors import ConfigErrors
from safekit.config.problems import did_you_mean, nearest, plain, validate
from safekit.config.text import read


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Rule(Part):
    port: Annotated[int, Field(ge=1, le=65535)]
    hash_by: Literal["client_address", "client_port"] = Field(default="client_address", alias="hash")


class File(Part):
    type: Literal["file"]
    path: str


class Block(Part):
    type: Literal["block"]
    device: str
    size: int = 0


class Settings(Part):
    rules: list[Rule] = []
    store: Annotated[File | Block, Field(discriminator="type")] | None = None
    either: int | Rule = 0
    named: dict[Annotated[str, Field(max_length=3)], Rule] = {}


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        validate(Settings, read(text.encode(), "f"))
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules: [{port: 0}]", ["f:1:16: port: must be at least 1, not '0'"]),
        ("rules: [{port: 1}, 5]", ["f:1:20: rules[1]: must be a mapping of keys to values, not '5'"]),
        (
            "rules: [{prot: 1}]",
            [
                "f:1:9: the key 'port' is missing",
                "f:1:10: unknown key 'prot'\n  to do: did you mean 'port'?",
            ],
        ),
        ("rules: [{port: 1, hsah: x}]", ["f:1:19: unknown key 'hsah'\n  to do: did you mean 'hash'?"]),
        (
            "rules: [{port: 1, hash: client_adress}]",
            [
                "f:1:25: hash: must be 'client_address' or 'client_port', not 'client_adress'\n"
                "  to do: did you mean 'client_address'?"
            ],
        ),
        ("store: {type: block, device: a, siez: 3}", ["f:1:33: unknown key 'siez'\n  to do: did you mean 'size'?"]),
        ("store: {type: block, device: a, size: big}", ["f:1:39: size: must be a whole number, not 'big'"]),
        ("store: {type: blok, device: a}", ["f:1:8: store: 'type' must be one of 'file', 'block'"]),
        ("store: {device: a}", ["f:1:8: store: needs the key 'type'"]),
        (
            "either: x",
            ["f:1:9: either: must be a whole number, not 'x', or must be a mapping of keys to values, not 'x'"],
        ),
        ("named: {long: {port: 1}}", ["f:1:9: long: must have at most 3 characters, not 'long'"]),
        ("named: {a: {port: 1, hsah: x}}", ["f:1:22: unknown key 'hsah'\n  to do: did you mean 'hash'?"]),
    ],
)
def test_each_finding_is_a_sentence_with_its_place(text: str, said: list[str]) -> None:
    assert mistakes(text) == said


def test_all_findings_are_told_in_the_order_of_the_file() -> None:
    text = "named: {abc: {port: x}}\nrules:\n  - {port: 0}\n  - {port: 70000, x: 1}\nother: 1\n"
    assert [mistake.partition(" ")[0] for mistake in mistakes(text)] == [
        "f:1:21:",
        "f:3:12:",
        "f:4:12:",
        "f:4:19:",
        "f:5:1:",
    ]


def test_a_mapping_that_is_left_empty_has_its_defaults() -> None:
    assert validate(Settings, read(b"a:\n", "f"), ("a",)) == Settings()


def test_a_long_or_composed_value_is_not_repeated() -> None:
    [mistake] = mistakes(f"rules: {'x' * 61}")
    assert mistake == "f:1:8: rules: must be a list"


@pytest.mark.parametrize(
    ("word", "found"), [("prot", "port"), ("PORT", "port"), ("max_loop", "max-loops"), ("zzz", ""), ("", "")]
)
def test_the_nearest_word_is_found_whatever_its_case_and_dashes(word: str, found: str) -> None:
    assert nearest(word, ["port", "max-loops", "interval"]) == found


def test_without_a_near_word_all_are_listed() -> None:
    assert did_you_mean("zzz", ["a", "b"], "keys") == "keys: a, b"
    assert did_you_mean("zzz", [], "keys") == ""


def test_values_without_a_file_are_told_in_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"rules": [{"port": 0}], "other": 1})
    assert plain(caught.value) == "port: must be at least 1, not '0'; other: is an unknown key"
