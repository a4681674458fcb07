"""Names for RushDB out of PostgreSQL's: labels, properties, relationship types. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from byov_migrate.config_checks import RESERVED_NAMES, RESERVED_PREFIXES

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_SAME_IN_PLURAL = frozenset({"series", "species", "news", "status", "address", "bus", "data", "media"})
_TAKEN_LABELS = frozenset({"ByovMigration"})


def words(name: str) -> list[str]:
    """The words of a name in lower case: `salaryMin`, `salary_min` and `Salary Min` are two each."""
    return [word.lower() for word in _WORD.findall(name)]


def singular(word: str) -> str:
    """An English guess; a word that it does not know stays as it is."""
    if word in _SAME_IN_PLURAL or re.search(r"(ss|us|is)$", word):
        return word
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if re.search(r"(sse|che|she|xe)s$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _letters(text: str) -> str:
    """Only what a label may hold: accents go, other scripts too."""
    plain = unicodedata.normalize("NFKD", text)
    return re.sub(r"[^A-Za-z0-9 _]", "", plain)


def label_of(schema: str, table: str, taken: Collection[str]) -> str:
    """The singular in CamelCase, an identifier that is not taken; the schema goes in front when it has to."""
    parts = words(_letters(table)) or ["table"]
    label = _camel([*parts[:-1], singular(parts[-1])])
    label = label if label[0].isalpha() else f"Table{label}"
    fitting = [label, _camel([*words(_letters(schema)), *parts[:-1], singular(parts[-1])])]
    choices = [*fitting, *(f"{label}{number}" for number in range(2, len(taken) + 4))]
    refused = {*taken, *_TAKEN_LABELS}
    return next(choice for choice in choices if choice not in refused and choice[0].isalpha())


def _camel(parts: Collection[str]) -> str:
    return "".join(part[:1].upper() + part[1:] for part in parts)


def is_safe_property(name: str) -> bool:
    """Whether a column can keep its name: queries can write it without quotes, and RushDB does not use it itself."""
    return name.isidentifier() and not _is_reserved(name)


def _is_reserved(name: str) -> bool:
    return name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES)


def property_of(column: str, label: str, taken: Collection[str]) -> str:
    """The column's own name where that is safe and free, else one in camelCase."""
    if is_safe_property(column) and column not in taken:
        return column
    first, *rest = words(column) or ["column"]
    camel = first + _camel(rest)
    if not is_safe_property(camel):
        camel = label[:1].lower() + label[1:] + _camel(words(column) or ["column"])
    return unused(camel, taken)


def unused(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it when it is taken."""
    choices = (name, *(f"{name}{number}" for number in range(2, len(taken) + 3)))
    return next(choice for choice in choices if choice not in taken)


def type_of(column: str) -> str:
    """A relationship type out of a foreign key's column: `original_language_id` is ORIGINAL_LANGUAGE."""
    parts = words(_letters(column)) or ["has"]
    kept = parts[:-1] if len(parts) > 1 and parts[-1] in ("id", "code", "key", "no", "nr") else parts
    found = "_".join(kept).upper()
    return found if found[0].isalpha() else f"TO_{found}"
