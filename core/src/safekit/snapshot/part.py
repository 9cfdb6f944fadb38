"""One node's part of a snapshot, made by a process of its own: a disk that hangs or a large history must not hold up
safekitd. Each file is a gzip member; what has no room any more is named instead."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from safekit.config.store import Store
from safekit.diagnosis.facts import DaemonTrouble, NodeFacts
from safekit.journal import explain_from, walk_back
from safekit.settings import Settings
from safekit.snapshot import layout, machine
from safekit.snapshot.known import is_secret_file, known_secrets
from safekit.snapshot.layout import entry, packed
from safekit.snapshot.redaction import Redactor
from safekit_sdk import SafekitError

Files = Iterator[tuple[str, str]]
JOURNAL_PART_BYTES: Final = 1 << 20
"""So much of the journal is one gzip member."""
MAX_LEFT_OUT: Final = 200
SPARE_BYTES: Final = 16 << 10
"""For what says what was left out."""


class Gathered(BaseModel):
    """What only the daemon knows; without one what was told instead."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    node: str
    facts: NodeFacts | None = None
    daemon: DaemonTrouble | None = None
    status: dict[str, Any] = {}
    inspected: dict[str, Any] = {}
    """By module, what its resources say of themselves: of a replicated directory its roles, lag and marks."""
    public: tuple[str, ...] = ()
    """Names and addresses that stay, whatever an environment says."""
    limit_bytes: int = layout.ARCHIVE_BYTES
    time_s: float = layout.PART_S


def make_part(settings: Settings, gathered: Gathered) -> bytes:
    """Blocking, for seconds."""
    return _Part(settings, gathered).make()


class _Part:
    def __init__(self, settings: Settings, gathered: Gathered) -> None:
        self._settings, self._gathered = settings, gathered
        self._store = Store(settings.etc, settings.var)
        self._history = settings.var / "history.db"
        self._deadline_s = time.monotonic() + 0.75 * gathered.time_s
        self._left_bytes = gathered.limit_bytes - SPARE_BYTES
        self._members: list[bytes] = []
        self._left_out: list[str] = []
        self._modules = self._try("the names of the modules", self._store.modules, [])
        secrets = known_secrets(settings, self._try("secrets", lambda: list(self._texts()), []), os.environ)
        self._redactor = Redactor(secrets, (*gathered.public, gathered.node, *self._modules))

    def make(self) -> bytes:
        for what in (self._told, self._machine, self._explained, self._configuration, self._logs):
            self._take(what)
        self._try("the journal", self._journal, None)
        told = [self._redactor.text(one) for one in self._left_out[:MAX_LEFT_OUT]]
        self._members.append(packed(self._entry(layout.LEFT_OUT, _document(told).encode())))
        return b"".join(self._members)

    def _take(self, what: Callable[[], Files]) -> None:
        name = what.__name__.strip("_")
        try:
            for place, text in what():
                self._add(place, text)
                if self._is_late:
                    self._left_out.append(f"the rest of what is {name}: there was no time for it")
                    return
        except (OSError, SafekitError, sqlite3.Error) as error:
            self._left_out.append(f"the rest of what is {name}: {error}")

    @property
    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline_s

    def _try(self, what: str, job: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return job()
        except (OSError, SafekitError, sqlite3.Error) as error:
            self._left_out.append(f"{what}: {error}")
            return otherwise

    def _add(self, name: str, text: str) -> None:
        """`text` is without secrets already."""
        if not layout.is_place(f"{layout.NODES}/{self._gathered.node}/{name}"):
            self._left_out.append(f"{name!r}: no name for a file of a snapshot")
            return
        member = packed(self._entry(name, text.encode(errors="replace")))
        if len(member) > self._left_bytes:
            self._left_out.append(f"{name}: there was no room for it")
            return
        self._left_bytes -= len(member)
        self._members.append(member)

    def _entry(self, name: str, content: bytes) -> bytes:
        return entry(f"{layout.NODES}/{self._gathered.node}/{name}", content)

    def _told(self) -> Files:
        given = self._gathered
        if given.facts is not None:
            yield layout.FACTS, self._document(given.facts.model_dump(mode="json"))
        if given.daemon is not None:
            yield layout.DAEMON, self._document(given.daemon.model_dump(mode="json"))
        if given.status:
            yield "status.json", self._document(given.status)
        for module, said in sorted(given.inspected.items()):
            yield f"inspect/{module}.json", self._document(said)

    def _document(self, value: Any) -> str:
        return _document(self._redactor.value(value))

    def _machine(self) -> Files:
        yield "machine/facts.json", self._document(machine.facts())
        for name, text in machine.outputs():
            yield f"machine/{name}", self._redactor.text(text)

    def _explained(self) -> Files:
        for module in self._modules:
            if (found := explain_from(self._history, module)) is not None:
                yield f"why/{module}.json", self._document(found)

    def _configuration(self) -> Files:
        cluster = self._settings.cluster_file
        if cluster.exists():
            yield "configuration/cluster.yaml", self._redactor.text(cluster.read_text(errors="replace"))
        for module in self._modules:
            for version in self._store.versions(module):
                place = f"configuration/modules/{module}/{version.number}"
                yield f"{place}/version.json", self._document(version.model_dump(mode="json"))
                for path, content in sorted(self._store.version_files(module, version.number).items()):
                    yield f"{place}/files/{path}", self._file(path, content)

    def _file(self, path: str, content: bytes) -> str:
        text = content.decode(errors="replace")
        if len(content) <= layout.FILE_BYTES and not is_secret_file(path, content) and "\0" not in text:
            return self._redactor.text(text)
        if is_secret_file(path, content):
            return "(removed: a secret)\n"
        return f"(left out: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()})\n"

    def _texts(self) -> Iterator[str]:
        """Every version of every module, in which places of secrets are named."""
        for module in self._store.modules():
            for version in self._store.versions(module):
                for content in self._store.version_files(module, version.number).values():
                    yield content[: layout.FILE_BYTES].decode(errors="replace")

    def _logs(self) -> Files:
        for path in sorted(self._settings.log.glob("*.log*"))[: layout.LOGS]:
            if path.is_file() and not path.is_symlink():
                yield f"logs/{path.name}", self._redactor.text(_tail(path))

    def _journal(self) -> None:
        """From the newest entry back, as far as there is room and time."""
        parts: list[bytes] = []
        size_bytes = 0
        for lines in _batches(walk_back(self._history)):
            text = "".join(reversed([self._line(one) for one in lines])).encode()
            member = packed(text)
            room = size_bytes + len(text) <= layout.JOURNAL_BYTES and len(member) <= self._left_bytes
            if not room or self._is_late:
                self._left_out.append(f"{layout.JOURNAL}: what is older than its first entry")
                break
            self._left_bytes -= len(member)
            size_bytes += len(text)
            parts.append(member)
        head = packed(layout.head(f"{layout.NODES}/{self._gathered.node}/{layout.JOURNAL}", size_bytes))
        self._members += [head, *reversed(parts), packed(layout.padding(size_bytes))]

    def _line(self, row: dict[str, Any]) -> str:
        return json.dumps({**row, "body": self._redactor.document(row["body"])}, ensure_ascii=False) + "\n"


def _batches(rows: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size_bytes = 0
    for row in rows:
        batch.append(asdict(row))
        size_bytes += len(row.body) + 200
        if size_bytes >= JOURNAL_PART_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _tail(path: Path) -> str:
    """Whole lines of its end."""
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(size_bytes - layout.LOG_BYTES, 0))
        text = file.read(layout.LOG_BYTES).decode(errors="replace")
    return text if size_bytes <= layout.LOG_BYTES else text.partition("\n")[2]


def _document(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
