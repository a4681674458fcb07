"""The configuration: every mistake at once, with key path, reason and fix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.config import load_config
from byov_migrate.config_values import Secret, parse_duration
from byov_migrate.errors import ConfigurationError
from byov_migrate.filters import Filter
from tests.unit.config_files import BASE, SMALLEST, changed, given, mistakes, one_mistake, parse, with_embedding


def test_the_smallest_configuration_has_every_default() -> None:
    """As promised to those who rely on them; a default that moves changes what an old file means."""
    config = parse(given())
    assert config.name == "jobs"
    assert config.state_path == BASE / "jobs.state.db"
    assert config.hash_key == Secret(file=BASE / "jobs.hash-key")
    assert (config.source.tls, config.source.ca_file) == ("verify-full", None)
    target = config.target
    assert (target.wire, target.write, target.request_budget, target.give_up_after) == ("auto", "auto", None, 1200.0)
    assert (target.proxy, target.ca_file, target.tls) == (None, None, "verify-full")
    assert (config.state.vectors, config.state.source_id) == (False, None)
    table = config.tables[0]
    assert (table.strategy, table.window_max_rows, table.overlap, table.sweep_every) == ("auto", 5_000_000, 900, 3600)
    assert (table.delete_ceiling, table.reject_ceiling) == (None, None)
    assert (table.allow_overlap, table.keep_properties, table.hash_key_values) == ((), (), False)
    assert (table.key, table.where, table.deleted_when, table.changed_by) == (None, (), None, None)
    assert (config.nodes, config.links, dict(config.models)) == ((), (), {})


def test_the_defaults_of_embeddings_models_nodes_and_links() -> None:
    """Text stays at home unless the configuration says otherwise."""
    content = with_embedding()
    content["nodes"] = [{"label": "Company", "table": "public.job", "column": "company"}]
    content["links"] = [{"type": "POSTED_BY", "source": "Job.company", "target": "Company.name"}]
    config = parse(content)
    embedding = config.tables[0].embeddings[0]
    assert (embedding.similarity, embedding.send_text, embedding.spare) == ("cosine", False, True)
    assert (embedding.empty_text, embedding.spare_property) == ("store", "descriptionAlt")
    model = config.models["jobs"]
    assert (model.device, model.long_text, model.dtype, model.normalize) == ("auto", "truncate", "auto", True)
    assert (model.document_prompt, model.query_prompt, model.max_tokens, model.batch_tokens) == ("", "", None, None)
    assert (config.nodes[0].property_name, config.nodes[0].unused) == ("name", "keep")
    link = config.links[0]
    assert (link.foreign_key, link.through, link.source_columns, link.target_columns) == (None, None, (), ())
    assert (link.properties, link.source_end.column, link.target_end.label) == ((), "company", "Company")


@pytest.mark.parametrize(
    "path", ["source", "source.dsn", "target", "target.url", "target.api_key", "tables", "tables.0.name"]
)
def test_what_is_required_is_named_when_it_is_missing(path: str) -> None:
    """By its key path, as it would be written."""
    content = given()
    *steps, last = path.split(".")
    place: Any = content
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    del place[last]
    assert one_mistake(content) == f"{path.replace('.0', '[0]')}: is required"


def test_every_mistake_is_reported_at_once() -> None:
    """Somebody who mends one mistake a run gives up before the tenth."""
    content = given()
    content["source"]["tsl"] = "verify-ca"
    content["target"]["url"] = {"env": "NOT_SET"}
    content["target"]["writers"] = 99
    content["tables"][0]["label"] = "Job Posting"
    content["tables"][0]["where"] = ["status"]
    content["tables"][0]["embeddings"] = [{"property": "d", "text": "{", "model": "m"}]
    content["surprise"] = 1
    paths = {line.partition(":")[0] for line in mistakes(content)}
    assert paths >= {
        "source.tsl",
        "target.url",
        "target.writers",
        "tables[0].label",
        "tables[0].where[0]",
        "tables[0].embeddings[0].text",
        "surprise",
    }


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("tabels", "tables"),
        ("source.tsl", "tls"),
        ("target.api_keys", "api_key"),
        ("target.request_buget", "request_budget"),
        ("state.hashkey", "hash_key"),
        ("tables.0.colums", "columns"),
        ("tables.0.embeddings.0.proprety", "property"),
        ("models.jobs.max_token", "max_tokens"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(path: str, nearest: str) -> None:
    """A setting that is misspelt and ignored is worse than none."""
    line = one_mistake(changed(path, 1, with_embedding()))
    assert line.endswith(f'unknown key; did you mean "{nearest}"?')


def test_an_unknown_key_near_to_nothing_names_the_known_ones() -> None:
    """What else could be meant."""
    assert "known here: dsn, ca_file, tls" in one_mistake(changed("source.zzz", 1))


def test_any_string_may_come_from_the_environment() -> None:
    """With a default, or without."""
    content = changed("target.url", {"env": "URL"})
    content = changed("tables.0.label", {"env": "LABEL", "default": "Posting"}, content)
    content = changed("tables.0.columns", ["id", {"env": "COLUMN", "default": "x"}], content)
    content = changed("target.writers", {"env": "WRITERS", "default": 2}, content)
    config = parse(content, {"URL": "https://rushdb.example", "COLUMN": "title", "WRITERS": "5"})
    assert config.target.url == "https://rushdb.example"
    assert config.tables[0].label == "Posting"
    assert config.tables[0].columns == ("id", "title")
    assert config.target.writers == 5


def test_a_variable_that_is_not_set_is_a_mistake_with_its_path() -> None:
    """And an empty one is a value."""
    content = changed("name", {"env": "NAME_OF_IT"})
    assert one_mistake(content).startswith("name: environment variable NAME_OF_IT is not set")
    assert parse(content, {"NAME_OF_IT": ""}).name == ""


def test_relative_paths_are_relative_to_the_file() -> None:
    """Never to the folder that cron happens to start in."""
    content = with_embedding()
    content["source"]["ca_file"] = "ca.pem"
    content["target"]["ca_file"] = "/etc/ssl/corp.pem"
    content["state"] = {"url": "sqlite:///sub/jobs.db", "hash_key": {"file": "keys/hash"}}
    content["target"]["api_key"] = {"file": "rushdb.key"}
    config = parse(content)
    assert config.source.ca_file == BASE / "ca.pem"
    assert config.target.ca_file == Path("/etc/ssl/corp.pem")
    assert config.state_path == BASE / "sub/jobs.db"
    assert config.hash_key.file == BASE / "keys/hash"
    assert config.target.api_key.file == BASE / "rushdb.key"
    assert config.models["jobs"].path == BASE / "models/jobs"


def test_an_absolute_state_wins() -> None:
    """SQLite's four slashes."""
    assert parse(changed("state.url", "sqlite:////var/lib/jobs.db")).state_path == Path("/var/lib/jobs.db")


@pytest.mark.parametrize("url", ["postgresql://db/state", "jobs.db", "sqlite://jobs.db"])
def test_another_kind_of_state_is_refused(url: str) -> None:
    """A file name without the scheme would be taken for the default one."""
    assert "sqlite:///" in one_mistake(changed("state.url", url))


@pytest.mark.parametrize(
    ("url", "base_url"),
    [
        ("https://api.rushdb.com", "https://api.rushdb.com"),
        ("https://api.rushdb.com/", "https://api.rushdb.com"),
        ("https://api.rushdb.com/api/v1", "https://api.rushdb.com"),
        ("https://api.rushdb.com/api/v1/", "https://api.rushdb.com"),
        ("https://host/rushdb/api", "https://host/rushdb"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:3000/api/v1", "http://127.0.0.1:3000"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_a_target_url_in_any_spelling(url: str, base_url: str) -> None:
    """With or without the path of the API; plain http to this machine alone."""
    assert parse(changed("target.url", url)).target.base_url == base_url


@pytest.mark.parametrize(
    "url",
    [
        "http://rushdb.example",
        "http://10.0.0.5:3000",
        "http://localhost.example",
        "http://0.0.0.0:3000",
        "ftp://rushdb.example",
        "rushdb.example",
        "https://",
        "https://user:canary-5f0c@rushdb.example",
        "https://rushdb.example/?key=canary-5f0c",
        "https://rushdb.example/#canary-5f0c",
        "https://rushdb.example:port",
        "http://[::1",
        "",
    ],
)
def test_a_target_url_that_would_leak_or_not_work_is_refused(url: str) -> None:
    """The key would go over the wire in the clear, or stand in every log."""
    line = one_mistake(changed("target.url", url))
    assert line.startswith("target")
    assert "canary" not in line


def test_plain_http_can_be_asked_for_by_name() -> None:
    """In a network that somebody else protects."""
    content = changed("target.tls", "insecure", changed("target.url", "http://rushdb.internal:3000"))
    assert parse(content).target.base_url == "http://rushdb.internal:3000"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15m", 900), ("20s", 20), ("1.5h", 5400), ("2d", 172800), (" 1 m ", 60), (90, 90), (0.5, 0.5)],
)
def test_durations(text: object, seconds: float) -> None:
    """A unit, or seconds."""
    assert parse(changed("tables.0.overlap", text)).tables[0].overlap == seconds


@pytest.mark.parametrize("text", ["15", "m", "-5m", "5 minutes", True, "", "1e3s", "nan"])
def test_what_is_no_duration(text: object) -> None:
    """A bare number in quotes leaves open what it counts."""
    assert "duration" in one_mistake(changed("tables.0.overlap", text))


def test_durations_on_the_command_line() -> None:
    """The same words as in the file."""
    assert parse_duration("15m") == 900
    with pytest.raises(ConfigurationError):
        parse_duration("soon")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source.tls", "require"),
        ("target.wire", "grpc"),
        ("target.write", "merge"),
        ("target.writers", 0),
        ("target.batch_rows", 1001),
        ("target.request_budget", 0),
        ("tables.0.strategy", "xmin"),
        ("tables.0.types", {"id": "money"}),
        ("tables.0.columns", []),
        ("tables.0.columns", "id"),
        ("tables.0.delete_ceiling", -1),
        ("tables.0.embeddings.0.similarity", "euclidean"),
        ("tables.0.embeddings.0.empty_text", "skip"),
        ("models.jobs.long_text", "cut"),
        ("models.jobs.max_tokens", 0),
        ("nodes", [{"label": "A", "table": "t", "column": "c", "unused": "drop"}]),
        ("links", [{"type": "WORKS AT", "foreign_key": "t.k"}]),
    ],
)
def test_a_value_out_of_range_is_refused_at_its_path(path: str, value: object) -> None:
    """Not at the first row."""
    line = one_mistake(changed(path, value, with_embedding()))
    assert line.startswith(path.replace(".0", "[0]").split("[")[0])


@pytest.mark.parametrize("label", ["Job Posting", "job-posting", "1st", "Stelle/in", "Jöb", "", "a.b"])
def test_a_label_is_an_identifier(label: str) -> None:
    """RushDB makes the index for others answer 500, after data was written."""
    assert one_mistake(changed("tables.0.label", label)).startswith("tables[0].label: ")


@pytest.mark.parametrize(
    "embedding",
    [
        {"text": None},
        {"model": None},
        {"text": None, "vector": "v", "send_text": True},
        {"vector": "v", "send_text": True},
    ],
)
def test_an_embedding_needs_something_to_embed(embedding: dict[str, Any]) -> None:
    """Text and model, or a column of vectors; text can be sent only where it is what the vector stands for."""
    content = with_embedding(**{name: value for name, value in embedding.items() if value is not None})
    for name in [name for name, value in embedding.items() if value is None]:
        del content["tables"][0]["embeddings"][0][name]
    assert one_mistake(content).startswith("tables[0].embeddings[0]: ")


def test_filters_and_templates_are_parsed_once() -> None:
    """What is wrong with them is known before anything is connected to."""
    content = changed("tables.0.where", ["status = published", "n in (1, 2)"], with_embedding())
    table = parse(content).tables[0]
    assert table.where == (Filter("status", "=", ("published",)), Filter("n", "in", ("1", "2")))
    assert table.embeddings[0].text is not None
    assert table.embeddings[0].text.columns == ("body",)


def test_a_table_by_name_or_label() -> None:
    """As on the command line; another name lists what there is."""
    config = parse(given())
    assert config.table("Job") == config.table("public.job") == config.entries[0]
    with pytest.raises(ConfigurationError, match=r"there are: public\.job"):
        config.table("job")


def test_tables_and_nodes_are_entries_in_their_order() -> None:
    """A node is a table of one column, which is its key, with the filters of the table that its values come from."""
    content = changed("tables.0.where", ["title is not null"], changed("tables.0.deleted_when", "gone is not null"))
    content["nodes"] = [
        {"label": "City", "table": "public.job", "column": "city", "unused": "remove"},
        {"label": "Kind", "table": "public.other", "column": "kind", "property": "word"},
    ]
    config = parse(content)
    job, city, kind = config.entries
    assert (job.name, job.label, job.path, job.owner, job.distinct) == (
        *("public.job", "Job", "tables[0]", "public.job", None),
    )
    assert (city.name, city.columns, city.key, city.path) == ("public.job.city", ("city",), ("city",), "nodes[0]")
    assert (city.owner, city.distinct, city.unused, city.outgoing_name("city")) == (
        "public.job",
        "city",
        "remove",
        "name",
    )
    assert (city.where, city.deleted_when) == (job.where, job.deleted_when)
    assert (kind.outgoing_name("kind"), kind.where, kind.unused, kind.path) == ("word", (), "keep", "nodes[1]")
    assert config.table("City") == config.table("public.job.city") == city


def test_a_configuration_cannot_be_changed() -> None:
    """A value that was checked stays as it was checked."""
    config = parse(given())
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"


def test_a_file_is_read_with_its_own_folder_as_base(tmp_path: Path) -> None:
    """Its name without the ending is the migration's."""
    path = tmp_path / "jobs.prod.toml"
    path.write_text(SMALLEST)
    config = load_config(path, {})
    assert (config.name, config.base) == ("jobs.prod", tmp_path.resolve())


def test_a_file_named_relatively_has_an_absolute_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later change of the working directory must not move the state."""
    (tmp_path / "jobs.toml").write_text(SMALLEST)
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("jobs.toml"), {}).state_path == Path(os.path.realpath(tmp_path)) / "jobs.state.db"


@pytest.mark.parametrize("content", [b"[source", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    """With the place of the mistake, from the parser."""
    path = tmp_path / "jobs.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is not TOML"):
        load_config(path, {})


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Without a traceback."""
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_config(tmp_path / "absent.toml", {})
