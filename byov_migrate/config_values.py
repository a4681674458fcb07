"""Kinds of values in a configuration: secrets, paths, durations, names, filters and templates, each with its mistakes.

No secret is read here: a `Secret` says where it is and is read anew for each connection.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator

from byov_migrate.errors import ConfigurationError, CredentialsRefused
from byov_migrate.filters import Filter, FilterError, parse_filter
from byov_migrate.templates import Template, TemplateError, parse_template

COMMAND_TIMEOUT_S = 30
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Section(BaseModel):
    """A section of the file: frozen, and no key but those it knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True)
class CarrierRole:
    """What one embedding's vectors under one property are for, while there may be others; see `state.carriers`."""

    live: bool = True
    complete: bool = True
    marked: bool = True
    remembered: bool = False  # the state says how they are made, and the configuration does not


class Secret(Section):
    """Where a secret is: an environment variable, a file, or a command (without a shell). Never its value."""

    env: str | None = None
    file: Path | None = None
    command: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _not_literal(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError('is never written here; use { env = "NAME" }, { file = "PATH" } or { command = [...] }')
        return given

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if sum(way is not None for way in (self.env, self.file, self.command)) != 1:
            raise ValueError("needs exactly one of env, file, command")
        return self

    def read(self, environment: Mapping[str, str]) -> str:
        """The secret as it is now. Raise CredentialsRefused naming where it was looked for."""
        if self.env is not None:
            value = environment.get(self.env, "")
            place = f"environment variable {self.env}"
        elif self.file is not None:
            value, place = _read_file(self.file), f"file {self.file}"
        else:
            value, place = _run_command(self.command or ()), "command"
        if not value.strip():
            raise CredentialsRefused(f"the secret from the {place} is empty or not set")
        return value.strip()


def _read_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise CredentialsRefused(f"{path} can be read by others; run: chmod 600 {path}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise CredentialsRefused(f"cannot read the secret file {path}: {error.strerror}") from error


def _run_command(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=COMMAND_TIMEOUT_S, check=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise CredentialsRefused(f"the secret's command {command[0]!r} failed: {type(error).__name__}") from None
    return done.stdout


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path())
    return path if path.is_absolute() else base / path


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("is no identifier, and RushDB answers 500 to others; use letters, digits and _")
    return name


def parse_duration(text: str) -> float:
    """Seconds of "15m". Raise ConfigurationError."""
    try:
        return float(duration(text))
    except ValueError as error:
        raise ConfigurationError(f"{text!r} {error}") from error


def duration(given: Any) -> Any:
    """Seconds; for pydantic, which calls it before it checks the type. Raise ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", str(given).strip())
    if match:
        return float(match[1]) * _UNITS[match[2]]
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    raise ValueError('is no duration; write "15m", "20s", "1h" or seconds')


def read_filter(given: Any) -> Any:
    """A filter of its text; for pydantic. Raise ValueError with what was expected."""
    try:
        return parse_filter(given) if isinstance(given, str) else given
    except FilterError as error:
        raise ValueError(str(error)) from error


def read_template(given: Any) -> Any:
    """A template of its text; for pydantic. Raise ValueError with what was expected."""
    try:
        return parse_template(given) if isinstance(given, str) else given
    except TemplateError as error:
        raise ValueError(str(error)) from error


LocalPath = Annotated[Path, AfterValidator(_resolve)]
Identifier = Annotated[str, AfterValidator(_identifier)]
Duration = Annotated[float, BeforeValidator(duration)]
"""Seconds; written as "15m"."""
FilterText = Annotated[Filter, BeforeValidator(read_filter)]
TemplateText = Annotated[Template, BeforeValidator(read_template)]


class LocatedSecret(Secret):
    """A secret whose file is relative to the configuration file."""

    file: LocalPath | None = None
