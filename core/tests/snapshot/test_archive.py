"""What is in a snapshot is the same bytes for the same content; what is no snapshot is refused before it is used."""

from __future__ import annotations

import gzip
import io
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from safekit.journal import Entry, Query, query_history, write_copy
from safekit.settings import Settings
from safekit.snapshot import Gathered, Snapshot, compose, history_file, layout, make_part
from safekit.snapshot.archive import Manifest, NodeNote, check_part
from safekit.snapshot.layout import entry, packed
from safekit_sdk import ConfigError, PeerError

MANIFEST = Manifest(made=7.0, asker="n1", nodes={"n1": NodeNote(), "n2": NodeNote(trouble="it is not heard")})
INSIDE = f"{layout.NODES}/n1/x"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(etc=tmp_path / "etc", var=tmp_path / "var", run=tmp_path / "run", log=tmp_path / "log")


def remember(settings: Settings, bodies: list[str]) -> None:
    settings.var.mkdir()
    entries = (Entry(1, float(n), float(n), "log", "web", "info", body, n + 1) for n, body in enumerate(bodies))
    write_copy(settings.var / "history.db", entries)


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "s.tar.gz"
    path.write_bytes(data)
    return path


def test_a_journal_comes_back_as_it_was_and_the_nodes_that_are_missing_are_named(
    settings: Settings, tmp_path: Path
) -> None:
    remember(settings, [f'{{"line": "{number}"}}' for number in range(100)])
    path = saved(tmp_path, compose(MANIFEST, {"n1": make_part(settings, Gathered(node="n1"))}))
    with history_file(path, "") as copy:
        found = query_history(copy, Query(last=1000))
    assert found == query_history(settings.var / "history.db", Query(last=1000))
    facts = Snapshot(path).cluster_facts()
    assert [(one.node, one.trouble) for one in facts.nodes] == [("n1", ""), ("n2", "it is not heard")]
    with pytest.raises(ConfigError, match="no part of a node 'n2'"):
        Snapshot(path).write_history("n2", tmp_path / "n2.db")


def test_of_a_large_journal_the_newest_is_kept_within_the_limit(settings: Settings) -> None:
    lines = [sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(12_000)]
    remember(settings, [f'{{"line": "{line}"}}' for line in lines])
    part = make_part(settings, Gathered(node="n1", limit_bytes=300 << 10))
    assert len(part) <= 300 << 10
    with tarfile.open(fileobj=io.BytesIO(part + packed(layout.END))) as archive:
        journal = archive.extractfile(f"{layout.NODES}/n1/{layout.JOURNAL}")
        left_out = archive.extractfile(f"{layout.NODES}/n1/{layout.LEFT_OUT}")
        assert journal is not None
        assert left_out is not None
        kept = journal.read().decode().splitlines()
        assert lines[-1] in kept[-1]
        assert lines[-len(kept)] in kept[0]
        assert b"what is older than its first entry" in left_out.read()


def test_a_part_ends_in_its_time_and_names_what_it_had_none_for(settings: Settings) -> None:
    remember(settings, ["{}"])
    part = make_part(settings, Gathered(node="n1", status={"pid": 1}, inspected={"web": {}}, time_s=0.0))
    with tarfile.open(fileobj=io.BytesIO(part + packed(layout.END))) as archive:
        names = [name.removeprefix(f"{layout.NODES}/n1/") for name in archive.getnames()]
        left_out = archive.extractfile(f"{layout.NODES}/n1/{layout.LEFT_OUT}")
        assert left_out is not None
        told = left_out.read().decode()
    assert names == ["status.json", "machine/facts.json", "journal.jsonl", "left-out.json"]
    assert "the rest of what is told: there was no time for it" in told


def test_the_same_content_gives_the_same_bytes_and_any_tar_reads_it(tmp_path: Path) -> None:
    part = packed(entry(f"{layout.NODES}/n1/status.json", b"{}\n")) + packed(entry(f"{INSIDE}/{'y' * 150}", b"z"))
    first, second = compose(MANIFEST, {"n1": part}), compose(MANIFEST, {"n1": part})
    assert first == second
    check_part("n1", part)
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert [(info.name, info.mode, info.mtime) for info in archive][1:] == [
            (f"{layout.NODES}/n1/status.json", 0o600, 0),
            (f"{INSIDE}/{'y' * 150}", 0o600, 0),
        ]


def link(name: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"
    return info.tobuf()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (packed(entry(f"{layout.NODES}/n2/facts.json", b"{}")), "a file of another place"),
        (packed(entry(f"{layout.NODES}/n1/../../x", b"")), "no file of a snapshot"),
        (packed(entry("/etc/passwd", b"")), "no file of a snapshot"),
        (packed(link(INSIDE)), "no file of a snapshot"),
        (packed(layout.head(INSIDE, layout.MEMBER_BYTES + 1)), "more in it"),
        (b"".join(packed(entry(INSIDE, b"")) for _ in range(layout.MEMBERS + 1)), "more in it"),
        (packed(entry(INSIDE, b"0123"))[:-20], "damaged"),
        (b"\x1f\x8b rubbish", "damaged"),
    ],
    ids=["another node's", "above", "absolute", "link", "too large", "too many", "cut off", "rubbish"],
)
def test_what_a_node_may_not_send_is_refused(part: bytes, said: str) -> None:
    with pytest.raises(PeerError, match=said):
        check_part("n1", part)


def test_a_few_bytes_that_stand_for_very_many_are_refused(tmp_path: Path) -> None:
    packed_zeros = gzip.compress(b"\0" * (64 << 20), 9)
    bomb = packed(layout.head(layout.MANIFEST, 100)) + packed_zeros * 9
    with pytest.raises(ConfigError, match=r"no snapshot|more in it"):
        Snapshot(saved(tmp_path, bomb))


@pytest.mark.parametrize("data", [b"", b"no", packed(layout.END), packed(entry(layout.MANIFEST, b"{}"))])
def test_what_is_no_snapshot_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no snapshot"):
        Snapshot(saved(tmp_path, data))


def test_another_format_is_refused_by_its_number(tmp_path: Path) -> None:
    text = MANIFEST.model_copy(update={"format": 2}).model_dump_json().encode()
    with pytest.raises(ConfigError, match="format 2"):
        Snapshot(saved(tmp_path, packed(entry(layout.MANIFEST, text)) + packed(layout.END)))


@pytest.mark.parametrize(
    "line",
    [
        b"no",
        b"[]",
        b'{"id": 1}',
        b'{"incarnation": {}, "mono": 1, "wall": 1, "kind": "", "module": "", "type": "", "body": ""}',
    ],
)
def test_a_damaged_journal_or_facts_are_told_and_not_used(line: bytes, tmp_path: Path) -> None:
    part = packed(entry(f"{layout.NODES}/n1/{layout.JOURNAL}", line)) + packed(
        entry(f"{layout.NODES}/n1/{layout.FACTS}", line)
    )
    path = saved(tmp_path, compose(MANIFEST, {"n1": part}))
    with pytest.raises(ConfigError, match="the journal in this snapshot"), history_file(path, "n1"):
        pass
    with pytest.raises(ConfigError, match="the facts in this snapshot"):
        Snapshot(path).cluster_facts()
