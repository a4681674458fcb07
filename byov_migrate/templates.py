"""What the model sees of a row: `{title}`, a line break, `{description}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}\n]+)\}|[{}]")


class TemplateError(ValueError):
    """The template has a brace that opens or closes nothing."""


@dataclass(frozen=True, slots=True)
class _Line:
    parts: tuple[str, ...]  # literal text and column names, in turn
    columns: tuple[str, ...]

    def render(self, values: Mapping[str, str | None]) -> str:
        pieces = [self.parts[0]]
        for column, literal in zip(self.columns, self.parts[1:], strict=True):
            pieces += [values[column] or "", literal]
        return "".join(pieces)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. `columns` are the column names it uses, in order of first use."""

    source: str
    lines: tuple[_Line, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns it reads, each once."""
        return tuple(dict.fromkeys(column for line in self.lines for column in line.columns))

    def render(self, values: Mapping[str, str | None]) -> str | None:
        """The text, or None when every column is NULL or blank.

        A NULL column renders as nothing; a line that became empty that way is dropped.
        """
        if not any((values[column] or "").strip() for column in self.columns):
            return None
        rendered = ((line, line.render(values)) for line in self.lines)
        return "\n".join(text for line, text in rendered if text.strip() or not line.columns)


def parse_template(source: str) -> Template:
    """Raise TemplateError when a brace opens or closes nothing, or when no column is named."""
    template = Template(source, tuple(_parse_line(line) for line in source.split("\n")))
    if not template.columns:
        raise TemplateError("names no column; write the column in braces, as in {description}")
    return template


def _parse_line(line: str) -> _Line:
    parts, columns, end = [""], [], 0
    for token in _TOKEN.finditer(line):
        parts[-1] += line[end : token.start()]
        end = token.end()
        if token.group(1) is not None:
            columns.append(token.group(1))
            parts.append("")
        elif len(token.group()) == 2:
            parts[-1] += token.group()[0]
        else:
            raise TemplateError(f"has a lone {token.group()!r}; a brace that is meant as a brace is written twice")
    parts[-1] += line[end:]
    return _Line(tuple(parts), tuple(columns))
