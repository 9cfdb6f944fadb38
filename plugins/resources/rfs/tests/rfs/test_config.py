"""What a module file may say about a replicated directory, and what it is told when it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_resource_rfs import RfsConfig, RfsResource


def config(**settings: Any) -> RfsConfig:
    return RfsConfig.model_validate({"directory": "/srv/data", **settings})


def test_the_defaults_lose_nothing_and_overwrite_nothing() -> None:
    made = config()
    assert (made.mode, made.first_sync, made.bandwidth, made.port) == ("write", "refuse", 0, 0)


@pytest.mark.parametrize("text", ["data", "/", "/srv/../etc", "/" + "a" * 1030])
def test_a_directory_is_an_absolute_path_below_the_root(text: str) -> None:
    with pytest.raises(ValidationError, match="directory"):
        config(directory=text)


@pytest.mark.parametrize(("text", "size_bytes"), [("512M", 512 << 20), ("3K", 3072), (7, 7), ("1T", 1 << 40)])
def test_a_size_has_a_unit(text: object, size_bytes: int) -> None:
    assert config(bandwidth=text).bandwidth == size_bytes


@pytest.mark.parametrize("text", ["1.5M", "M", "-1", "1m", "9" * 16, -1, 1 << 62])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="bandwidth"):
        config(bandwidth=text)


@pytest.mark.parametrize("pattern", ["/tmp/*", "cache/", "", "a\0b"])
def test_a_pattern_is_relative_to_the_directory(pattern: str) -> None:
    with pytest.raises(ValidationError, match="exclude"):
        config(exclude=[pattern])


@pytest.mark.parametrize(
    ("path", "name"), [("/srv/data", "data"), ("/srv/my data", "my-data"), ("/srv/größe", "gr--e"), ("/srv/日", "rfs")]
)
def test_the_name_is_that_of_the_directory(path: str, name: str) -> None:
    assert RfsResource.ident(config(directory=path)) == name


def test_a_weaker_mode_and_an_overwriting_first_synchronisation_are_remarked() -> None:
    assert RfsResource.remarks(config(), "mirror") == []
    assert len(RfsResource.remarks(config(mode="ordered", first_sync="overwrite"), "mirror")) == 2


def test_only_a_mirror_replicates(tmp_path: Path) -> None:
    assert "farm" in RfsResource.preflight(config(directory=tmp_path), "farm")[0]
