"""Whatever the bytes: a clear error or a report with every line, never a crash. Nothing that is said is left out."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safekit.config.text import read
from safekit.importing import FORMATS, Form, convert
from safekit.importing.account import Fate
from safekit.importing.source import read as read_source
from safekit_sdk import ConfigError

from .kit import silent_lines
from .samples import CIB, CLUSTER, FARM, KEEPALIVED, MIRROR

SAMPLES = {"mirror": MIRROR, "farm": FARM, "cluster": CLUSTER, "keepalived": KEEPALIVED, "cib": CIB}
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TAGS = sorted(set(re.findall(r"<(\w+)", MIRROR + FARM + CLUSTER + CIB)) - {"macro", "ENTITY"})
NAMES = sorted(set(re.findall(r"(\w+)=\"", MIRROR + FARM + CLUSTER + CIB)))
WORDS = sorted(set(re.findall(r"^\s*(\w+)", KEEPALIVED, re.MULTILINE)))
VALUES = st.sampled_from(
    [
        "",
        "on",
        "off",
        "1",
        "-1",
        "10s",
        "5 m",
        "1e9",
        "99999999999999999999",
        "10.0.0.1",
        "::1",
        "/a",
        "*",
        "..",
        "%%",
        "é",
        "a b",
        "'x",
    ]
) | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12)


def holds(data: bytes, form: Form | None = None) -> None:
    """A ConfigError with a place, or every line accounted for and YAML that can be read."""
    try:
        conversion = convert(data, "source", form)
    except ConfigError as error:
        assert re.search(r"source:\d+:\d+", str(error)), error
        return
    assert silent_lines(conversion, read_source(data, "source").text) == set()
    assert all(finding.why or finding.to or finding.fate is Fate.BARE for finding in conversion.findings)


@QUICK
@given(st.binary(max_size=300), st.sampled_from((None, *FORMATS)))
def test_any_bytes(data: bytes, form: Form | None) -> None:
    holds(data, form)


@QUICK
@given(st.text(st.sampled_from('{}"!#\n $=@<>/&;%ab1.'), max_size=120), st.sampled_from((None, *FORMATS)))
def test_any_punctuation(text: str, form: Form | None) -> None:
    holds(text.encode(), form)


@settings(max_examples=5, deadline=None)
@given(VALUES, VALUES)
def test_any_value_is_one_in_yaml_too(one: str, other: str) -> None:
    """Whatever stands in it, the file that is written is YAML, and has the value."""
    variables = f"<var name='A' value={quoteattr(one)}/><var name='B' value={quoteattr(other)}/>".replace("%", "")
    [draft] = convert(f"<safe><service><user>{variables}</user></service></safe>".encode(), "source").drafts
    again = read(draft.text("made").encode(), "module.yaml").value["variables"]
    assert again == {"A": one.replace("%", "").strip(), "B": other.replace("%", "").strip()}


@pytest.mark.parametrize("name", SAMPLES)
@QUICK
@given(st.data())
def test_a_good_file_that_was_damaged(name: str, data: st.DataObject) -> None:
    lines = SAMPLES[name].split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        what = data.draw(st.sampled_from(["drop", "twice", "cut", "swap", "value"]))
        if what == "drop":
            del lines[at]
        elif what == "twice":
            lines.insert(at, lines[at])
        elif what == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif what == "swap":
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines[at] = damaged(lines[at], data.draw(VALUES))
        lines = lines or [""]
    holds("\n".join(lines).encode())


def damaged(line: str, value: str) -> str:
    return re.sub(r'="[^"]*"| \S+$', lambda _: f"={quoteattr(value)}", line, count=1)


attributes = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
elements = st.recursive(
    st.tuples(st.sampled_from(TAGS), attributes, st.just(())),
    lambda inner: st.tuples(st.sampled_from(TAGS), attributes, st.lists(inner, max_size=4)),
    max_leaves=20,
)


def markup(element: Any) -> str:
    tag, given_attributes, children = element
    said = "".join(f"\n {name}={quoteattr(value)}" for name, value in given_attributes.items())
    return f"<{tag}{said}>\n" + "".join(map(markup, children)) + f"</{tag}>"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(elements, st.sampled_from([*FORMATS, "bare"]))
def test_any_tree_of_the_dialects_and_no_attribute_is_left_out(tree: object, around: str) -> None:
    inner = markup(tree).replace("%", "")
    outer = {
        "safekit": "<safe><service mode='mirror'>{}</service></safe>",
        "pacemaker": "<cib><resources>{}</resources></cib>",
    }
    text = outer.get(around, "{}").format(inner) if "{" not in inner else inner
    holds(text.encode())
    try:
        conversion = convert(text.encode(), "source")
    except ConfigError:
        return
    said = sum(1 + len(element.attrib) for element in ElementTree.fromstring(text).iter())
    places = {(finding.place, finding.what.partition("=")[0]) for finding in conversion.findings if finding.what}
    assert len(places) >= said


statements = st.recursive(
    st.tuples(
        st.sampled_from(WORDS), st.lists(VALUES.filter(lambda v: not set(v) & set("{}\"'#!\\")), max_size=3), st.none()
    ),
    lambda inner: st.tuples(st.sampled_from(WORDS), st.just([]), st.lists(inner, max_size=5)),
    max_leaves=20,
)


def block(statement: Any) -> str:
    key, values, inner = statement
    line = " ".join([key, *(value for value in values if value.strip())])
    return f"{line} {{\n{''.join(map(block, inner))}}}\n" if inner is not None else f"{line}\n"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(statements, min_size=1, max_size=6))
def test_any_blocks_of_keepalived(found: list[object]) -> None:
    holds("".join(map(block, found)).encode(), "keepalived")
