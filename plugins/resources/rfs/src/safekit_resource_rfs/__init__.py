"""The `rfs` resource: directories that are the same on two nodes."""

from safekit_resource_rfs.config import RfsConfig
from safekit_resource_rfs.resource import RfsResource

__all__ = ["RfsConfig", "RfsResource"]
