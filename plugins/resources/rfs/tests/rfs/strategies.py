"""Any message of the protocol, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from safekit_resource_rfs import changes, messages
from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.generations import Durable, Generation

u32 = st.integers(0, (1 << 32) - 1)
u64 = st.integers(0, (1 << 64) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
offsets = st.integers(0, (1 << 62) - 1)
slots = st.integers(1, changes.SLOTS + changes.RESYNC_SLOTS - 1)
ids = st.text("0123456789abcdef", max_size=32)
permissions = st.integers(0, 0o7777)
names = st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name and b"\0" not in name)
names = names.filter(lambda name: name not in (b".", b"..", b".safekit-rfs"))
inside = st.lists(names, min_size=1, max_size=4).map(b"/".join)
paths = inside | st.just(b"")
owners = {"uid": u32, "gid": u32}
optional_u32 = st.none() | u32

change = st.one_of(
    st.builds(changes.Bind, slots, inside),
    st.builds(changes.Unbind, slots),
    st.builds(changes.Write, slots, offsets, st.binary(min_size=1, max_size=100)),
    st.builds(changes.Resize, slots, offsets),
    st.builds(changes.Allocate, slots, u32, offsets, st.integers(1, 1 << 40)),
    st.builds(changes.Sync, slots, st.booleans()),
    st.builds(changes.SyncDirectory, paths),
    st.builds(changes.MakeFile, inside, slots, permissions, **owners),
    st.builds(changes.MakeDirectory, inside, permissions, **owners),
    st.builds(changes.MakeNode, inside, permissions.map(lambda mode: 0o010000 | mode), u64, **owners),
    st.builds(changes.MakeSymlink, inside, names, **owners),
    st.builds(changes.MakeLink, inside, inside),
    st.builds(changes.Remove, inside, st.booleans()),
    st.builds(changes.Rename, inside, inside, st.integers(0, 2)),
    st.builds(
        changes.SetAttributes,
        paths,
        st.none() | permissions,
        optional_u32,
        optional_u32,
        st.none() | i64,
        st.none() | i64,
    ),
    st.builds(changes.SetXattr, paths, names, st.binary(max_size=50)),
    st.builds(changes.RemoveXattr, paths, names),
)
digest = st.binary(min_size=16, max_size=16) | st.just(b"")
entry = st.builds(Entry, names, u32, u32, u32, u64, i64, i64, u64, st.binary(max_size=30), digest, u32, u64, u64, i64)
generation = st.builds(Generation, ids, u64, st.lists(ids, max_size=5).map(tuple))
flags: Any = st.booleans()
durable = st.builds(
    Durable,
    generation,
    **dict.fromkeys(("up_to_date", "paired", "primary", "doubt", "clean"), flags),
    stable=u64,
    cleared=u64,
    marks_since=ids,
)
zones = st.none() | st.lists(u32, max_size=4).map(tuple)
marked = st.builds(messages.Marked, paths, i64, flags, flags, st.lists(st.tuples(names, zones), max_size=4).map(tuple))
some_names = st.lists(names, max_size=4).map(tuple)

from_primary = st.one_of(
    st.builds(messages.PrimaryHello, u32, ids, durable),
    st.builds(messages.Begin, st.sampled_from(messages.Resume), u64, flags),
    st.builds(messages.Numbered, u64, change, flags),
    st.builds(messages.List, u64, paths, names | st.just(b""), some_names),
    st.builds(messages.Checksum, u64, paths, offsets, st.integers(0, messages.BLOCK_BYTES * messages.MAX_BLOCKS)),
    st.builds(messages.ListXattrs, u64, paths),
    st.builds(messages.Checkpoint, u64),
    st.builds(messages.Cleared, u64),
    st.builds(messages.Pair, generation, u64, u64),
    st.just(messages.Alive()),
)
from_secondary = st.one_of(
    st.builds(messages.SecondaryHello, u32, ids, ids, u64, durable),
    st.builds(messages.MarksPage, st.lists(marked, max_size=3).map(tuple), flags, flags),
    st.builds(messages.Done, u64),
    st.builds(messages.Synced, u64),
    st.builds(messages.Missed, u64, u32),
    st.builds(messages.Failed, u64, u32, st.text(max_size=50)),
    st.builds(messages.Listed, u64, u32, st.lists(entry, max_size=3).map(tuple), flags),
    st.builds(messages.Checksummed, u64, u32, st.lists(digest, max_size=4).map(tuple)),
    st.builds(messages.XattrsListed, u64, u32, some_names),
    st.builds(messages.Stable, u64),
    st.builds(messages.Paired, flags),
    st.just(messages.Alive()),
)
