"""From requests to answers: who asks, may they, what is decided; kept on the disk before it is said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from safekit_sdk import ConfigError, PeerError
from safekit_witness import messages
from safekit_witness.leases import GUARD, MAX_CLUSTERS, Entry, Leases
from safekit_witness.limits import Allowance
from safekit_witness.messages import Answer, Failed, Reply, Request
from safekit_witness.store import KeepError, Store

log = logging.getLogger("safekit-witness")
SAY_AGAIN_S: Final = 10.0
"""How often the log repeats what goes on."""


class Shown(BaseModel):
    """One module, for people and scripts."""

    cluster: str
    module: str = ""
    """Empty for a cluster that has none yet."""
    holder: str = ""
    """Empty when no node has it."""
    epoch: int = 0
    seconds_left: float | None = None
    """Until another node may have it; absent when the witness does not run."""
    admitted: bool = True
    """Whether the cluster may ask."""


@dataclass(frozen=True, slots=True)
class Work:
    place: int
    cluster: str
    request: Request


class Service:
    """Everything but sockets. `clock` is monotonic, in seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._clients = store.clients()
        self._leases = Leases(clock())
        for row in store.leases():
            self._leases.restore(*row)
        self._allowances: dict[str, Allowance] = {}
        self._said_s: dict[str, float] = {}
        self._failing = False

    def admits(self, key: str) -> bool:
        if key in self._clients:
            return True
        self._say("stranger", f"refused a connection: the key {key[:8]}… belongs to no cluster that was admitted")
        return False

    def answer(self, received: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """The answer to each (key, request), None where there is none: the sender is expelled, or asks too much. All of
        them are one transaction."""
        answers: dict[int, Answer] = {}
        work: list[Work] = []
        for place, (key, data) in enumerate(received):
            cluster = self._clients.get(key)
            if cluster is None or not self._may_ask(cluster):
                continue
            try:
                request = messages.decode(messages.REQUEST, data, messages.MAX_REQUEST_BYTES)
                work.append(Work(place, cluster, request))
            except PeerError as error:
                self._say(f"malformed {cluster}", f"refused a message of cluster '{cluster}': {error.message}")
                answers[place] = Answer(id="", reply=Failed(reason=error.message))
        for one, reply in zip(work, self._decide(work), strict=True):
            answers[one.place] = Answer(id=one.request.id, reply=reply)
        return [messages.encode(answers[place]) if place in answers else None for place in range(len(received))]

    def _may_ask(self, cluster: str) -> bool:
        now_s = self._clock()
        allowance = self._allowances.setdefault(cluster, Allowance(now_s))
        if allowance.take(now_s):
            return True
        if self._is_time(f"flood {cluster}"):
            log.warning("cluster '%s' asks too much: %d requests dropped", cluster, allowance.take_refused())
        return False

    def _decide(self, work: Sequence[Work]) -> list[Reply]:
        replies: list[Reply] = []
        before: dict[tuple[str, str], Entry | None] = {}
        kept: dict[tuple[str, str], Entry] = {}
        for one in work:
            place = (one.cluster, one.request.module)
            outcome = self._leases.decide(*place, one.request.event, self._clock())
            before.setdefault(place, self._leases.get(*place))
            self._leases.accept(*place, outcome.entry)
            if outcome.must_keep and outcome.entry is not None:
                kept[place] = outcome.entry
            replies.append(outcome.reply)
        try:
            if kept:
                self._store.keep([(*place, entry.record) for place, entry in kept.items()])
                self._recovered()
        except KeepError as error:
            for place, former in before.items():
                self._leases.accept(*place, former)
            return self._one_by_one(work, error)
        return replies

    def _one_by_one(self, work: Sequence[Work], error: KeepError) -> list[Reply]:
        """What needs no disk is still answered; the rest is refused, with the reason."""
        self._failing = True
        self._say("disk", f"no lease is given: {error}", logging.ERROR)
        if len(work) == 1:
            return [Failed(reason=error.message)]
        return [reply for one in work for reply in self._decide([one])]

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            self._said_s.pop("disk", None)
            log.info("leases can be given again")

    def _say(self, topic: str, text: str, level: int = logging.WARNING) -> None:
        if self._is_time(topic):
            log.log(level, "%s", text)

    def _is_time(self, topic: str) -> bool:
        """Whether the topic has been silent for SAY_AGAIN_S. There are as many topics as clusters, and two."""
        now_s = self._clock()
        if now_s < self._said_s.get(topic, -SAY_AGAIN_S) + SAY_AGAIN_S:
            return False
        self._said_s[topic] = now_s
        return True

    # -- the operator

    def admit(self, cluster: str, public_key: str) -> None:
        """ConfigError when it is admitted already, or there are too many; KeepError."""
        if cluster in self._clients.values():
            hint = f"`safekit-witness expel {cluster}` first, if its token is lost or known to others"
            raise ConfigError(f"the cluster '{cluster}' is admitted already", hint=hint)
        if len(self._clients) >= MAX_CLUSTERS:
            raise ConfigError(f"{MAX_CLUSTERS} clusters are admitted, which is the limit", hint="expel one")
        self._store.admit(cluster, public_key)
        self._clients[public_key] = cluster
        log.info("cluster '%s' is admitted", cluster)

    def expel(self, cluster: str, *, forget: bool) -> None:
        """ConfigError when it is not known, or forgetting its leases could give one twice; KeepError."""
        entries = [entry for name, _, entry in self._leases.all() if name == cluster]
        if cluster not in self._clients.values() and not (forget and entries):
            raise ConfigError(f"there is no cluster '{cluster}'", hint="`safekit-witness show` lists them")
        if forget and any(entry.record.node and self._clock() < entry.until_s for entry in entries):
            wait_s = max(GUARD * entry.record.ttl_s for entry in entries)
            raise ConfigError(
                f"a lease of '{cluster}' still counts, so its epochs cannot be forgotten",
                hint=f"stop its modules, or expel it without --forget and forget it {wait_s:.0f} s later",
            )
        self._store.expel(cluster, forget=forget)
        self._clients = {key: name for key, name in self._clients.items() if name != cluster}
        self._allowances.pop(cluster, None)
        if forget:
            self._leases.forget(cluster)
        log.info("cluster '%s' is expelled%s", cluster, " and forgotten" if forget else "")

    def show(self, *, running: bool) -> list[Shown]:
        now_s = self._clock()
        shown = []
        for cluster, module, entry in self._leases.all():
            left_s = round(max(0.0, entry.until_s - now_s), 1) if entry.record.node else 0.0
            shown.append(
                Shown(
                    cluster=cluster,
                    module=module,
                    holder=entry.record.node,
                    epoch=entry.record.epoch,
                    seconds_left=left_s if running else None,
                    admitted=cluster in self._clients.values(),
                )
            )
        idle = set(self._clients.values()) - {one.cluster for one in shown}
        return sorted([*shown, *(Shown(cluster=name) for name in idle)], key=lambda one: (one.cluster, one.module))
