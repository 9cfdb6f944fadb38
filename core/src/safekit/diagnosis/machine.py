"""What the machines lack: room on disks, rights, files, system parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from safekit.diagnosis.facts import ClusterFacts, DiskFacts, NodeFacts
from safekit.diagnosis.finding import ALARM, NOTE, WARNING, Finding, Severity, size, span

FULL_BYTES: Final = 16 << 20
"""Less room than this is none: the history alone writes that much in a busy hour."""
NARROW_BYTES: Final = 64 << 20
AMPLE_BYTES: Final = 2 << 30
"""With this much free no percentage is a reason to worry."""
NARROW: Final = 0.10
CERTIFICATE_S: Final = 30 * 86400.0
_RECORDED: Final = "a node that cannot record its role does not start a module, and does not take over"


def check_disks(cluster: ClusterFacts) -> Iterator[Finding]:
    for node, machine in cluster.machines:
        for disk in machine.disks:
            if disk.read_only:
                yield _disk(ALARM, "disk-read-only", node, f"the disk of {disk.path} is read-only", disk)
            elif disk.total_bytes and (found := _room(disk)) is not None:
                severity, said = found
                yield _disk(severity, "disk-nearly-full", node, said, disk)


def check_unread(cluster: ClusterFacts) -> Iterator[Finding]:
    for facts in cluster.answered:
        if facts.unread:
            yield Finding(
                severity=ALARM,
                name="disk-fails",
                what=f"its disk did not give what was asked for, or not in time ({', '.join(facts.unread)})",
                why=_RECORDED,
                mend="look at `dmesg` and the disk; `safekit status` shows whether safekitd has an alarm of it",
                nodes=(facts.node,),
            )


def _room(disk: DiskFacts) -> tuple[Severity, str] | None:
    part = disk.free_bytes / disk.total_bytes
    said = f"the disk of {disk.path} is {100 * (1 - part):.0f} % full: {size(disk.free_bytes)} are free"
    if disk.free_bytes < FULL_BYTES:
        return ALARM, said
    if disk.files and disk.files_free < 0.02 * disk.files:
        return WARNING, f"the disk of {disk.path} takes only {disk.files_free} files more"
    if disk.free_bytes < NARROW_BYTES or (part < NARROW and disk.free_bytes < AMPLE_BYTES):
        return WARNING, said
    return None


def _disk(severity: Severity, name: str, node: str, what: str, disk: DiskFacts) -> Finding:
    mend = (
        f"`mount -o remount,rw` after a look at `dmesg`: {disk.path}" if disk.read_only else f"make room: {disk.path}"
    )
    return Finding(severity=severity, name=name, what=what, why=_RECORDED, mend=mend, nodes=(node,))


def check_files(cluster: ClusterFacts) -> Iterator[Finding]:
    """Safekit's own: a daemon that runs has read them and would not start with them again."""
    for node, machine in cluster.machines:
        for file in machine.files:
            yield Finding(
                severity=ALARM,
                name="own-file",
                what=file.trouble,
                why="safekitd does not start with it",
                mend=file.mend or "restore it, or let the node join again",
                nodes=(node,),
            )


def check_alarms(cluster: ClusterFacts) -> Iterator[Finding]:
    """What the daemon itself calls an alarm at this moment."""
    for facts in cluster.answered:
        for text in facts.process.alarms:
            yield Finding(
                severity=ALARM,
                name="daemon-alarm",
                what=text,
                why="the daemon of this node says so, now",
                mend=f"mend what it names; `safekit log --on {facts.node}` shows since when",
                nodes=(facts.node,),
            )


def check_lacks(cluster: ClusterFacts) -> Iterator[Finding]:
    for node, machine in cluster.machines:
        for module, sentences in machine.lacks.items():
            for sentence in sentences:
                yield Finding(
                    severity=WARNING,
                    name="machine-lacks",
                    what=sentence,
                    why="a start of the module on this machine would fail, or meet a surprise",
                    mend=f"do what it says; `safekit plan {module}` looks again",
                    nodes=(node,),
                    module=module,
                )


def check_limits(cluster: ClusterFacts) -> Iterator[Finding]:
    for facts in cluster.answered:
        if not facts.process.realtime_wanted:
            yield _limit(
                NOTE,
                "realtime-off",
                facts,
                "real-time priority and locked memory are switched off",
                "remove SAFEKIT_REALTIME=0 from the environment of safekitd",
            )
            continue
        if not facts.process.realtime:
            yield _limit(
                WARNING,
                "no-realtime",
                facts,
                "safekitd has no real-time priority: it was not granted",
                "run it as root with CAP_SYS_NICE (in a container: `--cap-add SYS_NICE`)",
            )
        if not facts.process.locked:
            yield _limit(
                WARNING,
                "memory-not-locked",
                facts,
                "safekitd's memory is not locked: it was not granted",
                "`LimitMEMLOCK=infinity` in its unit (how-to: On real servers)",
            )


def _limit(severity: Severity, name: str, facts: NodeFacts, what: str, mend: str) -> Finding:
    why = "on a busy machine heartbeats may be late, and a late one looks like a lost node"
    return Finding(severity=severity, name=name, what=what, why=why, mend=mend, nodes=(facts.node,))


def check_certificates(cluster: ClusterFacts) -> Iterator[Finding]:
    for node, machine in cluster.machines:
        for found in machine.certificates:
            left_s = found.expires - cluster.asked_wall
            if left_s > CERTIFICATE_S:
                continue
            when = f"ended {span(-left_s)} ago" if left_s < 0 else f"ends in {span(left_s)}"
            yield Finding(
                severity=ALARM if left_s < 0 else WARNING,
                name="certificate-expires",
                what=f"the certificate {found.path} {when}",
                why="who asks with it, or is asked, is then refused",
                mend="renew it on this node",
                nodes=(node,),
                module=found.module,
            )
