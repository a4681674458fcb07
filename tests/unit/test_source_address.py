"""The DSN: what is sent to the server, what is checked of it, and what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from byov_migrate.config import SourceConfig
from byov_migrate.errors import ConfigurationError, CredentialsRefused
from byov_migrate.source.address import Target, locate

PASSWORD = "canary-5f0c"


def located(dsn: str, **source: object) -> Target:
    """The target of a DSN."""
    return locate(SourceConfig.model_validate({"dsn": {"env": "DSN"}, **source}), {"DSN": dsn})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "/run/postgresql", "127.0.0.1,localhost"])
def test_on_this_machine_tls_is_as_given(host: str) -> None:
    """A demo and a socket need no certificate."""
    assert "sslmode" not in located(f"host={host} dbname=jobs").parameters


@pytest.mark.parametrize("mode", ["", "sslmode=disable", "sslmode=prefer", "sslmode=require"])
def test_off_this_machine_a_weak_mode_in_the_dsn_is_overruled(mode: str) -> None:
    """`prefer` accepts no TLS at all and `require` any certificate; the default must not be the weak one."""
    parameters = located(f"host=db.example dbname=jobs {mode}").parameters
    assert parameters["sslmode"] == "verify-full"
    assert parameters["sslrootcert"]


def test_one_remote_host_among_local_ones_is_checked() -> None:
    """libpq may choose any of them."""
    assert located("host=127.0.0.1,db.example").parameters["sslmode"] == "verify-full"


def test_a_remote_address_behind_a_local_name_is_checked() -> None:
    """libpq goes to `hostaddr`, whatever `host` says."""
    assert located("host=localhost hostaddr=192.0.2.1").parameters["sslmode"] == "verify-full"


def test_a_host_that_only_the_service_file_names_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a look into the file it would count as the local socket."""
    services = tmp_path / "services"
    services.write_text("[jobs]\nhost=db.example\n\n[here]\nhost=127.0.0.1\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert located("service=jobs").parameters["sslmode"] == "verify-full"
    assert "sslmode" not in located("service=here").parameters


def test_a_host_from_the_environment_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """PG* variables reach libpq, so they count here too."""
    monkeypatch.setenv("PGHOST", "db.example")
    assert located("dbname=jobs").address.host == "db.example"
    assert located("dbname=jobs").parameters["sslmode"] == "verify-full"


def test_the_own_authority_is_what_is_trusted(tmp_path: Path) -> None:
    """A cloud's authority is in no system's bundle."""
    authority = tmp_path / "authority.pem"
    authority.touch()
    assert located("host=db.example", ca_file=authority).parameters["sslrootcert"] == str(authority)


def test_insecure_has_to_be_said_and_then_keeps_the_mode_of_the_dsn() -> None:
    """The operator's own `require` is kept."""
    assert located("host=db.example sslmode=require", tls="insecure").parameters["sslmode"] == "require"
    assert located("host=db.example", tls="insecure").parameters["sslmode"] == "prefer"


def test_verify_ca_without_an_authority_is_a_mistake(tmp_path: Path) -> None:
    """libpq refuses it with the system's authorities, in words nobody understands."""
    with pytest.raises(ConfigurationError, match="ca_file"):
        located("host=db.example", tls="verify-ca")
    with pytest.raises(ConfigurationError, match="no file"):
        located("host=db.example", ca_file=tmp_path / "missing.pem")


@pytest.mark.parametrize(
    "dsn", [f"postgresql://u:{PASSWORD} x@db/jobs", f"password={PASSWORD} ho st", f"host='{PASSWORD}"]
)
def test_a_dsn_that_cannot_be_read_is_never_shown(dsn: str) -> None:
    """libpq's own message quotes it, password included."""
    with pytest.raises(ConfigurationError) as caught:
        located(dsn)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__context__ is None


def test_the_target_prints_without_its_password() -> None:
    """A dataclass in a log line is how passwords get into logs."""
    target = located(f"postgresql://reader:{PASSWORD}@db.example:6432/jobs")
    assert PASSWORD not in repr(target)
    assert str(target.address) == "db.example:6432/jobs"


def test_session_options_are_refused_and_nothing_is_set_at_startup() -> None:
    """A pooler hands a session, with its settings, to the next client."""
    with pytest.raises(ConfigurationError, match="options"):
        located("host=localhost options='-c search_path=x'")
    parameters = located("host=localhost application_name=other client_encoding=latin1").parameters
    assert {parameters[name] for name in ("options", "application_name", "client_encoding")} == {""}


def test_an_empty_dsn_names_the_variable() -> None:
    """Not set is the commonest mistake."""
    with pytest.raises(CredentialsRefused, match="DSN"):
        located("")
