"""The test kit for plugins: contexts, virtual time, scenarios, fakes. `conformance` is apart, it needs pytest."""

from safekit_sdk.testing.clock import VirtualClock
from safekit_sdk.testing.context import RecordingContext, a_context
from safekit_sdk.testing.fakes import Fakes, install_fakes
from safekit_sdk.testing.groups import a_cgroup
from safekit_sdk.testing.network import Namespace, network_namespace
from safekit_sdk.testing.observation import Step, observe, timeline
from safekit_sdk.testing.scenario import Demote, Look, Promote, Scene, Start, Stop, Tell, run
from safekit_sdk.testing.watching import Said, watched

__all__ = [
    "Demote",
    "Fakes",
    "Look",
    "Namespace",
    "Promote",
    "RecordingContext",
    "Said",
    "Scene",
    "Start",
    "Step",
    "Stop",
    "Tell",
    "VirtualClock",
    "a_cgroup",
    "a_context",
    "install_fakes",
    "network_namespace",
    "observe",
    "run",
    "timeline",
    "watched",
]
