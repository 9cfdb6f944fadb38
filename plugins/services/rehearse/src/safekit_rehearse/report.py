"""What a rehearsal found, signed by the node on which it was asked for: as JSON for programs and as a page for people,
which carries the same JSON and the same signature."""

from __future__ import annotations

import base64
import binascii
import html
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from safekit_sdk import ConfigError

MAX_BYTES: Final = 8 << 20
_WHICH: Final = "name a file that `safekit rehearse` wrote, rehearsal-….json or .html"
_PURPOSE: Final = b"safekit report 1\n"
"""As safekitd signs it."""
_EMBEDDED: Final = re.compile(r'<script type="application/json" id="report">\n(.*?)\n</script>', re.DOTALL)
_STYLE: Final = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "table{border-collapse:collapse;width:100%;margin:1em 0}td,th{border:1px solid #bbb;padding:.3em .6em;"
    "text-align:left;vertical-align:top}.good{color:#060}.bad{color:#a00;font-weight:bold}code{word-break:break-all}"
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Line(_Part):
    wall: float
    node: str
    text: str
    rule: str


class Outcome(_Part):
    drill: str
    says: str
    node: str
    """That was drilled."""
    begun: float
    """Unix time, as all times here that are not lengths."""
    ended: float
    done: str
    undone: float | None
    """When the node's own guard had undone it; None: nobody has said so."""
    promised_s: float | None
    interruption_ms: float | None
    """None: the client was not served again before the end."""
    requests: int
    failed: int
    errors: dict[str, int]
    before: dict[str, str]
    after: dict[str, str]
    well: bool
    """After it the module ran and was ready on every node."""
    trouble: str = ""
    decisions: tuple[Line, ...] = ()

    @property
    def kept(self) -> bool | None:
        """Whether the promise was; None where there is none."""
        if self.promised_s is None:
            return None
        return self.interruption_ms is not None and self.interruption_ms <= self.promised_s * 1000

    @property
    def good(self) -> bool:
        return self.well and self.undone is not None and not self.trouble and self.kept is not False


class Report(_Part):
    format: int = 1
    module: str
    kind: str
    revision: int
    """Of the module's configuration."""
    cluster: str
    nodes: tuple[str, ...]
    asker: str
    """The node from which the service was watched, and which signs."""
    by: str
    version: str
    probe: str
    pace_ms: float
    begun: float
    ended: float
    findings: tuple[dict[str, Any], ...]
    """Of the doctor before it."""
    accepted: tuple[str, ...]
    """Findings with which it was rehearsed all the same, because the operator said so."""
    outcomes: tuple[Outcome, ...]
    planned: tuple[str, ...]
    aborted: str = ""
    """Why not all that was planned was done."""
    lab: str = ""
    """The machine that played a copy of the cluster in namespaces; empty: this was the cluster itself."""

    @property
    def good(self) -> bool:
        return not self.aborted and all(one.good for one in self.outcomes)

    def text(self) -> str:
        """The same report is the same text: this is what is signed."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class Signed(_Part):
    report: Report
    key: Annotated[str, Field(max_length=64)]
    """Ed25519, 32 bytes in base64."""
    signature: Annotated[str, Field(max_length=128)]

    def check(self) -> None:
        """ConfigError when it is not what was signed with this key."""
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.key, validate=True))
            key.verify(base64.b64decode(self.signature, validate=True), _PURPOSE + self.report.text().encode())
        except (InvalidSignature, ValueError, binascii.Error):
            raise ConfigError(
                "the report is not what was signed: it was changed, or the signature was",
                hint="believe nothing of it, and ask whoever keeps the first copy",
            ) from None

    def json(self) -> str:  # type: ignore[override]
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, indent=1) + "\n"


def store(path: Path, text: str) -> None:
    """Never over a file that is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        hint = "name another folder with --out"
        raise ConfigError(f"the report cannot be written: {error.strerror}", where=str(path), hint=hint) from None


def read(path: Path) -> Signed:
    """A report, JSON or page; ConfigError when it is none, or the page says something else than what is signed."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the report cannot be read: {error}", where=str(path), hint=_WHICH) from None
    embedded = _EMBEDDED.search(text)
    try:
        signed = Signed.model_validate_json(embedded[1] if embedded else text)
    except ValidationError:
        raise ConfigError("this is no report of a rehearsal", where=str(path), hint=_WHICH) from None
    if embedded and page(signed) != text:
        hint = "believe the .json beside it, once that is verified"
        raise ConfigError("the page shows something else than what was signed", where=str(path), hint=hint)
    return signed


def page(signed: Signed) -> str:
    """Without a script that runs, and without anything from elsewhere."""
    report = signed.report
    title = f"Rehearsal of {html.escape(report.module)}{' in a lab' if report.lab else ''}"
    body = "\n".join((*_head(report), *_table(report), *(_details(one) for one in report.outcomes), *_foot(signed)))
    embedded = signed.json().rstrip("\n").replace("<", "\\u003c")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body>\n<h1>{title}</h1>\n{body}\n"
        f'<script type="application/json" id="report">\n{embedded}\n</script>\n</body></html>\n'
    )


def _head(report: Report) -> Iterator[str]:
    verdict = _marked("passed" if report.good else "not passed", good=report.good)
    yield f"<p>{verdict}{': ' + html.escape(report.aborted) if report.aborted else ''}</p><table>"
    facts = {"lab": f"not the cluster: a copy of it in namespaces of {report.lab}"} if report.lab else {}
    facts |= {
        "cluster": f"{report.cluster}: {', '.join(report.nodes)}",
        "module": f"{report.module}, a {report.kind}, revision {report.revision}",
        "when": f"{clock(report.begun)} to {clock(report.ended)}",
        "asked for by": report.by,
        "watched from": f"{report.asker}: {report.probe}, a request every {report.pace_ms:g} ms",
        "safekit": report.version,
        "planned": ", ".join(report.planned),
        "found before by the doctor": "; ".join(f"{one['severity']}: {one['what']}" for one in report.findings)
        or "nothing",
        "accepted by the operator": ", ".join(report.accepted) or "nothing",
    }
    yield from (f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts.items())
    yield "</table>"


def _table(report: Report) -> Iterator[str]:
    yield "<h2>What the client saw</h2><table><tr>"
    yield "".join(
        f"<th>{name}</th>" for name in ("drill", "node", "not served for", "promised", "requests", "undone", "")
    )
    yield "</tr>"
    for one in report.outcomes:
        cells = (one.drill, one.node, away(one), promised(one), f"{one.failed} of {one.requests} failed", undone(one))
        verdict = _marked("good" if one.good else "not good", good=one.good)
        yield "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + f"<td>{verdict}</td></tr>"
    yield "</table>"


def _details(one: Outcome) -> str:
    lines = "".join(
        f"<tr><td>{clock(line.wall)}</td><td>{html.escape(line.node)}</td><td>{html.escape(line.text)}</td>"
        f"<td>{html.escape(line.rule)}</td></tr>"
        for line in one.decisions
    )
    states = "; ".join(f"{node}: {state} → {one.after.get(node, 'unknown')}" for node, state in one.before.items())
    said = [one.says, one.done, states, one.trouble]
    return (
        f"<h2>{html.escape(one.drill)}</h2><p>{html.escape('. '.join(filter(None, said)))}</p>"
        f"<table><tr><th>when</th><th>node</th><th>decided</th><th>rule</th></tr>{lines}</table>"
    )


def _foot(signed: Signed) -> Iterator[str]:
    key, signer = html.escape(signed.key), html.escape(signed.report.asker)
    yield f"<h2>Signature</h2><p>Signed by {signer}, Ed25519 key <code>{key}</code>"
    yield f"<br>signature <code>{html.escape(signed.signature)}</code>"
    yield "<br>to check it: <code>safekit rehearse verify FILE</code> on a node of the cluster</p>"


def _marked(text: str, *, good: bool) -> str:
    return f'<span class="{"good" if good else "bad"}">{text}</span>'


def clock(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall))


def away(one: Outcome) -> str:
    return "until the end" if one.interruption_ms is None else f"{one.interruption_ms:.0f} ms"


def promised(one: Outcome) -> str:
    return "nothing" if one.promised_s is None else f"at most {one.promised_s * 1000:.0f} ms"


def undone(one: Outcome) -> str:
    return "nobody said so" if one.undone is None else clock(one.undone)
