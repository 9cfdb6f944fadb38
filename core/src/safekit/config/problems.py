"""pydantic's findings in the operator's words: where it stands, what is wrong, which key was meant."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from safekit.config.errors import ConfigErrors
from safekit.config.text import Document, Path
from safekit_sdk import ConfigError

Finding = dict[str, Any]
M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], document: Document, prefix: Path = ()) -> M:
    """The model of the mapping at `prefix`, which may be left empty; ConfigErrors with one entry for each place that
    is wrong."""
    given = _at(document.value, prefix)
    try:
        return model.model_validate({} if given is None else given)
    except ValidationError as error:
        raise ConfigErrors(_translate(error, model, document, prefix)) from None


def _translate(error: ValidationError, model: type[BaseModel], document: Document, prefix: Path) -> list[ConfigError]:
    by_place: dict[tuple[Path, str | int], list[Finding]] = {}
    for finding in error.errors(include_url=False):
        path = _real_path(finding["loc"], _at(document.value, prefix))
        absent = finding["loc"][-1] if finding["type"] == "missing" else ""
        by_place.setdefault((path, absent), []).append(dict(finding))
    return [_explain(path, found, model, document, prefix) for (path, _), found in by_place.items()]


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that may have been meant, or nothing."""
    folded = {other.lower().replace("-", "_"): other for other in known}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else ""


def did_you_mean(word: str, known: Iterable[str], what: str) -> str:
    """`did you mean 'port'?` or, when nothing is near, `what: a, b, c`."""
    known = list(known)
    if near := nearest(word, known):
        return f"did you mean '{near}'?"
    return f"{what}: {', '.join(known)}" if known else ""


def _explain(path: Path, found: list[Finding], model: type[BaseModel], document: Document, prefix: Path) -> ConfigError:
    full = (*prefix, *path)
    first = found[0]
    if first["type"] == "extra_forbidden":
        key = str(path[-1])
        hint = did_you_mean(key, _fields(model, path[:-1]), "keys here")
        return ConfigError(f"unknown key '{key}'", where=document.where(full, key=True), hint=hint)
    if first["type"] == "missing":
        key = str(first["loc"][-1])
        return ConfigError(
            f"the key '{key}' is missing", where=document.where(full, key=True), hint=_describe(model, path, key)
        )
    messages = list(dict.fromkeys(_message(finding) for finding in found))
    label = _label(path)
    return ConfigError(
        f"{label}: {', or '.join(messages)}" if label else ", or ".join(messages),
        where=document.where(full, key=first["loc"][-1:] == ("[key]",)),
        hint=next((hint for finding in found if (hint := _hint(finding))), ""),
    )


def plain(error: ValidationError) -> str:
    """One line for values that come from no file: from a command line or another node."""
    findings: list[Finding] = [dict(finding) for finding in error.errors(include_url=False)]
    return "; ".join(f"{_label(finding['loc'])}: {_message(finding)}".lstrip(": ") for finding in findings)


def _label(path: Path) -> str:
    """The last key on the way, with its position in a list: `ports[2]`."""
    words = [part for part in path if isinstance(part, str)]
    index = f"[{path[-1]}]" if path and isinstance(path[-1], int) else ""
    return f"{words[-1]}{index}" if words else index


_MESSAGES: Final[dict[str, str]] = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "none_required": "must be empty",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "union_tag_not_found": "needs the key {discriminator}",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "extra_forbidden": "is an unknown key",
    "missing": "is missing",
}
_WITHOUT_VALUE: Final = {"union_tag_not_found", "union_tag_invalid", "extra_forbidden", "missing"}


def _message(finding: Finding) -> str:
    if finding["type"] in {"value_error", "assertion_error"}:
        return re.sub(r"^(Value|Assertion) error, ", "", str(finding["msg"]))
    form = _MESSAGES.get(finding["type"])
    if form is None:
        return str(finding["msg"])
    said = form.format(**finding.get("ctx", {}))
    shown = "" if finding["type"] in _WITHOUT_VALUE else _shown(finding["input"])
    return f"{said}, not {shown}" if shown else said


def _shown(value: Any) -> str:
    """What was written, as the file would have it; nothing for what is long or has parts."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"'{value}'" if len(str(value)) <= 60 else ""


def _hint(finding: Finding) -> str:
    expected = finding.get("ctx", {}).get("expected")
    if expected and isinstance(finding["input"], str) and finding["type"] in {"literal_error", "enum"}:
        near = nearest(finding["input"], re.findall(r"'([^']*)'", str(expected)))
        return f"did you mean '{near}'?" if near else ""
    return ""


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _real_path(loc: tuple[str | int, ...], value: Any) -> Path:
    """The way through the file. The parts of `loc` that name a union's members or a validator are no part of it."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(value, dict):
            known = part in value
        else:
            known = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if known:
            value = value[part]
            path.append(part)
    return tuple(path)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _models_at(model: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    models = [model]
    for part in path:
        fields = [field for one in models if (field := _by_key(one).get(str(part)))]
        if isinstance(part, str) and fields:
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return models


def _by_key(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _fields(model: type[BaseModel], path: Path) -> list[str]:
    return list(dict.fromkeys(key for one in _models_at(model, path) for key in _by_key(one)))


def _describe(model: type[BaseModel], path: Path, key: str) -> str:
    """What the missing key is for, from the model's own words."""
    for one in _models_at(model, path):
        field = _by_key(one).get(key)
        if field is not None and field.description:
            return f"{key}: {field.description.strip()}"
    return ""
