"""No secret is in the configuration, in any form of it, or in what is said about it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.config_values import Secret
from byov_migrate.errors import CredentialsRefused
from tests.unit.config_files import changed, given, mistakes, one_mistake, parse


@pytest.mark.parametrize("path", ["source.dsn", "target.api_key", "state.hash_key"])
@pytest.mark.parametrize("secret", ["postgresql://user:canary-5f0c@db/jobs", "canary-5f0c", ["canary-5f0c"], 5])
def test_a_secret_is_never_literal_and_never_repeated(path: str, secret: object) -> None:
    """Configuration files end in version control, and error messages in tickets."""
    line = one_mistake(changed(path, secret))
    assert line.startswith(f"{path}: ")
    assert "{ env =" in line
    assert "canary" not in line


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"env": "A", "file": "b"},
        {"env": "A", "default": "canary-5f0c"},
        {"value": "canary-5f0c"},
        {"env": "A", "command": ["x"]},
    ],
)
def test_a_secret_has_exactly_one_place_and_no_default(secret: dict[str, Any]) -> None:
    """Two places leave open which one counts; a default is a literal secret."""
    assert "canary" not in " ".join(mistakes(changed("target.api_key", secret)))


def test_no_form_of_the_configuration_holds_a_secret() -> None:
    """Not in its repr, not as a string, not as JSON: it only knows where secrets are."""
    environment = {"DATABASE_URL": "canary-dsn", "RUSHDB_API_KEY": "canary-key"}
    config = parse(given(), environment)
    shown = f"{config!r}{config}{config.model_dump()}{config.model_dump_json()}{config.target!r}"
    assert "canary" not in shown
    assert config.target.api_key.read(environment) == "canary-key"


def test_a_proxys_password_is_in_no_form_of_the_configuration() -> None:
    """It stands in the proxy's address; there is no other place for it."""
    content = changed("target.proxy", {"env": "PROXY"})
    config = parse(content, {"PROXY": "http://user:canary-5f0c@proxy:3128"})
    assert config.target.proxy == "http://user:canary-5f0c@proxy:3128"
    assert "canary" not in f"{config!r}{config}{config.target}"


@pytest.mark.parametrize("proxy", ["http://user:canary-5f0c@proxy:3128", "nonsense", "ftp://proxy"])
def test_a_proxy_is_an_address_without_a_password_in_the_file(proxy: str) -> None:
    """A literal password is refused; so is what the HTTP client could not use."""
    assert "canary" not in one_mistake(changed("target.proxy", proxy))


def test_a_secret_is_read_anew_each_time() -> None:
    """A token that lives for an hour is replaced while a migration runs."""
    environment = {"A": "first\n"}
    secret = Secret(env="A")
    assert secret.read(environment) == "first"
    environment["A"] = "second"
    assert secret.read(environment) == "second"


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_an_empty_secret_is_refused_by_its_place(value: str | None) -> None:
    """The message says where it was looked for, which is all that can be said."""
    environment = {} if value is None else {"THE_KEY": value}
    with pytest.raises(CredentialsRefused, match="THE_KEY"):
        Secret(env="THE_KEY").read(environment)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644])
def test_a_secret_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    """A key that everybody on the machine has is none."""
    path = tmp_path / "key"
    path.write_text("canary-5f0c")
    path.chmod(mode)
    with pytest.raises(CredentialsRefused, match="chmod 600") as caught:
        Secret(file=path).read({})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_file_of_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    """Without the line's end that every editor adds."""
    path = tmp_path / "key"
    path.write_text("the key\n")
    path.chmod(mode)
    assert Secret(file=path).read({}) == "the key"
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_secret_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(CredentialsRefused, match="absent"):
        Secret(file=tmp_path / "absent").read({})


def test_a_secret_command_runs_without_a_shell() -> None:
    """What looks like shell stays an argument."""
    assert Secret(command=("printf", "%s", "$(id); `id`")).read({}) == "$(id); `id`"


@pytest.mark.parametrize("command", [("false",), ("/absent/program",), ("sh", "-c", "echo canary-5f0c; exit 3")])
def test_a_secret_command_that_fails_is_refused_without_its_output(command: tuple[str, ...]) -> None:
    """Its output may hold half of the secret."""
    with pytest.raises(CredentialsRefused) as caught:
        Secret(command=command).read({})
    assert "canary" not in f"{caught.value}{caught.value.__cause__}"
