"""The `service` resource."""

from safekit_resource_service.config import ServiceConfig
from safekit_resource_service.resource import ServiceResource

__all__ = ["ServiceConfig", "ServiceResource"]
