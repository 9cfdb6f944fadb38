"""A real nginx with a configuration of the test's own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nginx_app.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Pages below a folder that nginx's own user can read, and a free port."""
    place = tmp_path / "site"
    (place / "pages").mkdir(parents=True)
    (place / "pages" / "index.html").write_text("here\n")
    for folder in (place, *place.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = Site(place, free.getsockname()[1])
    made.write()
    return made
