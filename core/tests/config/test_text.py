"""YAML text into values with places; everything that is no good configuration text is told with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit.config.errors import ConfigErrors
from safekit.config.text import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read


def value(text: str) -> object:
    return read(text.encode(), "f.yaml").value


def mistakes(data: str | bytes) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(data.encode() if isinstance(data, str) else data, "f.yaml")
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-0x1F", -31),
        ("0o17", 15),
        ("012", 12),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("10:30", "10:30"),
        ("2001-01-01", "2001-01-01"),
        ("'12'", "12"),
        ('"~"', "~"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_says(text: str, expected: object) -> None:
    assert value(f"a: {text}\n") == {"a": expected}


def test_each_key_and_value_has_its_place() -> None:
    document = read(b"a: 1\nb:\n  - c: 'x'\n  - [1, 2]\n", "f.yaml")
    assert document.where(("a",)) == "f.yaml:1:4"
    assert document.where(("a",), key=True) == "f.yaml:1:1"
    assert document.where(("b", 0, "c"), key=True) == "f.yaml:3:5"
    assert document.where(("b", 0, "c")) == "f.yaml:3:8"
    assert document.where(("b", 1, 1)) == "f.yaml:4:9"


def test_what_is_not_there_has_the_place_around_it() -> None:
    document = read(b"a: 1\nb:\n  c: {d: 2}\n", "f.yaml")
    assert document.where(("b", "c", "e", 3)) == "f.yaml:3:3"
    assert document.where(("x",)) == "f.yaml:1:1"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("r: abc def\n", "f.yaml:1:8"),
        ("r: 'abc def'\n", "f.yaml:1:9"),
        ('r: "abc def"\n', "f.yaml:1:9"),
        ("r:   |\n     abc def\n", "f.yaml:2:10"),
        ('r: "\\x61bc def"\n', "f.yaml:1:4"),
        ("r: >\n  abc\n  def\n", "f.yaml:1:4"),
        ("r: abc\n  def\n", "f.yaml:1:4"),
    ],
)
def test_a_place_within_a_string_is_exact_where_the_file_reads_the_same(text: str, place: str) -> None:
    assert read(text.encode(), "f.yaml").inside(("r",), 4) == place


def test_a_place_in_a_later_line_of_a_block_is_exact() -> None:
    document = read(b"r: |\n  abc\n  def\n", "f.yaml")
    assert document.inside(("r",), 5) == "f.yaml:3:4"


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter() -> None:
    assert read(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "f.yaml").value == {"a": 1, "b": 2}


def test_aliases_are_followed() -> None:
    assert value("a: &x {k: 1}\nb: *x\n") == {"a": {"k": 1}, "b": {"k": 1}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "f.yaml:1:1: the file is empty"),
        ("# only words\n", "f.yaml:1:1: the file is empty"),
        ("a: 1\n\tb: 2\n", "f.yaml:2:1: a tab where YAML wants spaces\n  to do: indent with spaces"),
        ("a:\n  - \tb\n\t- c", "f.yaml:2:5: a tab where YAML wants spaces\n  to do: indent with spaces"),
        (b"a: \xff\xfe\x00", "f.yaml:1:4: this is not text in UTF-8\n  to do: save the file as UTF-8 text"),
        (
            b"ok: 1\nb: \x00\x01",
            "f.yaml:2:4: the character U+0000 may not be in a YAML file\n"
            "  to do: is this a text file? Remove the character",
        ),
        (
            "a: 1\na: 2\n",
            "f.yaml:2:1: the key 'a' is here twice; first at line 1\n  to do: remove one",
        ),
        (
            "x:\n  <<: {a: 1}\n",
            "f.yaml:2:3: merge keys (<<) do not exist in YAML 1.2\n  to do: write the keys out",
        ),
        ("a: !tag b\n", "f.yaml:1:4: the YAML tag !tag is not used here\n  to do: remove it, or quote the value"),
        ("{a: 1}: b\n", "f.yaml:1:1: a key must be a plain word\n  to do: quote a value that begins with { or ["),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins here\n  to do: remove the line '---'"),
        ("%YAML 1.1\n---\na: yes\n", "f.yaml:1:1: YAML directives are not used here\n  to do: remove the line"),
        (
            "a: %NAME%\n",
            "f.yaml:1:4: this is not YAML: while scanning for the next token, "
            "found character '%' that cannot start any token\n  to do: quote the value",
        ),
        (
            "a: 1\nb: 'open\nc: 3\n",
            "f.yaml:2:4: this is not YAML: while scanning a quoted scalar, which begins here and never ends",
        ),
        (
            "a:\n  b: 1\n - c\n",
            "f.yaml:3:2: this is not YAML: while parsing a block mapping (begun at line 1), "
            "expected <block end>, but found '<block sequence start>'\n  to do: check the indentation and quotes",
        ),
        ("a: [1\n", "f.yaml:1:4: this is not YAML: while parsing a flow sequence, which begins here and never ends"),
        ("a: *nobody\n", "f.yaml:1:4: this is not YAML: found undefined alias 'nobody'"),
        (f"a: {'9' * 5000}\n", f"f.yaml:1:4: '{'9' * 60}' cannot be read as a number\n  to do: quote it if it is text"),
    ],
)
def test_a_bad_text_is_told_with_its_place(data: str | bytes, said: str) -> None:
    [mistake] = mistakes(data)
    assert mistake.startswith(said)


def test_all_mistakes_of_a_text_are_told_in_its_order() -> None:
    found = mistakes("a: !x 1\nb: {c: 1, c: 2}\na: 3\n")
    assert [mistake.partition(" ")[0] for mistake in found] == ["f.yaml:1:4:", "f.yaml:2:11:", "f.yaml:3:1:"]


def test_a_file_that_is_too_large_is_refused_before_it_is_read() -> None:
    data = b"a: 1\n" + b"#" * MAX_BYTES
    assert mistakes(data) == [f"f.yaml:1:1: the file has {len(data)} bytes; the limit is {MAX_BYTES}"]


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5000])
def test_nesting_is_bounded(depth: int) -> None:
    [mistake] = mistakes("a: " + "[" * depth + "]" * depth)
    assert mistake.endswith(f"nested deeper than {MAX_DEPTH} levels")


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    [mistake] = mistakes("\n".join(lines))
    assert mistake.endswith(f"more than {MAX_VALUES} values")


def test_a_value_within_itself_is_refused() -> None:
    [mistake] = mistakes("a: &x [*x]\n")
    assert mistake.endswith(f"nested deeper than {MAX_DEPTH} levels")


@given(st.binary(max_size=200))
def test_no_bytes_get_past_the_one_error_class(data: bytes) -> None:
    try:
        read(data, "f.yaml")
    except ConfigErrors as error:
        assert all(each.where.startswith("f.yaml:") for each in error.errors)


@given(st.text(alphabet="ab01:-[]{},&*!|>'\"%#\t\n <?~.", max_size=60))
def test_no_text_gets_past_the_one_error_class(text: str) -> None:
    try:
        read(text.encode(), "f.yaml")
    except ConfigErrors as error:
        assert all(each.where.startswith("f.yaml:") for each in error.errors)
