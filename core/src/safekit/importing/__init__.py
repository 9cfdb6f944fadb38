"""Configurations of SafeKit, keepalived and Pacemaker into ours, with an account of every line.

`convert` is the door. Nothing here touches a network, a daemon, or a file other than those that it is given.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from safekit.importing.account import Account
from safekit.importing.draft import Conversion
from safekit.importing.source import Source, read
from safekit_sdk import ConfigError

__all__ = ["FORMATS", "Conversion", "Form", "convert"]
Form = Literal["safekit", "keepalived", "pacemaker"]
FORMATS: Final[tuple[Form, ...]] = ("safekit", "keepalived", "pacemaker")
_KEEPALIVED: Final = re.compile(
    r"^\s*(global_defs|vrrp_\w+|virtual_server\w*|static_\w+|include\w*|@\S+|\$\w+=|group|local_address_group)\b",
    re.MULTILINE,
)


def convert(data: bytes, filename: str, form: Form | None = None, name: str = "module") -> Conversion:
    """`form`: recognised by the content when None. `name`: of the module, where the source has none. ConfigError, with
    the place, for what cannot be read at all."""
    source = read(data, filename)
    if form == "keepalived" or (form is None and not source.text.lstrip().startswith("<")):
        return _keepalived(source, certain=form is not None)
    return _xml(source, form, name)


def _keepalived(source: Source, *, certain: bool) -> Conversion:
    from safekit.importing.keepalived.convert import convert as convert_keepalived

    if not certain and not _KEEPALIVED.search(source.text):
        raise _unknown(source)
    return convert_keepalived(source, Account(source.filename, source.text))


def _xml(source: Source, form: Form | None, name: str) -> Conversion:
    from safekit.importing.pacemaker.convert import convert as convert_pacemaker
    from safekit.importing.userconfig.cluster import convert as convert_cluster
    from safekit.importing.userconfig.module import convert as convert_module
    from safekit.importing.xml import parse

    account = Account(source.filename, source.text)
    root = parse(source, account)
    tags = {element.tag for element in root.walk()}
    if form == "pacemaker" or (form is None and root.tag in {"cib", "configuration", "resources"}):
        return convert_pacemaker(source, root, account)
    if "service" in tags:
        return convert_module(source, root, account, name)
    if "lans" in tags:
        return convert_cluster(source, root, account)
    raise _unknown(source)


def _unknown(source: Source) -> ConfigError:
    return ConfigError(
        "this is neither a userconfig.xml or cluster.xml of SafeKit, nor a keepalived.conf, nor a CIB of Pacemaker",
        where=f"{source.filename}:1:1",
        hint="say what it is: --format safekit, keepalived or pacemaker",
    )
