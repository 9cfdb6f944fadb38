"""Packages that do harm as soon as they are looked at: each is named with its package and what to do, and there is an
answer in any case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from safekit.host import compiling, supervision
from safekit_sdk.testing.distribution import install_distribution

PACKAGE = "package safekit-hostile 9.9"
CLASS = """
import os, sys, threading
from safekit_sdk import *

class Config(CheckerConfig):
    port: int = 1

class Hostile(Checker[Config], api=1):
    @classmethod
    def ident(cls, config):
        return "it"
    @classmethod
    def preflight(cls, config, kind):
        return []
    async def check(self):
        return Verdict.up()
"""
MODULE = "kind: light\ncheckers:\n  - hostile: {}\n"


@dataclass
class Looked:
    """Compiles a module that names the plugin, as `safekit-host --compile` does: in a child."""

    place: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, source: str, module: str = MODULE) -> dict[str, Any]:
        (self.place / "site" / "hostile.py").write_text(source)
        (self.place / "files").mkdir()
        (self.place / "files" / "module.yaml").write_text(module)
        if "while" in source or "sleep" in source:
            self.monkeypatch.setattr(supervision, "ANSWER_S", 1.0)
        self.monkeypatch.setattr(supervision, "MEMORY_BYTES", 1 << 30)
        request = {"module": "m", "directory": str(self.place / "files"), "nodes": ["n1"], "node": "n1"}
        return supervision.supervised(lambda: compiling._compile(request))


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looked:
    site = install_distribution(
        tmp_path / "site", "safekit-hostile", {"safekit.checkers": {"hostile": "hostile:Hostile"}}, "9.9"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("SAFEKIT_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("SAFEKIT_RUN", str(tmp_path / "run"))
    return Looked(tmp_path, monkeypatch)


AT_IMPORT = {
    "raises": ("raise ValueError('no lamp')", "cannot be loaded: ValueError: no lamp"),
    "exits": ("raise SystemExit('bye')", "cannot be loaded: SystemExit: bye"),
    "interrupts": ("raise KeyboardInterrupt", "cannot be loaded: KeyboardInterrupt"),
    "raises what nothing catches": (
        "class Odd(BaseException): ...\nraise Odd('x')",
        "cannot be loaded: Odd: x",
    ),
    "loops": ("while True: pass", "does not end within 1 s"),
    "ends the process": ("import os\nos._exit(7)", "ends the process (exit code 7)"),
    "kills the process": ("import os\nos.kill(os.getpid(), 9)", "ends the process (SIGKILL)"),
    "takes all memory": ("kept = bytearray(1 << 34)", "cannot be loaded: MemoryError"),
    "takes memory without an end": (
        "kept = []\nfor _ in iter(int, 1): kept.append(bytearray(1 << 20))",
        "cannot be loaded: MemoryError",
    ),
    "has a model that cannot be built": (
        f"{CLASS}\nclass Config(CheckerConfig):\n    port: object() = 1\n",
        "cannot be loaded: PydanticSchemaGenerationError",
    ),
    "has a model with a name that there is not": (
        CLASS.replace("port: int", "port: 'Nowhere'"),
        "its settings cannot be checked: PydanticUserError",
    ),
    "has no such class": ("", "cannot be loaded: AttributeError"),
    "is no plugin": ("Hostile = 42", "is not a Checker class: hostile:Hostile is of type int"),
    "is of another API": (CLASS.replace("api=1", "api=7"), "'hostile' was written for SDK API 7; this node has 1"),
}


@pytest.mark.parametrize(("source", "said"), AT_IMPORT.values(), ids=AT_IMPORT)
def test_what_is_wrong_with_it_at_its_import_is_told_with_its_package(compiled: Looked, source: str, said: str) -> None:
    told = compiled(source)["error"]
    assert said in told["message"]
    assert PACKAGE in told["message"]
    assert told["hint"]


IN_A_CALL = {
    "loops": ("while True: pass", "does not end within 1 s"),
    "exits": ("sys.exit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "ends the process": ("os._exit(7)", "ends the process (exit code 7)"),
    "raises": ("raise ValueError('dark')", "ValueError: dark"),
    "takes memory": ("bytearray(1 << 34)", "MemoryError"),
}


@pytest.mark.parametrize(("work", "said"), IN_A_CALL.values(), ids=IN_A_CALL)
@pytest.mark.parametrize(
    "returned",
    [pytest.param('return "it"', id="ident"), pytest.param("return []", id="preflight", marks=pytest.mark.long)],
)
def test_what_is_wrong_with_a_call_is_told_with_its_package(
    compiled: Looked, work: str, said: str, returned: str
) -> None:
    answer = compiled(CLASS.replace(returned, work))
    told = [answer["error"]["message"]] if answer["error"] else answer["findings"]
    assert any(said in one and PACKAGE in one for one in told), told


def test_what_it_leaves_running_and_what_it_prints_do_not_matter(compiled: Looked) -> None:
    source = f"""{CLASS}
threading.Thread(target=lambda: threading.Event().wait(3600)).start()
print("{{}}", flush=True)
os.write(1, b"{{}}\\n")
for _ in range(200):
    sys.stdout.write("x" * 100_000)
import atexit
atexit.register(threading.Event().wait, 3600)
"""
    assert compiled(source)["error"] is None


def test_a_module_that_does_not_name_it_does_not_notice(compiled: Looked) -> None:
    assert compiled("import os; os._exit(1)", "kind: light\n")["error"] is None
