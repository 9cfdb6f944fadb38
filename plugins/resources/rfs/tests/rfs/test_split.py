"""Two nodes that were both primary: the loser becomes equal, and everything that it had is kept."""

from __future__ import annotations

from pathlib import Path

from .cluster import Node, introduce, mirrored
from .trees import differences

Pair = tuple[Node, Node]


async def split(one: Node, two: Node) -> None:
    """`two` was primary while `one` was away; now `one` is, which knows nothing of it."""
    await mirrored(one, two)
    (one.directory / "common").write_text("common")
    await one.stop(force=True)
    await two.promote(2)


async def meet_again(one: Node, two: Node) -> None:
    await two.start()
    await introduce(one, two)
    await one.pair(3)
    await two.becomes(up_to_date=True, epoch=3)


async def kept(node: Node) -> dict[str, str]:
    """The content of what is kept aside, by path."""
    found = {}
    for one in (await node.do("conflicts"))["kept"]:
        place = (await node.do("conflict", set=one["group"], path=one["path"]))["place"]
        found[one["path"]] = content(Path(place))
    return found


def content(path: Path) -> str:
    return f"-> {path.readlink()}" if path.is_symlink() else path.read_text()


async def equal(one: Node, two: Node) -> None:
    await one.stop()
    await two.stop()
    assert "\n".join(differences(one.directory, two.directory)) == ""


async def test_files_and_directories_that_have_each_others_names(pair: Pair) -> None:
    one, two = pair
    await split(one, two)
    (two.directory / "x").write_text("a file of the second")
    (two.directory / "y" / "z").mkdir(parents=True)
    (two.directory / "y" / "z" / "deep").write_text("deep in the second")
    (two.directory / "l").symlink_to("common")
    (two.directory / "m").mkdir()
    (two.directory / "m" / "n").symlink_to("gone")
    await two.stop(force=True)
    await one.start()
    await one.promote(3)
    for name in ("x", "l"):
        (one.directory / name / "in").mkdir(parents=True)
        (one.directory / name / "in" / "f").write_text("of the first")
    (one.directory / "y").write_text("a file of the first")
    (one.directory / "m").symlink_to("common")
    await meet_again(one, two)
    assert await kept(two) == {
        "x": "a file of the second",
        "y/z/deep": "deep in the second",
        "l": "-> common",
        "m/n": "-> gone",
    }
    await equal(one, two)


async def test_what_is_live_while_a_file_becomes_a_directory(pair: Pair) -> None:
    one, two = pair
    await split(one, two)
    (two.directory / "x").write_text("a file of the second")
    await two.stop(force=True)
    await one.start()
    await one.promote(3)
    (one.directory / "x").mkdir()
    await two.start()
    await introduce(one, two)
    for number in range(200):
        (one.directory / "x" / f"{number}").write_text("of the first")
        (one.directory / "x" / f"{number}").rename(one.directory / "x" / "renamed")
        (one.directory / "x" / "renamed").unlink()
    await one.pair(3)
    await two.becomes(up_to_date=True, epoch=3)
    assert await kept(two) == {"x": "a file of the second"}
    await equal(one, two)
