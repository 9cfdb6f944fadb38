"""`safekit rules`: what the failover rules of a module are, whether they hold, and what they would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from safekit.cli.ask import ask_nodes, chosen, one_result
from safekit.cli.options import Output
from safekit.cli.output import Format, plain, rows, show
from safekit_sdk import ConfigError, SafekitError

app = typer.Typer(help="List, explain and try the failover rules of a module.", no_args_is_help=True)
Module = Annotated[str, typer.Argument(help="The module.")]
On = Annotated[str, typer.Option("--on", help="As this node has them.")]
From = Annotated[
    Path | None, typer.Option("--from", help="The rules of this module.yaml or folder, which need not be applied.")
]


@app.command("list")
def list_rules(module: Module, on: On = "", source: From = None, output: Output = Format.TABLE) -> None:
    """List the rules with where they come from, what they do, and whether they hold now."""
    facts = _facts(module, on, source)
    show(_listed(facts), output, _list_table)


@app.command()
def explain(
    module: Module,
    label: Annotated[str, typer.Argument(help="Only this rule.")] = "",
    on: On = "",
    source: From = None,
    output: Output = Format.TABLE,
) -> None:
    """Show each part of the rules with its present value."""
    facts = _facts(module, on, source)
    listed = _listed(facts)
    found = [rule for rule in listed["rules"] if label in {"", rule["label"]}]
    if not found:
        from safekit.config.problems import did_you_mean

        hint = did_you_mean(label, [rule["label"] for rule in listed["rules"]], "rules")
        raise ConfigError(f"module '{module}' has no rule '{label}'", hint=hint)
    for rule in found:
        rule["parts"] = _parts(facts, rule["label"])
    show({**listed, "rules": found}, output, _explain_text)


@app.command("test")
def try_rules(
    module: Module,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A value: http.home=down, remote.ping.gw=unknown; repeatable.")
    ] = None,
    held: Annotated[str, typer.Option("--for", help="How long it has all been so, as 10s; any time if absent.")] = "",
    healthy: Annotated[
        bool, typer.Option("--healthy", help="Do not start from the present values: what is not set is up.")
    ] = False,
    on: On = "",
    source: From = None,
    output: Output = Format.TABLE,
) -> None:
    """Say what the rules would do, in each state, if the values were these. Nothing is touched."""
    facts = _facts(module, on, source)
    show(_tried(facts, settings or [], held, healthy), output, _test_text)


_WORDS: Final = {None: "", True: "true", False: "false"}


class _Facts:
    """The rules, and what the node says of them; nothing of the node when it was not asked."""

    def __init__(self, compiled: dict[str, Any], said: dict[str, Any]) -> None:
        from safekit.config.compiled import CompiledModule

        self.module = CompiledModule.model_validate(compiled)
        self.node = said.get("node") or self.module.nodes[0]
        self.state = f"{said['state']} {said['readiness']}" if said else ""
        self.values: dict[str, dict[str, Any]] = said.get("values", {})
        self.remote: dict[str, str] = said.get("remote", {})
        self.held_s: dict[str, float] = said.get("held_s", {})
        self.swap_obstacle: str = said.get("swap_obstacle", "")
        self.loops: int = said.get("loops", 0)

    @property
    def conditions(self) -> dict[str, Any]:
        """Those that have a name, as far as rules use them."""
        from safekit.engine import rules

        trees = [rule.to_rule().condition for rule in self.module.rules]
        for tree in trees:
            trees += rules.parts(tree)
        return {tree.name: tree.condition for tree in trees if isinstance(tree, rules.Named)}

    @property
    def local(self) -> dict[str, str]:
        return {name: value["value"] for name, value in self.values.items()}


def _facts(name: str, on: str, source: Path | None) -> _Facts:
    if source is None:
        said = one_result(ask_nodes("rules", {"module": name}, chosen([on] if on else None, False)))
        return _Facts(said["module"], said)
    return _from_file(name, on, source)


def _from_file(name: str, on: str, source: Path) -> _Facts:
    """The values are those of the node where it has the module."""
    from safekit.cli.configuration import compile_here

    compiled = compile_here(source, name).model_dump(mode="json")
    try:
        said = one_result(ask_nodes("rules", {"module": name}, chosen([on] if on else None, False)))
    except SafekitError:
        if on:
            raise
        said = {}
    return _Facts(compiled, said)


def _listed(facts: _Facts) -> dict[str, Any]:
    module = facts.module
    return {
        "module": module.name,
        "node": facts.node if facts.state else "",
        "state": facts.state,
        "handle_time_s": module.handle_time.seconds,
        "loops": facts.loops,
        "max_loops": module.max_loops,
        "rules": [_line(facts, rule) for rule in module.rules],
        "conditions": [_condition_line(facts, name, text) for name, text in module.conditions.items()],
    }


def _condition_line(facts: _Facts, name: str, text: str) -> dict[str, Any]:
    from safekit.engine import rules

    known = facts.conditions.get(name) if facts.state else None
    return {
        "name": name,
        "condition": text,
        "holds": None if known is None else rules.holds(known, facts.local, facts.remote),
    }


def _line(facts: _Facts, compiled: Any) -> dict[str, Any]:
    from safekit.config.rules import expression_text
    from safekit.engine import rules

    rule = compiled.to_rule()
    is_known = bool(facts.state) and compiled.enabled
    true = rules.holds(rule.condition, facts.local, facts.remote) if is_known else None
    return {
        "label": rule.label,
        "enabled": compiled.enabled,
        "holds": true,
        "held_s": facts.held_s.get(rule.label, 0.0),
        "hold_s": rule.hold_s,
        "condition": expression_text(rule.condition),
        "action": rule.action,
        "obstacle": facts.swap_obstacle if rule.action == "swap" and true else "",
        "message": rule.message,
        "origin": rule.origin,
        "replaces": compiled.replaces,
    }


def _now(rule: dict[str, Any]) -> str:
    if not rule["enabled"]:
        return "disabled"
    if rule["holds"] is None:
        return ""
    if not rule["holds"]:
        return "false"
    if rule["obstacle"]:
        return f"true, but {rule['obstacle']}"
    return f"true {rule['held_s']:.1f}s of {rule['hold_s']:g}s" if rule["hold_s"] else "true"


def _title(listed: dict[str, Any]) -> str:
    if not listed["state"]:
        return f"{listed['module']}, as the file has it"
    used = min(listed["loops"], listed["max_loops"])
    loops = f", {used} of {listed['max_loops']} automatic restarts used" if used else ""
    stopped = "; no rule acts while it is stopped" if listed["state"].startswith("STOP") else ""
    handled = f"; an action comes after {listed['handle_time_s']:g} s" if listed["handle_time_s"] else ""
    return f"{listed['module']} on {listed['node']}: {listed['state']}{loops}{stopped}{handled}"


def _list_table(listed: dict[str, Any]) -> Any:
    from rich.console import Group

    lines = [
        (plain(r["label"]), plain(_now(r)), r["action"], plain(_condition(r)), plain(_origin(r)))
        for r in listed["rules"]
    ]
    table = rows("", ("RULE", "NOW", "THEN", "IF", "FROM"), lines)
    named = [(plain(c["name"]), _WORDS[c["holds"]], plain(c["condition"])) for c in listed["conditions"]]
    conditions = ["", rows("", ("CONDITION", "NOW", "IS"), named)] if named else []
    return Group(plain(_title(listed)), table if lines else "no rules", *conditions)


def _condition(rule: dict[str, Any]) -> str:
    from safekit_sdk import Duration

    return f"{rule['condition']} for {Duration(rule['hold_s'])}" if rule["hold_s"] else str(rule["condition"])


def _origin(rule: dict[str, Any]) -> str:
    return f"{rule['origin']}, in place of {rule['replaces']}" if rule["replaces"] else str(rule["origin"])


def _parts(facts: _Facts, label: str) -> list[dict[str, Any]]:
    """The tree from the top, each part with its depth."""
    rule = next(rule for rule in facts.module.rules if rule.label == label)
    found: list[dict[str, Any]] = []
    _walk(rule.to_rule().condition, facts, 0, found)
    return found


def _walk(expression: Any, facts: _Facts, depth: int, found: list[dict[str, Any]]) -> None:
    from safekit.config.rules import expression_text
    from safekit.engine import rules

    true = rules.holds(expression, facts.local, facts.remote) if facts.state else None
    looked_at = [expression] if isinstance(expression, rules.Test) else []
    if isinstance(expression, rules.Count):
        looked_at = list(expression.tests)
    values = {
        name: _value(facts, name, value)
        for test in looked_at
        for name, value in rules.observed(test, facts.local, facts.remote).items()
    }
    found.append(
        {"depth": depth, "text": expression_text(expression), "holds": true, "values": values if facts.state else {}}
    )
    if not isinstance(expression, rules.Count):
        for part in rules.parts(expression):
            _walk(part, facts, depth + 1, found)


def _value(facts: _Facts, name: str, value: str) -> str:
    known = facts.values.get(name)
    if known is None:
        return value
    return f"{value} for {known['since_s']:.1f}s {known['reason']}".rstrip()


def _explain_text(found: dict[str, Any]) -> Any:
    from rich.text import Text

    text = Text(f"{_title(found)}\n")
    for rule in found["rules"]:
        text.append(f"\n{rule['label']}", style="bold")
        text.append(f": if ({rule['condition']})")
        text.append(f" for {rule['hold_s']:g}s" if rule["hold_s"] else "")
        text.append(f" then {rule['action']};  {_now(rule)}\n")
        text.append(f"  from {_origin(rule)}\n", style="dim")
        if rule["message"]:
            text.append(f"  says: {rule['message']}\n")
        for part in rule["parts"]:
            mark = _WORDS[part["holds"]]
            text.append(f"  {mark:<6}{'  ' * part['depth']}{part['text']}\n", style=None if part["holds"] else "dim")
            for name, value in part["values"].items():
                text.append(f"        {'  ' * part['depth']}  {name} is {value}\n", style="dim")
    return text


def _tried(facts: _Facts, settings: list[str], held: str, healthy: bool) -> dict[str, Any]:
    from safekit.config import supposing
    from safekit.engine import trial

    spec = facts.module.to_spec(facts.node)
    given = supposing.parse_settings(settings, facts.module)
    now = ({}, {}) if healthy else (facts.local, facts.remote)
    supposed = supposing.suppose(facts.module, given, *now)
    held_s = _seconds(held) if held else None
    outcomes = []
    for state in trial.states(spec):
        local = supposing.local_in(state, facts.module, supposed)
        outcome = trial.try_rules(spec, facts.node, state, local, supposing.remote_of(supposed))
        scopes = supposing.watched(facts.module)
        deaf = [name for name in given if not supposing.is_on(scopes.get(name, ()), state)]
        outcomes.append(_outcome(outcome, held_s, deaf))
    return {
        "module": facts.module.name,
        "values": {name: {"value": one.value, "source": one.source} for name, one in sorted(supposed.items())},
        "held_s": held_s,
        "states": outcomes,
    }


def _outcome(outcome: Any, held_s: float | None, deaf: list[str]) -> dict[str, Any]:
    acts = bool(outcome.label) and (held_s is None or outcome.after_s <= held_s)
    notes = list(outcome.considered)
    if outcome.label and not acts:
        notes.insert(0, f"rule '{outcome.label}' ({outcome.action}) acts after {outcome.after_s:g} s")
    notes += [f"{name} is not checked in this state" for name in deaf]
    return {
        "state": str(outcome.state),
        "action": outcome.action if acts else "",
        "rule": outcome.label if acts else "",
        "after_s": outcome.after_s if acts else 0.0,
        "notes": notes,
    }


def _seconds(text: str) -> float:
    from safekit_sdk import Duration

    try:
        return Duration.parse(text).seconds
    except ValueError as error:
        raise ConfigError(str(error), where=f"--for {text}") from None


def _test_text(found: dict[str, Any]) -> Any:
    from rich.console import Group

    values = [(plain(name), one["value"], one["source"]) for name, one in found["values"].items()]
    lines = [(one["state"], _then(one), plain(one["rule"]), plain("; ".join(one["notes"]))) for one in found["states"]]
    with_what = rows("", ("WITH", "VALUE", ""), values)
    return Group(with_what, "", rows("", ("IN", "THEN", "BY", "NOTES"), lines))


def _then(one: dict[str, Any]) -> str:
    if not one["action"]:
        return "goes on" if one["state"] == "WAIT" else "nothing"
    if one["state"] == "WAIT":
        return "stays in WAIT"
    return f"{one['action']} after {one['after_s']:g} s" if one["after_s"] else str(one["action"])
