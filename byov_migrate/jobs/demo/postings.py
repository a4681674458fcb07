"""Generated job postings in PostgreSQL: plausible, searchable, the same for the same seed, and about nobody."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from random import Random
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql

T = TypeVar("T")

POSTINGS_A_COMPANY = 17
MEDIAN_WORDS = 330  # about 400 tokens
SPREAD = 0.85  # of the logarithm: 70 in 100 texts are longer than 256 tokens
SHARE_WITHOUT_TEXT = 0.005
SHARE_WITHOUT_SALARY = 0.1
LATEST = datetime(2026, 9, 1, 6, 0, tzinfo=UTC)

SCHEMA: LiteralString = """
-- Makes what is missing and leaves the rest: a second demo finds the first one's rows.
CREATE TABLE IF NOT EXISTS company (
    id bigint PRIMARY KEY,
    name text NOT NULL UNIQUE,
    city text NOT NULL,
    sector text NOT NULL,
    employees integer NOT NULL
);
CREATE TABLE IF NOT EXISTS department (
    id bigint PRIMARY KEY,
    company_id bigint NOT NULL REFERENCES company,
    name text NOT NULL,
    UNIQUE (company_id, name)
);
CREATE TABLE IF NOT EXISTS job (
    id bigint PRIMARY KEY,
    title text NOT NULL,
    company text NOT NULL,
    department text NOT NULL,
    company_id bigint NOT NULL REFERENCES company,
    department_id bigint NOT NULL REFERENCES department,
    location text NOT NULL,
    salary_min numeric,
    salary_max numeric,
    skills text[] NOT NULL,
    remote boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    description text
);
CREATE INDEX IF NOT EXISTS job_updated_at ON job (updated_at);
CREATE INDEX IF NOT EXISTS job_company_id ON job (company_id);
CREATE INDEX IF NOT EXISTS job_department_id ON job (department_id);
"""

HAS_ROWS: LiteralString = "SELECT EXISTS (SELECT FROM job)"
COUNTS: LiteralString = (
    "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM company), (SELECT count(*) FROM department)"
)


@dataclass(frozen=True, slots=True)
class Company:
    """A row of `company`, its columns in order."""

    id: int
    name: str
    city: str
    sector: str
    employees: int


@dataclass(frozen=True, slots=True)
class Department:
    """A row of `department`, its columns in order."""

    id: int
    company_id: int
    name: str


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `job`, its columns in order. Salaries are in euros a year; `description` may be None or blank."""

    id: int
    title: str
    company: str
    department: str
    company_id: int
    department_id: int
    location: str
    salary_min: int | None
    salary_max: int | None
    skills: list[str]
    remote: bool
    created_at: datetime
    updated_at: datetime
    description: str | None


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of all three tables."""

    companies: tuple[Company, ...]
    departments: tuple[Department, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """How many rows the tables hold."""

    postings: int
    companies: int
    departments: int


def create_jobs_schema(dsn: str) -> None:
    """Make the tables `company`, `department` and `job` where they are missing. Raise psycopg.Error."""
    with psycopg.connect(dsn) as connection:
        connection.execute(SCHEMA)


def fill(dsn: str, postings: int = 2000, seed: int = 1) -> Filled:
    """Write generated rows, all or none, and say how many there are; tables that have rows are left as they are.

    Raise psycopg.Error.
    """
    with psycopg.connect(dsn) as connection:
        is_filled = connection.execute(HAS_ROWS).fetchone() == (True,)
        if not is_filled:
            dataset = generate(postings, seed)
            for table, rows in (
                ("company", dataset.companies),
                ("department", dataset.departments),
                ("job", dataset.jobs),
            ):
                _copy(connection, table, rows)
        counted = connection.execute(COUNTS).fetchone() or (0, 0, 0)
    return Filled(*counted)


def _copy(connection: psycopg.Connection, table: str, rows: Sequence[Company | Department | Job]) -> None:
    statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(astuple(row))
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))


def generate(postings: int, seed: int) -> Dataset:
    """Rows for `postings` jobs: the same for the same seed."""
    wording: dict[str, Any] = tomllib.loads(files(__package__).joinpath("postings.toml").read_text(encoding="utf-8"))
    draw = _Draw(Random(seed).random)  # noqa: S311 - sample data, no secret
    companies = tuple(_companies(draw, wording, max(12, -(-postings // POSTINGS_A_COMPANY))))
    departments = tuple(_departments(draw, wording, companies))
    by_company: dict[int, list[Department]] = {}
    for department in departments:
        by_company.setdefault(department.company_id, []).append(department)
    jobs = []
    for number in range(1, postings + 1):
        company = draw.pick(companies)
        own, *others = by_company[company.id]
        jobs.append(_Posting(draw, wording, company, own if draw.chance(0.7) else draw.pick(others)).job(number))
    return Dataset(companies, departments, tuple(jobs))


@dataclass(frozen=True, slots=True)
class _Draw:
    """Chance out of `random()` alone: the only method whose results Python promises never to change."""

    random: Callable[[], float]

    def chance(self, share: float) -> bool:
        return self.random() < share

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def shuffled(self, items: Iterable[T]) -> Iterator[T]:
        left = list(items)
        while left:
            place = int(self.random() * len(left))
            left[place], left[-1] = left[-1], left[place]
            yield left.pop()

    def log_normal(self, median: float, spread: float) -> float:
        """By Box and Muller; 1 - random() is never 0."""
        normal = math.sqrt(-2 * math.log(1 - self.random())) * math.cos(2 * math.pi * self.random())
        return median * math.exp(spread * normal)


def _companies(draw: _Draw, wording: dict[str, Any], count: int) -> Iterator[Company]:
    taken: set[str] = set()
    for number in range(1, count + 1):
        field = wording["fields"][(number - 1) % len(wording["fields"])]
        stem = draw.pick(wording["syllables_first"]) + draw.pick(wording["syllables_last"])
        name = f"{stem} {draw.pick(field['companies'])}"
        name = name if name not in taken else f"{name} {number}"
        taken.add(name)
        yield Company(
            number, name, draw.pick(wording["cities"]), field["department"], int(draw.log_normal(180, 1.0)) + 5
        )


def _departments(draw: _Draw, wording: dict[str, Any], companies: Iterable[Company]) -> Iterator[Department]:
    """Three a company, the one of its sector first."""
    names = [field["department"] for field in wording["fields"]]
    number = 0
    for company in companies:
        others = [name for name in draw.shuffled(names) if name != company.sector]
        for name in (company.sector, *others[:2]):
            number += 1
            yield Department(number, company.id, name)


class _Posting:
    """One posting: what was drawn for it, and the sentences made of that."""

    def __init__(self, draw: _Draw, wording: dict[str, Any], company: Company, department: Department) -> None:
        self._draw, self._wording, self._company, self._department = draw, wording, company, department
        self._field = next(field for field in wording["fields"] if field["department"] == department.name)
        self._speciality = draw.pick(self._field["specialities"])
        self._level = int(draw.random() * len(wording["levels"]))
        self._city = company.city if draw.chance(0.8) else draw.pick(wording["cities"])

    def job(self, number: int) -> Job:
        """The row with this id."""
        draw, (low, high) = self._draw, self._salary()
        created = LATEST - timedelta(days=draw.between(0, 300))
        return Job(
            id=number,
            title=self._title,
            company=self._company.name,
            department=self._department.name,
            company_id=self._company.id,
            department_id=self._department.id,
            location=self._city,
            salary_min=low,
            salary_max=high,
            skills=list(draw.shuffled(self._field["skills"]))[: 2 + int(draw.random() * 3)],
            remote=draw.chance(self._field["remote"]),
            created_at=created,
            updated_at=created + (LATEST - created) * draw.random(),
            description=self._description(),
        )

    @property
    def _title(self) -> str:
        return f"{self._wording['levels'][self._level]} {self._speciality['title']}".strip()

    def _salary(self) -> tuple[int | None, int | None]:
        if self._draw.chance(SHARE_WITHOUT_SALARY):
            return None, None
        experience = self._wording["pay_of_levels"][self._level]
        low = int(self._field["pay"] * 2 * experience * self._draw.between(0.85, 1.1)) * 500
        return low, low + int(self._draw.between(4, 40)) * 500

    def _description(self) -> str | None:
        if self._draw.chance(SHARE_WITHOUT_TEXT):
            return self._draw.pick([None, "", "  \n"])
        words = self._draw.log_normal(MEDIAN_WORDS, SPREAD)
        opening = self._filled(self._draw.pick(self._wording["openings"]))
        # Section by section up to a share of the length; what a section lacks, the last one makes up for.
        sections = [(self._duties(), 0.5), (self._requirements(), 0.7), (self._closings(), 1.0)]
        paragraphs, written = [opening], len(opening.split())
        for sentences, share in sections:
            paragraph = []
            for sentence in sentences:
                if written >= words * share:
                    break
                paragraph.append(sentence)
                written += len(sentence.split())
            paragraphs.append(" ".join(paragraph))
        return "\n\n".join(filter(None, paragraphs))

    def _duties(self) -> Iterator[str]:
        """First what is special about it, then what the field has in common, then what others do there."""
        shuffled, special = self._draw.shuffled, self._speciality["duties"]
        own = (duty for group in (special, self._field["duties"]) for duty in shuffled(group))
        yield from self._sentences("duty_frames", own)
        neighbours = [duty for other in self._field["specialities"] for duty in other["duties"] if duty not in special]
        yield from self._sentences("neighbour_frames", shuffled(neighbours))

    def _requirements(self) -> Iterator[str]:
        yield from self._sentences("requirement_frames", self._draw.shuffled(self._field["requirements"]))
        yield from self._sentences("skill_frames", self._draw.shuffled(self._field["skills"]))

    def _closings(self) -> Iterator[str]:
        return map(self._filled, self._draw.shuffled(self._wording["closings"] + self._wording["abouts"]))

    def _sentences(self, frames: str, phrases: Iterator[str]) -> Iterator[str]:
        """Each phrase once, one or two a sentence."""
        for phrase in phrases:
            frame = self._draw.pick(self._wording[frames])
            second = next(phrases, None) if "{b}" in frame else ""
            if second is None:
                return
            yield self._filled(frame, a=phrase, b=second)

    def _filled(self, frame: str, **phrases: str) -> str:
        pick = self._draw.pick
        text = frame.format(
            title=self._title,
            company=self._company.name,
            city=self._city,
            place=pick(self._field["places"]),
            circumstance=pick(self._wording["circumstances"]),
            colleagues=pick(self._wording["colleagues"]),
            people=self._company.employees,
            sites=int(self._draw.between(4, 20)),
            years=int(self._draw.between(5, 60)),
            **phrases,
        )
        return text[0].upper() + text[1:]
