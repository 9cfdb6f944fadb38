"""Which module answers to which word of the command line."""

from __future__ import annotations

from typing import Any

import typer

from safekit.cli import app
from safekit.cli.app import WORDS


def tree(invoked: str) -> Any:
    return typer.main.get_command(app.build(invoked))


def test_each_word_is_answered_by_the_module_that_it_is_looked_for_in() -> None:
    """What `WORDS` forgets would be no command any more."""
    whole, words = tree(""), [word for words in WORDS.values() for word in words]
    for word in words:
        assert tree(word).commands[word].help == whole.commands[word].help
    answered = {name for module in WORDS for name in tree(WORDS[module][0]).commands}
    assert answered == set(words)
