"""The checks of a real server, as checkers of the farm: each node asks itself."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from safekit.importing.account import Account
from safekit.importing.draft import Draft, seconds
from safekit.importing.keepalived.syntax import Statement

_TIMES: Final = {
    "warmup": "checks begin at a random time of their own",
    "delay_before_retry": "a checker asks again at its interval",
    "bindto": "a node asks itself",
    "bind_if": "a node asks itself",
    "bind_port": "a node asks itself",
    "fwmark": "a node asks itself",
    "alpha": "a node serves when its checkers are up",
    "log_all_failures": "every verdict is in the journal",
}
_STATUS: Final = re.compile(r"[1-5][0-9]{2}(-[1-5][0-9]{2})?")


class Checks:
    def __init__(self, account: Account, draft: Draft, virtual: Statement, server: Statement, port: int) -> None:
        self._account = account
        self._draft = draft
        self._virtual = virtual
        self._server = server
        self._port = port

    def read(self, check: Statement) -> None:
        made = {
            "TCP_CHECK": self._tcp,
            "SMTP_CHECK": self._smtp,
            "HTTP_GET": self._http,
            "SSL_GET": self._http,
            "MISC_CHECK": self._misc,
            "DNS_CHECK": self._dns,
        }.get(check.key)
        if made is None:
            self._lose(check, "a node that checks itself has no use for it, or it has no counterpart")
            return
        made(check)

    def _tcp(self, check: Statement) -> None:
        self._add(check, "tcp", {"port": self._asked_port(check)})

    def _smtp(self, check: Statement) -> None:
        if check.first("host") is not None:
            self._lose(check.first("host") or check, "a node asks itself only")
        key = self._add(check, "tcp", {"port": self._asked_port(check), "expect": "220"})
        self._of(check, "helo_name", key, lost="the greeting is read, nothing is said")

    def _dns(self, check: Statement) -> None:
        name = check.get("name") or "."
        if not re.fullmatch(r"\.|[A-Za-z0-9_*]([A-Za-z0-9_.-]{0,250})", name):
            self._lose(check, "this is no name")
            return
        record = check.get("type").upper() or "SOA"
        known = record in {"A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"}
        settings = {
            "server": "127.0.0.1",
            "port": self._asked_port(check),
            "query": name,
            "record": record if known else "SOA",
        }
        key = self._add(check, "dns", settings)
        self._of(check, "name", f"{key}.query")
        self._of(check, "type", f"{key}.record", lost="" if known else "this type of record is not asked for")

    def _http(self, check: Statement) -> None:
        scheme = "https" if check.key == "SSL_GET" else "http"
        urls = check.each("url") or [Statement("", check.place, check.last_line, ("url",))]
        for url in urls:
            self._url(check, url, scheme)

    def _url(self, check: Statement, url: Statement, scheme: str) -> None:
        path = url.get("path") or "/"
        path = path if path.startswith("/") and re.fullmatch(r"[\x21-\x7e]{1,1500}", path) and "#" not in path else "/"
        codes = [word for one in url.each("status_code") for word in one.rest]
        status = [code for code in codes if _STATUS.fullmatch(code) and code[:3] <= code[-3:]]
        host = url.get("virtualhost") or check.get("virtualhost") or self._virtual.get("virtualhost")
        settings: dict[str, Any] = {
            "url": f"{scheme}://127.0.0.1:{self._asked_port(check)}{path}".replace("%", "%%"),
            "status": status[:16] or None,
            "host": host if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,252}", host) else None,
            "verify": False if scheme == "https" else None,
            "body": self._pattern(url),
        }
        key = self._add(check, "http", settings)
        if url.words and url.what:
            self._account.holds(url)
        self._of(url, "path", f"{key}.url", lost="" if path == (url.get("path") or "/") else "this is no path of a url")
        self._of(url, "status_code", f"{key}.status", lost="" if len(status) == len(codes) else "these are no statuses")
        self._of(url, "virtualhost", f"{key}.host")
        self._of(check, "virtualhost", f"{key}.host")
        self._of(url, "digest", key, lost="the body is compared with a pattern: body: '…'")
        self._of(url, "regex", f"{key}.body")

    def _pattern(self, url: Statement) -> str | None:
        found = url.first("regex")
        if found is None:
            return None
        pattern = " ".join(found.rest)[:512]
        try:
            re.compile(pattern)
        except re.error:
            self._account.lost(found, "this is no regular expression of Python's")
            return None
        return pattern.replace("%", "%%") or None

    def _misc(self, check: Statement) -> None:
        path = check.first("misc_path")
        try:
            command = shlex.split(" ".join(path.rest)) if path is not None else []
        except ValueError:
            command = []
        if not command or not command[0]:
            self._lose(check, "it does not say which program to run")
            return
        timeout = self._seconds(check.first("misc_timeout"))
        command = [word.replace("%", "%%") for word in command]
        user = check.get("user").replace("%", "%%") or None
        settings = {"command": command, "others": "down", "user": user, "timeout": timeout}
        key = self._add(check, "custom", settings)
        self._of(check, "misc_path", f"{key}.command")
        self._of(check, "misc_timeout", f"{key}.timeout")
        self._of(check, "user", f"{key}.user")
        self._of(
            check, "misc_dynamic", key, lost="an exit code is up or down; weights are set by `safekit farm weight`"
        )

    def _add(self, check: Statement, plugin: str, settings: dict[str, Any]) -> str:
        """The checker, once: all real servers have the same. What it says otherwise is told."""
        retries = self._count(check.first("retry") or check.first("nb_get_retry") or self._virtual.first("retry"))
        settings = {
            **settings,
            "interval": self._seconds(check.first("delay_loop") or self._virtual.first("delay_loop")),
            "fall": None if retries is None else min(retries + 1, 100),
        }
        settings.setdefault("timeout", self._seconds(check.first("connect_timeout")))
        wanted = {plugin: {key: value for key, value in settings.items() if value is not None}}
        entries = self._draft.content.setdefault("checkers", [])
        if wanted not in entries:
            entries.append(wanted)
        key = f"{self._draft.name}: checkers[{entries.index(wanted)}].{plugin}"
        self._account.carried(check, key)
        for name, to in (
            ("connect_port", "port"),
            ("connect_timeout", "timeout"),
            ("retry", "fall"),
            ("nb_get_retry", "fall"),
        ):
            self._of(check, name, f"{key}.{to}")
        self._of(check, "delay_loop", f"{key}.interval")
        self._of(check, "connect_ip", key, why="a node asks itself")
        for name, why in _TIMES.items():
            if (found := check.first(name)) is not None:
                self._account.implied(found, why)
        return key

    def _of(self, block: Statement, name: str, key: str, *, lost: str = "", why: str = "") -> None:
        for found in block.each(name):
            if self._account.is_decided(found):
                continue
            if lost:
                self._account.lost(found, lost)
            else:
                self._account.carried(found, key, why=why)

    def _asked_port(self, check: Statement) -> int:
        text = check.get("connect_port")
        return int(text) if re.fullmatch(r"[0-9]{1,5}", text) and 1 <= int(text) <= 65535 else self._port

    def _seconds(self, statement: Statement | None) -> str | None:
        if statement is None:
            return None
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", statement.value) or float(statement.value) < 0.1:
            self._account.lost(statement, "this is no number of seconds, 0.1 at least")
            return None
        return seconds(float(statement.value))

    def _count(self, statement: Statement | None) -> int | None:
        if statement is None or not re.fullmatch(r"[0-9]{1,3}", statement.value):
            return None
        return int(statement.value)

    def _lose(self, block: Statement, why: str) -> None:
        for one in block.walk():
            self._account.lost(one, why, "write a checker that asks what you want to know")
