"""Languages: whole, and with the same places for words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import safekit_console
from safekit_console.consequences import LABELS
from safekit_console.roles import ROLES
from safekit_console.words import chosen, languages, read_catalogue

SOURCE = Path(safekit_console.__file__).parent
TEXT = r"(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"


def texts() -> set[str]:
    """Every text that is shown: of the templates, of sentences, of messages."""
    found = {*LABELS.values(), *ROLES, "Automatic", "Light", "Dark"}
    for page in SOURCE.glob("templates/*.html"):
        found |= {one[1:-1] for one in re.findall(rf"\b_\(\s*{TEXT}", page.read_text())}
    for source in SOURCE.rglob("*.py"):
        code = source.read_text()
        found |= {one[1:-1] for one in re.findall(rf"\b(?:words|words_of\(request\))\(\s*{TEXT}", code)}
        if source.name in {"outlook.py", "consequences.py"}:
            found |= sentences(code)
    return found


def sentences(code: str) -> set[str]:
    """Text constants that are no docstrings, and end like a sentence."""
    tree = ast.parse(code)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
    return {
        node.value for node in found if isinstance(node.value, str) and node.value.endswith(".") and " " in node.value
    }


def test_the_texts_are_found() -> None:
    assert len(texts()) > 200


@pytest.mark.parametrize("code", sorted(set(languages()) - {"en"}))
def test_a_language_has_every_text(code: str) -> None:
    words = languages()[code]
    assert sorted(text for text in texts() if not words.has(text)) == []


@pytest.mark.parametrize("path", sorted(SOURCE.glob("locale/*.po")), ids=lambda path: path.stem)
def test_a_translation_has_the_same_places_for_words(path: Path) -> None:
    places = re.compile(r"%\(\w+\)s")
    found = read_catalogue(path.read_text())
    assert [
        key for key, text in found.items() if key and sorted(places.findall(key)) != sorted(places.findall(text))
    ] == []


def test_the_language_is_that_of_the_cookie_then_that_of_the_browser() -> None:
    assert chosen("fr", "en").code == "fr"
    assert chosen("", "de-DE, fr-CA;q=0.8, en;q=0.7").code == "fr"
    assert chosen("xx", "").code == "en"


def test_what_is_no_catalogue_is_told() -> None:
    with pytest.raises(ValueError, match="line 1"):
        read_catalogue("hello")
