"""Canaries in withheld texts, secrets that cannot be mistaken for anything else, and the hunt for both.

What a test wrote, printed and sent is searched after each acceptance test; `conftest.py` says what it is made of.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import string
import subprocess
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from psycopg import sql

CANARY = "zqwithheldcanaryqz"
API_KEY = "zq-canary-key/with+marks=7%Q"
PASSWORD = "zq-canary password/with+marks=7%Q"
TEXT, KEY, WORD = "withheld text", "the API key", "the database password"
HASH_KEY = "the hash key"
HIDING_PLACES = {"dsn": WORD, "key": KEY}
"""The files that the configuration names as its secrets' places: each must hold its own."""

_GZIP = b"\x1f\x8b\x08"
_UNPACKED_BYTES = 2**26
_AUTHORIZATION = re.compile(rb"(?i)^authorization: bearer [^\r\n]*", re.MULTILINE)
_HEX_KEY = re.compile(rb"[0-9a-fA-F]{64}")
_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")

_PLANT = sql.SQL(
    "update {table} set {column} = %(word)s || ' ' || {column} || ' ' || %(word)s"
    " where {column} ~ '[^[:space:]]' and position(%(word)s in {column}) = 0"
)
_TEXT_COLUMNS = """
select attname from pg_attribute a join pg_class c on c.oid = attrelid and relkind in ('r', 'p')
where attrelid = to_regclass(%s) and atttypid = 'text'::regtype and attnum > 0 and not attisdropped
  and not exists (select from pg_index where indrelid = attrelid and indisprimary and attnum = any(indkey))
"""


def plant(dsn: str, configuration: Mapping[str, Any]) -> None:
    """Put a canary before and behind each text that this configuration withholds; planted ones are left alone.

    configuration: as parsed from TOML. Tables that are not there yet are passed over, keys are never touched.
    """
    withheld = {str(table.get("name")): _withheld(table, configuration) for table in configuration.get("tables", ())}
    if not any(withheld.values()):
        return
    with psycopg.connect(dsn) as connection:
        for table, columns in withheld.items():
            texts = {name for (name,) in connection.execute(_TEXT_COLUMNS, (table,))}
            for column in sorted(columns & texts):
                names = {"table": sql.Identifier(*table.split(".")), "column": sql.Identifier(column)}
                connection.execute(_PLANT.format(**names), {"word": CANARY})


def _withheld(table: Mapping[str, Any], configuration: Mapping[str, Any]) -> set[str]:
    """Columns that are embedded and leave in no other way."""
    embeddings = table.get("embeddings", ())
    read = {name for item in embeddings if not item.get("send_text") for name in _named(item.get("text", ""))}
    sent = {name for item in embeddings if item.get("send_text") for name in _named(item.get("text", ""))}
    nodes = {node.get("column") for node in configuration.get("nodes", ()) if node.get("table") == table.get("name")}
    return read - sent - nodes - set(table.get("columns", ())) - set(table.get("key", ()))


def _named(template: str) -> list[str]:
    return re.findall(r"\{([^{}\n]+)\}", template)


def encodings(word: bytes) -> tuple[set[bytes], set[bytes]]:
    """A word as it could travel: the forms to look for in lower case, and those whose case counts.

    Lower case: raw, in URLs, in JSON, in hexadecimal. As it is: base64 at each of the three alignments.
    """
    plain = {word, word.hex().encode()}
    with contextlib.suppress(UnicodeDecodeError):
        text = word.decode()
        inside_json = json.dumps(text)[1:-1]
        written = (quote(text), quote(text, safe=""), quote_plus(text), inside_json, inside_json.replace("/", r"\/"))
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in text)
        plain |= {form.encode() for form in (*written, escaped)}
    coded = {_base64_of(word, shift) for shift in range(3)}
    return {form.lower() for form in plain}, coded | {form.translate(_URL_ALPHABET) for form in coded}


def _base64_of(word: bytes, shift: int) -> bytes:
    """The characters that do not depend on the neighbours when `shift` bytes stand before the word."""
    coded = base64.b64encode(b"\0" * shift + word)
    return coded[-(-shift * 8 // 6) : (shift + len(word)) * 8 // 6]


def found_in(content: bytes, words: Iterable[str | bytes]) -> list[str | bytes]:
    """The words that occur in some content, in whatever encoding, case or compression."""
    views = [(view, view.lower()) for view in _unpacked(content)]
    return [word for word in words if any(_occurs(word, *view) for view in views)]


def _occurs(word: str | bytes, content: bytes, lowered: bytes) -> bool:
    plain, coded = encodings(word.encode() if isinstance(word, str) else word)
    return any(form in lowered for form in plain) or any(form in content for form in coded)


def _unpacked(content: bytes) -> Iterator[bytes]:
    """The content, and whatever in it is compressed with gzip, cut off or not."""
    yield content
    start = content.find(_GZIP)
    while start >= 0:
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj(31).decompress(content[start:], _UNPACKED_BYTES)
        start = content.find(_GZIP, start + 1)


@dataclass(frozen=True)
class Heard:
    """What one process said."""

    arguments: Sequence[str]
    out: bytes
    err: bytes


@dataclass
class Hunt:
    """Everything one test left: `folder` with its files, what its processes said, what went to the target.

    wanted: what must not be found, by what it is.
    """

    folder: Path
    wanted: Mapping[str, str]
    heard: list[Heard] = field(default_factory=list)

    def listen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep what every process says to whoever reads it to its end."""
        communicate = subprocess.Popen.communicate

        def overheard(process: subprocess.Popen[Any], *arguments: Any, **options: Any) -> tuple[Any, Any]:
            out, err = communicate(process, *arguments, **options)
            command = process.args if isinstance(process.args, list | tuple) else [process.args]
            self.heard.append(Heard([str(part) for part in command], _as_bytes(out), _as_bytes(err)))
            return out, err

        monkeypatch.setattr(subprocess.Popen, "communicate", overheard)

    def leaks(self, sent: Iterable[bytes]) -> list[str]:
        """What was found where; never the thing itself."""
        # The header is what the key is for.
        bare = [("what was sent", _AUTHORIZATION.sub(b"", part)) for part in sent]
        found = [leak for place, content in bare for leak in self._found(place, content, self.wanted)]
        found += [leak for heard in self.heard for leak in self._said(heard)]
        found += [leak for path in _files(self.folder) for leak in self._written(path)]
        return found + self._hash_keys_among(b"\n".join([content for _, content in bare] + self._everything_said()))

    def _said(self, heard: Heard) -> Iterator[str]:
        command = " ".join(heard.arguments[1:3])
        # A search shows local text beside its hits: that is what it is asked for.
        shown = {TEXT} if "search" in heard.arguments else set()
        yield from self._found(f"stdout of {command}", heard.out, _without(self.wanted, shown))
        yield from self._found(f"stderr of {command}", heard.err, self.wanted)

    def _written(self, path: Path) -> Iterator[str]:
        content = path.read_bytes()
        place = str(path.relative_to(self.folder))
        yield from self._found(place, content, _without(self.wanted, {HIDING_PLACES.get(path.name, "")}))
        if not self._may_hold_hash_key(path):
            forms = [form for key in path.parent.glob("*.hash-key") for form in _forms_of(key)]
            yield from [f"{HASH_KEY} in {place}"] * bool(found_in(content, forms))

    def _may_hold_hash_key(self, path: Path) -> bool:
        """Its own file, one that a kill left of its making, and a backup, which is state and key in one."""
        told = {argument for heard in self.heard if "backup" in heard.arguments for argument in heard.arguments}
        return ".hash-key" in path.name or str(path) in told

    def _hash_keys_among(self, content: bytes) -> list[str]:
        """Hash keys as the file has them; a test may have hundreds, so one pass looks for all."""
        keys = {path.read_bytes().strip().lower() for path in self.folder.rglob("*.hash-key")}
        spoken = {found.lower() for found in _HEX_KEY.findall(content)}
        return [f"{HASH_KEY} in what was sent or said"] * len(keys & spoken)

    def _everything_said(self) -> list[bytes]:
        return [part for heard in self.heard for part in (heard.out, heard.err)]

    @staticmethod
    def _found(place: str, content: bytes, wanted: Mapping[str, str]) -> list[str]:
        found = set(found_in(content, wanted.values()))
        return [f"{what} in {place}" for what, word in wanted.items() if word in found]


def _without(wanted: Mapping[str, str], exempt: set[str]) -> dict[str, str]:
    return {what: word for what, word in wanted.items() if what not in exempt}


def _files(folder: Path) -> list[Path]:
    """Files, but no links: a killed run leaves links to the model's own files."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _forms_of(key: Path) -> list[bytes]:
    """A hash key as its file has it and as the bytes that it means."""
    written = key.read_bytes().strip()
    is_hex = bool(written) and set(written.decode("ascii", "replace")) <= set(string.hexdigits)
    return [written, *([bytes.fromhex(written.decode())] if is_hex else [])] if written else []


def _as_bytes(said: str | bytes | None) -> bytes:
    return said.encode() if isinstance(said, str) else said or b""
