"""docs/commands.md and every command line that is shown: they are what the program takes, all of it and no more."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from byov_migrate import errors
from byov_migrate.cli import app
from scripts.config_schema import section_of
from tests.documents import FENCE, NAMES, prose, read

SHARED = {"-c", "--config", "--json", "-v", "--verbose", "-q", "--quiet", "--log-format"}
SIGNALS = {129, 130, 143}


def root_command() -> Any:
    """The command line, as the parser sees it."""
    return typer.main.get_command(app)


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by the words that call it."""
    group = group or root_command()
    for name, command in group.commands.items():
        here = (*path, name)
        if not hasattr(command, "commands") or command.invoke_without_command:
            yield " ".join(here), command
        if hasattr(command, "commands"):
            yield from commands(command, here)


COMMANDS = dict(commands())


def options_of(command: Any) -> set[str]:
    """All spellings of all options."""
    return {word for parameter in command.params if parameter.param_type_name == "option" for word in parameter.opts}


def documented_commands() -> dict[str, str]:
    """Command -> the rest of its section."""
    found = re.findall(
        r"(?ms)^## `byov-migrate ([a-z ]+?)((?: \[?[A-Z]+\]?)*)`$(.*?)(?=^## |\Z)", read("docs/commands.md")
    )
    return {name: arguments + section for name, arguments, section in found}


def test_every_command_has_a_section_and_no_other() -> None:
    """A command that nobody can read about, or one that is promised and missing."""
    assert set(documented_commands()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_section_lists_its_options_and_no_other(name: str) -> None:
    """An option added, renamed or removed; options that most commands share are listed once."""
    options = options_of(COMMANDS[name])
    own = options - SHARED if options >= SHARED else options
    rows = re.findall(r"(?m)^\| (`-[^|]*) \|", documented_commands()[name])
    assert {word for row in rows for word in re.findall(r"`(-[^`]+)`", row)} == own


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_heading_names_its_arguments(name: str) -> None:
    """An argument in brackets may be left out."""
    arguments = [parameter for parameter in COMMANDS[name].params if parameter.param_type_name == "argument"]
    words = [(one.metavar or one.name.upper(), one.required) for one in arguments]
    spelled = [word if is_required else f"[{word}]" for word, is_required in words]
    assert documented_commands()[name].partition("\n")[0].split() == spelled


def test_shared_options_are_listed_once() -> None:
    """The options behind "most commands" are those of every command but a few."""
    rows = re.findall(r"(?m)^\| (`-[^|]*) \|", section_of(read("docs/commands.md"), "Options of most commands"))
    assert {word for row in rows for word in re.findall(r"`(-[^`]+)`", row)} == SHARED
    without = {name for name, command in COMMANDS.items() if not options_of(command) >= SHARED}
    assert without == {name for name in COMMANDS if name.startswith("demo")} | {"init", "model convert", "sandbox"}


def exit_codes(kind: type[errors.MigrationError] = errors.MigrationError) -> set[int]:
    """The codes of an error class and all below it."""
    return {kind.exit_code}.union(*(exit_codes(below) for below in kind.__subclasses__()))


def test_every_exit_code_is_in_the_table_and_no_other() -> None:
    """On-call reads this table at night."""
    rows = re.findall(r"(?m)^\| `(\d+)` \|", section_of(read("docs/commands.md"), "Exit codes"))
    assert {int(code) for code in rows} == exit_codes() | {0} | SIGNALS


def command_lines(text: str) -> Iterator[list[str]]:
    """Words of each command of ours, or of make, in blocks of code: without prompt, comment and redirection."""
    for kind, block in FENCE.findall(text):
        for line in block.splitlines() if kind != "toml" else ():
            if re.search(r"(?:^|[\s/(])(?:byov-migrate|make) \S", line):
                yield from ours(line)


def ours(line: str) -> Iterator[list[str]]:
    """Each command of ours in a line of the shell; a line that a run has printed is none."""
    words = shlex.shlex(re.sub(r"\b\d(?=>)", "", line), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    for is_operator, group in itertools.groupby(words, lambda word: set(word) <= set("();<>|&")):
        segment = list(group)
        starts = [number for number, word in enumerate(segment) if Path(word).name in ("byov-migrate", "make")]
        if not is_operator and starts and not segment[starts[0] + 1].endswith(":"):
            yield [Path(segment[starts[0]]).name, *segment[starts[0] + 1 :]]


def mentions(text: str) -> Iterator[list[str]]:
    """As above for `code` in a sentence, where arguments may be left out."""
    for found in re.findall(r"`((?:byov-migrate|make) [^`]+)`", prose(text)):
        yield found.split()


def parse(words: list[str]) -> None:
    """Parse a command line as the program would, without running it. Raise its usage error."""
    command, rest = find(words)
    command.make_context("byov-migrate", rest)


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the words behind them."""
    command, rest = root_command(), list(words)
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if hasattr(command, "commands") and not command.invoke_without_command:
        raise LookupError(f"no such command: {' '.join(words)}")
    return command, rest


def require_target(words: list[str]) -> None:
    """Raise LookupError when the Makefile has no such target."""
    targets = re.findall(r"(?m)^([a-z-]+):", read("Makefile"))
    if words[0] not in targets:
        raise LookupError(f"no such target: {words[0]}")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_line_is_one(name: str) -> None:
    """A command in a block of code can be copied: names, options and values are accepted."""
    for program, *words in command_lines(read(name)):
        (require_target if program == "make" else parse)(words)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_is_mentioned_exists(name: str) -> None:
    """In a sentence: the command and the options that stand behind it."""
    for program, *words in mentions(read(name)):
        if program == "make":
            require_target(words)
            continue
        command, rest = find(words)
        assert {word for word in rest if word.startswith("-")} <= options_of(command), words


@pytest.mark.parametrize(
    "line", ["byov-migrate love", "cd x && byov-migrate plan --fast >y", "make love # twice", "said=$(make love 2>&1)"]
)
def test_a_command_line_that_is_none_is_found(line: str) -> None:
    """The check sees a command, an option and a target that do not exist."""
    [[program, *words]] = command_lines(f"```console\n{line}\n```\n")
    with pytest.raises(Exception, match=r"(?i)no such"):
        (require_target if program == "make" else parse)(words)
