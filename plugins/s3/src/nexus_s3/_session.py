"""Clients that know what the settings say and nothing else.

The client library looks for credentials, regions, profiles, addresses, proxies, certificates and
limits in a dozen environment variables and files. All of that is cut off here: every one of its
variables gives its built-in default, and what matters is handed to it.
"""

from __future__ import annotations

import functools
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

# The library brings no types.
import boto3.session  # type: ignore[import-untyped]
import botocore.session  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.configprovider import (  # type: ignore[import-untyped]
    BOTOCORE_DEFAUT_SESSION_VARIABLES,
    ConstantProvider,
)
from botocore.credentials import (  # type: ignore[import-untyped]
    CredentialResolver,
    Credentials,
    InstanceMetadataProvider,
    RefreshableCredentials,
)
from botocore.handlers import (  # type: ignore[import-untyped]
    set_list_objects_encoding_type_url,
)
from botocore.loaders import Loader  # type: ignore[import-untyped]
from botocore.utils import InstanceMetadataFetcher  # type: ignore[import-untyped]

from nexus_core.spi import (
    ConfigurationError,
    InvalidArgumentError,
    Problem,
    Runtime,
    Scope,
    SecretRef,
    SecretUnavailableError,
    object_prefix,
)
from nexus_s3._answer import moment, read_listing
from nexus_s3._config import AWS, S3Config
from nexus_s3._failures import classify
from nexus_s3._hush import Hushed, listen

# A session for each scope that was used lately; one that falls out is made anew.
_KEPT: Final = 256
_NOWHERE: Final = ("config_file", "credentials_file", "s3", "proxies_config", "plugins")


def _bare_session() -> Any:
    """A session of the library that reads no environment variable and no file of the user's."""
    found = botocore.session.Session()
    settings = found.get_component("config_store")
    for name, (_, _, default, _) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items():
        settings.set_config_provider(name, ConstantProvider(default))
    for name in _NOWHERE:
        settings.set_config_provider(name, ConstantProvider(None))
    found.register_component("data_loader", _descriptions())
    found.register_component("credential_provider", CredentialResolver([]))
    # The library guesses at how a time is written, which takes most of what reading one costs.
    found.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=moment)
    return found


def _session(found: Any) -> Any:
    """The session of boto3 around one of those; it makes the clients."""
    made = boto3.session.Session(botocore_session=found)
    # Each session adds a folder of descriptions that no client reads to a list they all share.
    del _descriptions().search_paths[1:]
    return made


@functools.cache
def _descriptions() -> Any:
    """The library's own descriptions of services, read once, and none from the user's folder."""
    return Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


class Clients:
    """The store's clients: one for all scopes, or with a role one for each. Safe for threads."""

    def __init__(self, config: S3Config, runtime: Runtime) -> None:
        self._config = config
        if config.transport == "obstore":
            from nexus_s3._wire import library, refuse_ambient

            library()
            refuse_ambient()
        self._keys = _keys(config, runtime)
        self._ca = True if config.ca_bundle is None else str(runtime.path(config.ca_bundle))
        self._lock = threading.Lock()
        self._own: Any = None
        self._sts: Any = None
        self._scopes: OrderedDict[Scope, Any] = OrderedDict()

    def own(self) -> Any:
        """The client with the store's own credentials, which reach every scope."""
        own = self._own
        if own is not None:
            return own
        with self._lock:
            if self._own is None:
                session = self._own_session()
                held = session.get_credentials() or Credentials(*self._keys.values())
                self._own = self._carried(self._client("s3", self._config.endpoint, session), held)
            return self._own

    def of(self, scope: Scope) -> Any:
        """The client for what belongs to one scope.

        With a role its credentials reach nothing else; they are renewed before they expire.
        """
        if self._config.role_arn is None:
            return self.own()
        with self._lock:
            client = self._scopes.get(scope)
            if client is not None:
                self._scopes.move_to_end(scope)
                return client
        client = self._assumed(scope)
        with self._lock:
            client = self._scopes.setdefault(scope, client)
            while len(self._scopes) > _KEPT:
                self._scopes.popitem(last=False)
            return client

    def signing(self, scope: Scope, seconds: int) -> tuple[Any, Any]:
        """A client and its credentials, which last for as long as what is signed with them.

        Raises ``InvalidArgumentError`` where a session cannot last so long.
        """
        if self._config.role_arn is None:
            client = self.own()
            with self._lock:
                held = self._own_session().get_credentials()
            return client, Credentials(*self._keys.values()) if held is None else held
        if seconds > self._config.session_seconds:
            raise InvalidArgumentError(
                "the URL would outlive the session that signs it",
                hint="ask for less, or raise session_seconds",
            )
        given = self._fetcher(scope)()
        held = Credentials(given["access_key"], given["secret_key"], given["token"])
        session = _bare_session()
        session.register_component("credential_provider", CredentialResolver([_Held(held)]))
        return self._client("s3", self._config.endpoint, session), held

    def close(self) -> None:
        """Close every connection that no stream holds."""
        with self._lock:
            clients = [self._own, self._sts, *self._scopes.values()]
            self._own = self._sts = None
            self._scopes.clear()
        for client in clients:
            if client is not None:
                client.close()

    def _own_session(self) -> Any:
        found = _bare_session()
        if self._config.identity == "instance":
            fetcher = InstanceMetadataFetcher(timeout=1, num_attempts=2, env={})
            provider = InstanceMetadataProvider(iam_role_fetcher=fetcher)
            found.register_component("credential_provider", CredentialResolver([provider]))
        return found

    def _client(self, service: str, endpoint: str | None, session: Any) -> Any:
        aws = endpoint == AWS
        config = self._config
        client = _session(session).client(
            service,
            region_name=config.region,
            endpoint_url=None if aws else endpoint,
            verify=self._ca,
            config=Config(
                signature_version="v4" if service == "sts" else "s3v4",
                # Attempts are counted here, where it is known what may be sent twice.
                retries={"mode": "standard", "total_max_attempts": 1},
                connect_timeout=config.connect_seconds,
                read_timeout=config.read_seconds,
                max_pool_connections=config.connections,
                # Of use to no engine but its maker's; several others break on them. The payload's
                # SHA-256 is part of every signature instead.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                ignore_configured_endpoint_urls=True,
                proxies={},
                s3={
                    "addressing_style": "virtual" if aws else "path",
                    "payload_signing_enabled": True,
                    "us_east_1_regional_endpoint": "regional",
                },
            ),
            **({} if session.get_credentials() is not None else self._keys),
        )
        # Listings ask for it themselves, where they need it; see `_listing`.
        for listing in ("ListObjectsV2", "ListObjectVersions"):
            client.meta.events.unregister(
                f"before-parameter-build.s3.{listing}", set_list_objects_encoding_type_url
            )
        client.meta.events.register_first("before-parse.s3.ListObjectsV2", read_listing)
        listen()
        return client

    def _assumed(self, scope: Scope) -> Any:
        """A client whose credentials are a session's that may touch one scope alone."""
        fetch = self._fetcher(scope)
        held = RefreshableCredentials.create_from_metadata(
            metadata=fetch(),
            refresh_using=fetch,
            method="nexus-scope",
            # The library begins a quarter of an hour before the end, which is all that the
            # shortest session has: it would be renewed for every request.
            advisory_timeout=self._config.session_seconds // 4,
            mandatory_timeout=self._config.session_seconds // 8,
        )
        session = _bare_session()
        session.register_component("credential_provider", CredentialResolver([_Held(held)]))
        return self._carried(self._client("s3", self._config.endpoint, session), held)

    def _carried(self, client: Any, held: Any) -> Any:
        """The client, on the transport that the settings name."""
        if self._config.transport == "sdk":
            return client
        from nexus_s3._wire import Wire

        return Wire(client, self._config, held, self._ca)

    def _fetcher(self, scope: Scope) -> Callable[[], dict[str, Any]]:
        with self._lock:
            if self._sts is None:
                self._sts = self._client("sts", self._config.sts_endpoint, self._own_session())
            sts = self._sts
        policy = json.dumps(scope_policy(self._config, scope), separators=(",", ":"))

        def fetch() -> dict[str, Any]:
            failure = None
            try:
                with Hushed():
                    given = sts.assume_role(
                        RoleArn=self._config.role_arn,
                        RoleSessionName="nexus",
                        DurationSeconds=self._config.session_seconds,
                        Policy=policy,
                    )["Credentials"]
                expiry = given["Expiration"]
                return {
                    "access_key": given["AccessKeyId"],
                    "secret_key": given["SecretAccessKey"],
                    "token": given["SessionToken"],
                    "expiry_time": expiry if isinstance(expiry, str) else expiry.isoformat(),
                }
            except Exception as error:  # noqa: BLE001  # whatever it is, it is said in our words
                failure = classify(error)
            raise failure

        return fetch


class _Held:
    """Hands credentials that are held already to a session that asks for them."""

    METHOD = "nexus-scope"
    CANONICAL_NAME = "nexus-scope"

    def __init__(self, held: Any) -> None:
        self._held = held

    def load(self) -> Any:
        """What is held."""
        return self._held


def scope_policy(config: S3Config, scope: Scope) -> dict[str, Any]:
    """What a scope's session may do: everything with its own names, and list them."""
    bucket = config.bucket_of(scope)
    prefix = config.prefix + object_prefix(scope)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:*Object*", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                "Resource": [f"arn:aws:s3:::{bucket}/{prefix}*"],
            },
            {
                "Effect": "Allow",
                "Action": [
                    "s3:ListBucket",
                    "s3:ListBucketVersions",
                    "s3:ListBucketMultipartUploads",
                ],
                "Resource": [f"arn:aws:s3:::{bucket}"],
                "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}},
            },
        ],
    }


def _keys(config: S3Config, runtime: Runtime) -> dict[str, str]:
    """The credentials that the settings refer to; raises ``ConfigurationError`` where absent."""
    found: dict[str, str] = {}
    problems: list[Problem] = []
    wanted = {
        "aws_access_key_id": ("access_key", config.access_key),
        "aws_secret_access_key": ("secret_key", config.secret_key),
        "aws_session_token": ("session_token", config.session_token),
    }
    for name, (setting, reference) in wanted.items():
        if reference is not None:
            try:
                found[name] = _text(reference, runtime)
            except (SecretUnavailableError, ValueError) as error:
                what = str(error)
                problems.append(Problem(path=setting, what=what, fix="put the secret there"))
    if problems:
        raise ConfigurationError(problems)
    return found


def _text(reference: SecretRef, runtime: Runtime) -> str:
    return reference.resolve(runtime.base).text()
