"""An etcd with users: passwords, rights, tokens that end."""

from __future__ import annotations

import base64
import contextlib
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from safekit_sdk import ConfigError, Lease, SafekitError

from .cluster import Cluster, running, until
from .conftest import Make

PASSWORD = "Xq7-quite-secret"


async def admin(cluster: Cluster, path: str, **body: Any) -> dict[str, Any]:
    return await cluster.post(cluster.urls[0], f"/v3/auth/{path}", body)


async def become_root(cluster: Cluster) -> None:
    cluster.headers = {}
    token = (await admin(cluster, "authenticate", name="root", password="root"))["token"]
    cluster.headers = {"authorization": token}


async def add_users(cluster: Cluster) -> None:
    """As in the README: a role on the prefix, and a user of it. Another user has no role."""
    place = {"key": base64.b64encode(b"/safekit/").decode(), "range_end": base64.b64encode(b"/safekit0").decode()}
    await admin(cluster, "user/add", name="root", password="root")
    await admin(cluster, "user/grant", user="root", role="root")
    await admin(cluster, "role/add", name="safekit")
    await admin(cluster, "role/grant", name="safekit", perm={"permType": "READWRITE", **place})
    for name in ("safekit", "nobody"):
        await admin(cluster, "user/add", name=name, password=PASSWORD)
    await admin(cluster, "user/grant", user="safekit", role="safekit")


@pytest.fixture
async def users(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(tmp_path, 1, options=["--auth-token-ttl", "1"]) as cluster:
        await add_users(cluster)
        await admin(cluster, "enable")
        await become_root(cluster)
        yield cluster


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return write_secret(tmp_path / "password", PASSWORD)


async def error_of(call: Any) -> SafekitError:
    with pytest.raises(ConfigError) as caught:
        await call
    told = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in told
    assert "wrong-word" not in told
    return caught.value


async def test_a_user_of_the_role_gets_a_lease_also_after_its_token_ended(
    users: Cluster, make: Make, secret: Path
) -> None:
    witness = make(*users.urls, user="safekit", password=f"file:{secret}", prefix="/safekit/")
    lease = await witness.acquire("m", "n1", 0)
    assert isinstance(lease, Lease)
    witness._gateway._token = "made.up"
    assert isinstance(await witness.renew("m", "n1", lease.epoch), Lease)
    users.kill()
    users.start()
    await until(lambda: answers_root(users))
    assert isinstance(await witness.renew("m", "n1", lease.epoch), Lease)
    await witness.release("m", "n1", lease.epoch)


async def answers_root(cluster: Cluster) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        await become_root(cluster)
        return True
    return False


def write_secret(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(f"{text}\n")
    return path


async def test_a_password_that_was_changed_is_read_anew(users: Cluster, make: Make, secret: Path) -> None:
    witness = make(*users.urls, user="safekit", password=f"file:{secret}", prefix="/safekit/")
    lease = await witness.acquire("m", "n1", 0)
    assert isinstance(lease, Lease)
    await admin(users, "user/changepw", name="safekit", password="another")
    assert "the user safekit with this password" in (await error_of(witness.renew("m", "n1", lease.epoch))).message
    write_secret(secret, "another")
    assert isinstance(await witness.renew("m", "n1", lease.epoch), Lease)


async def test_who_may_not_is_told_what_to_do_and_no_password(users: Cluster, make: Make, secret: Path) -> None:
    good = f"file:{secret}"
    wrong = write_secret(secret.with_name("wrong"), "wrong-word")
    told = await error_of(make(*users.urls, user="safekit", password=f"file:{wrong}").acquire("m", "n1", 0))
    assert told.message == "etcd does not know the user safekit with this password"
    told = await error_of(make(*users.urls, user="nobody", password=good, prefix="/safekit/").acquire("m", "n1", 0))
    assert "grant the user nobody a role with readwrite on the prefix /safekit/" in told.hint
    await error_of(make(*users.urls, user="safekit", password=good, prefix="/other/").acquire("m", "n1", 0))
    told = await error_of(make(*users.urls, prefix="/safekit/").acquire("m", "n1", 0))
    assert told.hint == "give user and password"


async def test_a_user_may_be_named_before_etcd_is_told_of_users(make: Make, secret: Path, tmp_path: Path) -> None:
    async with running(tmp_path, 1) as cluster:
        witness = make(*cluster.urls, user="safekit", password=f"file:{secret}", prefix="/safekit/")
        lease = await witness.acquire("m", "n1", 0)
        assert isinstance(lease, Lease)
        await add_users(cluster)
        await admin(cluster, "enable")
        assert isinstance(await witness.renew("m", "n1", lease.epoch), Lease)
