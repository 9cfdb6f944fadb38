"""Several directories of a module: each has a data path of its own, and the module is as good as the worst of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from safekit_resource_rfs import RfsResource

from safekit_sdk import Transition
from safekit_sdk.testing import a_context

from .cluster import Node, compared, introduce, mirrored, until


class Directory(Node):
    """One of those of a node, whose resource lives as long as the module's host: it is watched all the while."""

    def __init__(self, place: Path, number: int, name: str, values: dict[str, str]) -> None:
        self.values = values
        """The node's, of all its directories."""
        super().__init__(place / str(number) / name, number, {"name": name})
        module = f"several-{place.parent.name}-{place.name}"[-60:]
        self.context = a_context(
            place / str(number) / name,
            node=f"node{number}",
            name=name,
            module=module,
            set_value=values.__setitem__,
        )
        self._resource = RfsResource(self.config, self.context)
        self._watch: asyncio.Task[None] | None = None

    def resource(self, before: str = "", after: str = "", epoch: int = 0) -> RfsResource:
        self._resource.change = Transition(before, after, "test", epoch)
        return self._resource

    @property
    def place(self) -> str:
        return self.values.get(f"place.{self.config.name}", "")

    async def start(self) -> None:
        await super().start()
        self._watch = self._watch or asyncio.create_task(self._follow())

    async def promote_in_place(self, epoch: int) -> None:
        await self.resource("PRIM", "PRIM", epoch).promote()
        self.is_primary = True
        self._watch = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for _ in self._resource.watch():
            pass

    async def remove(self) -> None:
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await super().remove()


class Machine:
    """One node with two directories."""

    def __init__(self, place: Path, number: int) -> None:
        self.values: dict[str, str] = {}
        self.directories = [Directory(place, number, name, self.values) for name in ("files", "base")]

    def says(self, **wanted: str) -> bool:
        return all(self.values.get(f"rfs.{name}") == value for name, value in wanted.items())

    async def comes_to_say(self, **wanted: str) -> None:
        await until(lambda: self.says(**wanted), f"not {wanted}: {self.values}")


@contextlib.asynccontextmanager
async def machines(place: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    made = Machine(place, 1), Machine(place, 2)
    try:
        for machine in made:
            for directory in machine.directories:
                await directory.start()
        for one, two in zip(made[0].directories, made[1].directories, strict=True):
            await introduce(one, two)
        yield made
    finally:
        for machine in made:
            for directory in machine.directories:
                await directory.remove()


async def test_a_module_with_two_directories_is_as_good_as_the_worst_of_them(tmp_path: Path) -> None:
    async with machines(tmp_path) as (first, second):
        (files, base), (other_files, other_base) = first.directories, second.directories
        await mirrored(files, other_files)
        await first.comes_to_say(uptodate="down")  # nothing is known of the other directory yet
        assert not second.says(uptodate="up")
        await mirrored(base, other_base)
        for machine in (first, second):
            await machine.comes_to_say(uptodate="up", epoch="1", degraded="down", holding="down", link="up")
        (files.directory / "page").write_text("a page")
        (base.directory / "table").write_text("a table")
        assert [*await compared(files), *await compared(base)] == []

        await other_base.kill()  # the other directory goes on
        await first.comes_to_say(holding="up", link="down", degraded="up")
        await files.becomes(link="paired")
        (files.directory / "page").write_text("acknowledged by both")
        for directory in (files, base):
            await directory.stand_alone(2)
        await first.comes_to_say(uptodate="up", epoch="2", holding="down", degraded="up")
        (base.directory / "table").write_text("written alone")

        await other_base.start()
        await introduce(base, other_base)
        for directory in (files, base):
            await directory.pair(2)
        for machine in (first, second):
            await machine.comes_to_say(uptodate="up", epoch="2", degraded="down", link="up")

        for directory in first.directories:
            await directory.demote()
        for directory in second.directories:
            await directory.promote(3, after="PRIM")
        for machine in (first, second):
            await machine.comes_to_say(uptodate="up", epoch="3", degraded="down", link="up")
        assert (other_files.directory / "page").read_text() == "acknowledged by both"
        assert (other_base.directory / "table").read_text() == "written alone"

        await other_files.kill()  # of the primary: its node cannot go on, and the first takes over
        for directory in second.directories:
            await directory.stop(force=True)
        for directory in first.directories:
            await directory.promote(4)
        await first.comes_to_say(uptodate="up", epoch="4", degraded="up")
        assert (files.directory / "page").read_text() == "acknowledged by both"
        assert (base.directory / "table").read_text() == "written alone"


async def test_a_directory_that_is_added_while_the_module_is_prim_is_filled_and_joins_the_others(
    tmp_path: Path,
) -> None:
    async with machines(tmp_path) as (first, second):
        for one, two in zip(first.directories, second.directories, strict=True):
            await mirrored(one, two, 5)
        added = [Directory(tmp_path, number, "more", machine.values) for number, machine in ((1, first), (2, second))]
        for machine, directory in zip((first, second), added, strict=True):
            machine.directories.append(directory)
        (added[0].directory / "old").write_text("was here")
        await first.directories[1].pair(5)  # says how it stands, whatever the new one is
        assert first.says(uptodate="up", epoch="5")
        await added[0].resource("PRIM", "PRIM", 5).start()
        await first.directories[1].pair(5)
        assert first.says(uptodate="up", epoch="5")
        await added[0].promote_in_place(5)
        assert first.says(uptodate="up", epoch="5", degraded="up")
        await added[1].start()
        assert second.says(uptodate="down")
        await introduce(*added)
        for machine in (first, second):
            await machine.comes_to_say(uptodate="up", epoch="5", degraded="down", link="up")
        assert await compared(added[0]) == []
        assert (added[0].directory / "old").read_text() == "was here"
