"""The canonical key: what `byovKey` holds. Never a sort order; only PostgreSQL compares keys."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Final

from byov_migrate.records import KeyText
from byov_migrate.source.shape import TypeName

INTEGERS: Final = frozenset({"int2", "int4", "int8", "oid"})
TEXTS: Final = frozenset({"text", "varchar", "bpchar", "name"})
KEY_TYPES: Final = INTEGERS | TEXTS | {"numeric", "uuid", "bool", "bytea", "timestamptz", "timestamp", "date"}

_SHAPES: Final = {
    "numeric": re.compile(r"-?\d+(\.\d+)?|NaN|-?Infinity"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "bool": re.compile(r"true|false"),
    "bytea": re.compile(r"([0-9a-f]{2})*"),
    "date": re.compile(r"~(\d{4,}-\d\d-\d\d( BC)?|-?infinity)"),
    "timestamp": re.compile(r"~(\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}( BC)?|-?infinity)"),
    "timestamptz": re.compile(r"~(\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z( BC)?|-?infinity)"),
}
_INTEGER = re.compile(r"0|-?[1-9]\d{0,18}")
_INTEGER_LIMITS: Final = {
    "int2": (-(2**15), 2**15 - 1),
    "int4": (-(2**31), 2**31 - 1),
    "int8": (-(2**63), 2**63 - 1),
    "oid": (0, 2**32 - 1),
}
_MOMENT = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?(?:\+00)?( BC)?")


def is_key_type(base: TypeName) -> bool:
    """Whether a column of this type can be part of a key."""
    return base.kind == "e" or (base.schema == "pg_catalog" and base.name in KEY_TYPES)


def canonical_key(types: Sequence[TypeName], key: KeyText) -> str:
    """`byovKey` of a key in PostgreSQL's text, before `hash_key_values`."""
    if len(types) == 1:
        return _canonical(types[0], key[0])
    parts = [_canonical(base, text) for base, text in zip(types, key, strict=True)]
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def parse_key(types: Sequence[TypeName], canonical: str) -> KeyText | None:
    """The way back, to a text that PostgreSQL reads as an equal key; None when it is no key of these types."""
    parts = [canonical] if len(types) == 1 else _json_list(canonical)
    if parts is None or len(parts) != len(types):
        return None
    texts = [_parse(base, part) for base, part in zip(types, parts, strict=True)]
    return None if None in texts else tuple(text for text in texts if text is not None)


def _json_list(canonical: str) -> list[str] | None:
    try:
        parts = json.loads(canonical)
    except ValueError:
        return None
    return parts if isinstance(parts, list) and all(isinstance(part, str) for part in parts) else None


def _canonical(base: TypeName, text: str) -> str:
    if base.kind == "e" or base.name in TEXTS:
        return f"~{text}" if _looks_otherwise(text) else text
    return _WRITERS.get(base.name, _same)(text)


def _looks_otherwise(text: str) -> bool:
    """Whether something on the wire might read it as a number, a date or a list (JavaScript trims U+FEFF too)."""
    return text == "" or text[0] in "0123456789+-~[\ufeff" or text[0].isspace()


def _same(text: str) -> str:
    return text


def _numeric(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _hex(text: str) -> str:
    return text.removeprefix("\\x")


def _day(text: str) -> str:
    return f"~{text}"


def _moment(text: str, zone: str = "") -> str:
    found = _MOMENT.fullmatch(text)
    if found is None:  # infinity
        return f"~{text}"
    day, clock, fraction, era = found.groups()
    return f"~{day}T{clock}.{(fraction or ''):0<6}{zone}{era or ''}"


def _instant(text: str) -> str:
    return _moment(text, "Z")


_WRITERS: Final[dict[str, Callable[[str], str]]] = {
    "numeric": _numeric,
    "bytea": _hex,
    "date": _day,
    "timestamp": _moment,
    "timestamptz": _instant,
}


def _parse(base: TypeName, part: str) -> str | None:
    if base.kind == "e" or base.name in TEXTS:
        return None if "\0" in part else part.removeprefix("~")
    if base.name in INTEGERS:
        return part if _fits(base.name, part) else None
    if not _SHAPES[base.name].fullmatch(part):
        return None
    return f"\\x{part}" if base.name == "bytea" else part.removeprefix("~")


def _fits(type_name: str, part: str) -> bool:
    lowest, highest = _INTEGER_LIMITS[type_name]
    return bool(_INTEGER.fullmatch(part)) and lowest <= int(part) <= highest
