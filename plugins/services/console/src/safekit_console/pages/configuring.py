"""Pages for a new module and for changing one: a form, the YAML beside it, what is wrong with it, the plan, and then
applying it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from safekit_console.access import Asker, Needs, form
from safekit_console.acting import Acting
from safekit_console.errors import HttpError, not_found
from safekit_console.pages.fields import Field, fields_of
from safekit_console.pages.rendering import go, page, words_of
from safekit_console.parts import Console, console_of
from safekit_console.reading import Reading
from safekit_console.roles import Role
from safekit_sdk import SafekitError

router = APIRouter(include_in_schema=False)
Administers = Annotated[Asker, Depends(Needs(Role.ADMIN))]
Name = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
OWN_FILE = "-"
"""In the place of an app: a module file of one's own."""
STARTER = """kind: mirror
pipeline:
  - vip: {address: 10.0.0.100/24}
checkers: []
"""
MAX_CHOICES = 200


@router.get("/new")
async def choose_app(request: Request, asker: Administers) -> Response:
    apps = await console_of(request).node.apps()
    return page(request, "new.html", asker, apps=apps, own_file=OWN_FILE)


async def _fields(console: Console, app: str) -> list[Field]:
    apps = {found["name"]: found for found in await console.node.apps()}
    if app not in apps:
        raise not_found(f"there is no app '{app}' installed on this node")
    return fields_of(apps[app]["schema"])


@router.get("/new/{app}")
async def new_module(request: Request, asker: Administers, app: str) -> Response:
    fields = [] if app == OWN_FILE else await _fields(console_of(request), app)
    given = {"kind": "mirror", "text": STARTER if app == OWN_FILE else ""}
    return page(request, "new_module.html", asker, app=app, fields=fields, given=given, draft=_Draft(), own=OWN_FILE)


@router.post("/new/{app}")
async def draft_module(request: Request, asker: Administers, app: str) -> Response:
    """The page again, with the file that suits the form, or what is wrong; with a script it is asked as one types."""
    console, given = console_of(request), await form(request)
    fields = [] if app == OWN_FILE else await _fields(console, app)
    from_text = app == OWN_FILE or given.get("source") == "text"
    draft = await _draft(console, app, given, fields, from_text=from_text)
    if given.get("do") == "plan" and not draft.error:
        return await _plan(request, asker, given["name"], {"module.yaml": draft.text.encode()}, back=f"/new/{app}")
    given = {**given, "text": draft.text}
    return page(request, "new_module.html", asker, app=app, fields=fields, given=given, draft=draft, own=OWN_FILE)


class _Draft:
    def __init__(
        self, text: str = "", found: Mapping[str, Any] | None = None, error: SafekitError | None = None
    ) -> None:
        self.text = text
        self.found = found
        """What the text is; None when it is not good, or empty."""
        self.error = error.message if error else ""
        self.where = error.where if error else ""
        self.hint = error.hint if error else ""


async def _draft(
    console: Console, app: str, given: Mapping[str, str], fields: list[Field], *, from_text: bool
) -> _Draft:
    text, name = given.get("text", ""), given.get("name", "")
    try:
        if not name:
            raise SafekitError("the module needs a name", where="name")
        if name in console.watch.snapshot.modules():
            raise SafekitError(f"there is a module '{name}' already", where="name")
        if not from_text:
            made = await console.node.ask("module-file", _from_app(app, given, fields), timeout_s=40.0)
            text = str(made["text"])
        return _Draft(text, await console.node.ask("validate", {"module": name, "text": text}, timeout_s=40.0))
    except SafekitError as error:
        return _Draft(text, error=error)


def _from_app(app: str, given: Mapping[str, str], fields: list[Field]) -> dict[str, Any]:
    port = given.get("port", "")
    if port and not port.isdigit():
        raise SafekitError("a port is a number", where="port")
    options = {field.name: given[f"option:{field.name}"] for field in fields if given.get(f"option:{field.name}")}
    return {
        "app": app,
        "module": given.get("name", ""),
        "kind": given.get("kind", "mirror"),
        "vips": [vip for vip in given.get("vips", "").replace(",", " ").split() if vip],
        "port": int(port) if port else None,
        "sticky": given.get("sticky") == "yes",
        "options": options,
    }


@router.get("/modules/{module}/configuration")
async def configuration(
    request: Request, asker: Administers, module: Name, version: Annotated[int, Query(ge=0, le=1_000_000)] = 0
) -> Response:
    files = await _files(console_of(request), module, version)
    text = files.get("module.yaml", b"").decode(errors="replace")
    return await _editor(request, asker, module, text, version, files, _Draft(text))


async def _files(console: Console, module: str, version: int) -> dict[str, bytes]:
    return await (console.node.version_files(module, version) if version else console.node.files(module))


async def _editor(
    request: Request, asker: Asker, module: str, text: str, version: int, files: Mapping[str, bytes], draft: _Draft
) -> Response:
    versions = await Reading(console_of(request), asker).versions(module)
    others = sorted(set(files) - {"module.yaml"})
    context: dict[str, Any] = {"name": module, "text": text, "version": version, "others": others}
    return page(request, "configuration.html", asker, versions=versions, draft=draft, **context)


@router.post("/modules/{module}/configuration")
async def change(request: Request, asker: Administers, module: Name) -> Response:
    """Looked at as one types, or on the way to the plan."""
    console, given = console_of(request), await form(request)
    text, number = given.get("text", ""), given.get("version", "0")
    version = int(number) if number.isdigit() else 0
    files = await _files(console, module, version)
    try:
        draft = _Draft(text, await console.node.ask("validate", {"module": module, "text": text}, timeout_s=40.0))
    except SafekitError as error:
        draft = _Draft(text, error=error)
    if given.get("do") == "plan" and not draft.error:
        return await _plan(request, asker, module, {**files, "module.yaml": text.encode()}, version=version)
    return await _editor(request, asker, module, text, version, files, draft)


async def _plan(
    request: Request,
    asker: Asker,
    module: str,
    files: dict[str, bytes],
    *,
    version: int = 0,
    back: str = "",
    error: str = "",
) -> Response:
    plan = await console_of(request).node.plan(module, files)
    context: dict[str, Any] = {
        "name": module,
        "text": files["module.yaml"].decode(),
        "version": version,
        "is_new": bool(back),
        "back": back or f"/modules/{module}/configuration",
        "grouped": _grouped(plan),
        "refused": any(answer.get("error") or answer.get("refusal") for answer in plan.values()),
        "changes": any(answer.get("plan", {}).get("changed", True) for answer in plan.values()),
        "error": error,
    }
    return page(request, "plan.html", asker, **context)


def _grouped(plan: Mapping[str, Any]) -> list[tuple[list[str], Mapping[str, Any]]]:
    """Nodes that would do the same are shown together."""
    found: dict[str, tuple[list[str], Mapping[str, Any]]] = {}
    for node, answer in plan.items():
        key = str([answer.get(part) for part in ("error", "refusal", "lines", "findings", "warnings")])
        found.setdefault(key, ([], answer))[0].append(node)
    return list(found.values())


@router.post("/modules/{module}/apply")
async def apply(request: Request, asker: Administers, module: Name) -> Response:
    console, given = console_of(request), await form(request)
    number, is_new = given.get("version", "0"), given.get("new") == "yes"
    files = {} if is_new else await _files(console, module, int(number) if number.isdigit() else 0)
    if is_new and module in console.watch.snapshot.modules():
        raise HttpError(409, "conflict", f"there is a module '{module}' already")
    done = await Acting(console, asker).apply(module, {**files, "module.yaml": given.get("text", "").encode()})
    told = words_of(request)("Revision %(revision)s is in force.", revision=done["revision"])
    return go(f"/modules/{module}", asker, told)
