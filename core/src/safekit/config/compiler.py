"""A module file into its compiled form. Imports plugins: runs in a process of its own, never in the daemon."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from safekit.config import dependencies, secrets
from safekit.config.compiled import CompiledChecker, CompiledModule, CompiledStep, CompiledWitness
from safekit.config.entries import (
    CHECKER_GROUPS,
    STEP_GROUPS,
    Entry,
    bring,
    check_unique,
    door,
    read_entries,
    read_witness,
)
from safekit.config.errors import ConfigErrors, Findings
from safekit.config.includes import Files, merge
from safekit.config.module import ModuleFile, RuleEntry
from safekit.config.problems import did_you_mean, validate
from safekit.config.rulebook import Known, Rulebook, Source, generated
from safekit.config.text import Document, read
from safekit.config.variables import as_text, substitute
from safekit.plugins import discovery
from safekit_sdk import App, Checker, ConfigError, Context, Duration, Resource, SafekitError, Witness
from safekit_sdk.plugin import MAX_REMARK_CHARS, MAX_REMARKS

LEASE_FACTOR: Final = 4
"""How many loss times a witness's lease is at least: half of it is left for waiting, 0.3 for a forced stop."""
TRANSITION_S: Final = 10.0
"""What the host allows a step that wants to know of a change of state."""
_REMARKS: Final = TypeAdapter(
    Annotated[list[Annotated[str, Field(max_length=MAX_REMARK_CHARS)]], Field(max_length=MAX_REMARKS)]
)
NO_FILES: Final[Files] = {}
_NO_DIFFERENCE: Final = {"signature", "packages", "warnings", "remarks", "description"}


def compile_module(
    text: str | bytes,
    filename: str,
    cluster_nodes: Sequence[str],
    name: str,
    *,
    node: str = "",
    beside: Files = NO_FILES,
) -> CompiledModule:
    """As `node` has it; `beside`: the files that may be included. ConfigErrors tells every mistake that one look can
    find, each with its place."""
    document = merge(read(text.encode() if isinstance(text, str) else text, filename), beside)
    document = dependencies.expand(substitute(document, node))
    findings = Findings()
    file = _read_file(document, findings)
    steps = read_entries(document, "pipeline", STEP_GROUPS, findings)
    checkers = read_entries(document, "checkers", CHECKER_GROUPS, findings)
    witness = read_witness(document, findings)
    check_unique(steps, findings)
    check_unique(checkers, findings)
    if file is None or findings.errors:
        findings.raise_any()
        raise ConfigErrors([ConfigError("the module file cannot be read", where=filename)])
    return _Compiler(name, document, file, cluster_nodes, findings, node).compile(steps, checkers, witness)


def _read_file(document: Document, findings: Findings) -> ModuleFile | None:
    if not isinstance(document.value, dict):
        findings.add(
            ConfigError("a module file is a mapping of keys to values", where=document.where(()), hint="kind: mirror")
        )
        return None
    try:
        return validate(ModuleFile, document)
    except ConfigErrors as error:
        findings.add(error)
        return None


class _Compiler:
    def __init__(
        self,
        name: str,
        document: Document,
        file: ModuleFile,
        cluster_nodes: Sequence[str],
        findings: Findings,
        node: str,
    ) -> None:
        self._name = name
        self._document = document
        self._file = file
        self._cluster_nodes = tuple(cluster_nodes)
        self._findings = findings
        self._node = node
        own = file.node_variables.get(node, {})
        self._variables = {key: as_text(value) for key, value in {**file.variables, **own}.items()}

    def compile(self, steps: list[Entry], own_checkers: list[Entry], witness: Entry | None) -> CompiledModule:
        nodes = self._nodes()
        self._check_mirror_keys(nodes)
        self._check_weights(nodes)
        self._check_node_variables(nodes)
        for mistake in dependencies.mistakes(self._file, self._document, self._name, self._cluster_nodes):
            self._findings.add(mistake)
        brought, app_rules = self._bring(steps)
        replaced = {entry.resource for entry in own_checkers}
        checkers = [entry for entry in brought if entry.resource not in replaced] + own_checkers
        check_unique([*steps, *checkers], self._findings)
        compiled_steps = tuple(self._compile(steps, self._step))
        compiled_checkers = tuple(self._compile(checkers, self._checker))
        witnesses = [witness] if witness is not None else []
        compiled_witness = next(iter(self._compile(witnesses, self._witness)), None)
        self._findings.raise_any()
        published = frozenset(name for entry in (*steps, *checkers) for name in entry.cls.publishes)
        published |= {compiled_witness.resource} if compiled_witness is not None else set()
        book = Rulebook(Known(self._file.kind, compiled_steps, compiled_checkers, published), self._findings)
        self._fill(book, [*steps, *checkers], app_rules)
        remarks = tuple(remark for said in self._compile([*steps, *checkers], self._remarks) for remark in said)
        self._findings.raise_any()
        module = self._module(nodes, compiled_steps, compiled_checkers, book)
        entries = (*steps, *checkers, *witnesses)
        packages = {entry.package: entry.version for entry in sorted(entries, key=lambda e: e.package)}
        classes = [entry.cls for entry in steps if issubclass(entry.cls, Resource)]
        data, fences = any(cls.replicates for cls in classes), any(cls.fences() for cls in classes)
        warned = [*module.warnings, *secrets.in_clear(self._file, self._document, list(entries))]
        if self._node in nodes:
            warned += secrets.unusable(list(entries))
        module = module.model_copy(
            update={
                "warnings": tuple(warned),
                "packages": packages,
                "has_data": data,
                "fences": fences,
                "remarks": remarks,
                "witness": compiled_witness,
            }
        )
        return module.model_copy(update={"signature": signature(module)})

    def _compile(self, entries: Iterable[Entry], make: Any) -> Iterable[Any]:
        for entry in entries:
            try:
                yield make(entry)
            except SafekitError as error:
                self._findings.add(error)

    def _step(self, entry: Entry) -> CompiledStep:
        cls, config = entry.cls, entry.config
        assert issubclass(cls, Resource)
        with door(entry, "its scopes cannot be had"):
            scopes = cls.scopes(config, self._file.kind)
            starts, stops = len(scopes), len(scopes)
            if cls.promotes() and "both" in scopes:
                starts, stops = starts + 1, stops + 1
            told = 0.0 if cls.transition is Resource.transition else TRANSITION_S * len(scopes)
            group: Literal["app", "resource"] = "app" if entry.group == discovery.APPS else "resource"
            return CompiledStep(
                plugin=entry.plugin,
                group=group,
                ident=entry.ident,
                scopes=scopes,
                config=entry.given(),
                effective=entry.effective(),
                restarts=cls.restarts,
                watches=cls.watches(),
                bears=cls.bears,
                live=tuple(sorted(cls.live_settings())),
                start_bound_s=starts * config.start_timeout.seconds + told,
                stop_bound_s=stops * (config.stop_timeout.seconds + config.force_stop_timeout.seconds) + told,
                origin=entry.where,
            )

    def _witness(self, entry: Entry) -> CompiledWitness:
        """Its lease leaves time for a silence that is none, and for a forced stop."""
        lost, lease = self._file.heartbeat.lost_after, entry.config.lease
        least = Duration(round(LEASE_FACTOR * lost.seconds, 3))
        if lease < least:
            raise ConfigError(
                f"the lease of {lease} is too short for lost_after: {lost}",
                where=entry.where,
                hint=f"lease: {least} or more; or a shorter heartbeat.lost_after",
            )
        with door(entry, "its settings cannot be passed on"):
            assert issubclass(entry.cls, Witness)
            return CompiledWitness(
                plugin=entry.plugin,
                ident=entry.plugin if entry.config.name is None else entry.config.name,
                config=entry.given(),
                effective=entry.effective(),
                origin=entry.where,
                lease_s=lease.seconds,
                timeout_s=entry.config.timeout.seconds,
                exclusive=entry.cls.exclusive,
            )

    def _checker(self, entry: Entry) -> CompiledChecker:
        default = "prim" if self._file.kind == "mirror" else "both"
        chosen = entry.config.when or default
        if self._file.kind != "mirror" and chosen != "pre":
            chosen = "both"
        with door(entry, "its settings cannot be passed on"):
            assert issubclass(entry.cls, Checker)
            return CompiledChecker(
                plugin=entry.plugin,
                ident=entry.ident,
                scope=chosen,
                polls=entry.cls.checks(),
                config=entry.given(),
                effective=entry.effective(),
                origin=entry.where,
            )

    def _remarks(self, entry: Entry) -> list[str]:
        with door(entry, "its remarks cannot be had"):
            said = _REMARKS.validate_python(entry.cls.remarks(entry.config, self._file.kind))
        return [f"{entry.resource}: {remark}" for remark in said]

    def _bring(self, steps: list[Entry]) -> tuple[list[Entry], list[tuple[Entry, str]]]:
        """What the apps bring: checkers, and rules with their app."""
        checkers: list[Entry] = []
        rules: list[tuple[Entry, str]] = []
        for entry in steps:
            if not issubclass(entry.cls, App):
                continue
            context = Context(self._name, self._file.kind, "", entry.ident, settings=self._variables)
            try:
                brought, texts = bring(entry, context)
            except SafekitError as error:
                self._findings.add(error)
                continue
            checkers += brought
            rules += [(entry, text) for text in texts]
        return checkers, rules

    def _fill(self, book: Rulebook, entries: list[Entry], app_rules: list[tuple[Entry, str]]) -> None:
        for entry in entries:
            speaks = not issubclass(entry.cls, Resource) or entry.cls.watches()
            if speaks and entry.config.action != "none":
                book.add_generated(generated(entry.resource, entry.config.action, entry.where))
        for entry, text in app_rules:
            book.add([Source(text, f"app '{entry.plugin}'", partial(_anywhere, entry.where))], own=False)
        for name, text in self._file.conditions.items():
            book.add_condition(name, self._source(("conditions", name), text))
        book.add(self._own_rules(), own=True)
        for index, label in enumerate(self._file.disabled_rules):
            book.disable(label, self._document.where(("disabled_rules", index)))

    def _own_rules(self) -> Iterable[Source]:
        for index, rule in enumerate(self._file.rules):
            if isinstance(rule, RuleEntry):
                yield self._source(("rules", index, "rule"), rule.rule, rule.message)
            else:
                yield self._source(("rules", index), rule)

    def _source(self, path: tuple[str | int, ...], text: str, message: str = "") -> Source:
        return Source(text, self._document.where(path), partial(self._document.inside, path), message)

    def _nodes(self) -> tuple[str, ...]:
        nodes = self._file.nodes
        if nodes is None:
            self._check_count(self._cluster_nodes, ("kind",))
            return self._cluster_nodes
        for index, node in enumerate(nodes):
            where = self._document.where(("nodes", index))
            if node not in self._cluster_nodes:
                hint = did_you_mean(node, self._cluster_nodes, "nodes")
                self._findings.add(ConfigError(f"there is no node '{node}' in the cluster", where=where, hint=hint))
            elif node in nodes[:index]:
                self._findings.add(ConfigError(f"node '{node}' is here twice", where=where, hint="remove one"))
        self._check_count(nodes, ("nodes",))
        return nodes

    def _check_count(self, nodes: tuple[str, ...], path: tuple[str, ...]) -> None:
        if self._file.kind == "mirror" and not 1 <= len(nodes) <= 2:
            hint = f"choose them: nodes: [{', '.join(self._cluster_nodes[:2])}]" if self._cluster_nodes else ""
            message = f"a mirror has one or two nodes, not {len(nodes)}"
            self._findings.add(ConfigError(message, where=self._document.where(path), hint=hint))

    def _check_mirror_keys(self, nodes: tuple[str, ...]) -> None:
        for key in ("isolation", "witness", "default_primary"):
            if key in self._file.model_fields_set and self._file.kind != "mirror":
                where = self._document.where((key,), key=True)
                self._findings.add(ConfigError(f"only a mirror has '{key}'", where=where, hint="remove it"))
        primary = self._file.default_primary
        if primary is not None and primary not in nodes:
            hint = did_you_mean(primary, nodes, "its nodes")
            where = self._document.where(("default_primary",))
            self._findings.add(ConfigError(f"'{primary}' is no node of this module", where=where, hint=hint))

    def _check_weights(self, nodes: tuple[str, ...]) -> None:
        if self._file.weights and self._file.kind != "farm":
            where = self._document.where(("weights",), key=True)
            self._findings.add(ConfigError("only a farm has 'weights'", where=where, hint="remove it"))
        for node in self._file.weights:
            if node not in nodes:
                hint = did_you_mean(node, nodes, "its nodes")
                where = self._document.where(("weights", node), key=True)
                self._findings.add(ConfigError(f"'{node}' is no node of this module", where=where, hint=hint))

    def _check_node_variables(self, nodes: tuple[str, ...]) -> None:
        for node, given in self._file.node_variables.items():
            if node not in nodes:
                hint = did_you_mean(node, nodes, "its nodes")
                where = self._document.where(("node_variables", node), key=True)
                self._findings.add(ConfigError(f"'{node}' is no node of this module", where=where, hint=hint))
            for name in {one for other in self._file.node_variables.values() for one in other} - given.keys():
                if name not in self._file.variables:
                    where = self._document.where(("node_variables", node), key=True)
                    hint = "add it, or give it a value for all others under variables:"
                    self._findings.add(ConfigError(f"'{name}' has no value on '{node}'", where=where, hint=hint))

    def _module(
        self,
        nodes: tuple[str, ...],
        steps: tuple[CompiledStep, ...],
        checkers: tuple[CompiledChecker, ...],
        book: Rulebook,
    ) -> CompiledModule:
        file = self._file
        empty = () if steps else (f"{self._document.filename}: the pipeline is empty: nothing is started",)
        return CompiledModule(
            name=self._name,
            kind=file.kind,
            description=file.description,
            nodes=nodes,
            heartbeat=file.heartbeat,
            isolation=file.isolation,
            default_primary=file.default_primary,
            weights=dict(file.weights),
            boot=file.boot,
            max_loops=file.max_loops,
            loop_interval=file.loop_interval,
            handle_time=file.handle_time,
            variables=self._variables,
            steps=steps,
            checkers=checkers,
            conditions=book.conditions(),
            rules=book.rules(),
            has_data=False,
            packages={},
            warnings=(*empty, *book.warnings),
        )


def _anywhere(where: str, _offset: int) -> str:
    return where


def signature(module: CompiledModule) -> str:
    """SHA-256 of what makes a difference at run time, in hex."""
    content = module.model_dump(mode="json", exclude=_NO_DIFFERENCE)
    witness = [content["witness"]] if content["witness"] else []
    for part in (*content["steps"], *content["checkers"], *content["rules"], *witness):
        part.pop("origin")
        part.pop("replaces", None)
        part.pop("live", None)
        part.pop("polls", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
