"""Who asks: service accounts with keys, tokens in exchange for a signed claim, signed URLs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tools.servers.gcs._refusal import Refusal
from tools.servers.gcs._state import PERMISSIONS

READING: Final = frozenset(("storage.buckets.get", "storage.objects.get", "storage.objects.list"))
_LIFETIME: Final = 3600
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def unauthenticated() -> Refusal:
    return Refusal(401, "required", "Anonymous caller does not have access.")


@attrs.frozen(eq=False)
class Account:
    """A service account: its permissions, and the key that proves it."""

    email: str
    permissions: frozenset[str]
    private: Any = attrs.field(factory=lambda: rsa.generate_private_key(65537, 2048))

    def key(self, project: str, address: str) -> dict[str, str]:
        """The key as it is given out."""
        text = self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": project,
            "private_key_id": secrets.token_hex(20),
            "private_key": text.decode(),
            "client_email": self.email,
            "client_id": "1",
            "token_uri": f"{address}/token",
        }

    def signed(self, signature: bytes, text: bytes) -> bool:
        try:
            self.private.public_key().verify(signature, text, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


class Identities:
    """The accounts, and the tokens that they hold."""

    def __init__(self, project: str) -> None:
        self.owner = Account(f"owner@{project}.iam.gserviceaccount.com", PERMISSIONS)
        self.reader = Account(f"reader@{project}.iam.gserviceaccount.com", READING)
        self._accounts = {each.email: each for each in (self.owner, self.reader)}
        self._tokens: dict[str, tuple[Account, float]] = {}

    def forget(self) -> None:
        """End every token before its time."""
        self._tokens.clear()

    def token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """A token for a claim that the account's key has signed."""
        refusal = Refusal(400, "invalid_grant", "Invalid JWT Signature.")
        try:
            head, claim, signature = form["assertion"].split(".")
            said = json.loads(_unbase(claim))
            account = self._accounts[said["iss"]]
            sound = (
                form["grant_type"] == _GRANT
                and said["exp"] > time.time()
                and said["scope"].startswith("https://www.googleapis.com/auth/devstorage.")
                and account.signed(_unbase(signature), f"{head}.{claim}".encode())
            )
        except (KeyError, ValueError):
            raise refusal from None
        if not sound:
            raise refusal
        token = secrets.token_urlsafe(24)
        self._tokens[token] = (account, time.time() + _LIFETIME)
        return {"access_token": token, "token_type": "Bearer", "expires_in": _LIFETIME}

    def bearer(self, header: str | None) -> Account:
        """Whose token a request carries."""
        kind, _, token = (header or "").partition(" ")
        account, until = self._tokens.get(token, (None, 0.0))
        if kind != "Bearer" or account is None or time.time() > until:
            raise unauthenticated()
        return account

    def signer(self, method: str, target: str, headers: Mapping[str, str]) -> Account:
        """Who signed a request's URL; refuses one that is not exactly what was signed."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        lower = {name.lower(): re.sub(r" +", " ", value.strip()) for name, value in headers.items()}
        refusal = Refusal(403, "SignatureDoesNotMatch", "Access denied.")
        try:
            signature = bytes.fromhex(query.pop("X-Goog-Signature"))
            email, date, *rest = query["X-Goog-Credential"].split("/")
            account = self._accounts[email]
            moment = query["X-Goog-Date"]
            began = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
            until = began + int(query["X-Goog-Expires"])
            names = query["X-Goog-SignedHeaders"].split(";")
            signed = "".join(f"{name}:{lower[name]}\n" for name in names)
        except (KeyError, ValueError):
            raise refusal from None
        if time.time() > until:
            raise Refusal(400, "ExpiredToken", "Invalid argument.")
        unsigned = [each for each in lower if each.startswith("x-goog-") and each not in names]
        if unsigned or "host" not in names or rest != ["auto", "storage", "goog4_request"]:
            raise refusal
        canonical = "\n".join(
            (
                method,
                parts.path,
                "&".join(f"{_quote(key)}={_quote(query[key])}" for key in sorted(query)),
                signed,
                ";".join(names),
                lower.get("x-goog-content-sha256", "UNSIGNED-PAYLOAD"),
            )
        )
        text = "\n".join(
            (
                "GOOG4-RSA-SHA256",
                moment,
                f"{date}/auto/storage/goog4_request",
                hashlib.sha256(canonical.encode()).hexdigest(),
            )
        )
        if query["X-Goog-Algorithm"] != "GOOG4-RSA-SHA256" or not account.signed(
            signature, text.encode()
        ):
            raise refusal
        return account


def _quote(text: str) -> str:
    return quote(text, safe="~")


def _unbase(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
