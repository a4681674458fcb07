"""HTML that cannot be broken out of: text is escaped unless it was made here."""

from __future__ import annotations

import datetime as dt
import html
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content: TypeAlias = "str | Markup | Iterable[Content]"
_EMPTY = frozenset({"meta", "link", "br"})


def element(tag: str, *content: Content, **attributes: str | None) -> Markup:
    """An element. In names of attributes `_` stands for `-`, and is dropped at the end; None leaves one out."""
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_visible(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _EMPTY:
        return Markup(f"<{tag}{given}>")
    return Markup(f"<{tag}{given}>{joined(*content)}</{tag}>")


def joined(*content: Content) -> Markup:
    """Pieces one after the other."""
    return Markup("".join(_rendered(item) for item in content))


def _rendered(content: Content) -> str:
    if isinstance(content, Markup):
        return content
    return html.escape(_visible(content)) if isinstance(content, str) else joined(*content)


def _visible(text: str) -> str:
    """Names may hold characters that are invisible or turn the direction of what follows; they are spelled out."""
    return "".join(
        f"\\u{ord(letter):04x}" if unicodedata.category(letter) in {"Cc", "Cf", "Cs"} else letter for letter in text
    )


def figure(value: float, *, path: str | None = None, shown: str | None = None) -> Markup:
    """A number as people read it, with its exact value; path: where it stands in the JSON of the result."""
    text = shown if shown is not None else f"{value:,}"
    return element("data", text, value=str(value), data_path=path)


def moment(seconds: float) -> Markup:
    """A moment, given in seconds since 1970, in UTC."""
    at = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return element("time", at.strftime("%Y-%m-%d %H:%M:%S UTC"), datetime=at.isoformat(timespec="seconds"))


def described(pairs: Iterable[tuple[str, Content]]) -> Markup:
    """A list of names and what is said of each."""
    return element("dl", [element("div", element("dt", name), element("dd", what)) for name, what in pairs])


def table(
    caption: Content, head: Iterable[str | Markup], rows: Iterable[Iterable[Content]], *, stacked: bool = False
) -> Markup:
    """A table whose first column names its rows. stacked: on a narrow screen its cells stand below one another."""
    names = list(head)
    columns = element("tr", [element("th", name, scope="col") for name in names])
    body = [_row(list(row), names) for row in rows]
    parts = (element("caption", caption), element("thead", columns), element("tbody", body))
    whole = element("table", *parts, class_="stacked" if stacked else None)
    return element("div", whole, class_="wide", tabindex="0", role="group")


def _row(cells: list[Content], names: list[str | Markup]) -> Markup:
    data = [
        element("td", cell, data_label=None if isinstance(name, Markup) else name)
        for cell, name in zip(cells[1:], names[1:], strict=True)
    ]
    return element("tr", element("th", cells[0], scope="row"), data)
