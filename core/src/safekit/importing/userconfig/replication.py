"""`<rfs>`: a step for each replicated directory."""

from __future__ import annotations

from typing import Final

from safekit.importing.userconfig.part import Part
from safekit.importing.xml import Element

_TUNING: Final = {
    "packetsize": "blocks have a size of their own",
    "reipacketsize": "blocks have a size of their own",
    "ruzone_blocksize": "what may differ is known in zones of 4 MiB",
    "nbrei": "a resynchronisation reads ahead by itself",
    "namespacepolicy": "names are replicated in order with the data",
    "reitimeout": "a resynchronisation goes on where it was",
    "reicommit": "checkpoints put everything on both disks",
    "nbremconn": "there is one ordered stream",
    "checkintv": "the data path is watched all the time",
    "checktime": "the data path is watched all the time",
    "locktimeout": "locks are the kernel's",
    "mountoversuffix": "the directory keeps its place and name",
}
_NO_SCHEDULE: Final = "the data are kept equal all the time, and after a crash only what may differ is compared"


class Replication(Part):
    def read(self, rfs: Element, flow: Element | None) -> None:
        self.account.holds(rfs)
        bandwidth = self.words.number(rfs.attributes.get("reiallowedbw"), 0, 1 << 40)
        timeout = self.words.span(rfs.attributes.get("sendtimeout"), "s")
        network = self.value(flow, "name") if flow is not None else ""
        for replicated in rfs.each("replicated"):
            self._directory(rfs, replicated, bandwidth, timeout, network, flow)
        for name, why in _TUNING.items():
            self.judge(rfs, name, (), why)
        self._modes(rfs)

    def _directory(
        self, rfs: Element, one: Element, bandwidth: int | None, timeout: str | None, network: str, flow: Element | None
    ) -> None:
        directory = self.value(one, "dir")
        if not directory.startswith("/") or directory == "/" or ".." in directory.split("/"):
            self.lose(one, "a directory below / is needed", todo="write a step: rfs: {directory: /srv/data}")
            return
        exclude: list[str] = []
        key = self.draft.add(
            "pipeline",
            "rfs",
            {
                "directory": self.written(one.attributes["dir"]),
                "network": network or None,
                "bandwidth": None if bandwidth is None else f"{bandwidth}K",
                "timeout": timeout,
                "exclude": exclude,
            },
        )
        self.account.holds(one)
        self.carry(one, "dir", f"{key}.directory")
        self.carry(rfs, "reiallowedbw", f"{key}.bandwidth")
        self.carry(
            rfs, "sendtimeout", f"{key}.timeout", todo="safekit's own is 10s: writes wait so long for a lost node"
        )
        if flow is not None:
            self.carry(flow, "ident", f"{key}.network", todo=f"the cluster has to have a network '{network}'")
        self.judge(one, "mode", (), "on the secondary the directory is read-only, and shows no files")
        self._left_out(one, directory, key, exclude)
        if not exclude:
            self.draft.content["pipeline"][-1]["rfs"].pop("exclude")

    def _left_out(self, one: Element, directory: str, key: str, exclude: list[str]) -> None:
        for element in one.each("notreplicated"):
            self.account.holds(element)
            path = self.value(element, "path")
            pattern = path.removeprefix(f"{directory.rstrip('/')}/").strip("/")
            if "regexpath" in element.attributes:
                self.lose(
                    element,
                    "exclude has patterns of a shell, no regular expressions",
                    "regexpath",
                    todo="exclude: ['*.tmp']",
                )
            if path.startswith("!"):
                self.lose(element, "there is no 'only this'", "path", todo="replicate that directory itself")
            elif pattern:
                exclude.append(pattern.replace("%", "%%"))
                self.carry(element, "path", f"{key}.exclude[{len(exclude) - 1}]")
        for element in one.each("tocheck"):
            self.account.holds(element)
            self.judge(element, "path", (), "the directory itself has to be there, or the start fails")

    def _modes(self, rfs: Element) -> None:
        key = f"{self.draft.name}: pipeline[…].rfs.mode"
        if (mode := rfs.attributes.get("async")) is not None:
            why = "mode: write acknowledges when the other node has received it; fsync waits for both disks"
            self.account.carried(mode, key, why=why)
        acl = "access control lists are replicated with the rest"
        self.judge(rfs, "acl", (), acl)
        self.judge(
            rfs, "scripts", ("off",), "no scripts are run", "no scripts are run for a directory", "use rules and hooks"
        )
        self.judge(rfs, "syncdelta", ("0", "0m", "0s"), _NO_SCHEDULE, _NO_SCHEDULE)
        self.judge(rfs, "syncat", (), _NO_SCHEDULE)
