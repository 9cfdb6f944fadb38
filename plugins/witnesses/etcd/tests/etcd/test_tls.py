"""An etcd that speaks TLS only, and asks for a certificate."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from safekit_sdk import ConfigError, Lease, PeerError

from .authority import Authority
from .cluster import Cluster, Member, a_cluster
from .conftest import Make


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
async def secured(tmp_path: Path, authority: Authority) -> AsyncIterator[Cluster]:
    cluster = a_cluster(tmp_path, 1, scheme="https")
    certificate, key = authority.issue("server", address_of(cluster.members[0]))
    server = ["--cert-file", str(certificate), "--key-file", str(key)]
    cluster.members[0].options += [*server, "--client-cert-auth", "--trusted-ca-file", str(authority.path)]
    cluster.verify = ssl.create_default_context(cafile=authority.path)
    cluster.verify.load_cert_chain(*authority.issue("test"))
    try:
        cluster.start()
        await cluster.ready()
        yield cluster
    finally:
        cluster.kill()


def address_of(member: Member) -> str:
    return member.client_url.removeprefix("https://").partition(":")[0]


async def test_a_node_with_a_certificate_of_the_authority_is_served(
    secured: Cluster, make: Make, authority: Authority
) -> None:
    certificate, key = authority.issue("node1")
    witness = make(*secured.urls, ca=authority.path, certificate=certificate, key=key)
    assert isinstance(await witness.acquire("m", "n1", 0), Lease)


async def test_an_etcd_of_another_authority_is_not_believed(
    secured: Cluster, make: Make, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    certificate, key = authority.issue("node1")
    for ca in (stranger.path, None):
        witness = make(*secured.urls, ca=ca, certificate=certificate, key=key)
        with pytest.raises(PeerError, match="CERTIFICATE_VERIFY_FAILED"):
            await witness.acquire("m", "n1", 0)


async def test_a_certificate_for_another_address_is_not_believed(
    secured: Cluster, make: Make, authority: Authority
) -> None:
    secured.kill()
    options = secured.members[0].options
    certificate, key = authority.issue("elsewhere", "192.0.2.1")
    options[options.index("--cert-file") + 1] = str(certificate)
    options[options.index("--key-file") + 1] = str(key)
    assert isinstance(secured.verify, ssl.SSLContext)
    secured.verify.check_hostname = False
    secured.start()
    await secured.ready()
    shown = authority.issue("node1")
    with pytest.raises(PeerError, match="not valid for"):
        await make(*secured.urls, ca=authority.path, certificate=shown[0], key=shown[1]).probe("m", "n1")


async def test_nodes_without_a_certificate_or_without_tls_are_not_served(
    secured: Cluster, make: Make, authority: Authority
) -> None:
    """Whether the server's alert comes before its reset is a race, which decides the words."""
    with pytest.raises(PeerError):
        await make(*secured.urls, ca=authority.path).acquire("m", "n1", 0)
    with pytest.raises(PeerError):
        await make(*(url.replace("https:", "http:") for url in secured.urls)).acquire("m", "n1", 0)


async def test_a_certificate_that_was_replaced_is_read_after_a_failure(
    secured: Cluster, make: Make, authority: Authority, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    certificate, key = Authority(foreign, "stranger").issue("node1")
    witness = make(*secured.urls, ca=authority.path, certificate=certificate, key=key)
    with pytest.raises(PeerError):
        await witness.acquire("m", "n1", 0)
    for old, new in zip((certificate, key), authority.issue("node1"), strict=True):
        new.replace(old)
    assert isinstance(await witness.acquire("m", "n1", 0), Lease)


async def test_a_missing_file_is_an_error_of_the_configuration(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pem cannot be used: No such file"):
        await make("https://127.0.0.1:1", ca=tmp_path / "none.pem").probe("m", "n1")
