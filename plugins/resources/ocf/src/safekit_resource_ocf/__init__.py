"""The `ocf` resource."""

from safekit_resource_ocf.config import OcfConfig
from safekit_resource_ocf.resource import OcfResource

__all__ = ["OcfConfig", "OcfResource"]
