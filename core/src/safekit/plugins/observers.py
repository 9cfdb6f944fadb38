"""Observers hear what happened. Nothing that they do, or fail to do, delays or changes anything."""

from __future__ import annotations

import inspect
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

import pluggy
import structlog

from safekit.plugins.discovery import HOOKS, names
from safekit.plugins.loading import RAISED, load_object
from safekit_sdk import PluginError, SafekitError, hooks

log = structlog.get_logger("observers")
CLOSE_S: Final = 2.0
OnTrouble = Callable[[str, str], None]
"""An observer's name and what is wrong with it."""


def _log_trouble(name: str, trouble: str) -> None:
    log.warning("an observer was dropped", observer=name, trouble=trouble)


class Observers:
    """One thread calls each observer alone, in the order of the events. The queue is bounded: when observers are
    slower than events for long, events are lost to them (`lost` counts), never waited for."""

    def __init__(self, on_trouble: OnTrouble = _log_trouble, queue_size: int = 1000) -> None:
        self._on_trouble = on_trouble
        self._manager = pluggy.PluginManager(hooks.PROJECT)
        self._manager.add_hookspecs(hooks)
        self._queue: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(queue_size)
        self._always: dict[str, Any] = {}
        self._thread: threading.Thread | None = None
        self.lost = 0

    def start(self, **always: Any) -> None:
        """Load the installed observers; no thread runs where there is none. `always` are arguments of every event
        from here, as the module's name. A second start changes only these."""
        self._always = always
        if self._thread is not None:
            return
        for name in names(HOOKS):
            try:
                self.register(load_object(HOOKS, name), name)
            except SafekitError as error:
                self._on_trouble(name, str(error))
        if self._manager.get_plugins():
            self._thread = threading.Thread(target=self._run, name="observers", daemon=True)
            self._thread.start()

    def register(self, observer: Any, name: str) -> None:
        """Add one observer: a module, an object, or a class that is made here without arguments. PluginError when it
        implements a hook that does not exist, asks for an argument that there is not, or has an `async def`."""
        if self._manager.has_plugin(name):
            raise PluginError(f"there are two observers '{name}'", hint="remove the package of one")
        try:
            instance = observer() if isinstance(observer, type) else observer
            self._manager.register(instance, name)
            self._manager.check_pending()
            self._refuse_unusable(instance, name)
        except RAISED as error:  # a plugin's door
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            if isinstance(error, PluginError):
                raise
            raise PluginError(f"observer '{name}' was refused: {error}", hint="its author must mend it") from error

    def _refuse_unusable(self, observer: Any, name: str) -> None:
        callers = self._manager.get_hookcallers(observer) or []
        if not callers:
            raise PluginError(
                f"observer '{name}' implements no hook", hint="its author marks functions with @safekit_sdk.hookimpl"
            )
        for caller in callers:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is observer and _never_runs(implementation):
                    raise PluginError(
                        f"observer '{name}': {caller.name} is an `async def` or a generator, which nothing would run",
                        hint="its author writes a plain `def`",
                    )

    def notify(self, hook: str, /, **arguments: Any) -> None:
        """Queue one event and return at once. An event that no hook describes is logged and goes nowhere."""
        if self._thread is None:
            return
        given = {**self._always, **arguments}
        caller = getattr(self._manager.hook, hook, None)
        wanted = set(caller.spec.argnames) if caller is not None and caller.spec else None
        if wanted is None or not wanted <= given.keys():
            log.error("an event for observers fits no hook", hook=hook, arguments=sorted(given))
            return
        try:
            self._queue.put_nowait((hook, {name: given[name] for name in wanted}))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Let what is queued be heard, for at most CLOSE_S; a thread that hangs is left behind."""
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            for name, observer in self._manager.list_name_plugin():
                if observer is not None:
                    self._tell(name, observer, *event)

    def _tell(self, name: str, observer: Any, hook: str, arguments: dict[str, Any]) -> None:
        """Call one observer without the others: pluggy would stop at the first that raises."""
        others = [other for other in self._manager.get_plugins() if other is not observer]
        try:
            for result in self._manager.subset_hook_caller(hook, others)(**arguments):
                if inspect.iscoroutine(result):
                    result.close()
                    raise TypeError(f"{hook} returned a coroutine, which nothing would run")
        except RAISED as error:  # a plugin's door
            self._manager.unregister(observer)
            self._on_trouble(name, f"{hook} raised {type(error).__name__}: {error}; it hears nothing more")


def _never_runs(implementation: pluggy.HookImpl) -> bool:
    function = inspect.unwrap(implementation.function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return True
    wraps = implementation.wrapper or implementation.hookwrapper
    return inspect.isgeneratorfunction(function) and not wraps
