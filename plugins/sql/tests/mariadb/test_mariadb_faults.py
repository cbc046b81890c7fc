"""What goes wrong between the store and its server has one error of the tree, and one outcome."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nexus_sql
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nexus_sql._atoms import SqlAtoms
from nexus_sql._database import Collision
from nexus_sql._schema import in_scope, of_scope

from nexus_core.spi import (
    AtomBackend,
    AuditBackend,
    Insert,
    InvalidArgumentError,
    LogEntry,
    LogHead,
    Outcome,
    QuotaExceededError,
    Record,
    Replace,
    Runtime,
    Scope,
    StoreError,
    StoreTimeoutError,
    UnavailableError,
)

pytestmark = pytest.mark.servers
SCOPE = Scope("t1", "dev")
Make = Callable[..., Record]


@contextmanager
def opened(config: nexus_sql.SqlConfig, runtime: Runtime) -> Iterator[SqlAtoms]:
    backend = nexus_sql.nexus_atom_store().factory(config, runtime)
    assert isinstance(backend, SqlAtoms)
    with closing(backend):
        yield backend


class Road:
    """A way to the server that breaks at a commit: before it, or after it and before its answer."""

    COMMIT = b"\x03COMMIT"

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._breaks: str | None = None
        self.closed_for_good = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._carriers = [threading.Thread(target=self._accept)]
        self._carriers[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self.closed_for_good:
                    client.close()
                    continue
                carrier = threading.Thread(target=self._carry, args=(client,))
                self._carriers.append(carrier)
                carrier.start()

    def _carry(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(self._target) as server:
            while True:
                for source in select.select((client, server), (), ())[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and self._breaks and self.COMMIT in data:
                        moment, self._breaks = self._breaks, None
                        if moment == "after":
                            # The server does it, and says so to nobody.
                            server.sendall(data)
                            server.recv(65536)
                        return
                    (server if source is client else client).sendall(data)

    def break_at(self, moment: str | None) -> None:
        """Break once, ``before`` the next commit or ``after`` it."""
        self._breaks = moment

    @property
    def whole(self) -> bool:
        """Whether no break is due."""
        return self._breaks is None

    def close(self) -> None:
        """Let nobody in any more, and wait for those inside to leave."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for carrier in self._carriers:
            carrier.join()


@pytest.fixture
def road(provisioned: Any) -> Iterator[Road]:
    way = Road(provisioned.server.info["port"])
    yield way
    way.close()


def test_a_commit_that_was_done_and_not_answered_is_found_done(
    provisioned: Any, road: Road, runtime: Runtime, make: Make
) -> None:
    """When the answer to a commit is lost, reading back tells that it took place."""
    with opened(provisioned.config(port=road.port), runtime) as store:
        store.commit(SCOPE, [Insert(make("intents", "before"))])
        road.break_at("after")
        assert store.commit(SCOPE, [Insert(make("intents", "lost"))]) == [True]
        assert road.whole
        assert store.count(SCOPE, "intents", None) == 2


def test_a_commit_that_never_arrived_is_found_undone(
    provisioned: Any, road: Road, runtime: Runtime, make: Make
) -> None:
    """When a commit is lost on its way, the error says that nothing was applied, and it is so."""
    with opened(provisioned.config(port=road.port), runtime) as store:
        store.commit(SCOPE, [Insert(make("intents", "before"))])
        road.break_at("before")
        with pytest.raises(UnavailableError) as caught:
            store.commit(SCOPE, [Insert(make("intents", "lost"))])
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert caught.value.retryable
        assert store.count(SCOPE, "intents", None) == 1
        store.commit(SCOPE, [Insert(make("intents", "lost"))])


def test_a_commit_that_nobody_can_ask_about_is_unknown(
    provisioned: Any, road: Road, runtime: Runtime, make: Make
) -> None:
    """When the server cannot be asked again either, the outcome is said to be unknown."""
    with opened(provisioned.config(port=road.port), runtime) as store:
        store.commit(SCOPE, [Insert(make("intents", "before"))])
        road.closed_for_good = True
        road.break_at("after")
        with pytest.raises(StoreError) as caught:
            store.commit(SCOPE, [Insert(make("intents", "lost"))])
        assert caught.value.outcome is Outcome.UNKNOWN


def test_a_lost_append_is_settled_too(provisioned: Any, road: Road, runtime: Runtime) -> None:
    """The commit of an append is read back as well, by the turn of the scope's log."""
    log = nexus_sql.nexus_audit_sink().factory(provisioned.config(port=road.port), runtime)
    assert isinstance(log, AuditBackend)
    for size, breaks in enumerate((None, "after", None)):
        road.break_at(breaks)
        entry = LogEntry(
            index=size,
            leaf=b"l",
            salt=None,
            sealed=None,
            subject_tag=None,
            operation="o",
            phase="intent",
            recorded_at=size,
        )
        log.append(SCOPE, size, [entry], LogHead(size=size + 1, edge=b"e", checkpoint=b"c"))
    assert len(log.read(SCOPE, 0, 10)) == 3
    log.close()


def test_connections_that_died_at_rest_are_replaced(
    provisioned: Any, runtime: Runtime, make: Make
) -> None:
    """A server that ended idle connections is asked on new ones, and the caller sees nothing."""
    with opened(provisioned.config(), runtime) as store:
        store.commit(SCOPE, [Insert(make("intents", "a"))])
        for (session,) in provisioned.sql(
            "SELECT id FROM information_schema.processlist WHERE user = %s", provisioned.name
        ):
            provisioned.sql(f"KILL {session}")
        assert store.count(SCOPE, "intents", None) == 1
        store.commit(SCOPE, [Insert(make("intents", "b"))])


def test_a_writer_waits_for_its_scope_and_no_longer(
    provisioned: Any, runtime: Runtime, make: Make
) -> None:
    """A scope that stays locked is a timeout with nothing applied; other scopes are not held up."""
    with opened(provisioned.config(busy_timeout_seconds=1.0), runtime) as store:
        store.commit(SCOPE, [Insert(make("intents", "counter"))])
        with store._database.write(SCOPE, alone=True):
            with pytest.raises(StoreTimeoutError) as caught:
                store.commit(SCOPE, [Replace(make("intents", "counter", 2))])
            assert caught.value.outcome is Outcome.NOT_APPLIED
            assert caught.value.retryable
            for name in ("t0", "t1a", "t2", "t"):
                store.commit(Scope(name, "dev"), [Insert(make("intents", "counter"))])
                store.erase(Scope(name, "dev"))
            assert store.count(SCOPE, "intents", None) == 1
        store.commit(SCOPE, [Replace(make("intents", "counter", 2))])


def test_a_deadlock_is_a_collision_that_may_be_tried_again(
    provisioned: Any, runtime: Runtime, make: Make
) -> None:
    """Of two transactions that wait for each other the server undoes one, and it is told so."""
    with opened(provisioned.config(), runtime) as store:
        store.commit(SCOPE, [Insert(make("intents", name)) for name in "ab"])
        both = threading.Barrier(2)
        undone: list[StoreError] = []

        def lock(first: str, second: str) -> None:
            select = (
                "SELECT nx_id FROM record_intents"
                " WHERE nx_tenant = 't1' AND nx_env = 'dev' AND nx_id = %s FOR UPDATE"
            )
            try:
                with store._database.write(None) as connection:
                    connection.exec_driver_sql(select, (first,)).all()
                    both.wait(20)
                    connection.exec_driver_sql(select, (second,)).all()
            except StoreError as error:
                undone.append(error)

        threads = [threading.Thread(target=lock, args=pair) for pair in (("a", "b"), ("b", "a"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (error,) = undone
        assert isinstance(error, Collision)
        assert error.outcome is Outcome.NOT_APPLIED
        assert error.retryable


def test_a_write_that_was_undone_is_begun_again(
    provisioned: Any, runtime: Runtime, make: Make
) -> None:
    """A batch that the server undoes for another's sake is done all the same, once."""
    with opened(provisioned.config(), runtime) as store:
        store.commit(SCOPE, [Insert(make("intents", "a"))])
        attempts: list[int] = []

        def work(connection: Any) -> str:
            attempts.append(len(attempts))
            table = store._database.tables.records["intents"]
            connection.execute(sa.delete(table).where(in_scope(table)), of_scope(SCOPE))
            if len(attempts) == 1:
                # The server's own words for a deadlock.
                connection.exec_driver_sql(
                    "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock'"
                )
            return "done"

        assert store._database.run(SCOPE, work, alone=True) == "done"
        assert attempts == [0, 1]
        assert store.count(SCOPE, "intents", None) == 0


def test_what_is_too_large_is_not_sent(provisioned: Any, runtime: Runtime, make: Make) -> None:
    """A record beyond the server's packet is refused before it is sent, and nothing is written."""
    with opened(provisioned.config(), runtime) as store:
        with pytest.raises(QuotaExceededError) as caught:
            store.commit(
                SCOPE,
                [Insert(make("intents", "small")), Insert(make("atoms", "a", body=bytes(9 << 20)))],
            )
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert not caught.value.retryable
        assert store.count(SCOPE, "intents", None) == 0
        many = [Insert(make("atoms", f"a{n}", body=bytes(3 << 20))) for n in range(12)]
        assert store.commit(SCOPE, many) == [True] * 12
        assert len(store.query(SCOPE, "atoms", None, limit=5).records) == 5
        grown = make("atoms", "a0", 2, body=bytes(9 << 20))
        with pytest.raises(QuotaExceededError):
            store.commit(SCOPE, [Replace(grown)])
        found = store.get(SCOPE, "atoms", ["a0"])[0]
        assert found is not None
        assert found.version == 1


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x" * 129},
        {"kind": "x" * 1025},
        {"kind": "\udc80"},
        {"size": 2**63},
        {"size": -(2**63) - 1},
    ],
    ids=lambda change: "-".join(change),
)
def test_what_does_not_fit_is_refused_whole(
    atoms: AtomBackend, make: Make, change: dict[str, Any]
) -> None:
    """A value without a place is an invalid argument; it is not cut, and its batch is undone."""
    record = make("atoms", change.pop("id", "a"), **change)
    with pytest.raises(InvalidArgumentError):
        atoms.commit(SCOPE, [Insert(make("intents", "fine")), Insert(record)])
    assert atoms.count(SCOPE, "intents", None) == 0
    assert atoms.count(SCOPE, "atoms", None) == 0


def test_texts_that_others_take_for_equal_are_not(atoms: AtomBackend, make: Make) -> None:
    """Ids that differ by case, accent, blanks at the end or a NUL are different, and in order."""
    names = ["a", "A", "a ", "a  ", "a\0", "a\t", "á", "a\u0301", "ß", "ss", "é", "\U0001f600", "z"]
    atoms.commit(SCOPE, [Insert(make("atoms", name, kind=name)) for name in names])
    found = [record.id for record in atoms.query(SCOPE, "atoms", None).records]
    assert found == sorted(names, key=lambda name: name.encode())
    for name in names:
        assert atoms.get(SCOPE, "atoms", [name])[0] == make("atoms", name, kind=name)
        after = [record.id for record in atoms.query(SCOPE, "atoms", None, after=name).records]
        assert after == found[found.index(name) + 1 :]


def certificate(folder: Path, name: str) -> Path:
    """A certificate that vouches for itself, and its key, in one file; for a host's name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_the_way_is_protected_as_asked(
    own: Any, runtime: Runtime, tmp_path: Path, make: Make
) -> None:
    """The server is known by its certificate and its name, by the one, or not at all, as set."""
    right, other = certificate(tmp_path, "localhost"), certificate(tmp_path, "elsewhere.example")
    place = own.database()
    own.kill()
    own.start(f"--ssl-cert={right}", f"--ssl-key={right}", "--require-secure-transport=ON")
    url = f"mariadb+pymysql://{place.name}@localhost:{own.info['port']}/{place.name}"

    def found(**settings: Any) -> list[str]:
        config = place.config(url=url, **settings)
        with opened(config, runtime) as store:
            return [problem.code for problem in store.check()]

    missing = ["sql.schema_missing"]
    assert found(tls="verify-full", tls_roots=str(right)) == missing
    assert found(tls="verify-full", tls_roots=str(other)) == ["sql.tls"]
    assert found(tls="verify-full") == ["sql.tls"]
    assert found(tls="verify-ca", tls_roots=str(right)) == missing
    assert found(tls="verify-ca", tls_roots=str(other)) == ["sql.tls"]
    assert found(tls="require") == missing
    assert found(tls="disable") != missing
    url = url.replace("localhost", "127.0.0.1")
    assert found(tls="verify-full", tls_roots=str(right)) == ["sql.tls"]
    assert found(tls="verify-ca", tls_roots=str(right)) == missing
    (shown,) = own.sql("SHOW SESSION STATUS LIKE 'Ssl_version'")
    assert shown[1].startswith("TLSv1.")
