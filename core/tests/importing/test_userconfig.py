"""SafeKit's userconfig.xml and cluster.xml: each tag of the dialect, and where it went."""

from __future__ import annotations

import pytest

from safekit.importing.account import Fate
from safekit_sdk import ConfigError

from .kit import compiled, converted, lost, silent_lines, told
from .samples import CLUSTER, FARM, MIRROR


def service(inner: str, attributes: str = 'mode="mirror"') -> str:
    return f"<safe><service {attributes}>{inner}</service></safe>"


class TestAMirror:
    def test_it_compiles_with_the_real_plugins(self) -> None:
        [draft] = converted(MIRROR).drafts
        module = compiled(draft)
        assert module.kind == "mirror"
        steps = ["rfs._srv_db", "vip.10.0.0.100", "vip.fd00::100"]
        assert [step.resource for step in module.steps][1:3] == steps[1:]
        assert [step.plugin for step in module.steps] == ["rfs", "vip", "vip", "service"]
        assert {checker.resource for checker in module.checkers} > {
            "tcp.db",
            "tcp.lock",
            "ping.router",
            "errd.postgres",
        }

    def test_times_have_the_units_of_the_dialect(self) -> None:
        content = converted(MIRROR).drafts[0].content
        assert content["heartbeat"] == {"interval": "700ms", "lost_after": "30s"}
        assert (content["loop_interval"], content["handle_time"], content["max_loops"]) == ("12h", "15s", 5)
        assert content["pipeline"][3]["service"]["stop_timeout"] == "375s"
        assert content["checkers"][0]["errd"]["start_after"] == "1m"

    def test_macros_stay_by_name_where_their_value_is_used_as_it_is(self) -> None:
        content = converted(MIRROR).drafts[0].content
        assert content["variables"] == {"DB_NAME": "orders", "VIP": "10.0.0.100", "PORT": "5432"}
        assert content["pipeline"][1]["vip"]["address"] == "%VIP%/24"
        assert content["checkers"][4]["tcp"]["port"] == 5432

    def test_a_rule_of_a_checker_takes_its_place_under_our_label(self) -> None:
        conversion = converted(MIRROR)
        rules = conversion.drafts[0].content["rules"]
        assert rules == [
            "tcp_db: if (tcp.db == down && ping.router == up) then stopstart;",
            "both: if (custom.lag == down || errd.pump == down) then restart;",
            "gone: if (splitbrain.ping == down) then wait;",
        ]
        assert "heartbeat.default" in told(conversion, "odd: if").why
        assert told(conversion, "broken: if").place.line == 64

    def test_a_split_brain_checker_is_a_witness_whose_lease_fits_the_heartbeat(self) -> None:
        witness = converted(MIRROR).drafts[0].content["witness"]
        assert witness == {"ping": {"hosts": ["10.0.0.1", "10.0.0.2"], "lease": "2m"}}

    def test_what_is_lost_is_exactly_this(self) -> None:
        words = {what.partition("=")[0] for what in lost(converted(MIRROR))}
        assert words == {
            *("boot_delay", "failover", "automatic_reboot", "tcpreset", "syncdelta", "scripts", "regexpath", "path"),
            *("<virtual_addr>", "addr", "where", "<vhost>", "<virtualhostname>", "name", "envfile", "when", "action"),
            *("class", "restart_services", "<intf>", "ident", "<to>", "local_addr", "<telepathy>"),
            *("odd: if (heartbeat.default ", "broken: if tcp.db then jump();"),
        }

    def test_every_line_is_in_the_report(self) -> None:
        assert silent_lines(converted(MIRROR), MIRROR) == set()

    def test_where_the_file_is_silent_the_report_says_what_holds(self) -> None:
        notes = " ".join(converted(service("<heart/>")).notes)
        assert "lost_after: 30s" in notes
        assert "handle_time: 15s" in notes
        assert "isolation: safety" in notes


class TestAFarm:
    def test_it_compiles_with_the_real_plugins(self) -> None:
        [draft] = converted(FARM).drafts
        module = compiled(draft)
        assert [step.plugin for step in module.steps] == ["nft-lb", "vip", "vip", "service"]
        assert module.weights == {"node1": 64, "node2": 1}
        assert module.heartbeat.lost_after.seconds == 2

    def test_filters_become_hashes(self) -> None:
        rules = converted(FARM).drafts[0].content["pipeline"][0]["nft-lb"]["rules"]
        assert rules[0] == {"port": 80, "hash": "client_address"}
        assert rules[1] == {"port": 443, "hash": "client_session", "address": "10.0.0.101"}
        assert rules[2] == {"port": 53, "hash": "client_session", "protocol": "udp"}

    def test_without_extends_the_checkers_have_no_rules_of_their_own(self) -> None:
        content = converted(FARM).drafts[0].content
        assert content["checkers"][0]["tcp"]["action"] == "none"
        assert content["rules"] == ["h: if (tcp.http == down) then stopstart;"]

    def test_every_line_is_in_the_report(self) -> None:
        assert silent_lines(converted(FARM), FARM) == set()


class TestTheCluster:
    def test_it_becomes_the_commands_that_make_it(self) -> None:
        assert converted(CLUSTER).commands == (
            "node1: safekit cluster init --node node1"
            " --address default=10.0.0.1 --address back-net=fd00::1 --port 4900",
            "node1: safekit daemon start",
            "node1: safekit cluster token",
            "node2: safekit cluster join TOKEN --node node2 --address default=10.0.0.2 --address back-net=ADDRESS",
            "node2: safekit daemon start",
        )

    def test_every_line_is_in_the_report(self) -> None:
        conversion = converted(CLUSTER)
        assert silent_lines(conversion, CLUSTER) == set()
        assert [what for what in lost(conversion) if what.startswith("addr")] == ['addr="node2.example"']


class TestMacros:
    def test_one_from_the_environment_is_used_and_a_macro_of_the_file_wins(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FROM_OUTSIDE", "10.0.0.8")
        check = '<check><ping ident="a"><to addr="%FROM_OUTSIDE%"/></ping></check>'
        [checker] = converted(service(check)).drafts[0].content["checkers"]
        assert checker["ping"]["hosts"] == ["10.0.0.8"]
        own = '<macro name="FROM_OUTSIDE" value="10.0.0.9"/>'
        content = converted(service(own + check)).drafts[0].content
        assert content["variables"]["FROM_OUTSIDE"] == "10.0.0.9"

    def test_one_that_nobody_defines_is_an_error_with_its_place(self) -> None:
        with pytest.raises(ConfigError, match="macro 'NOWHERE_AT_ALL' is not defined") as caught:
            converted(service('\n <heart pulse="%NOWHERE_AT_ALL%"/>'))
        assert caught.value.where == "source:2:9"

    def test_macros_that_lie_in_each_other_without_end_are_refused(self) -> None:
        macros = '<macro name="A" value="%B%%B%"/><macro name="B" value="%A%%A%"/>'
        with pytest.raises(ConfigError, match="no end"):
            converted(service(f'{macros}<heart pulse="%A%"/>'))

    def test_a_percent_sign_stays_one(self) -> None:
        custom = '<check><custom ident="a" exec="/bin/x" arg="5%"/></check>'
        assert converted(service(custom)).drafts[0].content["checkers"][0]["custom"]["command"] == ["/bin/x", "5%%"]


@pytest.mark.parametrize(
    ("attribute", "fate"),
    [
        ('boot="ignore"', Fate.IMPLIED),
        ('boot="sideways"', Fate.LOST),
        ('failover="on"', Fate.IMPLIED),
        ('defaultprim="alone"', Fate.IMPLIED),
        ('defaultprim="lastprim"', Fate.IMPLIED),
        ('maxloop="many"', Fate.LOST),
        ('loop_interval="0"', Fate.CARRIED),
        ('loop_interval="soon"', Fate.LOST),
        ('automatic_reboot="off"', Fate.IMPLIED),
        ('unheard_of="1"', Fate.LOST),
    ],
)
def test_an_attribute_of_the_service_is_accounted_for(attribute: str, fate: Fate) -> None:
    conversion = converted(service("", f'mode="mirror" {attribute}'))
    assert told(conversion, attribute).fate is fate


@pytest.mark.parametrize("unit", ["d", "h", "m", "s", "ms", "us"])
def test_every_unit_of_time_is_read(unit: str) -> None:
    content = converted(service("", f'mode="light" loop_interval="3{unit}"')).drafts[0].content
    assert content["loop_interval"] == ("3us" if unit == "us" else f"3{unit}")


def test_a_kind_that_there_is_not_is_an_error_with_its_place() -> None:
    with pytest.raises(ConfigError, match="no kind of module") as caught:
        converted('<safe>\n<service mode="shared"/></safe>')
    assert caught.value.where == "source:2:10"
