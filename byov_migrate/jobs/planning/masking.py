"""One example record as it would leave, with its values made unreadable and their types visible."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from byov_migrate.records import Outgoing, Scalar

SHOWN_CHARACTERS = 40
SHOWN_ELEMENTS = 3
_SEPARATORS = frozenset(" .,:;/@()[]{}+-_")


@dataclass(frozen=True, slots=True)
class Masked:
    """A value's type, and its shape: `*` for a letter, `#` for a digit."""

    type: str
    shape: str


def mask(properties: Mapping[str, Outgoing]) -> dict[str, Masked]:
    """Each property's value, masked. No letter and no digit of a value is left."""
    return {name: _masked(value) for name, value in properties.items()}


def _masked(value: Outgoing) -> Masked:
    if not isinstance(value, list):
        return Masked(_type(value), _scalar(value))
    types = sorted({_type(element) for element in value})
    shapes = [_scalar(element) for element in value[:SHOWN_ELEMENTS]]
    more = [f"and {len(value) - SHOWN_ELEMENTS} more"] if len(value) > SHOWN_ELEMENTS else []
    return Masked(f"list of {', '.join(types) or 'nothing'}", ", ".join([*shapes, *more]))


def _type(value: Scalar) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def _scalar(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true or false"
    return _text(value) if isinstance(value, str) else _text(f"{value}")


def _text(text: str) -> str:
    has_words = any(map(str.isalnum, text))
    shape = "".join(_character(character, has_words=has_words) for character in text[:SHOWN_CHARACTERS])
    return shape + ("..." if len(text) > SHOWN_CHARACTERS else "")


def _character(character: str, *, has_words: bool) -> str:
    """Separators stay, so that a date looks like one; but not where a value is nothing else."""
    if character in _SEPARATORS and has_words:
        return character
    return "#" if character.isdigit() else "*"
