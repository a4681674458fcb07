"""A search as an application would send it: to be pasted and run. The API key is a variable's name, never its value.

Every text inside is data: it is quoted as the language quotes, so that no filter's value can become code.
"""

from __future__ import annotations

import json
import pprint
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from byov_migrate.config import TargetConfig
from byov_migrate.target.drawing import Drawn

Language: TypeAlias = Literal["curl", "python", "javascript"]
LANGUAGES: Final[tuple[str, ...]] = get_args(Language)
DEFAULT_KEY_NAME = "RUSHDB_API_KEY"
_WIDTH = 110
_MAY_BE_FEWER = (
    "The index may give fewer hits than asked for, and its scores are approximate.",
    'With any where, such as {"byovKey": {"$exists": true}}, every record is compared.',
)


@dataclass(frozen=True, slots=True)
class ApplicationCall:
    """Code in one language that sends one search and prints score and key of each hit; curl prints the answer."""

    language: Language
    code: str


def application_call(language: Language, target: TargetConfig, drawn: Drawn) -> ApplicationCall:
    """The call that `drawn` would be. The key is the environment variable that the configuration names, if it does."""
    write: Mapping[Language, Callable[[TargetConfig, Drawn], list[str]]]
    write = {"curl": _curl, "python": _python, "javascript": _javascript}
    sign = "//" if language == "javascript" else "#"
    comments = [] if "where" in drawn.body else [f"{sign} {line}" for line in _MAY_BE_FEWER]
    return ApplicationCall(language, "\n".join([*comments, *write[language](target, drawn)]) + "\n")


def _key_name(target: TargetConfig) -> str:
    return target.api_key.env or DEFAULT_KEY_NAME


def _curl(target: TargetConfig, drawn: Drawn) -> list[str]:
    options = ["--insecure"] if target.tls == "insecure" and target.url.startswith("https:") else []
    options += [f"--cacert {shlex.quote(str(target.ca_file))}"] if target.ca_file else []
    options += [f"--proxy {shlex.quote(target.proxy)}"] if target.proxy else []
    parts = [
        " ".join(["curl --silent --show-error", *options, shlex.quote(target.base_url + drawn.path)]),
        f'--header "Authorization: Bearer ${{{_key_name(target)}}}"',
        "--header 'Content-Type: application/json'",
        f"--data-raw {shlex.quote(_json(drawn.body))}",
    ]
    return [" \\\n  ".join(parts)]


def _python(target: TargetConfig, drawn: Drawn) -> list[str]:
    """With the official SDK, whose connection takes its certificates and proxy from the environment."""
    settings = f"os.environ[{_key_name(target)!r}], url={target.base_url + '/api/v1'!r}"
    return [
        *_surroundings(target, "#", "SSL_CERT_FILE"),
        "import os",
        "",
        "from rushdb import RushDB",
        "",
        f"db = RushDB({settings})",
        f"query = {pprint.pformat(drawn.body, width=_WIDTH, compact=True, sort_dicts=False)}",
        "for record in db.records.vector_search(query):",
        '    print(record.score, record["byovKey"])',
    ]


def _javascript(target: TargetConfig, drawn: Drawn) -> list[str]:
    """With `fetch`, as a module: what the SDK sends, in whatever version of it."""
    key = f"Bearer ${{process.env[{_json(_key_name(target))}]}}"
    return [
        *_surroundings(target, "//", "NODE_EXTRA_CA_CERTS"),
        f"const query = {_json(drawn.body)};",
        f"const response = await fetch({_json(target.base_url + drawn.path)}, {{",
        f"  method: {_json(drawn.method)},",
        f'  headers: {{ "Authorization": `{key}`, "Content-Type": "application/json" }},',
        "  body: JSON.stringify(query),",
        "});",
        "if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);",
        "for (const record of (await response.json()).data) console.log(record.__score, record.byovKey);",
    ]


def _surroundings(target: TargetConfig, sign: str, certificates: str) -> list[str]:
    found = [f"{sign} Certificates: set {certificates} to {str(target.ca_file)!r}"] if target.ca_file else []
    return found + ([f"{sign} By way of the proxy {target.proxy!r}"] if target.proxy else [])


def _json(content: object) -> str:
    """JSON is JavaScript; the two line separators were not always."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
