"""The `vip` resource."""

from safekit_resource_vip.config import VipConfig
from safekit_resource_vip.resource import VipResource

__all__ = ["VipConfig", "VipResource"]
