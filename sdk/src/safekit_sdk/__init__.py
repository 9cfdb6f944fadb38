"""The one package of ours that a plugin imports."""

from safekit_sdk.app import App, Entry, ModuleRequest
from safekit_sdk.checker import Checker
from safekit_sdk.config import AppConfig, CheckerConfig, Config, ResourceConfig, WitnessConfig
from safekit_sdk.elsewhere import ModuleSeen
from safekit_sdk.errors import ConfigError, InternalError, PeerError, PluginError, RefusedError, SafekitError
from safekit_sdk.hooks import hookimpl
from safekit_sdk.plugin import API_VERSION, Context, Examination, ModuleKind, Plugin, check_api
from safekit_sdk.resource import BUCKETS, Peer, Resource, ResourceState, Share, Status, Transition
from safekit_sdk.units import Duration, FailureAction, Ident, Port, Scope, Secret
from safekit_sdk.verdict import Health, Verdict
from safekit_sdk.witness import Lease, Refusal, Witness

__all__ = [
    "API_VERSION",
    "BUCKETS",
    "App",
    "AppConfig",
    "Checker",
    "CheckerConfig",
    "Config",
    "ConfigError",
    "Context",
    "Duration",
    "Entry",
    "Examination",
    "FailureAction",
    "Health",
    "Ident",
    "InternalError",
    "Lease",
    "ModuleKind",
    "ModuleRequest",
    "ModuleSeen",
    "Peer",
    "PeerError",
    "Plugin",
    "PluginError",
    "Port",
    "Refusal",
    "RefusedError",
    "Resource",
    "ResourceConfig",
    "ResourceState",
    "SafekitError",
    "Scope",
    "Secret",
    "Share",
    "Status",
    "Transition",
    "Verdict",
    "Witness",
    "WitnessConfig",
    "check_api",
    "hookimpl",
]
