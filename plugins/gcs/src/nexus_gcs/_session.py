"""Clients that know what the settings say and nothing else.

The client libraries look for credentials, projects, addresses, proxies and certificates in
environment variables and files, and ask a service of Google's where requests may come from. All of
that is cut off here, and what matters is handed to them.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import attrs
import requests

from nexus_core.spi import ConfigurationError, Problem, Runtime, SecretUnavailableError
from nexus_gcs._config import GcsConfig, exposed, sound_address

with warnings.catch_warnings():
    # On being imported they look for a gRPC, which is not used here, and warn of its age.
    warnings.simplefilter("ignore")
    from google.auth import credentials as anonymous
    from google.auth import default
    from google.auth.transport.requests import AuthorizedSession, Request
    from google.cloud import storage  # type: ignore[import-untyped]
    from google.oauth2 import service_account

_ACCESS = ("https://www.googleapis.com/auth/devstorage.full_control",)


class KeyCredentials(service_account.Credentials):
    """A service account's key, and no more than that."""

    def _after_refresh(self, request: Any, method: str, url: str, headers: Any) -> None:
        """Newer versions of the library begin to ask another service about regions here, in a
        thread of their own."""


@attrs.frozen
class Identity:
    """Who the store is to the engine; ``key`` is what the key's file holds, read once."""

    config: GcsConfig
    key: Any = attrs.field(repr=False)
    ca: str | bool

    @classmethod
    def of(cls, config: GcsConfig, runtime: Runtime) -> Identity:
        """Follow the settings; raises ``ConfigurationError`` where one leads nowhere."""
        ca = True if config.ca_bundle is None else str(runtime.path(config.ca_bundle))
        return cls(config, _key(config, runtime), ca)

    def bare_session(self) -> Any:
        """A session that sends no credentials."""
        return self._set_up(requests.Session())

    def session(self) -> Any:
        """A session that sends the store's credentials, and repeats nothing by itself."""
        begin: Any = AuthorizedSession
        return self._set_up(begin(self._credentials(), auth_request=self.renewal()))

    def renewal(self) -> Any:
        """What fetches a session's tokens."""
        return Request(session=self.bare_session())

    def client(self, session: Any) -> Any:
        """The library's client on a session."""
        client = storage.Client(
            project=self.config.project,
            credentials=session.credentials,
            _http=session,
            client_options={"api_endpoint": self.config.address},
        )
        # Newer versions look at each bucket in a thread of their own, for traces that nobody asked
        # for; without this they do not.
        client._bucket_metadata_cache = None  # noqa: SLF001
        return client

    def _set_up(self, session: Any) -> Any:
        # Proxies, certificates and a .netrc's passwords would come from the surroundings.
        session.trust_env = False
        session.verify = self.ca
        adapter = requests.adapters.HTTPAdapter(
            pool_connections=4, pool_maxsize=self.config.connections, max_retries=0
        )
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

    def _credentials(self) -> Any:
        match self.config.identity:
            case "anonymous":
                nobody: Any = anonymous.AnonymousCredentials
                return nobody()
            case "ambient":
                found, _ = default(scopes=_ACCESS)
                return found
            case _:
                # A copy: each session's tokens are its own.
                return self.key.with_scopes(_ACCESS)


def _key(config: GcsConfig, runtime: Runtime) -> Any:
    if config.key is None:
        return None
    fault = "is not a service account's key as Google gives it out (JSON)"
    try:
        info: Any = json.loads(config.key.resolve(runtime.base).text())
        address = str(info["token_uri"])
        if info["type"] == "service_account" and sound_address(_origin(address)):
            read: Any = KeyCredentials.from_service_account_info
            key = read(info)
            if not exposed(address):
                return key
            fault = "asks for its tokens over plain http"
    except SecretUnavailableError as error:
        fault = str(error)
    except Exception:  # noqa: BLE001, S110  # whatever is wrong with it, its text must not be told
        pass
    raise ConfigurationError([Problem(path="key", what=fault, fix="put the account's key there")])


def _origin(address: str) -> str:
    return "/".join(address.split("/", 3)[:3])
