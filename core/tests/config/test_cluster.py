"""The cluster file: checked when it is read, replaced in one step when it is written."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from safekit.config.cluster import Cluster
from safekit.config.errors import ConfigErrors
from safekit_sdk import ConfigError

KEYS = ["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "0" * 40]
TEXT = """\
# Written by safekit; change it with `safekit cluster`.
name: shop
id: 4b6a9d3a-2f97-416c-a06b-dfd65497bfcb
revision: 2
networks:
- name: lan
  port: 4800
- name: back
  port: 4801
nodes:
- name: n1
  public_key: rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7
  addresses:
    lan: 10.0.0.1
    back: fd00::1
- name: n2
  public_key: Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID
  addresses:
    lan: 10.0.0.2
"""


def cluster() -> Cluster:
    return Cluster.from_text(TEXT, "cluster.yaml")


def mistakes(old: str, new: str) -> list[str]:
    assert old in TEXT
    with pytest.raises(ConfigErrors) as caught:
        Cluster.from_text(TEXT.replace(old, new), "cluster.yaml")
    return [str(error) for error in caught.value.errors]


def test_a_file_is_read_and_written_the_same() -> None:
    assert cluster().to_text() == TEXT


def test_a_new_cluster_has_one_node_and_an_identity_of_its_own() -> None:
    one, other = (Cluster.new("shop", "n1", {"": "10.0.0.1"}, KEYS[0]) for _ in range(2))
    assert one.id != other.id
    assert (one.revision, [network.name for network in one.networks], one.networks[0].port) == (1, ["lan"], 4800)
    assert one.nodes[0].addresses == {"lan": "10.0.0.1"}


def test_a_node_joins_in_the_next_revision() -> None:
    after = cluster().with_node("n3", {"lan": "10.0.0.3"}, KEYS[2])
    assert (after.revision, [node.name for node in after.nodes]) == (3, ["n1", "n2", "n3"])
    assert cluster().revision == 2


def test_a_node_leaves_in_the_next_revision() -> None:
    after = cluster().without_node("n1")
    assert (after.revision, [node.name for node in after.nodes]) == (3, ["n2"])
    with pytest.raises(ConfigError, match="there is no node 'n9'\n  to do: there are: n1, n2"):
        cluster().without_node("n9")


def test_a_network_comes_and_goes_in_the_next_revisions() -> None:
    before = cluster()
    names = [node.name for node in before.nodes]
    after = before.with_network("third", 4900, {name: f"10.9.0.{at}" for at, name in enumerate(names, 1)})
    assert (after.revision, after.networks[-1].name, after.networks[-1].port) == (before.revision + 1, "third", 4900)
    assert all("third" in node.addresses for node in after.nodes)
    back = after.without_network("third")
    assert (back.nodes, back.networks) == (before.nodes, before.networks)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.with_network(c.networks[0].name, 4800, {c.nodes[0].name: "10.9.0.1"}), "already"),
        (lambda c: c.with_network("third", 4800, {"nobody": "10.9.0.1"}), "no node 'nobody'"),
        (lambda c: c.with_network("third", 4800, {}), "no node has an address"),
        (lambda c: c.with_network("third", 4800, {c.nodes[0].name: "none"}), "not an IPv4"),
        (lambda c: c.without_network("third"), "no network 'third'"),
        (lambda c: Cluster.new("c", "a", {"": "10.0.0.1"}, c.nodes[0].public_key).without_network("lan"), "no address"),
    ],
)
def test_a_change_of_networks_that_does_not_fit_is_refused(change: Callable[[Cluster], Cluster], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        change(cluster())


@pytest.mark.parametrize(
    ("name", "addresses", "key", "said"),
    [
        ("n1", {"lan": "10.0.0.3"}, KEYS[2], "there is a node 'n1' already"),
        ("n3", {"lan": "10.0.0.2"}, KEYS[2], "n2 and n3: the address 10.0.0.2 is there twice"),
        ("n3", {"lan": "10.0.0.3"}, KEYS[0], "n1 and n3 have the same key"),
        ("n3", {"wan": "10.0.0.3"}, KEYS[2], "n3 has an address on 'wan', which is no network of the cluster"),
        ("n3", {"back": "fd00::3"}, KEYS[2], "n2 and n3 have no network in common"),
        ("n3", {"lan": "here"}, KEYS[2], "'here' is not an IPv4 or IPv6 address"),
        ("n3", {"lan": "0.0.0.0"}, KEYS[2], "0.0.0.0 is no address of one machine"),
        ("n3", {"lan": "10.0.0.3"}, "short", "public_key"),
        ("n 3", {"lan": "10.0.0.3"}, KEYS[2], "name"),
        ("n3", {}, KEYS[2], "addresses"),
    ],
)
def test_a_node_that_does_not_fit_is_refused(name: str, addresses: dict[str, str], key: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cluster().with_node(name, addresses, key)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  port: 4801", "  prot: 4801", "cluster.yaml:9:3: unknown key 'prot'\n  to do: did you mean 'port'?"),
        ("revision: 2\n", "", "cluster.yaml:2:1: the key 'revision' is missing"),
        ("port: 4801", "port: 0", "cluster.yaml:9:9: port: must be at least 1, not '0'"),
        ("10.0.0.2", "10.0.0.256", "cluster.yaml:19:10: lan: '10.0.0.256' is not an IPv4 or IPv6 address"),
        ("name: n2", "name: n1", "cluster.yaml:2:1: two nodes are called 'n1'"),
        ("name: back", "name: lan", "cluster.yaml:2:1: two networks are called 'lan'"),
        ("fd00::1", "10.0.0.2", "cluster.yaml:2:1: n1 and n2: the address 10.0.0.2 is there twice"),
    ],
)
def test_a_bad_file_is_told_with_its_place(old: str, new: str, said: str) -> None:
    found = mistakes(old, new)
    assert found[0].startswith(said)


def test_the_same_address_written_in_two_ways_is_found() -> None:
    changed = TEXT.replace("lan: 10.0.0.2", "lan: 10.0.0.2\n    back: fd00:0:0::1")
    with pytest.raises(ConfigErrors, match="the address fd00::1 is there twice"):
        Cluster.from_text(changed, "cluster.yaml")


def test_a_file_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.yaml:1:1: a cluster file is a mapping"):
        Cluster.from_text("- 1", "cluster.yaml")


def test_a_node_without_the_file_is_told_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Cluster.load(tmp_path / "cluster.yaml")
    assert str(caught.value) == (
        f"{tmp_path}/cluster.yaml: this node is in no cluster\n"
        "  to do: `safekit cluster init` makes a cluster, `safekit cluster join TOKEN` joins one"
    )


def test_a_saved_file_is_private_and_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "cluster.yaml"
    cluster().save(path)
    assert Cluster.load(path) == cluster()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["cluster.yaml"]


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    cluster().save(path)
    (tmp_path / ".cluster.yaml.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        cluster().without_node("n1").save(path)
    assert Cluster.load(path) == cluster()
