"""What a swap asks of the other node before it moves a running guest: one request, one answer. safekitd starts it."""

from __future__ import annotations

import asyncio
import sys

from safekit_resource_kvm_vm.offer import Question, look
from safekit_sdk.control import error_body


def main() -> None:
    try:
        found = asyncio.run(look(Question.model_validate_json(sys.stdin.buffer.read(65536))))
        print(f'{{"result": {found.model_dump_json()}}}')
    except Exception as error:  # the top of a request
        print(f'{{"error": {error_body(error).model_dump_json()}}}')


if __name__ == "__main__":
    main()
