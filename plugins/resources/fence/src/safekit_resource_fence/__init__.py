"""The `fence` resource."""

from safekit_resource_fence.config import FenceConfig
from safekit_resource_fence.resource import FenceResource

__all__ = ["FenceConfig", "FenceResource"]
