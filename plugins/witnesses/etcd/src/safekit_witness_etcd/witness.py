"""A lease for one module in an etcd cluster: two keys, each change of them one transaction."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from safekit_sdk import ConfigError, Context, Lease, ModuleKind, PeerError, Refusal, Witness
from safekit_witness_etcd import wire
from safekit_witness_etcd.config import EtcdConfig
from safekit_witness_etcd.decision import Deny, Give, Seen, to_acquire, to_renew
from safekit_witness_etcd.gateway import Gateway, SaidNoError
from safekit_witness_etcd.tls import problems
from safekit_witness_etcd.wire import A, Granted, Holder, KeyValue, Last, TimeToLive, TxnAnswer

TRIES: Final = 5
"""How often one call may lose the race against another's transaction. All races are of this node with itself, or with
a node that then has the lease, so it is not often."""
_H = TypeVar("_H", bound=Holder)


def to_ask_s(lease_s: float) -> int:
    """The seconds of etcd's lease: a tenth more, so that its clock may run fast, or ours slow, by that."""
    return math.ceil(lease_s * 11 / 10)


def to_hold_s(lease_s: float, granted_s: int) -> float:
    """The seconds of the right to run, when etcd gave so many: what it answers counts, not what was asked."""
    return min(lease_s, granted_s * 10 / 11)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the witness: the keys of its module, and when it ends."""

    holder_key: str
    last_key: str
    deadline_s: float

    def looks(self) -> list[dict[str, Any]]:
        return [wire.get(self.holder_key), wire.get(self.last_key)]


class EtcdWitness(Witness[EtcdConfig], api=1):
    """A lease for each module in an etcd cluster, with an epoch that only grows."""

    def __init__(self, config: EtcdConfig, context: Context) -> None:
        super().__init__(config, context)
        self._gateway = Gateway(config)

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease | Refusal:
        return await self._take(self._begin(module), lambda seen: to_acquire(seen, node, epoch, after))

    async def renew(self, module: str, node: str, epoch: int) -> Lease | Refusal:
        return await self._take(self._begin(module), lambda seen: to_renew(seen, node, epoch))

    async def release(self, module: str, node: str, epoch: int) -> None:
        call = self._begin(module)
        seen = await self._look(call)
        for _ in range(TRIES):
            if seen.last is None or not seen.is_current(node, epoch):
                return
            over = seen.last.model_copy(update={"released": True})
            changes = [wire.put(call.last_key, over), wire.delete(call.holder_key)]
            answer = await self._transact(call, [wire.unchanged(call.last_key, seen.last_mod)], changes)
            if answer.succeeded:
                return
            seen = _read(call, answer)
        raise _lost_races()

    async def probe(self, module: str, node: str) -> str:  # noqa: ARG002 - all nodes see the same
        call = self._begin(module)
        seen = await self._look(call)
        if seen.holder:
            left_s = await self._left_s(call, seen.lease)
            return f"{seen.holder.node} has it, with epoch {seen.holder.epoch}, for {left_s} s more"
        if seen.last:
            return f"nobody has it; {seen.last.node} had it last, with epoch {seen.last.epoch}"
        return "nobody has had it yet"

    async def close(self) -> None:
        await self._gateway.close()

    async def _take(self, call: _Call, decide: Callable[[Seen], Give | Deny]) -> Lease | Refusal:
        """A lease of etcd's for this one call, and a transaction that gives it to the holder's key.

        When the key has our lease although the transaction did not succeed, it had happened before: its answer was
        lost, and it was sent again."""
        granted: Granted | None = None
        seen = await self._look(call)
        for _ in range(TRIES):
            if granted and seen.holder and seen.lease == granted.id:
                return Lease(seen.holder.epoch, to_hold_s(self.config.lease.seconds, granted.ttl_s))
            wanted = decide(seen)
            if isinstance(wanted, Deny):
                return await self._refuse(call, seen, wanted)
            granted = granted or await self._grant(call)
            answer = await self._write(call, seen, wanted, granted.id)
            if answer.succeeded:
                return Lease(wanted.holder.epoch, to_hold_s(self.config.lease.seconds, granted.ttl_s))
            seen = _read(call, answer)
        raise _lost_races()

    async def _refuse(self, call: _Call, seen: Seen, deny: Deny) -> Refusal:
        """How long to wait is at most `lease`, so that whoever waits asks again when its holder did not renew."""
        left_s = await self._left_s(call, seen.lease) if seen.holder else 0
        return Refusal(deny.reason, min(float(left_s), self.config.lease.seconds))

    async def _left_s(self, call: _Call, lease: int) -> int:
        """For people, so an approximation: in whole seconds, and the whole lease when it cannot be asked."""
        most_s = to_ask_s(self.config.lease.seconds)
        try:
            answer = await self._call(call, "/v3/lease/timetolive", {"ID": str(lease)}, TimeToLive)
        except PeerError:
            return most_s
        return max(0, min(answer.ttl_s, most_s))

    async def _grant(self, call: _Call) -> Granted:
        """Never kept alive and never used twice; what is not used any more runs out by itself."""
        return await self._call(call, "/v3/lease/grant", {"TTL": str(to_ask_s(self.config.lease.seconds))}, Granted)

    async def _write(self, call: _Call, seen: Seen, wanted: Give, lease: int) -> TxnAnswer:
        since = [wire.unchanged(call.holder_key, seen.holder_mod), wire.unchanged(call.last_key, seen.last_mod)]
        changes = [wire.put(call.holder_key, wanted.holder, lease)]
        if wanted.last:
            changes.append(wire.put(call.last_key, wanted.last))
        return await self._transact(call, since, changes)

    async def _look(self, call: _Call) -> Seen:
        return _read(call, await self._transact(call, [], call.looks()))

    async def _transact(self, call: _Call, since: list[dict[str, Any]], changes: list[dict[str, Any]]) -> TxnAnswer:
        body = {"compare": since, "success": changes, "failure": call.looks()}
        return await self._call(call, "/v3/kv/txn", body, TxnAnswer)

    async def _call(self, call: _Call, path: str, body: dict[str, Any], model: type[A]) -> A:
        try:
            return await self._gateway.call(path, body, model, call.deadline_s)
        except SaidNoError as error:
            raise PeerError(f"etcd refuses {path}: {error}", hint="see etcd's log") from None

    def _begin(self, module: str) -> _Call:
        base = f"{self.config.prefix}{module}"
        end_s = asyncio.get_running_loop().time() + self.config.patience_s
        return _Call(f"{base}/holder", f"{base}/last", end_s)

    @classmethod
    def ident(cls, config: EtcdConfig) -> str:
        """`etcd-` and the first endpoint's host."""
        host = urlsplit(config.endpoints[0]).hostname or ""
        return config.name or f"etcd-{host}"[:63]

    @classmethod
    def preflight(cls, config: EtcdConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        return problems(config)


def _lost_races() -> PeerError:
    return PeerError(f"the keys in etcd changed {TRIES} times during one call", hint="try again")


def _read(call: _Call, answer: TxnAnswer) -> Seen:
    """What both keys are. ConfigError when something else wrote them."""
    if len(answer.responses) != 2:
        raise PeerError("etcd answered a transaction with something else than was asked", hint="see etcd's log")
    holder, last = (next(iter(one.response_range.kvs), None) for one in answer.responses)
    return Seen(
        revision=answer.header.revision,
        holder=_value(call.holder_key, holder, Holder),
        holder_mod=holder.mod_revision if holder else 0,
        lease=holder.lease if holder else 0,
        last=_value(call.last_key, last, Last),
        last_mod=last.mod_revision if last else 0,
    )


def _value(key: str, found: KeyValue | None, model: type[_H]) -> _H | None:
    try:
        return model.model_validate_json(found.value) if found else None
    except ValidationError:
        raise ConfigError(
            f"the key {key} in etcd has a value that is not this witness's",
            hint="choose another prefix; or, when no node runs the module, delete the key",
        ) from None
