"""Configurations of others that say everything once, written for these tests."""

MIRROR = """\
<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE safe>
<!-- the shop's database -->
<safe>
  <macro name="VIP" value="10.0.0.100"/>
  <macro name="PORT" value="5432"/>
  <macro name="HALF" value="%PORT%"/>
  <service mode="mirror" boot="auto" boot_delay="5s" failover="off" defaultprim="node1" maxloop="5"
           loop_interval="12" automatic_reboot="on">
    <heart pulse="700" timeout="30s" permanent_arp="on">
      <heartbeat name="default"/>
      <heartbeat name="back" ident="flow"/>
    </heart>
    <vip tcpreset="on">
      <interface_list>
        <interface check="on" arpreroute="off" arpinterval="90s" arpelapse="1200">
          <real_interface>
            <virtual_addr addr="%VIP%" where="one_side_alias" check="on" connections="off" netmask="255.255.255.0"/>
            <virtual_addr addr="fd00::100" where="one_side_alias"/>
            <virtual_addr addr="db.example" where="one_side_alias"/>
          </real_interface>
        </interface>
      </interface_list>
    </vip>
    <rfs async="second" reipacketsize="8388608" ruzone_blocksize="8388608" sendtimeout="20" nbrei="6"
         namespacepolicy="4" reitimeout="150s" reicommit="0" reiallowedbw="20000" syncdelta="1m" syncat="0 3 * * *"
         nbremconn="1" checktime="220000ms" checkintv="120s" acl="on" locktimeout="100s" scripts="on"
         mountoversuffix="_For_SafeKit">
      <replicated dir="/srv/db" mode="read_only">
        <notreplicated path="cache"/>
        <notreplicated regexpath=".*\\.tmp$"/>
        <notreplicated path="!only"/>
        <tocheck path="/srv/db/here"/>
      </replicated>
    </rfs>
    <user nicestoptimeout="300" forcestoptimeout="5m" logging="userlog" userlogsize="4096">
      <var name="DB_NAME" value="orders"/>
    </user>
    <vhost><virtualhostname name="db" envfile="vhostenv" when="prim"/></vhost>
    <errd polltimer="30">
      <proc name="postgres" atleast="1" atmax="9" action="stopstart" class="prim" start_after="2" service="no"/>
      <proc name="pump" nameregex="^pump[0-9]$" action="noaction" class="both"/>
      <proc name="java" argregex="queue=%PORT%" action="mailer" class="custom" restart_services="a b"/>
    </errd>
    <check>
      <tcp ident="db" when="prim"><to addr="%VIP%" port="%PORT%" interval="10s" timeout="5s"/></tcp>
      <tcp ident="lock" when="pre" action="wait"><to addr="10.0.0.7" port="%HALF%"/></tcp>
      <ping ident="router" when="pre"><to addr="10.0.0.1" interval="5" timeout="2"/></ping>
      <intf ident="card"><to local_addr="10.0.0.11"/></intf>
      <ip ident="own" when="prim"><to addr="10.0.0.100" interval="10s"/></ip>
      <custom ident="lag" when="second" exec="lag.sh" arg="--max '10 s'" action="stop"/>
      <module name="disk"><to addr="10.0.0.9" interval="10s" timeout="5s"/></module>
      <splitbrain ident="gw" exec="ping" arg="10.0.0.1" when="pre"/>
      <splitbrain ident="sw" exec="ping" arg="10.0.0.2"/>
      <telepathy ident="no"/>
    </check>
    <failover extends="yes" period="5000" handle_time="15s">
      <![CDATA[
        t_db: if (tcp.db == down && ping.router == up)
              then stopstart();
        both: if (custom.lag == down || proc.pump == down) then restart();
        gone: if (splitbrain.uptodate == down) then wait();
        odd: if (heartbeat.default == down) then stop();
        broken: if tcp.db then jump();
      ]]>
    </failover>
  </service>
</safe>
"""

FARM = """\
<safe>
<service mode="farm" boot="off">
  <farm pulse="100" mlost_count="20" slost_count="10"><lan name="default"/></farm>
  <vip tcpreset="off">
    <interface_list>
      <interface check="on">
        <virtual_interface type="vmac_invisible" addr="5A:FE:0A:00:00:64">
          <virtual_addr addr="10.0.0.100" where="alias" netmask="255.255.255.0"/>
          <virtual_addr addr="10.0.0.101" where="alias" netmask="24"/>
        </virtual_interface>
      </interface>
    </interface_list>
    <loadbalancing_list>
      <group name="web">
        <cluster><host name="node1" power="64"/><host name="node2" power="1"/></cluster>
        <rule virtual_addr="*" port="80" proto="tcp" filter="on_addr"/>
        <rule virtual_addr="10.0.0.101" port="443" proto="tcp" filter="on_port"/>
        <rule virtual_addr="*" port="53" proto="udp" filter="on_ipid"/>
        <rule virtual_addr="*" port="*" proto="arp" filter="on_addr"/>
        <rule virtual_addr="*" port="*" proto="tcp" filter="on_port"/>
      </group>
      <group name="other"><cluster><host name="node1" power="0"/></cluster></group>
    </loadbalancing_list>
  </vip>
  <user/>
  <check><tcp ident="http"><to addr="127.0.0.1" port="80"/></tcp></check>
  <failover extends="no"><![CDATA[ h: if (tcp.http == down) then stopstart; ]]></failover>
</service>
</safe>
"""

CLUSTER = """\
<cluster>
  <lans port="4900" pulse="100" mlost_count="20" slost_count="10">
    <lan name="default" command="on">
      <node name="node1" addr="10.0.0.1" laddr="10.0.0.1"/>
      <node name="node2" addr="10.0.0.2"/>
    </lan>
    <lan name="back net">
      <node name="node1" addr="[fd00::1]"/>
      <node name="node2" addr="node2.example"/>
    </lan>
  </lans>
</cluster>
"""

KEEPALIVED = """\
! two routers with a web farm behind
global_defs {
    notification_email {
        ops@example.org
    }
    smtp_server 10.0.0.25
    router_id one
    script_user checker
    enable_script_security
    vrrp_garp_master_refresh 60
    dynamic_interfaces
}
$CARD=eth0

include /etc/keepalived/more.conf

vrrp_script haproxy {
    script "/usr/local/bin/check haproxy 10%"   # exit code
    interval 2
    timeout 1.5
    weight -20
    rise 2
    fall 3
    user nobody
    init_fail
}
vrrp_script alive { script "/bin/true" }
vrrp_script unused {
    script "/bin/false"
}
vrrp_track_process nginx {
    process /usr/sbin/nginx worker
    quorum 2
    delay 3
}
vrrp_track_file mark { file /run/mark }

vrrp_sync_group both {
    group {
        inner
        outer
    }
    notify_master "/usr/local/bin/master up"
}
vrrp_instance inner {
    state BACKUP
    interface $CARD
    virtual_router_id 51
    priority 150
    advert_int 0.5
    nopreempt
    authentication {
        auth_type PASS
        auth_pass s3cr3t99
    }
    virtual_ipaddress {
        10.0.0.100/24 dev eth0 label eth0:1
        fd00::100/64
        nonsense
    }
    track_script {
        haproxy weight -30
        alive
        missing
    }
    track_interface { eth1 weight 5 }
    track_process { nginx }
    track_file { mark }
    virtual_routes {
        10.9.0.0/16 via 10.0.0.1
    }
}
vrrp_instance outer
{
    state MASTER
    interface eth1
    virtual_router_id 52
    priority 150
    advert_int 1
    unicast_src_ip 10.1.0.1
    unicast_peer {
        10.1.0.2
    }
    virtual_ipaddress { 10.1.0.100 }
    preempt_delay 30
    smtp_alert
}
vrrp_instance web {
    state MASTER
    interface eth0
    virtual_router_id 53
    virtual_ipaddress {
        10.0.0.200/24
    }
}
virtual_server 10.0.0.200 80 {
    delay_loop 6
    lb_algo wlc
    lb_kind DR
    persistence_timeout 300
    protocol TCP
    quorum 1
    sorry_server 10.0.0.99 80
    real_server 10.0.0.11 80 {
        weight 3
        inhibit_on_failure
        HTTP_GET {
            url {
                path /health?deep=1%20
                status_code 200 204
                virtualhost www.example.org
            }
            connect_timeout 3
            nb_get_retry 2
            delay_before_retry 2
        }
        notify_down "/usr/local/bin/down"
    }
    real_server 10.0.0.12 8080 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            connect_port 8080
            retry 1
            warmup 5
        }
        MISC_CHECK {
            misc_path "/usr/local/bin/probe --port 80"
            misc_timeout 4
            misc_dynamic
        }
        SSL_GET { url { digest 640205b7b0fc66c1ea91c463fac6334d } }
        PING_CHECK { retry 2 }
    }
}
virtual_server 10.0.0.200 53 {
    protocol UDP
    real_server 10.0.0.11 53 { DNS_CHECK {
        type A
        name www.example.org
    } }
    real_server 10.0.0.12 53 { SMTP_CHECK { helo_name x } }
}
virtual_server fwmark 7 {
    lb_algo rr
}
@other garp_lower_prio_delay 3
static_routes { 10.8.0.0/16 via 10.0.0.1 }
"""

CIB = """\
<cib crm_feature_set="3.17.4" validate-with="pacemaker-3.9" epoch="42" num_updates="0" admin_epoch="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="cib-bootstrap-options">
        <nvpair id="o1" name="stonith-enabled" value="true"/>
        <nvpair id="o2" name="no-quorum-policy" value="stop"/>
        <nvpair id="o3" name="dc-version" value="2.1.5"/>
        <nvpair id="o4" name="placement-strategy" value="balanced"/>
      </cluster_property_set>
    </crm_config>
    <nodes>
      <node id="1" uname="node1"/>
      <node id="2" uname="node2">
        <instance_attributes id="n2"><nvpair id="n2-s" name="standby" value="on"/></instance_attributes>
      </node>
    </nodes>
    <resources>
      <primitive id="power1" class="stonith" type="fence_ipmilan">
        <instance_attributes id="power1-a">
          <nvpair id="power1-h" name="pcmk_host_list" value="node1"/>
          <nvpair id="power1-d" name="pcmk_delay_base" value="10s"/>
          <nvpair id="power1-i" name="ip" value="10.0.9.11"/>
          <nvpair id="power1-u" name="username" value="admin"/>
          <nvpair id="power1-p" name="password" value="hunter2"/>
          <nvpair id="power1-r" name="pcmk_reboot_retries" value="3"/>
        </instance_attributes>
        <operations><op id="power1-m" name="monitor" interval="60s"/></operations>
      </primitive>
      <primitive id="power2" class="stonith" type="fence_ipmilan">
        <instance_attributes id="power2-a">
          <nvpair id="power2-h" name="pcmk_host_list" value="node2"/>
          <nvpair id="power2-i" name="ip" value="10.0.9.12"/>
        </instance_attributes>
      </primitive>
      <group id="web">
        <primitive id="ip" class="ocf" provider="heartbeat" type="IPaddr2">
          <instance_attributes id="ip-a">
            <nvpair id="ip-ip" name="ip" value="10.0.0.100"/>
            <nvpair id="ip-m" name="cidr_netmask" value="24"/>
          </instance_attributes>
          <operations>
            <op id="ip-mon" name="monitor" interval="10s" timeout="20s" on-fail="restart"/>
            <op id="ip-start" name="start" interval="0s" timeout="20s"/>
            <op id="ip-stop" name="stop" interval="0s" timeout="PT20S"/>
            <op id="ip-meta" name="meta-data" timeout="5s"/>
          </operations>
        </primitive>
        <primitive id="apache" class="systemd" type="apache2">
          <operations><op id="apache-mon" name="monitor" interval="60"/></operations>
        </primitive>
        <meta_attributes id="web-meta">
          <nvpair id="web-r" name="target-role" value="Stopped"/>
          <nvpair id="web-s" name="resource-stickiness" value="100"/>
        </meta_attributes>
      </group>
      <clone id="state-clone">
        <primitive id="state" class="ocf" provider="pacemaker" type="Stateful">
          <operations>
            <op id="state-m1" name="monitor" interval="10s" timeout="20s" role="Promoted"/>
            <op id="state-m2" name="monitor" interval="11s" timeout="30s" role="Unpromoted"/>
            <op id="state-p" name="promote" interval="0s" timeout="90s"/>
            <op id="state-n" name="notify" interval="0s" timeout="20s"/>
          </operations>
        </primitive>
        <meta_attributes id="state-meta">
          <nvpair id="state-x" name="promotable" value="true"/>
          <nvpair id="state-y" name="notify" value="true"/>
          <nvpair id="state-z" name="promoted-max" value="1"/>
        </meta_attributes>
      </clone>
      <primitive id="app" class="ocf" provider="heartbeat" type="mysql">
        <instance_attributes id="app-a">
          <nvpair id="app-b" name="additional_parameters" value="--fill 50%"/>
          <nvpair id="app-p" name="test_passwd" value="letmein"/>
        </instance_attributes>
        <meta_attributes id="app-m"><nvpair id="app-t" name="migration-threshold" value="4"/></meta_attributes>
      </primitive>
      <clone id="probe-clone">
        <primitive id="probe" class="ocf" provider="pacemaker" type="ping">
          <instance_attributes id="probe-a">
            <nvpair id="probe-h" name="host_list" value="10.0.0.1"/>
          </instance_attributes>
        </primitive>
      </clone>
      <primitive id="strange" class="nagios" type="check_x"/>
      <bundle id="box"><podman image="x"/></bundle>
    </resources>
    <constraints>
      <rsc_colocation id="c1" rsc="app" with-rsc="state-clone" with-rsc-role="Promoted" score="INFINITY"/>
      <rsc_order id="r1" first="state-clone" first-action="promote" then="app" then-action="start"/>
      <rsc_order id="r2" first="app" then="web" kind="Mandatory"/>
      <rsc_order id="r3" first="web" then="probe-clone" kind="Optional"/>
      <rsc_colocation id="c2" rsc="web" with-rsc="probe-clone" score="INFINITY"/>
      <rsc_colocation id="c3" rsc="web" with-rsc="app" score="-INFINITY"/>
      <rsc_location id="l1" rsc="web" node="node2" score="50"/>
      <rsc_location id="l2" rsc="web">
        <rule id="l2-r" score="-INFINITY"><expression id="l2-e" attribute="pingd" operation="lt" value="1"/></rule>
      </rsc_location>
      <rsc_ticket id="t1" rsc="web" ticket="one"/>
    </constraints>
    <rsc_defaults>
      <meta_attributes id="d"><nvpair id="d-f" name="failure-timeout" value="1h"/></meta_attributes>
    </rsc_defaults>
  </configuration>
  <status><node_state id="1" uname="node1" in_ccm="true"/></status>
</cib>
"""
