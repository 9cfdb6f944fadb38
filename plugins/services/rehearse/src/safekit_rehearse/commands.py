"""`safekit rehearse …`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.core import TyperGroup

from safekit_rehearse.cluster import Cluster
from safekit_rehearse.drills import DRILLS, USUAL, Drill, length_s
from safekit_rehearse.probe import Target
from safekit_rehearse.rehearsal import Asked, Outlook, Rehearsal, sign
from safekit_rehearse.report import Report, Signed, away, page, promised, read, store
from safekit_sdk import ConfigError, RefusedError

DIFFERENT: Final = 3
SAY: Final = partial(print, flush=True)
LONGEST_FILL_MIB: Final = 1 << 20


class _ModuleFirst(TyperGroup):
    """`safekit rehearse MODULE` is `safekit rehearse run MODULE`."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        is_module = bool(args) and args[0] not in self.commands and not args[0].startswith("-")
        return super().parse_args(ctx, ["run", *args] if is_module else args)


app = typer.Typer(
    cls=_ModuleFirst,
    help="Guarded drills of a module on the real cluster: undone whatever happens, measured at the client, reported.",
    no_args_is_help=True,
)


@app.command("run")
def run(
    module: Annotated[str, typer.Argument(help="The module.")],
    probe: Annotated[str, typer.Option("--probe", help="What a client asks: http://VIP/ or tcp://VIP:PORT.")],
    drills: Annotated[str, typer.Option("--drills", help=f"In this order: {', '.join(DRILLS)}.")] = ",".join(USUAL),
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="How long each harm lasts; as long as is promised.", min=1, max=120),
    ] = None,
    path: Annotated[str, typer.Option("--path", help="disk-full, slow-disk: a directory on the file system.")] = "",
    fill_mib: Annotated[
        int, typer.Option("--fill-mib", help="disk-full: take no more than this.", min=1, max=LONGEST_FILL_MIB)
    ] = 1024,
    accept: Annotated[
        list[str] | None, typer.Option("--accept", help="Drill although the doctor finds this; repeatable.")
    ] = None,
    cut: Annotated[
        str, typer.Option("--cut", help="fence: the node whose power may be cut; asked for if absent.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the module's name.")] = False,
    lab: Annotated[bool, typer.Option("--lab", help="A copy in namespaces of this machine, not the cluster.")] = False,
    lab_disk: Annotated[str, typer.Option("--lab-disk", help="--lab: memory for what a node writes.")] = "512M",
    in_lab: Annotated[str, typer.Option("--in-lab", hidden=True)] = "",
) -> None:
    """Drill a module: look first, ask for its name, do one drill after the other, write a signed report. Exit code 3
    when a promise was not kept or it was not well afterwards. Ctrl-C ends it and undoes what was done."""
    asked = Asked(
        module=module,
        drills=tuple(_drill(name.strip()) for name in drills.split(",") if name.strip()),
        target=Target.parse(probe),
        seconds=seconds,
        accepted=frozenset(accept or ()),
        lab=in_lab,
        path=path,
        fill_bytes=fill_mib << 20,
    )
    if not out.is_dir():
        raise ConfigError("there is no such folder", where=f"--out {out}", hint="make it, or name another")
    if lab:
        raise typer.Exit(
            _in_lab(module, _passed_on(probe, drills, seconds, path, fill_mib, accept or ()), out, lab_disk)
        )
    cluster = Cluster()
    rehearsal = Rehearsal(cluster, asked, SAY)
    outlook = asyncio.run(rehearsal.look())
    may_cut = _consent(asked, outlook, cut, yes=yes)
    report, signed = asyncio.run(_rehearsed(cluster, rehearsal, outlook, may_cut))
    _tell(report, _written(out, signed))
    if not report.good:
        raise typer.Exit(DIFFERENT)


@app.command()
def undo(
    node: Annotated[str, typer.Option("--on", help="The node that was drilled; every node when absent.")] = "",
) -> None:
    """End the drill that is under way on a node, and undo it at once."""
    cluster = Cluster()

    async def work() -> dict[str, bool]:
        nodes = [node] if node else list((await cluster.ask("ping"))["addresses"])
        return {one: await cluster.undo(one, 40.0) for one in nodes}

    found = asyncio.run(work())
    for one, done in found.items():
        print(
            f"{one}: {'nothing is left of a drill' if done else 'it does not answer; its own guard undoes the drill'}"
        )


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The report, .json or .html.")],
    key: Annotated[str, typer.Option("--key", help="The node's key, from a report that is trusted.")] = "",
) -> None:
    """Say whether a report is what was signed, and by whom: the node itself is asked for its key, or it is given."""
    signed = read(file)
    signed.check()
    node = signed.report.asker
    if signed.report.lab:
        print(
            f"{file} is as the lab on {signed.report.lab} wrote it; its nodes are gone, and whose key it was with them"
        )
        return
    own = key or asyncio.run(Cluster().key_of(node))
    if own != signed.key:
        raise RefusedError(f"it is signed, but not by {node}", where=str(file), hint=f"the key of {node} is {own}")
    print(f"{file} is as {node} signed it, {'passed' if signed.report.good else 'not passed'}")


def _in_lab(module: str, words: Sequence[str], out: Path, disk: str) -> int:
    from safekit_rehearse.lab import rehearse_copy

    return rehearse_copy(Path(os.environ.get("SAFEKIT_ETC", "/etc/safekit")), module, words, out, disk, SAY)


def _passed_on(
    probe: str, drills: str, seconds: float | None, path: str, fill_mib: int, accept: Sequence[str]
) -> list[str]:
    """What was asked for, as it is typed in the lab."""
    words = [f"--probe={probe}", f"--drills={drills}", f"--path={path}", f"--fill-mib={fill_mib}"]
    return [*words, *([f"--seconds={seconds}"] if seconds else []), *(f"--accept={one}" for one in accept)]


def _drill(name: str) -> Drill:
    if name not in DRILLS:
        raise ConfigError(f"there is no drill '{name}'", where="--drills", hint=f"there are: {', '.join(DRILLS)}")
    return DRILLS[name]


def _consent(asked: Asked, outlook: Outlook, cut: str, *, yes: bool) -> str:
    """What will be done, and what may be expected; then the module's name has to be typed. The node whose power may be
    cut is returned: it has to be named, too."""
    print(f"module '{asked.module}' of {outlook.cluster}, watched from {outlook.here} at {asked.target.url}:")
    for drill in asked.drills:
        promise_s = drill.promise(outlook.promises)
        said = "nothing is promised" if promise_s is None else f"an interruption of at most {promise_s:g} s is promised"
        lasts = f" for {length_s(drill, outlook.promises, asked.seconds):g} s" if drill.kind not in _AT_ONCE else ""
        print(f"  {drill.name}: {drill.says}{lasts}; {said}")
    has_to_cut = any(drill.cuts for drill in asked.drills)
    if has_to_cut and yes and not cut:
        raise RefusedError("no node is named whose power may be cut", hint="--cut NODE")
    if yes:
        return cut
    if not sys.stdin.isatty():
        raise RefusedError("nobody is here to agree", hint="--yes agrees")
    if input(f"Real clients will notice. Type '{asked.module}' to go on: ").strip() != asked.module:
        raise RefusedError("not agreed to: nothing was done")
    if has_to_cut and not cut:
        return input("A node's power will be cut, and you give it back. Type the node's name to go on: ").strip()
    return cut


_AT_ONCE: Final = frozenset(("none", "kill-app"))
"""Kinds that are over when they are done."""


async def _rehearsed(cluster: Cluster, rehearsal: Rehearsal, outlook: Outlook, may_cut: str) -> tuple[Report, Signed]:
    """A signal, or the end of the terminal, ends the drill; it is undone and reported all the same."""
    work: asyncio.Task[Report] = asyncio.create_task(rehearsal.run(outlook, may_cut))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    report = await work
    return report, await sign(cluster, report)


def _written(folder: Path, signed: Signed) -> list[Path]:
    begun = time.strftime("%Y%m%d-%H%M%S", time.gmtime(signed.report.begun))
    name = f"rehearsal-{'lab-' if signed.report.lab else ''}{signed.report.module}-{begun}"
    paths = [folder / f"{name}{suffix}" for suffix in (".json", ".html")]
    for path, text in zip(paths, (signed.json(), page(signed)), strict=True):
        store(path, text)
    return paths


def _tell(report: Report, paths: list[Path]) -> None:
    for one in report.outcomes:
        kept = "good" if one.good else "NOT GOOD"
        print(f"{one.drill} on {one.node}: not served for {away(one)}, promised {promised(one)}: {kept} {one.trouble}")
    print(f"{'passed' if report.good else 'NOT PASSED'} {report.aborted}".strip())
    print("\n".join(map(str, paths)))
