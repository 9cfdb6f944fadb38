"""userconfig.xml: the module, its heartbeat, its scripts. The parts that are long have files of their own."""

from __future__ import annotations

from typing import Final

from safekit.importing.account import Account
from safekit.importing.draft import Conversion, Draft, plain_name, seconds
from safekit.importing.source import Source
from safekit.importing.userconfig.addresses import Addresses
from safekit.importing.userconfig.checks import Checks
from safekit.importing.userconfig.failover import Failover
from safekit.importing.userconfig.part import Part
from safekit.importing.userconfig.processes import Processes
from safekit.importing.userconfig.replication import Replication
from safekit.importing.userconfig.words import Words
from safekit.importing.xml import Element
from safekit_sdk import ConfigError, Duration

KINDS: Final = ("mirror", "farm", "light")
MODULES: Final = "/etc/safekit/modules"
MAX_LOOPS: Final = 1000
_STOP_PART: Final = 0.8
"""What a script is given of its timeout here."""
_SILENT: Final = (
    ("heart", "timeout", "SafeKit waits 30s for a lost node, safekit 1s: heartbeat: {lost_after: 30s} is what it was"),
    (
        "failover",
        "handle_time",
        "SafeKit waits 15s before an action, safekit acts at once: handle_time: 15s is what it was",
    ),
)


def convert(source: Source, root: Element, account: Account, name: str) -> Conversion:
    words = Words(source, account)
    words.define(root)
    service = next((element for element in root.walk() if element.tag == "service"), None)
    if service is None:
        raise ConfigError("there is no <service>", where=source.where(root.place), hint="is this a userconfig.xml?")
    draft = Draft(plain_name(name), {})
    _Module(words, account, draft).read(root, service)
    names = {key: value for key, value in words.used.items() if key not in draft.content.get("variables", {})}
    for key, value in names.items():
        draft.put(f"variables.{key}", value)
    return Conversion("safekit", source.filename, (draft,), account.findings(), (), tuple(_notes(root, draft)))


class _Module(Part):
    def read(self, root: Element, service: Element) -> None:
        self._service(service)
        for element in root.walk():
            if element.tag in {"safe", "service"}:
                self.account.holds(element)
            elif element.tag == "heart":
                self._heart(element)
            elif element.tag == "farm":
                self._farm(element)
            elif element.tag == "vhost":
                self._vhost(element)
        self._steps(root)
        self._after(root)
        self._lease()
        for element in root.walk():
            if element.tag == "macro":
                self._macro(element)

    def _steps(self, root: Element) -> None:
        """In the order in which SafeKit starts them: data, addresses, scripts."""
        flow = _flow(root)
        for element in root.walk():
            if element.tag == "rfs":
                Replication(self.words, self.account, self.draft).read(element, flow)
        for element in root.walk():
            if element.tag == "vip":
                Addresses(self.words, self.account, self.draft).read(element)
        for element in root.walk():
            if element.tag == "user":
                self._user(element)

    def _after(self, root: Element) -> None:
        for element in root.walk():
            if element.tag == "errd":
                Processes(self.words, self.account, self.draft).read(element)
            elif element.tag == "check":
                Checks(self.words, self.account, self.draft).read(element)
        for element in root.walk():
            if element.tag == "failover":
                Failover(self.words, self.account, self.draft).read(element)

    def _lease(self) -> None:
        """A witness's lease has to outlive a loss four times."""
        lost = self.draft.content.get("heartbeat", {}).get("lost_after")
        if lost is not None and "witness" in self.draft.content:
            lease_s = max(4 * Duration.parse(lost).seconds, 4.0)
            self.draft.content["witness"]["ping"]["lease"] = seconds(lease_s)

    def _service(self, service: Element) -> None:
        mode = self.value(service, "mode") or "mirror"
        if mode not in KINDS:
            place = self.words.source.where(service.attributes["mode"].place)
            raise ConfigError(f"'{mode[:40]}' is no kind of module", where=place, hint=", ".join(KINDS))
        self.carry(service, "mode", self.draft.put("kind", mode))
        self._boot(service)
        self._default_primary(service, mode)
        loops = self.words.number(service.attributes.get("maxloop"), 1, MAX_LOOPS)
        if loops is not None:
            self.carry(service, "maxloop", self.draft.put("max_loops", loops))
        interval = self.words.span(service.attributes.get("loop_interval"), "h")
        if interval is not None:
            self.carry(service, "loop_interval", self.draft.put("loop_interval", interval))
        off = "it is no setting of a file: it is switched on the running module"
        self.judge(
            service, "failover", ("on",), "failover is on", off, f"safekit module failover {self.draft.name} off"
        )
        reboot = "a node is not rebooted for a stuck module; a witness or a fence step rules out that both run it"
        self.judge(
            service, "automatic_reboot", ("off",), "nodes are not rebooted", reboot, "see docs: Fence a lost node"
        )

    def _boot(self, service: Element) -> None:
        boot = self.value(service, "boot") or "ignore"
        if boot in {"on", "off", "auto"}:
            self.carry(service, "boot", self.draft.put("boot", boot))
        self.judge(service, "boot", ("ignore",), "boot: auto: started with the machine if it was before", "unknown")
        delay = "a module is started as soon as the daemon runs"
        self.judge(
            service, "boot_delay", ("0", "0s"), "there is no delay", delay, "order it by systemd: After= in its unit"
        )

    def _default_primary(self, service: Element, mode: str) -> None:
        primary = self.value(service, "defaultprim")
        if primary in {"", "alone"}:
            self.judge(service, "defaultprim", ("alone",), "it stays where it is")
        elif primary == "lastprim":
            self.judge(service, "defaultprim", ("lastprim",), "the node with the newest data goes on")
        elif mode == "mirror":
            key = self.draft.put("default_primary", self.written(service.attributes["defaultprim"]))
            self.carry(service, "defaultprim", key, todo="it has to be the node's name in this cluster")

    def _heart(self, heart: Element) -> None:
        self.account.holds(heart)
        self._heartbeat(heart, self.words.span_s(heart.attributes.get("timeout"), "ms"), "timeout")
        self.judge(heart, "permanent_arp", (), "the nodes are known by their keys, not by hardware addresses")
        for network in heart.each("heartbeat"):
            self.account.implied(network, "heartbeats take every network of the cluster")
            for name in ("name", "ident"):
                if not (name == "ident" and self.value(network, "ident") == "flow"):
                    self.judge(network, name, (), "heartbeats take every network of the cluster")

    def _heartbeat(self, element: Element, lost_s: float | None, told_by: str) -> None:
        """At least three intervals are needed; what is shorter is stretched."""
        pulse = element.attributes.get("pulse")
        pulse_s = self.words.span_s(pulse, "ms")
        if pulse_s is not None and pulse is not None and not 0.01 <= pulse_s <= 60:
            self.account.lost(pulse, "an interval is from 10ms to 60s", "choose one")
            pulse_s = None
        if pulse_s is not None:
            self.carry(element, "pulse", self.draft.put("heartbeat.interval", seconds(pulse_s)))
            lost_s = max(lost_s or 1.0, 3 * pulse_s)
        if lost_s is not None:
            lost_s = max(lost_s, 3 * (pulse_s or 0.1))
            self.carry(element, told_by, self.draft.put("heartbeat.lost_after", seconds(lost_s)))

    def _farm(self, farm: Element) -> None:
        self.account.holds(farm)
        counts = [self.words.number(farm.attributes.get(f"{who}lost_count"), 1, 100_000) for who in "ms"]
        given = [count for count in counts if count is not None]
        pulse_s = self.words.span_s(farm.attributes.get("pulse"), "ms") or 0.1
        told_by = "mlost_count" if counts[0] is not None else "slost_count"
        self._heartbeat(farm, max(given) * pulse_s if given else None, told_by)
        if None not in counts:
            key = f"{self.draft.name}: heartbeat.lost_after"
            self.carry(farm, "slost_count", key, why="no node is a leader here: one time holds for all, the longer one")
        for lan in farm.each("lan"):
            self.account.implied(lan, "heartbeats take every network of the cluster")
            self.judge(lan, "name", (), "heartbeats take every network of the cluster")

    def _user(self, user: Element) -> None:
        settings: dict[str, object] = {"scripts": f"{MODULES}/{self.draft.name}/bin"}
        for name, key in (("nicestoptimeout", "stop_timeout"), ("forcestoptimeout", "force_stop_timeout")):
            span_s = self.words.span_s(user.attributes.get(name), "s")
            settings[key] = None if span_s is None else seconds(span_s / _STOP_PART)
        settings["log_size_kb"] = self.words.number(user.attributes.get("userlogsize"), 1, 1 << 20)
        key = self.draft.add("pipeline", "service", settings)
        todo = (
            f"copy the module's bin directory to {MODULES}/{self.draft.name}/bin before `safekit apply`, and look at "
        )
        todo += "each script: `safekit` in it is SafeKit's command, with other words than ours"
        self.account.carried(user, f"{key}.scripts", todo=todo)
        stop = "a script is given four fifths of it"
        self.carry(user, "nicestoptimeout", f"{key}.stop_timeout", why=stop)
        self.carry(user, "forcestoptimeout", f"{key}.force_stop_timeout", why=stop)
        self.carry(user, "userlogsize", f"{key}.log_size_kb")
        quiet = "what scripts print is always kept, in user.log"
        self.judge(user, "logging", ("userlog",), "what scripts print is in user.log", quiet)
        for var in user.each("var"):
            self._var(var)

    def _var(self, var: Element) -> None:
        name, value = self.value(var, "name"), var.attributes.get("value")
        if not name or value is None or not name.isascii() or not name.isidentifier():
            self.lose(var, "a variable needs a name of letters, digits and _, and a value")
            return
        key = self.draft.put(f"variables.{name}", self.words.text(value))
        self.account.holds(var)
        for attribute in ("name", "value"):
            self.carry(var, attribute, key)

    def _vhost(self, vhost: Element) -> None:
        why = "no program is given another host name here"
        self.lose(
            vhost,
            why,
            todo="let the application listen on the virtual address, or run it in a container with that name",
        )

    def _macro(self, macro: Element) -> None:
        name = self.value(macro, "name")
        kept = name in self.words.used or name in self.draft.content.get("variables", {})
        to = f"{self.draft.name}: variables.{name}" if kept else "its value, where it is used"
        self.account.holds(macro)
        for attribute in ("name", "value"):
            self.carry(macro, attribute, to)


def _flow(root: Element) -> Element | None:
    """The network that also carries replication."""
    beats = (element for element in root.walk() if element.tag == "heartbeat")
    return next((beat for beat in beats if beat.get("ident") == "flow"), None)


def _notes(root: Element, draft: Draft) -> list[str]:
    """Where the file is silent our defaults hold; which of them are others than SafeKit's."""
    elements = list(root.walk())
    given = {(element.tag, name) for element in elements for name in element.attributes}
    mirror = draft.content["kind"] == "mirror"
    found = [note for tag, name, note in _SILENT if (tag, name) not in given and (mirror or tag != "heart")]
    if mirror and "witness" not in draft.content:
        found.append(
            "SafeKit takes over when all heartbeats are lost, and both nodes run when only the network failed. Here "
            "isolation: safety holds: nothing takes over then by itself. Add a witness; or isolation: availability is "
            "what it was"
        )
    return found
