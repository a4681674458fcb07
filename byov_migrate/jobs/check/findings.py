"""What a check finds: each thing that was looked at, whether it will do, and what to do where it will not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from byov_migrate.errors import ConfigurationError, MigrationError

Verdict: TypeAlias = Literal["ok", "warn", "fail"]

_BY_WEIGHT: Final = (75, 4, 2, 69, 77, 1)
"""Exit codes, the worst last: what passes by itself, a decision, a setting, somebody else's work, a bug."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    name: stable, for programs; about: source, target, table, label, model ...; place: the key path of the
    configuration that it is about; code: the exit code of a failure, else 0.
    """

    name: str
    about: str
    verdict: Verdict
    what: str
    fix: str | None = None
    place: str | None = None
    code: int = 0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """All findings, in the order of a run, and the worst one's exit code."""

    findings: tuple[Finding, ...]
    failures: int
    warnings: int
    exit_code: int

    @property
    def worst(self) -> Finding | None:
        """The first finding with the exit code."""
        return next((item for item in self.findings if item.code == self.exit_code and item.verdict == "fail"), None)


def result_of(findings: Sequence[Finding]) -> CheckResult:
    """The result of these findings."""
    codes = [item.code for item in findings if item.verdict == "fail"]
    warnings = sum(item.verdict == "warn" for item in findings)
    return CheckResult(tuple(findings), len(codes), warnings, max(codes, key=_BY_WEIGHT.index, default=0))


@dataclass(frozen=True, slots=True)
class Speaker:
    """Makes findings about one thing."""

    about: str

    def ok(self, name: str, what: str, fix: str | None = None) -> Finding:
        """It will do."""
        return Finding(name, self.about, "ok", what, fix)

    def warn(self, name: str, what: str, fix: str | None = None, place: str | None = None) -> Finding:
        """It will do, but not as well as it could."""
        return Finding(name, self.about, "warn", what, fix, place)

    def fail(self, name: str, error: MigrationError, place: str | None = None) -> Finding:
        """It will not do: a run would end with this error."""
        return Finding(name, self.about, "fail", str(error), error.next_step, place, error.exit_code)

    def told(self, name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        """All that `look` finds; an error that ends it is its last finding, or several, one a mistake."""
        try:
            yield from look()
        except ConfigurationError as error:
            yield from self.mistakes(name, error)
        except MigrationError as error:
            yield self.fail(name, error)

    def mistakes(self, name: str, error: ConfigurationError) -> Iterator[Finding]:
        """A finding for each line below the first, which only counts them; the key path in front is its place.

        A line that stands alone has a place only if it begins with that of an entry.
        """
        first, *lines = str(error).splitlines()
        for line in lines or [first]:
            place, colon, what = line.strip().partition(": ")
            is_path = bool(colon) and " " not in place and (bool(lines) or "[" in place)
            text = what if is_path else line.strip()
            yield self.fail(name, ConfigurationError(text, next_step=error.next_step), place if is_path else None)
