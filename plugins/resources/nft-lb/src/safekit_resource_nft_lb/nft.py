"""The operating system's libnftables: a transaction takes a millisecond, and a process of `nft` twenty.

The only module that knows the library. Its C interface is small and stable, and Debian's Python binding for it is not
on the Python package index.
"""

from __future__ import annotations

import ctypes
import errno
import json
from ctypes import c_char_p, c_int, c_uint, c_uint32, c_void_p
from functools import cache
from typing import Any, Final

from safekit_sdk import ConfigError

LIBRARY: Final = "libnftables.so.1"
_JSON: Final = 1 << 4


class NftError(ConfigError):
    """The kernel or the library refused a transaction: nothing of it is in force."""


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError:
        raise ConfigError(
            f"{LIBRARY} is not on this machine", hint="apt-get install nftables (or your distribution's package)"
        ) from None
    for name, result, arguments in (
        ("nft_ctx_new", c_void_p, [c_uint32]),
        ("nft_ctx_free", None, [c_void_p]),
        ("nft_ctx_buffer_output", c_int, [c_void_p]),
        ("nft_ctx_buffer_error", c_int, [c_void_p]),
        ("nft_ctx_get_output_buffer", c_char_p, [c_void_p]),
        ("nft_ctx_get_error_buffer", c_char_p, [c_void_p]),
        ("nft_ctx_output_set_flags", None, [c_void_p, c_uint]),
        ("nft_ctx_set_dry_run", None, [c_void_p, ctypes.c_bool]),
        ("nft_run_cmd_from_buffer", c_int, [c_void_p, c_char_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Nft:
    """A session with the kernel, in the network namespace in which it was begun. To keep it is what makes a transaction
    quick: its end waits until the kernel has put away what it removed, some 8 ms."""

    def __init__(self) -> None:
        self._library = _library()
        self._context: int | None = self._library.nft_ctx_new(0)
        if not self._context:
            raise NftError("libnftables could not be set up", hint="out of memory?")
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def close(self) -> None:
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def __del__(self) -> None:
        if getattr(self, "_context", None):
            self.close()

    def run(self, commands: str) -> None:
        """One transaction: all of it, or NftError and nothing."""
        self._perform(commands)

    def check(self, commands: str) -> None:
        """Whether the library and this kernel would take it."""
        self._perform(commands, dry=True)

    def listed(self, what: str) -> list[dict[str, Any]]:
        """`list …` as libnftables-json(5) has it; nothing when there is no such thing."""
        try:
            text = self._perform(f"list {what}", flags=_JSON)
        except NftError:
            return []
        return list(json.loads(text)["nftables"]) if text.strip() else []

    def _perform(self, commands: str, *, flags: int = 0, dry: bool = False) -> str:
        library, context = self._library, self._context
        library.nft_ctx_output_set_flags(context, flags)
        library.nft_ctx_set_dry_run(context, dry)
        ctypes.set_errno(0)
        failed = library.nft_run_cmd_from_buffer(context, commands.encode())
        wrong = (library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace")
        said = (library.nft_ctx_get_output_buffer(context) or b"").decode(errors="replace")
        if failed:
            raise _explained(wrong)
        return said


def _explained(said: str) -> NftError:
    first = " ".join(said.strip().splitlines()[:1]) or "no reason was given"
    hint = ""
    if "Operation not permitted" in said or ctypes.get_errno() == errno.EPERM:
        hint = "it takes the right CAP_NET_ADMIN: run safekitd as root"
    elif "not supported" in said or "No such file or directory" in first:
        hint = "does this kernel have nftables with the families inet, netdev, arp and ip6, and nft_hash?"
    return NftError(f"nftables refused a change: {first}", hint=hint)
