"""What the resource tells its data path when it starts it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_resource_rfs.config import RfsConfig
from safekit_sdk import InternalError

SETTINGS: Final = "settings.json"
"""Their file, in the resource's run directory while it is started."""


@dataclass(frozen=True, slots=True)
class Settings:
    node: str
    module: str
    name: str
    state_dir: Path
    run_dir: Path
    config: RfsConfig

    def write(self, path: Path) -> None:
        content = {
            "node": self.node,
            "module": self.module,
            "name": self.name,
            "state_dir": str(self.state_dir),
            "run_dir": str(self.run_dir),
            "config": self.config.model_dump(mode="json"),
        }
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Settings:
        """InternalError when the resource did not write it."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            config = RfsConfig.model_validate(found["config"])
            state_dir, run_dir = Path(found["state_dir"]), Path(found["run_dir"])
            return cls(found["node"], found["module"], found["name"], state_dir, run_dir, config)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InternalError(f"the settings of the data path cannot be read: {error}", where=str(path)) from error
