"""What an operator can set; environment variables SAFEKIT_CONSOLE_…"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from safekit_console.roles import Grants

CertificateEntry = Annotated[str, Field(pattern=r"^(cn|email|uri|sha256):.+$", max_length=300)]


class ConsoleSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="SAFEKIT_CONSOLE_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    address: str = ""
    """The address to listen on; every one of this machine when empty."""
    port: Annotated[int, Field(ge=1, le=65535)] = 9453
    """The port; the same on every node, so that a page finds the others."""
    names: tuple[str, ...] = ()
    """More names or addresses by which browsers reach this console; its certificate is also for them."""
    certificate: Path | None = None
    """A PEM file with your own certificate and its chain; one of the cluster's own authority is made when absent."""
    key: Path | None = None
    """Its private key, a PEM file; the console's user has to be able to read both."""
    user: str = "safekit-console"
    """The user that the console runs as when root starts it; its group of the same name may reach safekitd."""
    var: Path = Path("/var/lib/safekit-console")
    """Sessions and the audit journal of this node's console."""
    socket: Path = Path("/run/safekit/control.sock")
    """Where safekitd listens."""
    groups: dict[str, Grants] = {}
    """JSON: groups of the provider or the directory, and what their members may do: {"operators": {"*": "control"}}."""
    oidc_issuer: str = ""
    """The OpenID provider, as its tokens name it; https only."""
    oidc_client_id: str = ""
    """The name of the consoles there; their addresses there are https://NODE:PORT/login/oidc/answer, of each node."""
    oidc_secret_file: Path | None = None
    """A file with the client's secret, readable by the console's user."""
    oidc_scope: str = "openid profile"
    """What is asked for; some providers tell groups only when `groups` is asked for, too."""
    oidc_name_claim: str = "preferred_username"
    """The claim with the user's name."""
    oidc_groups_claim: str = "groups"
    """The claim with the names of his groups."""
    oidc_ca: Path | None = None
    """A PEM file of the authority of the provider's certificate; those that this machine trusts when absent."""
    ldap_host: str = ""
    """HOST or HOST:PORT of a directory; it is reached by TLS only, on port 636."""
    ldap_base: str = ""
    """Below which entry users are looked for, as `ou=people,dc=example,dc=org`."""
    ldap_name: str = "uid"
    """The attribute with a user's name; sAMAccountName in Active Directory."""
    ldap_groups_base: str = ""
    """Below which entry groups are looked for; that of the users when empty. A group is called by its cn."""
    ldap_member: str = "member"
    """The attribute of a group that names its members: member, uniqueMember, or memberUid."""
    ldap_bind_dn: str = ""
    """As whom the console looks; as nobody when empty."""
    ldap_secret_file: Path | None = None
    """A file with the password for that, readable by the console's user."""
    ldap_ca: Path | None = None
    """A PEM file of the authority of the directory's certificate; those that this machine trusts when absent."""
    client_ca: Path | None = None
    """A PEM file of the authorities that issue people's certificates, each the direct issuer; nobody is asked for a
    certificate when absent."""
    client_crl: Path | None = None
    """A PEM file of their revocation lists, read again when it changes; then each of them needs one, and none is taken
    for longer than it says itself."""
    client_users: dict[CertificateEntry, str | Grants] = {}
    """JSON: whose a certificate is, by `cn:`, `email:`, `uri:` or `sha256:`: an account of this name, or these roles:
    {"email:anna@example.org": "anna", "cn:robot": {"web": "control"}}."""
    idle_s: Annotated[int, Field(ge=60, le=86400)] = 3600
    """A session that is not used for so long ends; a page that is open uses it."""
    session_s: Annotated[int, Field(ge=60, le=604800)] = 43200
    """Every session ends after so long."""
