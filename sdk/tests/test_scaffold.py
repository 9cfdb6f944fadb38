"""What `safekit-sdk new` writes is installed, tested, linted and typed as its author would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from safekit_sdk import ConfigError
from safekit_sdk.scaffold import NAME_CHARACTERS_MAX, Kind, check, main, named, new, render

KINDS: tuple[Kind, ...] = get_args(Kind)
LONGEST = "abcdefghi-bcdefghij-cdef"
README = Path(__file__).parents[1] / "README.md"


def command(folder: Path, *words: str, path: Path | None = None) -> str:
    """Run a Python tool in the folder; the test fails with its output when the tool does."""
    environment = {**os.environ, "PYTHONPATH": str(path) if path else "", "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", *words]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_can_be_installed_and_its_tests_pass(kind: Kind, tmp_path: Path) -> None:
    folder = new(kind, "my-thing", tmp_path, "Ada Lovelace <ada@example.org>")
    site = tmp_path / "site"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command(folder, "pip", "install", *options, "--target", str(site), ".")
    said = command(folder, "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "t"), path=site)
    assert " passed" in said
    assert "skipped" not in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a", "my-thing", LONGEST])
def test_a_new_package_is_formatted_and_free_of_lint(kind: Kind, name: str, tmp_path: Path) -> None:
    folder = new(kind, name, tmp_path)
    command(folder, "ruff", "check", "--no-cache", ".")
    command(folder, "ruff", "format", "--no-cache", "--check", ".")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_strictly_typed(kind: Kind, tmp_path: Path) -> None:
    folder = new(kind, "my-thing", tmp_path)
    command(folder, "mypy", "--cache-dir", str(tmp_path / "cache"), "src", "tests")


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_is_one_file_of_code_and_three_lines_of_toml(kind: Kind) -> None:
    files = render(named(kind, "my-thing"))
    code = [place for place, content in files.items() if place.startswith("src/") and content]
    toml = files["pyproject.toml"]
    assert len(code) == 1
    assert toml.count("entry-points") == 1
    assert len(toml.partition("[project.entry-points")[2].partition("\n\n")[0].splitlines()) == 2


@pytest.mark.parametrize(
    ("kind", "distribution", "class_name"),
    [
        ("checker", "safekit-checker-file-age", "FileAgeChecker"),
        ("resource", "safekit-resource-file-age", "FileAgeResource"),
        ("app", "safekit-file-age", "FileAgeApp"),
    ],
)
def test_names_follow_from_the_plugin_s(kind: Kind, distribution: str, class_name: str) -> None:
    naming = named(kind, "file-age")
    assert (naming.distribution, naming.class_name) == (distribution, class_name)
    assert naming.package == distribution.replace("-", "_")


@pytest.mark.parametrize("name", ["", "File", "file_age", "file age", "-a", "a-", "a--b", "1a", "é", "..", "a\n"])
def test_a_bad_name_is_refused_with_a_good_one(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a plugin name\n  to do: use lower-case words with hyphens"):
        named("checker", name)


@pytest.mark.parametrize("name", ["class", "async", "import"])
def test_a_word_of_the_language_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"to do: add a word, as in {name}-state"):
        named("app", name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("app", "sdk"), ("app", "checker-x"), ("checker", "checker"), ("resource", "resource"), ("app", "app")],
)
def test_a_name_of_our_own_is_refused(kind: Kind, name: str) -> None:
    with pytest.raises(ConfigError, match=f"taken by safekit itself\n  to do: .* my-{name}"):
        named(kind, name)


def test_a_name_too_long_is_refused_with_the_limit() -> None:
    assert len(LONGEST) == NAME_CHARACTERS_MAX
    with pytest.raises(ConfigError, match=f"has 25 characters\n  to do: use at most {NAME_CHARACTERS_MAX}"):
        named("checker", LONGEST + "x")


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "safekit-checker-file-age").mkdir()
    with pytest.raises(ConfigError, match="already there\n  to do: give another name or --dir"):
        new("checker", "file-age", tmp_path)
    assert list((tmp_path / "safekit-checker-file-age").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written: Not a directory\n  to do: give another --dir"):
        new("checker", "file-age", tmp_path / "file")


@pytest.mark.parametrize(
    ("author", "line"),
    [
        ("Ada Lovelace <ada@example.org>", 'authors = [{name = "Ada Lovelace", email = "ada@example.org"}]'),
        ("Zoë", 'authors = [{name = "Zoë"}]'),
    ],
)
def test_the_author_is_in_the_metadata(author: str, line: str) -> None:
    assert line in render(named("checker", "a"), author)["pyproject.toml"].splitlines()


@pytest.mark.parametrize("author", ['a"]\nx = "', "<a@b>", "a\\", "a <b>"])
def test_an_author_that_is_none_is_refused(author: str) -> None:
    with pytest.raises(ConfigError, match="is not an author\n  to do: write it as"):
        render(named("checker", "a"), author)


# -- the command


def test_the_command_says_what_it_made_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "checker", "file-age", "--dir", str(tmp_path)]) == 0
    folder = tmp_path / "safekit-checker-file-age"
    assert capsys.readouterr().out == f"made {folder}\nnow: cd {folder} && pip install -e '.[test]' && pytest\n"


def test_an_error_goes_to_standard_error_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "checker", "File", "--dir", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("safekit-sdk: 'File' is not a plugin name\n  to do: ")


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["new", "gadget", "x"])
    assert end.value.code == 2
    assert "checker, resource, app" in capsys.readouterr().err.replace("'", "")


@pytest.mark.parametrize(("outcome", "status"), [("True", 0), ("False", 1)])
def test_check_runs_a_package_s_tests(tmp_path: Path, outcome: str, status: int) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(f"def test_it():\n    assert {outcome}\n", encoding="utf-8")
    assert main(["check", str(tmp_path)]) == status


def test_check_of_no_package_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no pyproject.toml\n  to do: name the folder of a plugin's package"):
        check(tmp_path)


# -- the README


def test_the_readme_shows_what_the_command_writes() -> None:
    files = render(named("checker", "file-age"))
    text = README.read_text(encoding="utf-8")
    shown = [block.partition("\n")[2] for block in text.split("```")[1::2] if block.startswith("python")]
    assert files["src/safekit_checker_file_age/__init__.py"] in shown
    assert files["tests/test_file_age.py"] in shown
    assert "safekit-sdk new checker file-age" in text
