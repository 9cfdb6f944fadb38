"""Kills a store at every point of every operation, and looks at what is left. Prints the number of points.

Run as a program: each point is a process of its own that dies by SIGKILL just before its n-th change of the file
system.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from safekit.config import bundle
from safekit.config.store import STAGED_FOR_S, Store

OLD = {"module.yaml": b"old", "scripts/start": b"#!/bin/sh\necho old\n"}
NEW = {"module.yaml": b"new", "scripts/stop": b"#!/bin/sh\necho new\n", "a/b/c": b"new"}
NEXT = {"module.yaml": b"next"}
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def store(root: Path, now: float = 0.0) -> Store:
    return Store(root / "etc", root / "var", lambda: now)


def is_change(event: str, args: tuple[object, ...]) -> bool:
    if event == "open":
        flags = args[2]
        return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in _CHANGES


def die_before(change: int) -> None:
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        if is_change(event, args):
            seen += 1
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def with_old(root: Path) -> None:
    made = store(root)
    made.commit("web", made.stage("web", OLD))


def with_new_staged(root: Path) -> None:
    with_old(root)
    store(root).stage("web", NEW)


def with_commit_broken_off(root: Path) -> None:
    """The pointer is replaced, and nothing after it was done; something else was broken off before."""
    with_new_staged(root)
    versions = root / "var/versions/web"
    (versions / "next").rename(versions / "current")
    (versions / ".9.new").mkdir()


def stage(made: Store) -> None:
    made.stage("web", NEW)


def commit(made: Store) -> None:
    made.commit("web", bundle.digest(NEW), "me")


def abort(made: Store) -> None:
    made.abort("web")


def remove(made: Store) -> None:
    made.remove("web")


def recover(made: Store) -> None:
    made.recover()


def in_force(root: Path) -> dict[str, bytes] | None:
    made = store(root)
    return made.files("web") if made.modules() else None


def check(root: Path, may_be: list[dict[str, bytes] | None]) -> None:
    """The old or the new, in full; the copy in etc follows; and the next change goes through."""
    found = in_force(root)
    assert found in may_be, found
    store(root).recover()
    assert in_force(root) == found, "recovery changed what is in force"
    copy = root / "etc" / "modules" / "web"
    assert (bundle.read_bundle(copy) if copy.exists() else None) == found, "the copy in etc is another"
    assert not list((root / "etc" / "modules").glob("*.unapplied")), "taken for an edit"
    leftovers = {path.name for path in (root / "var/versions/web").iterdir() if not path.name.isdigit()}
    assert leftovers <= {"current", "published", "next", "lock"}, leftovers
    versions = {version.digest for version in store(root).versions("web")}
    assert bundle.digest(NEW) not in versions or found != OLD, "what was never in force is among the versions"
    made = store(root, STAGED_FOR_S + 1)
    if made.staged("web") is not None:
        assert made.staged_directory("web", bundle.digest(NEW)).is_dir()
    made.commit("web", made.stage("web", NEXT))
    assert in_force(root) == NEXT


def every_point(
    root: Path, prepare: Callable[[Path], None], act: Callable[[Store], None], may_be: list[dict[str, bytes] | None]
) -> int:
    for change in range(1, 1000):
        place = root / f"{act.__name__}-{change}"
        prepare(place)
        child = os.fork()
        if child == 0:
            die_before(change)
            act(store(place))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"{act.__name__} failed"
            return change - 1
        check(place, may_be)
        shutil.rmtree(place)
    raise AssertionError("it never ended")


def main() -> None:
    root = Path(sys.argv[1])
    points = {
        "stage": every_point(root, with_old, stage, [OLD]),
        "commit": every_point(root, with_new_staged, commit, [OLD, NEW]),
        "abort": every_point(root, with_new_staged, abort, [OLD]),
        "remove": every_point(root, with_new_staged, remove, [OLD, None]),
        "recover": every_point(root, with_commit_broken_off, recover, [NEW]),
    }
    print(points)


if __name__ == "__main__":
    main()
