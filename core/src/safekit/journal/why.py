"""The change of a module that is to be explained, found among its decisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from safekit.journal.history import Entry, Query, query_history

EXPLAINED_FROM: Final = 1000
"""Decisions of a module, from the newest back, among which a change is looked for."""


def explain_from(path: Path, module: str, back: int = 0, until_id: int = 0) -> dict[str, Any] | None:
    """A change of a module, from the file of a history."""
    return explain(query_history(path, Query(module, ("decision",), last=EXPLAINED_FROM)), back, until_id)


def explain(decisions: Sequence[Entry], back: int, until_id: int = 0) -> dict[str, Any] | None:
    """The change so many changes ago, what was decided before it and because of it; None when there is none. With
    `until_id` the change to which that decision belongs."""
    changes = [place for place, entry in enumerate(decisions) if _begins_something(_body(entry))]
    if until_id:
        changes = [place for place in changes if decisions[place].id <= until_id]
    if len(changes) <= back:
        return None
    place = changes[-1 - back]
    following = (p for p in range(place + 1, len(decisions)) if _begins_something(_body(decisions[p])))
    end = next(following, len(decisions))
    change = decisions[place]
    return {
        "change": _body(change),
        "wall": change.wall,
        "before": [_body(entry) for entry in decisions[max(place - 5, 0) : place]],
        "after": [{**_body(entry), "later_s": entry.wall - change.wall} for entry in decisions[place + 1 : end]],
    }


def _begins_something(decision: dict[str, Any]) -> bool:
    """Not the end of a change that an earlier decision began: that it is done is no reason for it."""
    before, after = decision["before"], decision["after"]
    arrives = before.partition("/")[0] == after.partition("/")[0] and before.endswith("/Transient")
    return before != after and not (arrives and (after.endswith("/Ready") or after.startswith("STOP/")))


def _body(entry: Entry) -> dict[str, Any]:
    return dict(json.loads(entry.body))
