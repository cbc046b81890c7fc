"""What only a write can tell of an engine: whether it honours what it says yes to.

Everything is tried under names of a reserved probe tenant, in every bucket of the store, because a
bucket's settings (versioning, for one) can change the answer. What holds is what holds in all.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import attrs
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # it brings no types
from botocore.httpsession import URLLib3Session  # type: ignore[import-untyped]  # the same

from nexus_core.spi import (
    ConfigurationError,
    ObjectAttributes,
    Problem,
    Proof,
    Runtime,
    Scope,
    StoreError,
    object_prefix,
)
from nexus_s3._config import S3Config
from nexus_s3._delete import erase
from nexus_s3._engine import Patience, Target, call, given
from nexus_s3._failures import Failure, Kind, translate
from nexus_s3._hush import Hushed
from nexus_s3._keeping import keeps_versions
from nexus_s3._locking import locks
from nexus_s3._presign import BINDINGS, Signer
from nexus_s3._record import HEADER, Sealed, bare, found
from nexus_s3._session import Clients

PROBE: Final = Scope("t_probe_a", "dev")
_BODY: Final = b"nexus probe, first"
_OTHER: Final = b"nexus probe, other"
_STALE: Final = "0" * 32
_SECONDS: Final = 60


def prove(config: S3Config, runtime: Runtime) -> Mapping[str, Proof]:
    """Try the engine in every bucket; return what it honours, by name.

    Raises ``ConfigurationError`` where metadata does not come back as it was sent or a listing is
    not whole, without which nothing works, and an error of the tree where the engine cannot be
    asked.
    """
    clients = Clients(config, runtime)
    try:
        answers = [
            _Probe(config, runtime, clients, bucket, setting).run()
            for setting, bucket in config.all_buckets.items()
        ]
    finally:
        clients.close()
    together: dict[str, Proof] = {
        name: all(each[name] is True for each in answers)
        for name, value in answers[0].items()
        if isinstance(value, bool)
    }
    ways = {str(each["presign_put_by"]) for each in answers}
    together["presign_put"] = together["presign_put"] and len(ways) == 1
    return {**together, "presign_put_by": min(ways), "transport": config.transport}


@attrs.define
class _Probe:
    """One bucket under trial."""

    config: S3Config
    runtime: Runtime
    clients: Clients
    bucket: str
    setting: str
    patience: Patience = attrs.field(init=False)
    home: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.patience = Patience(self.config.attempts)
        nonce = secrets.token_hex(8)
        self.home = f"{self.config.prefix}{object_prefix(PROBE)}_nexus/proof/{nonce}/"

    def run(self) -> dict[str, Proof]:
        """Every trial, then the removal of what they wrote."""
        error: StoreError | None = None
        try:
            self._check_metadata()
            self._check_listing()
            return {
                "conditional_create": self._holds(self._creates),
                "conditional_replace": self._holds(self._replaces),
                "conditional_delete": self._holds(self._deletes),
                "multipart_conditions": self._holds(self._completes),
                "copy_source_match": self._holds(self._copies),
                "checksum_sha256": self._holds(self._checks_digests),
                "ranges": self._holds(self._ranges),
                "versions": self.config.versions and self._holds(self._keeps_versions),
                "object_lock": self._holds(self._locks),
                "multipart_locks": self._holds(self._locks_parts),
                "presign_get": self._holds(self._presigned_get),
                **self._presigned_put(),
            }
        except Failure as failure:
            error = translate(failure)
        finally:
            with suppress(Failure, StoreError):
                self._clean()
        raise error

    def _holds(self, trial: Callable[[], bool]) -> bool:
        """Whether a trial ends well; one that the engine makes impossible does not."""
        try:
            return trial()
        except Failure as failure:
            if failure.passes:
                raise
            return False

    def _clean(self) -> None:
        client = self.clients.own()
        try:
            erase(self.patience, client, self.bucket, self.home)
        except StoreError:
            # Some engines cannot list versions; then there are none.
            for name in self._listed(client):
                Target(client, self.bucket, name).call("delete_object")

    def _listed(self, client: Any) -> Iterator[str]:
        page = call(client, "list_objects_v2", Bucket=self.bucket, Prefix=self.home)
        for each in page.get("Contents") or ():
            yield each["Key"]

    def _target(self, name: str) -> Target:
        return Target(self.clients.own(), self.bucket, self.home + name, name)

    def _do(self, target: Target, operation: str, **parameters: Any) -> Any:
        return self.patience.repeat(lambda: target.call(operation, **parameters))

    def _put(self, target: Target, data: bytes, **parameters: Any) -> str:
        answer = self._do(target, "put_object", Body=data, **parameters)
        return bare(answer.get("ETag"))

    def _get(self, target: Target) -> bytes | None:
        try:
            with self._do(target, "get_object")["Body"] as body:
                return bytes(body.read())
        except Failure as failure:
            if failure.kind is Kind.ABSENT:
                return None
            raise

    def _check_metadata(self) -> None:
        target = self._target("metadata")
        attributes = ObjectAttributes(
            content_type="text/plain; charset=utf-8",
            metadata={"a_b": "two  spaces, =?utf-8?q?a?=", "a-b": ""},
            system={"stamp": "00"},
        )
        sealed = Sealed(write="0" * 32, sha256="0" * 64, at=1, attributes=attributes)
        self._put(target, _BODY, Metadata=sealed.header(), ContentType=attributes.content_type)
        wanted = sealed.info(target.key, len(_BODY), "e", None).attributes
        try:
            seen = found(target, self._do(target, "head_object"), len(_BODY)).info.attributes
        except StoreError:
            seen = None
        if seen != wanted:
            raise ConfigurationError(
                [
                    Problem(
                        path=self.setting,
                        what=f"the engine does not keep metadata (x-amz-meta-{HEADER}) as it was",
                        fix="use another engine, or its newest version",
                        code="store.metadata",
                    )
                ]
            )

    def _check_listing(self) -> None:
        # Engines that keep objects as files list `a`, and nothing that is stored below `a/`.
        names = {self._target(name).key for name in ("listed", "listed/below")}
        try:
            for name in sorted(names):
                self._put(self._target(name), _BODY)
        except Failure:
            # Others refuse to have both: who writes is told so, and nothing is hidden.
            return
        if names - {name.removeprefix(self.home) for name in self._listed(self.clients.own())}:
            raise ConfigurationError(
                [
                    Problem(
                        path=self.setting,
                        what="the engine does not list objects that lie below another's name",
                        fix="use another engine: listings and erasures would miss objects",
                        code="store.listing",
                    )
                ]
            )

    def _refuses(self, *kinds: Kind, request: Callable[[], object]) -> bool:
        """Whether a request that must be refused is."""
        try:
            request()
        except Failure as failure:
            if failure.kind in kinds:
                return True
            if failure.passes:
                raise
            return False
        return False

    def _creates(self) -> bool:
        target = self._target("create")
        self._put(target, _BODY, IfNoneMatch="*")
        refused = self._refuses(
            Kind.CONDITION, request=lambda: self._put(target, _OTHER, IfNoneMatch="*")
        )
        return refused and self._get(target) == _BODY

    def _replaces(self) -> bool:
        target, absent = self._target("replace"), self._target("replace-absent")
        etag = self._put(target, _BODY)
        stale = self._refuses(
            Kind.CONDITION, request=lambda: self._put(target, _OTHER, IfMatch=_STALE)
        )
        nothing = self._refuses(
            *(Kind.CONDITION, Kind.ABSENT),
            request=lambda: self._put(absent, _OTHER, IfMatch=etag),
        )
        if not (stale and nothing) or self._get(target) != _BODY or self._get(absent) is not None:
            return False
        self._put(target, _OTHER, IfMatch=etag)
        return self._get(target) == _OTHER

    def _deletes(self) -> bool:
        target = self._target("delete")
        etag = self._put(target, _BODY)
        stale = self._refuses(
            Kind.CONDITION, request=lambda: self._do(target, "delete_object", IfMatch=_STALE)
        )
        if not stale or self._get(target) != _BODY:
            return False
        self._do(target, "delete_object", IfMatch=etag)
        return self._get(target) is None

    def _completes(self) -> bool:
        target = self._target("multipart")
        self._put(target, _BODY)
        conditions = ({"IfNoneMatch": "*"}, {"IfMatch": _STALE})
        return all(self._complete_refused(target, each) for each in conditions)

    def _complete_refused(self, target: Target, condition: Mapping[str, str]) -> bool:
        with self._upload(target) as upload:
            part = self._do(target, "upload_part", UploadId=upload, PartNumber=1, Body=_OTHER)
            made = {"Parts": [{"PartNumber": 1, "ETag": given(part, "ETag")}]}
            refused = self._refuses(
                Kind.CONDITION,
                request=lambda: self._do(
                    target,
                    "complete_multipart_upload",
                    UploadId=upload,
                    MultipartUpload=made,
                    **condition,
                ),
            )
            return refused and self._get(target) == _BODY

    def _copies(self) -> bool:
        source, target = self._target("copy-source"), self._target("copy")
        etag = self._put(source, _BODY)
        origin = {"Bucket": self.bucket, "Key": source.name}
        with self._upload(target) as upload:

            def part(expected: str) -> str:
                answer = self._do(
                    target,
                    "upload_part_copy",
                    UploadId=upload,
                    PartNumber=1,
                    CopySource=origin,
                    CopySourceIfMatch=expected,
                    CopySourceRange=f"bytes=0-{len(_BODY) - 1}",
                )
                return given(answer.get("CopyPartResult"), "ETag")

            refused = self._refuses(Kind.CONDITION, request=lambda: part(_STALE))
            made = {"Parts": [{"PartNumber": 1, "ETag": part(etag)}]}
            self._do(target, "complete_multipart_upload", UploadId=upload, MultipartUpload=made)
        return refused and self._get(target) == _BODY

    @contextmanager
    def _upload(self, target: Target) -> Iterator[str]:
        upload = given(self._do(target, "create_multipart_upload"), "UploadId")
        try:
            yield upload
        finally:
            with suppress(Failure):
                target.call("abort_multipart_upload", UploadId=upload)

    def _checks_digests(self) -> bool:
        target = self._target("digest")
        digest = base64.b64encode(hashlib.sha256(_BODY).digest()).decode("ascii")
        refused = self._refuses(
            Kind.DIGEST,
            request=lambda: self._put(target, _OTHER, ChecksumSHA256=digest),
        )
        if not refused or self._get(target) is not None:
            return False
        self._put(target, _BODY, ChecksumSHA256=digest)
        return self._get(target) == _BODY

    def _ranges(self) -> bool:
        target = self._target("range")
        etag = self._put(target, _BODY)
        answer = self._do(target, "get_object", Range="bytes=6-10", IfMatch=etag)
        with answer["Body"] as body:
            data = body.read()
        said = answer.get("ContentRange") == f"bytes 6-10/{len(_BODY)}"
        beyond = self._refuses(
            Kind.RANGE, request=lambda: self._do(target, "get_object", Range="bytes=99-")
        )
        stale = self._refuses(
            Kind.CONDITION, request=lambda: self._do(target, "get_object", IfMatch=_STALE)
        )
        return data == _BODY[6:11] and said and beyond and stale

    def _keeps_versions(self) -> bool:
        return keeps_versions(self._target("versions"), self._do)

    def _locks(self) -> bool:
        mode = self.config.lock_mode
        return mode is not None and locks(self._target("locked"), self._do, mode)

    def _locks_parts(self) -> bool:
        if self.config.object_lock is None:
            return False
        target = self._target("locked-parts")
        asked = {"ObjectLockLegalHoldStatus": "ON"}
        upload = given(self._do(target, "create_multipart_upload", **asked), "UploadId")
        part = self._do(target, "upload_part", UploadId=upload, PartNumber=1, Body=_BODY)
        made = {"Parts": [{"PartNumber": 1, "ETag": given(part, "ETag")}]}
        self._do(target, "complete_multipart_upload", UploadId=upload, MultipartUpload=made)
        held = bool(self._do(target, "head_object").get("ObjectLockLegalHoldStatus") == "ON")
        self._do(target, "put_object_legal_hold", LegalHold={"Status": "OFF"})
        return held

    def _signer(self, target: Target) -> Signer:
        client, held = self.clients.signing(PROBE, _SECONDS)
        return Signer(
            client=client,
            credentials=held,
            bucket=self.bucket,
            name=target.name,
            region=self.config.region,
        )

    def _presigned_get(self) -> bool:
        target, other = self._target("presigned"), self._target("presignee")
        self._put(target, _BODY)
        self._put(other, _BODY)
        url = self._signer(target).get(_SECONDS)
        good = self._status("GET", url, {}, b"") == 200
        elsewhere = url.replace("/presigned?", "/presignee?")
        return good and elsewhere != url and self._status("GET", elsewhere, {}, b"") == 403

    def _presigned_put(self) -> dict[str, Proof]:
        """Whether an upload is held to what was signed, and the first way of signing that does."""
        for binding in BINDINGS:
            target = self._target(f"upload-{binding}")
            url, headers = self._signer(target).put(
                _SECONDS,
                size=len(_BODY),
                sha256=hashlib.sha256(_BODY).hexdigest(),
                content_type="text/plain",
                metadata={HEADER: "{}"},
                binding=binding,
            )
            others = (
                (headers, _OTHER),
                ({**headers, "content-type": "text/html"}, _BODY),
                ({**headers, "content-length": str(len(_BODY) + 1)}, _BODY + b"!"),
            )
            refused = all(
                400 <= self._status("PUT", url, each, data) < 500 for each, data in others
            )
            if not refused or self._get(target) is not None:
                continue
            if self._status("PUT", url, headers, _BODY) == 200 and self._get(target) == _BODY:
                return {"presign_put": True, "presign_put_by": binding}
        return {"presign_put": False, "presign_put_by": BINDINGS[0]}

    def _status(self, method: str, url: str, headers: Mapping[str, str], data: bytes) -> int:
        """The status of a request that somebody else would send, 0 where there is no answer."""
        trust: Any = True
        if self.config.ca_bundle is not None:
            trust = str(self.runtime.path(self.config.ca_bundle))
        session = URLLib3Session(verify=trust, proxies={}, timeout=self.config.read_seconds)
        request = AWSRequest(method=method, url=url, headers=dict(headers), data=data)
        try:
            with Hushed():
                return int(session.send(request.prepare()).status_code)
        except Exception:  # noqa: BLE001  # whatever it is, no answer came
            return 0
        finally:
            session.close()
