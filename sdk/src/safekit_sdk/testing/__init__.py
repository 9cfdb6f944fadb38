"""The test kit for plugins: contexts, a virtual clock, scenarios, fakes. `conformance` is apart, it needs pytest."""

from safekit_sdk.testing.context import RecordingContext, a_context

__all__ = ["RecordingContext", "a_context"]
