"""What every plugin passes: subclass the suite of its kind in a test module and say how to make its thing up or down.

Needs pytest, pytest-asyncio and pytest-timeout: `pip install safekit-sdk[test]`.
"""

import pytest

_PARTS = ("plugin", "watched", "checker", "resource", "app", "witness")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from safekit_sdk.testing.conformance.app import AppConformance  # noqa: E402 - after the line above
from safekit_sdk.testing.conformance.checker import CheckerConformance  # noqa: E402
from safekit_sdk.testing.conformance.plugin import PluginConformance  # noqa: E402
from safekit_sdk.testing.conformance.resource import ResourceConformance  # noqa: E402
from safekit_sdk.testing.conformance.witness import WitnessConformance  # noqa: E402

__all__ = [
    "AppConformance",
    "CheckerConformance",
    "PluginConformance",
    "ResourceConformance",
    "WitnessConformance",
]
