import pytest

from safekit_lab import LabError
from safekit_lab.layout import LabSpec, ethernet, hosts_file, ipv4, ipv6, port
from safekit_lab.units import parse_duration, parse_size

SPEC = LabSpec(name="t", nodes=2, clients=1, networks=2)


def test_a_node_and_a_client_have_their_places_in_every_network() -> None:
    node, client = SPEC.machine("node2"), SPEC.machine("client1")
    assert (ipv4(node, 1), ipv6(node, 1), port(node.name, 1)) == ("10.77.1.2", "fd77:1::2", "node2-1")
    assert (ipv4(client, 0), ipv6(client, 0)) == ("10.77.0.201", "fd77:0::201")


def test_no_two_cards_have_the_same_ethernet_address() -> None:
    spec = LabSpec(name="t", nodes=150, clients=50, networks=16)
    cards = [ethernet(machine, network) for machine in spec.machines for network in range(spec.networks)]
    assert len(set(cards)) == len(cards)


def test_the_hosts_file_names_every_machine_on_every_network() -> None:
    lines = hosts_file(SPEC).splitlines()
    assert "10.77.0.1 node1 node1.net0" in lines
    assert "fd77:1::201 client1.net1" in lines


def test_without_ipv6_the_hosts_file_has_none() -> None:
    assert "fd77" not in hosts_file(LabSpec(name="t", nodes=1, ipv6=False))


def test_an_unknown_node_is_answered_with_those_there_are() -> None:
    with pytest.raises(LabError, match="node1, node2, client1"):
        SPEC.machine("node3")


def test_sizes_and_durations_are_read_as_people_write_them() -> None:
    assert (parse_size("512M"), parse_size("1g"), parse_size("77")) == (512 << 20, 1 << 30, 77)
    assert (parse_duration("10ms"), parse_duration("2.5s"), parse_duration("3m"), parse_duration("4")) == (
        0.01,
        2.5,
        180.0,
        4.0,
    )


@pytest.mark.parametrize("text", ["", "ten", "-1M", "5 parsecs"])
def test_what_is_no_size_and_no_duration_is_refused(text: str) -> None:
    with pytest.raises(LabError, match="write for example"):
        parse_size(text)
    with pytest.raises(LabError, match="write for example"):
        parse_duration(text)
