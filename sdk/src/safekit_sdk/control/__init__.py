"""How a program on a node asks safekitd: the command line and the console both come this way."""

from safekit_sdk.control.client import AsyncControlClient, ControlClient, Operator
from safekit_sdk.control.door import open_to_group, socket_address
from safekit_sdk.control.frames import CallTooLargeError, frame, read_frame
from safekit_sdk.control.messages import (
    ANSWER,
    CALL,
    MAX_CALL_BYTES,
    Answer,
    Call,
    ErrorBody,
    Message,
    decode,
    encode,
    error_body,
    raise_body,
)

__all__ = [
    "ANSWER",
    "CALL",
    "MAX_CALL_BYTES",
    "Answer",
    "AsyncControlClient",
    "Call",
    "CallTooLargeError",
    "ControlClient",
    "ErrorBody",
    "Message",
    "Operator",
    "decode",
    "encode",
    "error_body",
    "frame",
    "open_to_group",
    "raise_body",
    "read_frame",
    "socket_address",
]
