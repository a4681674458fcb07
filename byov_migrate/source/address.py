"""Where the database is and how it is reached: the DSN, the service file, and what TLS has to prove."""

from __future__ import annotations

import configparser
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from byov_migrate.config import SourceConfig
from byov_migrate.config_checks import is_loopback
from byov_migrate.errors import ConfigurationError

CONNECT_TIMEOUT_S = 15
# Sent at start-up, these would be the session's, and pgbouncer hands a session on to others. Empty: PG* variables too.
_NOT_AT_STARTUP = {"options": "", "application_name": "", "fallback_application_name": "", "client_encoding": ""}
_PATIENCE = {"connect_timeout": str(CONNECT_TIMEOUT_S), "keepalives_idle": "30", "keepalives_interval": "10"}
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, slots=True)
class Address:
    """All that a message may say about a connection."""

    host: str
    port: str
    database: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True)
class Target:
    """What libpq is given. `parameters` may hold the password, so it is never printed."""

    address: Address
    parameters: Mapping[str, str] = field(repr=False)
    ca_file: str | None = None

    @property
    def conninfo(self) -> str:
        """For libpq; holds the password."""
        return make_conninfo(**self.parameters)

    @property
    def checks_certificate(self) -> bool:
        """Whether the server has to prove who it is."""
        return self.parameters.get("sslmode", "").startswith("verify")


def locate(config: SourceConfig, environment: Mapping[str, str]) -> Target:
    """Read the DSN now, and decide how TLS is checked.

    Raise ConfigurationError when the DSN cannot be read, CredentialsRefused when there is none.
    """
    given = _parse(config.dsn.read(environment))
    if given.get("options"):
        raise ConfigurationError(
            "source.dsn: holds `options`, which a pooler would hand to other sessions; take it out"
            " (all settings that matter are set in each transaction)"
        )
    effective = {**_defaults(), **_service(given.get("service")), **given}
    address = _address(effective)
    tls = {} if _is_local(effective) else _tls(config, given)
    return Target(address, {**_PATIENCE, **given, **_NOT_AT_STARTUP, **tls}, tls.get("sslrootcert"))


def _parse(dsn: str) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    except psycopg.Error:
        pass  # raised below, without this error behind it: libpq's text quotes the DSN, password included
    raise ConfigurationError(
        "source.dsn: is no PostgreSQL address; write postgresql://USER@HOST:PORT/DATABASE or host=... dbname=..."
        " (what was given is not shown: it may hold a password)"
    )


def _defaults() -> dict[str, str]:
    """What libpq takes from PG* variables and their service file."""
    return {
        option.keyword.decode(): option.val.decode() for option in pq.Conninfo.get_defaults() if option.val is not None
    }


def _service(name: str | None) -> dict[str, str]:
    """The section of the service file that the DSN names; libpq reads it too, but never tells."""
    if name is None:
        return {}
    own = os.environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf"
    found = configparser.ConfigParser(interpolation=None, strict=False)
    found.read([Path(os.environ.get("PGSYSCONFDIR", "/etc/postgresql-common")) / "pg_service.conf", own])
    return dict(found[name]) if found.has_section(name) else {}


def _is_local(parameters: Mapping[str, str]) -> bool:
    """Whether the connection cannot leave this machine: libpq goes to `hostaddr`, and `host` is only what is proved."""
    hosts = parameters.get("hostaddr") or parameters.get("host") or ""
    return all(not host or is_loopback(host) or host.startswith("@") for host in hosts.split(","))


def _address(parameters: Mapping[str, str]) -> Address:
    host = parameters.get("host") or parameters.get("hostaddr") or "/tmp"  # noqa: S108 - libpq's default socket folder
    database = parameters.get("dbname") or parameters.get("user") or "?"
    return Address(host, parameters.get("port") or "5432", database)


def _tls(config: SourceConfig, given: Mapping[str, str]) -> dict[str, str]:
    if config.tls == "insecure":
        return {"sslmode": given.get("sslmode", "prefer")}
    if config.ca_file is not None and not config.ca_file.is_file():
        raise ConfigurationError(f"source.ca_file: there is no file {config.ca_file}")
    own = str(config.ca_file) if config.ca_file else given.get("sslrootcert")
    if config.tls == "verify-ca" and own in (None, "system"):
        raise ConfigurationError(
            'source.ca_file: tls = "verify-ca" needs the authority\'s certificate; name its file here'
        )
    return {"sslmode": config.tls, "sslrootcert": own if own not in (None, "system") else _system_authorities()}


def _system_authorities() -> str:
    """The file of the authorities this machine trusts.

    Not libpq's own "system": the OpenSSL inside psycopg's wheel looks in a folder that exists on no machine.
    """
    known = (ssl.get_default_verify_paths().cafile, *_BUNDLES)
    return next((name for name in known if name and Path(name).is_file()), "system")
