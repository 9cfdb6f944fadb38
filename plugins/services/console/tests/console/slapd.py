"""OpenLDAP's server on loopback, by TLS, with a few people and groups."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safekit_console import certificate

from console.serving import free_port

BASE = "dc=example,dc=org"
CONSOLE, CONSOLE_PASSWORD = f"cn=console,{BASE}", "the console's own"
PASSWORD = "battery staple horse"
SLAPD = "/usr/sbin/slapd"
CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {place}/slapd.pid
TLSCertificateFile {chain}
TLSCertificateKeyFile {key}
TLSVerifyClient never
database mdb
suffix "{base}"
directory {place}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{console}" read by * none
"""


def _entry(dn: str, *lines: str) -> str:
    return "\n".join((f"dn: {dn}", *lines)) + "\n\n"


def _person(uid: str, unit: str = "people") -> str:
    names = (f"uid: {uid}", f"cn: {uid}", f"sn: {uid}", f"userPassword: {PASSWORD}")
    return _entry(f"uid={uid},ou={unit},{BASE}", "objectClass: inetOrgPerson", *names)


def _ldif() -> str:
    found = _entry(BASE, "objectClass: dcObject", "objectClass: organization", "dc: example", "o: example")
    found += _entry(CONSOLE, "objectClass: person", "cn: console", "sn: x", f"userPassword: {CONSOLE_PASSWORD}")
    for unit in ("people", "others", "groups", "elsewhere"):
        found += _entry(f"ou={unit},{BASE}", "objectClass: organizationalUnit", f"ou: {unit}")
    for uid in ("bo", "cy", "anna", "double"):
        found += _person(uid)
    found += _person("double", "others")
    members = [f"member: uid={uid},ou=people,{BASE}" for uid in ("bo", "anna", "double")]
    found += _entry(f"cn=operators,ou=groups,{BASE}", "objectClass: groupOfNames", "cn: operators", *members)
    admins = _entry(f"cn=web-admins,ou=elsewhere,{BASE}", "objectClass: groupOfNames", "cn: web-admins", members[0])
    posix = ("objectClass: posixGroup", "cn: web-admins", "gidNumber: 7", "memberUid: cy")
    return found + admins + _entry(f"cn=web-admins,ou=groups,{BASE}", *posix)


class Slapd:
    def __init__(self, place: Path) -> None:
        shared = certificate._new_authority("directory")
        self.ca = place / "ca.pem"
        self.ca.write_text(shared["certificate"])
        self.files = certificate.make(place, shared, ["localhost"])
        self.port = free_port()
        self._configuration = place / "slapd.conf"
        names = {"place": place, "chain": self.files[0], "key": self.files[1], "base": BASE, "console": CONSOLE}
        self._configuration.write_text(CONFIGURATION.format(**names))
        (place / "data").mkdir()
        load = ["/usr/sbin/slapadd", "-f", str(self._configuration)]
        subprocess.run(load, input=_ldif(), text=True, check=True, capture_output=True, timeout=30)

    @contextmanager
    def serving(self) -> Iterator[None]:
        words = [SLAPD, "-f", str(self._configuration), "-h", f"ldaps://localhost:{self.port}/", "-d", "0"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _until_it_listens(self.port)
            yield
        finally:
            process.terminate()
            process.wait(10)


def _until_it_listens(port: int) -> None:
    deadline_s = time.monotonic() + 20.0
    while True:
        try:
            socket.create_connection(("localhost", port), 1.0).close()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)  # a refused connection tells nobody when to come again
        else:
            return
