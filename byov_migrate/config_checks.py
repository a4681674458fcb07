"""What makes a configuration wrong beyond the shape of a single value; every finding is one line for people."""

from __future__ import annotations

import difflib
import ipaddress
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from byov_migrate.config import Config, LinkConfig, TableConfig

RESERVED_PREFIXES = ("byov", "__", "$")
RESERVED_NAMES = frozenset({"records", "data", "total", ""})
_SECRETS = {("source", "dsn"), ("target", "api_key"), ("state", "hash_key")}


def is_loopback(host: str) -> bool:
    """Whether traffic to this host stays on the machine."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_target_url(url: str, *, insecure: bool) -> None:
    """Raise ValueError: only http and https, no password inside, plain http to loopback alone."""
    parts = urlsplit(url)
    if not _is_web_address(url):
        raise ValueError("url: is no http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("url: must hold no user, password, query or fragment; the key goes into api_key")
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not insecure:
        raise ValueError('url: plain http would send the key in the clear; use https, or say tls = "insecure"')


def check_proxy(url: str) -> str:
    """Raise ValueError for what the HTTP client could not use."""
    if not _is_web_address(url):
        raise ValueError("is no http or https address")
    return url


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is not closed
        return False


def link_problem(link: LinkConfig) -> str | None:
    """What is wrong with one `[[links]]` entry by itself."""
    if link.foreign_key is not None:
        others = link.source or link.target or link.through or link.source_columns or link.target_columns
        return "foreign_key says both ends; take the other keys out" if others or link.properties else None
    if link.source is None or link.target is None:
        return 'needs foreign_key = "schema.table.constraint", or source and target, or these with through'
    if link.through is not None:
        named = "." in link.source or "." in link.target
        return "with through, source and target are labels without a column" if named else None
    if link.source_columns or link.target_columns or link.properties:
        return "source_columns, target_columns and properties are those of a join table; add through"
    if not link.source_end.column or not link.target_end.column:
        return 'source and target are "Label.column"'
    return None


def literal_passwords(given: Mapping[str, Any]) -> list[str]:
    """Passwords that are written where an address is meant."""
    target = given.get("target")
    proxy = target.get("proxy") if isinstance(target, Mapping) else None
    if not isinstance(proxy, str) or "@" not in proxy:
        return []
    return ['target.proxy: holds a user or password, which is never written here; use { env = "NAME" }']


def fill_from_environment(
    given: Any, environment: Mapping[str, str], problems: list[str], path: tuple[str, ...] = ()
) -> Any:
    """Replace `{ env = "NAME", default = "..." }` by its value everywhere but where a secret stands."""
    if path in _SECRETS:
        return given
    if isinstance(given, list):
        return [fill_from_environment(item, environment, problems, (*path, str(i))) for i, item in enumerate(given)]
    if not isinstance(given, dict):
        return given
    if "env" in given and set(given) <= {"env", "default"}:
        value = environment.get(str(given["env"]), given.get("default"))
        if value is None:
            problems.append(f"{dotted(path)}: environment variable {given['env']} is not set and has no default")
        return value if value is not None else ""
    return {key: fill_from_environment(item, environment, problems, (*path, key)) for key, item in given.items()}


def dotted(path: tuple[int | str, ...]) -> str:
    """`tables[0].label` of ("tables", 0, "label")."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) or step.isdigit() else f".{step}"
    return text.lstrip(".")


def describe_all(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """One line for each mistake. A list that is short only because its entries are wrong is none."""
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    return [
        describe(item, root)
        for item in items
        if item["type"] != "too_short" or not any(place[:-1][: len(item["loc"])] == item["loc"] for place in places)
    ]


def describe(item: Any, root: type[BaseModel]) -> str:
    """One line for one pydantic error: key path, reason, fix. Never the value given."""
    path = tuple(item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{dotted(path)}: unknown key{_nearest(str(path[-1]), _fields_at(root, path[:-1]))}"
    if item["type"] == "missing":
        return f"{dotted(path)}: is required"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{dotted(path)}: {message[:1].lower()}{message[1:]}"


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f'; did you mean "{close[0]}"?' if close else f"; known here: {', '.join(known)}"


def _fields_at(root: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The names a section knows, following the annotations down from the root."""
    model: Any = root
    for step in path:
        if isinstance(step, int):
            continue
        if isinstance(model, type) and issubclass(model, BaseModel) and step in model.model_fields:
            model = _inner_model(model.model_fields[step].annotation)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [field.alias or name for name, field in model.model_fields.items() if name != "base"]
    return []


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_inner_model(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def collisions(config: Config) -> list[str]:
    """Everything that is wrong between two keys, with both key paths."""
    return [
        *_labels(config),
        *_models(config),
        *(line for i, table in enumerate(config.tables) for line in _table(f"tables[{i}]", table)),
        *_nodes(config),
        *_links(config),
        *_withheld_elsewhere(config),
    ]


def _labels(config: Config) -> Iterator[str]:
    seen: dict[str, str] = {}
    entries = [(f"tables[{i}].label", table.label) for i, table in enumerate(config.tables)]
    entries += [(f"nodes[{i}].label", node.label) for i, node in enumerate(config.nodes)]
    for path, label in entries:
        if label in seen:
            yield f"{path}: {label} is the label of {seen[label]} already; one label belongs to one entry"
        elif label == "ByovMigration":
            yield f"{path}: ByovMigration is the label of our own marker records; choose another"
        seen.setdefault(label, path)


def _models(config: Config) -> Iterator[str]:
    for i, table in enumerate(config.tables):
        for j, embedding in enumerate(table.embeddings):
            if embedding.model is not None and embedding.model not in config.models:
                hint = (
                    _nearest(embedding.model, list(config.models)) if config.models else "; there is no [models.NAME]"
                )
                yield f"tables[{i}].embeddings[{j}].model: no [models.{embedding.model}]{hint}"


def _table(path: str, table: TableConfig) -> Iterator[str]:
    names = {f"{path}.columns[{i}]": table.outgoing_name(column) for i, column in enumerate(table.columns)}
    seen: dict[str, str] = {}
    for where, name in names.items():
        if name in seen:
            yield f"{where}: becomes the property {name}, and so does {seen[name]}; rename one"
        seen.setdefault(name, where)
        if _is_reserved(name):
            yield f"{where}: {name or 'an empty name'} is reserved; give it another name in {path}.rename"
    yield from _unknown_columns(path, table)
    yield from _embedding_properties(path, table, seen)


def _unknown_columns(path: str, table: TableConfig) -> Iterator[str]:
    for setting, columns in (("rename", table.rename), ("types", table.types)):
        for column in columns:
            if column not in table.columns:
                yield f"{path}.{setting}.{column}: is not in {path}.columns"
    if table.hash_key_values:
        for column in table.key or ():
            if column in table.columns:
                yield f"{path}.columns: {column} is a key column, which {path}.hash_key_values keeps at home"


def _embedding_properties(path: str, table: TableConfig, sent: Mapping[str, str]) -> Iterator[str]:
    taken = dict(sent)
    for i, embedding in enumerate(table.embeddings):
        where = f"{path}.embeddings[{i}]"
        for name in (embedding.property_name, *((embedding.spare_property,) if embedding.spare else ())):
            if name in taken:
                yield (
                    f"{where}.property: {name} is also sent as {taken[name]}; the property that carries a vector"
                    f" holds no column: rename the column or the property"
                )
            if _is_reserved(name):
                yield f"{where}.property: {name or 'an empty name'} is reserved"
            taken.setdefault(name, f"{where}.property")


def _nodes(config: Config) -> Iterator[str]:
    for i, node in enumerate(config.nodes):
        if _is_reserved(node.property_name):
            yield f"nodes[{i}].property: {node.property_name or 'an empty name'} is reserved; choose another"


def _links(config: Config) -> Iterator[str]:
    labels = [entry.label for entry in config.entries]
    seen: dict[tuple[str, str], str] = {}
    for i, link in enumerate(config.links):
        for side, text in (("source", link.source), ("target", link.target)):
            label = text.partition(".")[0] if text is not None else None
            if label is not None and label not in labels:
                hint = _nearest(label, labels)
                yield f"links[{i}].{side}: no [[tables]] or [[nodes]] entry has the label {label}{hint}"
        for name in link.properties:
            if _is_reserved(name):
                yield f"links[{i}].properties: {name or 'an empty name'} is reserved"
        place = (link.type, (link.source or "").partition(".")[0] or _table_of(link.foreign_key or ""))
        if place in seen:
            yield f"links[{i}].type: {link.type} leads from {place[1]} already ({seen[place]}); give it another type"
        seen.setdefault(place, f"links[{i}]")


def _table_of(constraint: str) -> str:
    return constraint.rpartition(".")[0]


def _is_reserved(name: str) -> bool:
    return name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES)


def _withheld_elsewhere(config: Config) -> Iterator[str]:
    """A column that is embedded and withheld in one entry must not be sent by another entry of the same table."""
    withheld: dict[tuple[str, str], str] = {}
    for i, table in enumerate(config.tables):
        for j, embedding in enumerate(table.embeddings):
            if embedding.text is None or embedding.send_text:
                continue
            for column in set(embedding.text.columns) - set(table.columns):
                withheld[_qualified(table.name), column] = f"tables[{i}].embeddings[{j}].text"
    for path, table_name, column in _sent(config):
        if found := withheld.get((_qualified(table_name), column)):
            yield f"{path}: {table_name}.{column} is withheld by {found} and would be sent here"


def _qualified(table: str) -> str:
    """`job` and `public.job` are one table."""
    return table if "." in table else f"public.{table}"


def _sent(config: Config) -> Iterator[tuple[str, str, str]]:
    """Every column that leaves as it is: key path, table, column."""
    by_label = {table.label: table for table in config.tables}
    for i, link in enumerate(config.links):
        for side, text in (("source", link.source), ("target", link.target)):
            label, _, column = (text or "").partition(".")
            if column and label in by_label:
                yield f"links[{i}].{side}", by_label[label].name, column
        for column in link.properties:
            yield f"links[{i}].properties", link.through or "", column
    for i, node in enumerate(config.nodes):
        yield f"nodes[{i}].column", node.table, node.column
    for i, table in enumerate(config.tables):
        for j, column in enumerate(table.columns):
            yield f"tables[{i}].columns[{j}]", table.name, column
        for j, embedding in enumerate(table.embeddings):
            for column in embedding.text.columns if embedding.text and embedding.send_text else ():
                yield f"tables[{i}].embeddings[{j}].text", table.name, column
