"""TLS: each case that fails is named with its fix; nothing weaker is accepted by default."""

from __future__ import annotations

import datetime as dt
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from psycopg.conninfo import make_conninfo

from byov_migrate.errors import PersonNeeded
from byov_migrate.source import address
from tests.postgres import runner, running, session_to, system_binaries


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that no machine knows, as a cloud's own."""
    return trustme.CA()


@contextmanager
def server(folder: Path, certificate: trustme.LeafCert | None) -> Iterator[str]:
    """A server with this certificate, or without TLS."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL with TLS in /usr/lib/postgresql")
    settings: list[str] = []
    if certificate is not None:
        folder.mkdir(exist_ok=True)
        chain, key = folder / "server.pem", folder / "server.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.write_bytes(certificate.private_key_pem.bytes())
        key.chmod(0o600)
        for path in (chain, key) if runner() else ():
            shutil.chown(path, "nobody", "nogroup")
        settings = ["ssl=on", f"ssl_cert_file={chain}", f"ssl_key_file={key}"]
    with running(binaries, folder / "data", settings) as dsn:
        yield dsn


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's certificate, as the operator would download it."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(autouse=True)
def _loopback_is_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers run here; the rule for other machines is what is tested."""
    monkeypatch.setattr(address, "is_loopback", lambda _host: False)


@pytest.fixture(scope="module")
def named_server(authority: trustme.CA, servers_root: Path) -> Iterator[str]:
    """A server whose certificate is for `localhost`."""
    folder = servers_root / "tls-named"
    folder.mkdir()
    with server(folder, authority.issue_cert("localhost")) as dsn:
        yield make_conninfo(dsn, host="localhost")


def test_a_certificate_of_a_known_authority_is_accepted(named_server: str, ca_file: Path) -> None:
    """And the line is encrypted."""
    with session_to(named_server, ca_file=ca_file) as session, session.transaction() as transaction:
        assert transaction.fetch("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]


def test_an_unknown_issuer_is_answered_with_ca_file(named_server: str) -> None:
    """A hosted database's own authority is the commonest case, and libpq only says "verify failed"."""
    with pytest.raises(PersonNeeded, match="authority that this machine does not know") as caught:
        session_to(named_server)
    assert "ca_file" in str(caught.value.next_step)


def test_another_name_is_answered_with_verify_ca(named_server: str, ca_file: Path) -> None:
    """A tunnel or an address instead of a name; the authority is still checked."""
    dsn = make_conninfo(named_server, host="127.0.0.1")
    with pytest.raises(PersonNeeded, match="for another name") as caught:
        session_to(dsn, ca_file=ca_file)
    assert "verify-ca" in str(caught.value.next_step)
    with session_to(dsn, ca_file=ca_file, tls="verify-ca") as session, session.transaction():
        pass


def test_an_expired_certificate_is_told_from_an_unknown_one(
    authority: trustme.CA, servers_root: Path, ca_file: Path
) -> None:
    """Its fix is on the server, not here."""
    folder = servers_root / "tls-expired"
    folder.mkdir()
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    expired = authority.issue_cert("localhost", not_before=yesterday - dt.timedelta(days=9), not_after=yesterday)
    with server(folder, expired) as dsn, pytest.raises(PersonNeeded, match="has expired"):
        session_to(make_conninfo(dsn, host="localhost"), ca_file=ca_file)


def test_a_server_without_tls_is_refused_unless_said_otherwise(system_postgres: str) -> None:
    """`prefer`, libpq's default, would send everything in the clear."""
    with pytest.raises(PersonNeeded, match="does not offer TLS") as caught:
        session_to(system_postgres)
    assert 'tls = "insecure"' in str(caught.value.next_step)
    with session_to(system_postgres, tls="insecure") as session, session.transaction():
        pass


def test_the_systems_authorities_are_found_by_libpq(
    named_server: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ca_file the machine's own bundle decides; the wheel's OpenSSL would look where nothing is."""
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr(
        ssl, "get_default_verify_paths", lambda: ssl.DefaultVerifyPaths(str(bundle), "", "", "", "", "")
    )
    with session_to(named_server) as session, session.transaction():
        pass
