"""Answers that a browser keeps as a file."""

from __future__ import annotations

import re
import time

from starlette.responses import Response

from safekit_console.node import Snapshot


def snapshot_file(cluster: str, snapshot: Snapshot) -> Response:
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime(snapshot.made))
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", cluster)[:64]
    headers = {
        "content-disposition": f'attachment; filename="safekit-{name}-{moment}.tar.gz"',
        "safekit-missing": " ".join(re.sub(r"[^A-Za-z0-9_.-]", "_", node) for node in snapshot.missing),
    }
    return Response(snapshot.archive, media_type="application/gzip", headers=headers)
