"""The `health` resource."""

from safekit_resource_health.config import HealthConfig
from safekit_resource_health.resource import HealthResource

__all__ = ["HealthConfig", "HealthResource"]
