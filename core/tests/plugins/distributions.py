"""Small real distributions for tests: a module and its dist-info on sys.path, as pip would put them there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

CHECKER = """
    from safekit_sdk import Checker, CheckerConfig, Port, Verdict

    class Config(CheckerConfig):
        port: Port
        '''The port that must answer.'''
        host: str = "127.0.0.1"

    class Lighthouse(Checker[Config], api=1):
        @classmethod
        def ident(cls, config):
            return config.name or str(config.port)

        async def check(self):
            return Verdict.up()
"""

RESOURCE = """
    from safekit_sdk import Duration, Resource, ResourceConfig, ResourceState, Status

    class Config(ResourceConfig):
        address: str
        '''With prefix length: 10.0.0.9/24.'''
        start_timeout: Duration = Duration(20)

    class Drawbridge(Resource[Config], api=1):
        restarts = False

        @classmethod
        def ident(cls, config):
            return config.name or config.address.partition("/")[0]

        async def start(self): ...
        async def stop(self, force): ...
        async def status(self):
            return Status(ResourceState.STOPPED)
"""

APP = """
    from safekit_sdk import App, AppConfig, ResourceState, Status

    class Config(AppConfig):
        port: int = 80

    class Harbour(App[Config], api=1):
        async def start(self): ...
        async def stop(self, force): ...
        async def status(self):
            return Status(ResourceState.STOPPED)

        def checkers(self):
            return ({"lighthouse": {"name": "quay", "port": self.config.port, "interval": "1s"}},)

        def rules(self):
            return ("harbour_slow: if (lighthouse.quay == unknown) for 30s then restart;",)
"""


class Distributions:
    def __init__(self, site: Path) -> None:
        self.site = site

    def add(
        self,
        name: str,
        source: str,
        entries: Mapping[str, Mapping[str, str]],
        *,
        module: str = "",
        version: str = "1.0",
        headers: str = "",
    ) -> str:
        """Install the distribution; return its module's name. `entries`: group to name to attribute."""
        module = module or name.replace("-", "_")
        (self.site / f"{module}.py").write_text(dedent(source), encoding="utf-8")
        info = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{dedent(headers).lstrip()}"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        text = "".join(
            f"[{group}]\n" + "".join(f"{entry} = {module}:{attribute}\n" for entry, attribute in names.items())
            for group, names in entries.items()
        )
        (info / "entry_points.txt").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return module

    def add_checker(self, source: str = CHECKER) -> None:
        self.add("safekit-checker-lighthouse", source, {"safekit.checkers": {"lighthouse": "Lighthouse"}})

    def add_resource(self, source: str = RESOURCE) -> None:
        self.add("safekit-resource-drawbridge", source, {"safekit.resources": {"drawbridge": "Drawbridge"}})

    def add_app(self, source: str = APP) -> None:
        self.add("safekit-harbour", source, {"safekit.apps": {"harbour": "Harbour"}})

    def add_all(self) -> None:
        """The checker `lighthouse`, the resource `drawbridge` and the app `harbour`."""
        self.add_checker()
        self.add_resource()
        self.add_app()


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributions]:
    """An empty place for distributions, in front of those that are installed."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    yield Distributions(site)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(str(site)):
            del sys.modules[name]
