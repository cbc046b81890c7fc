"""Settings of one Weaviate vector store."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from nexus_core.spi import BackendConfig, SecretRef

_HOST_AND_PORT: Final = r"^([^\s/@:\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"
_PORTS: Final = {"http": 80, "https": 443}


class WeaviateConfig(BackendConfig):
    """Settings of one Weaviate vector store."""

    url: str = Field(min_length=1, max_length=2048)
    """Where the REST interface is: `https://host` or `https://host:port`; `http` without TLS."""

    grpc: str = Field(
        min_length=1, max_length=300, pattern=r"^([^\s/@:\[\]]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}$"
    )
    """Where the gRPC interface is, as `host:port`; with TLS exactly where `url` has it."""

    prefix: str = Field(pattern=r"^[A-Z][a-z0-9]{0,31}$")
    """What the names of the store's collections begin with; no other store on the server may have
    it. Only provisioning makes the collections."""

    api_key: SecretRef | None = None
    """The key that the server asks for, by reference."""

    client_secret: SecretRef | None = None
    """Instead of a key: the secret of an OIDC client (client credentials flow), by reference."""

    client_scope: str | None = Field(default=None, max_length=1024)
    """The scopes to ask the OIDC provider for, where it needs any."""

    anonymous: bool = False
    """Set it to use a server that asks for no credentials; then neither of the two may be given."""

    plaintext: bool = False
    """Set it to speak without TLS to another machine. To this machine `http` needs no leave."""

    tls_roots: str | None = Field(default=None, min_length=1)
    """File of certificates (PEM) to trust in place of the public ones, relative to the
    configuration's directory."""

    connect_timeout: float = Field(default=10.0, gt=0, le=300)
    """Seconds that the first exchange with the server may take."""

    read_timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds that a query, a count or a page may take."""

    write_timeout: float = Field(default=60.0, gt=0, le=3600)
    """Seconds that a request to write or delete may take; a large batch is several requests."""

    @field_validator("url")
    @classmethod
    def _of_a_server(cls, value: str) -> str:
        parts = urlsplit(value)
        try:
            fine = bool(parts.hostname) and parts.port != 0
        except ValueError:
            fine = False
        other = parts.username, parts.password, parts.path.strip("/"), parts.query, parts.fragment
        if not fine or parts.scheme not in _PORTS or any(other):
            raise PydanticCustomError(
                "nexus_url", "the url is not https://host or https://host:port, or with http"
            )
        return value

    @field_validator("grpc")
    @classmethod
    def _with_a_port(cls, value: str) -> str:
        if not 0 < int(value.rpartition(":")[2]) < 1 << 16:
            raise PydanticCustomError("nexus_grpc", "the port is not 1 to 65535")
        return value

    @model_validator(mode="after")
    def _with_credentials(self) -> WeaviateConfig:
        ways = (self.api_key is not None) + (self.client_secret is not None) + self.anonymous
        if ways != 1:
            raise PydanticCustomError(
                "nexus_credentials", "set exactly one of api_key, client_secret and anonymous"
            )
        if (self.host, self.port) == (self.grpc_host, self.grpc_port):
            raise PydanticCustomError("nexus_grpc", "url and grpc are one port, and need two")
        if self.client_scope is not None and self.client_secret is None:
            raise PydanticCustomError("nexus_credentials", "client_scope needs client_secret")
        if self.tls_roots is not None and not (self.secure and self.client_secret is None):
            raise PydanticCustomError("nexus_tls", "tls_roots needs https, and no client_secret")
        if not (self.secure or self.plaintext or (is_here(self.host) and is_here(self.grpc_host))):
            raise PydanticCustomError(
                "nexus_plaintext",
                "without TLS the credentials are read on the way: use https, "
                "or set plaintext = true",
            )
        return self

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def secure(self) -> bool:
        """Whether both interfaces are spoken to over TLS."""
        return self._parts.scheme == "https"

    @property
    def host(self) -> str:
        """Host of the REST interface, an address of IPv6 in brackets."""
        host = str(self._parts.hostname)
        return f"[{host}]" if ":" in host else host

    @property
    def port(self) -> int:
        """Port of the REST interface."""
        return self._parts.port or _PORTS[self._parts.scheme]

    @property
    def grpc_host(self) -> str:
        """Host of the gRPC interface, an address of IPv6 in brackets."""
        return self.grpc.rpartition(":")[0]

    @property
    def grpc_port(self) -> int:
        """Port of the gRPC interface."""
        return int(self.grpc.rpartition(":")[2])


def is_here(host: str) -> bool:
    """Whether a host is this machine by its name or address, without asking anybody."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
