"""What a comparison costs and copies, with both sides as models and nothing going wrong."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from safekit_resource_rfs import changes, messages, wire
from safekit_resource_rfs.effects import Report
from safekit_resource_rfs.marks import WHOLE, ZONE_BYTES, Place
from safekit_resource_rfs.sender import Sender, State

from .files_model import CAPABILITY
from .machine_model import Machine
from .world_model import Cluster

Work = tuple[tuple[Place, ...], changes.Change]


def two(fill: Any) -> Cluster:
    """Paired, with what `fill` put there before."""
    cluster = Cluster(0)
    fill(cluster.machines[0])
    cluster.begin()
    cluster.is_busy = False
    until_paired(cluster)
    return cluster


def sender(cluster: Cluster) -> Sender:
    process = cluster.machines[0].process
    assert process is not None and isinstance(process.core, Sender)
    return process.core


def until_paired(cluster: Cluster) -> None:
    for _ in range(400):
        cluster.run(cluster.now_s + 0.1)
        if sender(cluster).state is State.PAIRED and sender(cluster).is_calm:
            return
    raise AssertionError("they do not pair")


def make(machine: Machine, *some: changes.Change) -> None:
    for change in some:
        machine.files.apply(change)
    machine.files.commit(machine.files.position)


def equal(cluster: Cluster) -> bool:
    one, other = cluster.machines
    return bool(one.files.fingerprint(times=True) == other.files.fingerprint(times=True))


def watch(cluster: Cluster, monkey: list[Any]) -> None:
    cluster.sent = monkey.append  # type: ignore[method-assign, assignment]


def away(cluster: Cluster, *work: Work) -> list[Any]:
    """The secondary's data path is started again after these modifications. Returns what was said until they pair."""
    secondary = cluster.machines[1]
    cluster.network_is_up = False
    secondary.kill()
    cluster.run(cluster.now_s + 2.0)
    process = cluster.machines[0].process
    assert process is not None
    for places, change in work:
        sender(cluster).touch(places, cluster.machines[0].clock_ns())
        process.pump()
        cluster.run(cluster.now_s + 0.1)
        cluster.machines[0].files.apply(change)
        sender(cluster).record(change, lambda: None)
        process.pump()
    said: list[Any] = []
    watch(cluster, said)
    cluster.network_is_up = True
    until_paired(cluster)
    return said


def many(machine: Machine) -> None:
    for number in range(30):
        make(machine, changes.MakeDirectory(b"d%d" % number, 0o755, 0, 0))
        for file in range(40):
            path = b"d%d/f%d" % (number, file)
            make(machine, changes.MakeFile(path, 1, 0o644, number * 100 + file, 0), changes.Write(1, 0, b"x" * 8))


def big(machine: Machine) -> None:
    make(machine, changes.MakeFile(b"big", 1, 0o644, 1, 0))
    make(machine, *[changes.Write(1, zone * ZONE_BYTES, b"%08d" % zone) for zone in range(200)])


def place(cluster: Cluster, path: bytes, zone: int) -> Place:
    files = cluster.machines[0].files
    return Place(files.handle(path.rpartition(b"/")[0]), files.find(path), zone)


def kinds(said: list[Any]) -> list[str]:
    return [type(message).__name__ for message in said]


def test_a_first_synchronisation_takes_everything_over_as_it_is() -> None:
    def fill(machine: Machine) -> None:
        many(machine)
        make(machine, changes.MakeSymlink(b"link", b"d1/f1", 3, 4), changes.MakeLink(b"hard", b"d2/f2"))
        make(machine, changes.MakeNode(b"fifo", 0o010600, 0, 0, 0), changes.SetXattr(b"d3", b"user.a", b"1"))
        make(machine, changes.SetAttributes(b"d4/f4", 0o4755, 9, 9, None, 12345))

    cluster = two(fill)
    assert equal(cluster)


def test_a_secondary_that_has_the_same_data_is_sent_none() -> None:
    cluster = Cluster(0)
    for machine in cluster.machines:
        big(machine)
    said: list[Any] = []
    watch(cluster, said)
    cluster.begin()
    cluster.is_busy = False
    until_paired(cluster)
    assert not [
        message
        for message in said
        if isinstance(message, messages.Numbered) and isinstance(message.change, changes.Write | changes.Resize)
    ]
    assert equal(cluster)


def test_one_zone_of_a_large_file_costs_one_zone() -> None:
    cluster = two(big)
    change = changes.Write(1, 7 * ZONE_BYTES, b"changed!")
    make(cluster.machines[0], changes.Bind(1, b"big"))
    said = away(cluster, ((place(cluster, b"big", 7),), change))
    assert kinds(said).count("Checksum") == 1
    assert kinds(said).count("List") == 1
    writes = [each for each in said if isinstance(each, messages.Numbered) and isinstance(each.change, changes.Write)]
    assert len(writes) == 1
    assert equal(cluster)


def test_a_capability_stays_where_owner_and_data_are_brought_over() -> None:
    def fill(machine: Machine) -> None:
        for number, name in enumerate((b"data", b"owner", b"time")):
            make(machine, changes.MakeFile(name, 1, 0o755, number, 0), changes.Write(1, 0, b"x" * 8))
            make(machine, changes.SetXattr(name, CAPABILITY, b"1"), changes.SetXattr(name, b"user.a", b"2"))

    cluster = two(fill)
    assert equal(cluster)
    there = cluster.machines[1].files
    there.apply(changes.Bind(1, b"data"))
    there.apply(changes.Write(1, 0, b"y" * 8))
    for change in (
        changes.SetXattr(b"data", CAPABILITY, b"1"),
        changes.SetAttributes(b"owner", uid=9),
        changes.SetAttributes(b"time", mtime_ns=1),
    ):
        there.apply(change)
    root = (Place(cluster.machines[0].files.handle(b"")),)
    away(cluster, (root, changes.SetAttributes(b"owner", 0o700)), ((place(cluster, b"data", 0),), changes.Unbind(1)))
    assert equal(cluster)


def test_one_new_file_among_many_costs_its_directory() -> None:
    cluster = two(many)
    directory = Place(cluster.machines[0].files.handle(b"d5"))
    said = away(cluster, ((directory,), changes.MakeFile(b"d5/new", 1, 0o644, 7777, 0)))
    assert kinds(said).count("List") <= 2
    assert kinds(said).count("Checksum") == 0
    assert equal(cluster)


def test_a_renamed_directory_is_where_it_was_renamed_to() -> None:
    cluster = two(many)
    files = cluster.machines[0].files
    places = (Place(files.handle(b"")), Place(files.handle(b"d5"), 0, WHOLE))
    away(cluster, (places, changes.Rename(b"d5", b"renamed", 0)))
    assert equal(cluster)


def test_a_directory_that_became_a_file_and_the_other_way_round() -> None:
    cluster = two(many)
    files = cluster.machines[0].files
    root = (Place(files.handle(b"")),)
    removes: list[Work] = [
        ((Place(files.handle(b"d5")),), changes.Remove(b"d5/f%d" % file, False)) for file in range(40)
    ]
    work: list[Work] = [
        *removes,
        (root, changes.Remove(b"d5", True)),
        (root, changes.MakeFile(b"d5", 1, 0o600, 999, 0)),
    ]
    away(cluster, *work)
    assert equal(cluster)
    work = [(root, changes.Remove(b"d5", False)), (root, changes.MakeDirectory(b"d5", 0o700, 0, 0))]
    away(cluster, *work)
    assert equal(cluster)


def test_a_large_directory_is_compared_page_by_page() -> None:
    def fill(machine: Machine) -> None:
        for number in range(3 * messages.MAX_ENTRIES):
            make(machine, changes.MakeNode(b"n%05d" % number, 0o010644, 0, 0, 0))

    cluster = two(fill)
    assert equal(cluster)
    extra = cluster.machines[1].files
    extra.apply(changes.MakeNode(b"n00100x", 0o010644, 0, 0, 0))
    extra.apply(changes.Remove(b"n01000", False))
    said = away(cluster, ((Place(cluster.machines[0].files.handle(b"")),), changes.SetAttributes(b"n00001", 0o600)))
    assert kinds(said).count("List") >= 3
    assert equal(cluster)


def test_many_names_with_long_targets_are_asked_for_again_where_they_are_no_frame() -> None:
    names = [b"%03d" % number + b"x" * 200 for number in range(messages.MAX_NAMES)]

    def fill(machine: Machine) -> None:
        make(machine, *[changes.MakeSymlink(name, b"t" * 4090, number, 0) for number, name in enumerate(names)])

    cluster = two(fill)
    cluster.machines[1].files.apply(changes.SetAttributes(names[-1], uid=999))
    places = tuple(place(cluster, name, WHOLE) for name in names)
    said = away(cluster, (places, changes.Unbind(1)))
    assert [len(message.names) for message in said if isinstance(message, messages.List)] == [256, 138, 20]
    for message in said:
        if isinstance(message, messages.Listed):
            wire.encode(message)
    assert equal(cluster)


def test_as_many_attributes_as_a_kernel_lists_are_a_message() -> None:
    """The shortest names that there can be, in 64 KiB."""
    names = tuple(b"user.%04x" % number for number in range((1 << 16) // len(b"user.a\0")))
    message = messages.XattrsListed(1, 0, names)
    assert wire.Decoder(from_primary=False).feed(b"".join(wire.encode(message))) == [message]


def postponed(cluster: Cluster, until: Callable[[], None]) -> list[str]:
    """What the primary says until they pair: `until` is called after the third time that it postpones something."""
    said: list[str] = []
    note = cluster.reported

    def reported(process: Any, report: Report) -> None:
        note(process, report)
        if report.event == "postponed":
            said.append(report.text)
            if len(said) == 3:
                until()

    cluster.reported = reported  # type: ignore[method-assign]
    away(cluster, ((Place(cluster.machines[0].files.handle(b"d")),), changes.SetAttributes(b"d/f", 0o600)))
    assert len(said) == 3
    return said


def a_file(machine: Machine) -> None:
    make(machine, changes.MakeDirectory(b"d", 0o755, 0, 0), changes.MakeFile(b"d/f", 1, 0o644, 1, 0))


@pytest.mark.parametrize("side", [0, 1])
def test_attributes_that_cannot_be_listed_are_named_until_they_can_be(side: int) -> None:
    cluster = two(a_file)
    make(cluster.machines[0], changes.SetXattr(b"d/f", b"user.a", b"1"))
    make(cluster.machines[1], changes.SetXattr(b"d/f", b"user.b", b"1"))
    files = cluster.machines[side].files

    def too_many(path: bytes) -> Any:
        raise OSError(errno.E2BIG, "too many", path)

    files.xattrs = too_many  # type: ignore[method-assign]
    said = postponed(cluster, lambda: delattr(files, "xattrs"))
    assert all("'d/f'" in text and "extended attributes" in text for text in said)
    assert equal(cluster)


def test_a_path_that_is_too_long_is_named_until_it_is_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = two(a_file)
    for module in ("aligning", "paging"):
        monkeypatch.setattr(f"safekit_resource_rfs.{module}.MAX_PATH_BYTES", 2)
    said = postponed(cluster, monkeypatch.undo)
    assert all("'d/f'" in text and "32767 bytes" in text for text in said)


def test_progress_tells_files_and_bytes() -> None:
    cluster = Cluster(0)
    many(cluster.machines[0])
    cluster.begin()
    cluster.is_busy = False
    seen = []
    for _ in range(4000):
        cluster.run(cluster.now_s + 0.002)
        if cluster.primary is not None and cluster.primary.process is not None and sender(cluster).progress:
            seen.append(sender(cluster).progress)
    last = seen[-1]
    assert last is not None
    assert last.files_done == last.files_total == 1200
    assert last.bytes_done == last.bytes_total == 1200 * 8


def test_a_limit_of_the_bandwidth_is_kept() -> None:
    from dataclasses import replace

    from . import world_model

    cluster = Cluster(0)
    for number in range(20):
        make(cluster.machines[0], changes.MakeFile(b"f%d" % number, 1, 0o644, number, 0))
        make(cluster.machines[0], *[changes.Write(1, zone * ZONE_BYTES, b"12345678") for zone in range(5)])
    limits = replace(world_model.LIMITS, resync_bytes_per_s=400.0)
    cluster.begin()
    cluster.is_busy = False
    process = cluster.machines[0].process
    assert process is not None and isinstance(process.core, Sender)
    process.core.limits = limits
    began_s = cluster.now_s
    until_paired(cluster)
    assert cluster.now_s - began_s > 0.5 * 20 * 5 * 8 / 400.0
    assert equal(cluster)


def test_what_a_verification_found_waits_for_a_resynchronisation_through_all_checkpoints() -> None:
    cluster = two(lambda machine: make(machine, changes.MakeFile(b"X", 1, 0o644, 1, 0), changes.Write(1, 0, b"x" * 8)))
    make(cluster.machines[1], changes.Bind(900, b"X"), changes.Write(900, 0, b"BIT ROT!"))
    files, process = cluster.machines[0].files, cluster.machines[0].process
    assert process is not None and not equal(cluster)
    whole = Place(files.handle(b""), files.find(b"X"), WHOLE)
    sender(cluster).differ((Place(files.handle(b"")), whole), cluster.machines[0].clock_ns())
    process.pump()
    for _ in range(3):
        cluster.run(cluster.now_s + 2 * sender(cluster).limits.checkpoint_s)
    assert cluster.machines[0].marks, "also after a crash"
    away(cluster)
    assert equal(cluster)
    assert not sender(cluster).marks.found.count


def test_what_differs_in_more_places_than_are_told_is_compared_completely() -> None:
    cluster = two(lambda machine: make(machine, changes.MakeFile(b"X", 1, 0o644, 1, 0), changes.Write(1, 0, b"x" * 8)))
    make(cluster.machines[1], changes.Bind(900, b"X"), changes.Write(900, 0, b"BIT ROT!"))
    sender(cluster).differ(None, cluster.machines[0].clock_ns())
    cluster.run(cluster.now_s + 4 * sender(cluster).limits.checkpoint_s)
    away(cluster)
    assert equal(cluster)
