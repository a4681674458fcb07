from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise

import pytest

from byov_migrate.jobs.demo.postings import Company, Dataset, Department, Job, generate

SCRIPT = "from byov_migrate.jobs.demo.postings import generate; print(generate(60, 7))"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """What the demo shows."""
    return generate(2000, 1)


def test_the_same_seed_gives_the_same_rows_whatever_the_hash_seed() -> None:
    """Nothing depends on the order of a set or on the process."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1


def test_another_seed_gives_other_rows() -> None:
    """The seed reaches every table."""
    one, two = generate(60, 1), generate(60, 2)
    assert one.companies != two.companies
    assert one.departments != two.departments
    assert one.jobs != two.jobs


def test_a_job_belongs_to_a_department_of_its_own_company(dataset: Dataset) -> None:
    """Links by name and links by foreign key must agree."""
    companies = {company.id: company for company in dataset.companies}
    departments = {department.id: department for department in dataset.departments}
    for job in dataset.jobs:
        department = departments[job.department_id]
        assert (job.company, job.department) == (companies[job.company_id].name, department.name)
        assert department.company_id == job.company_id


@pytest.mark.parametrize("postings", [1, 2000, 20_000])
def test_company_names_and_ids_are_unique(postings: int) -> None:
    """A node for each company is found by its name, and there are fewer names than companies of a large demo."""
    dataset = generate(postings, 3)
    assert len({company.name for company in dataset.companies}) == len(dataset.companies)
    tables: list[Sequence[Company | Department | Job]] = [dataset.companies, dataset.departments, dataset.jobs]
    for rows in tables:
        assert all(before.id + 1 == after.id for before, after in pairwise(rows))


def test_about_one_posting_in_two_hundred_has_no_text_by_null_and_by_blank(dataset: Dataset) -> None:
    """Both ways of having no text are there to be counted."""
    without = [job.description for job in dataset.jobs if not (job.description or "").strip()]
    assert 4 <= len(without) <= 20
    assert None in without
    assert any(text is not None for text in without)


def test_lengths_are_log_normal_around_four_hundred_tokens(dataset: Dataset) -> None:
    """Most texts are longer than the demo's model reads (about 200 words): truncation has something to count."""
    words = [
        len(job.description.split()) for job in dataset.jobs if (job.description or "").strip() and job.description
    ]
    assert 290 <= statistics.median(words) <= 350
    assert 0.65 <= sum(count > 205 for count in words) / len(words) <= 0.75
    assert max(words) > 700
    assert sum(count < 100 for count in words) > 50


def test_no_text_shows_how_it_was_made(dataset: Dataset) -> None:
    """No brace left open, no doubled space, no sentence without its capital or its end."""
    for job in dataset.jobs:
        text = job.description or ""
        assert not re.search(r"[{}]|  \S|\bNone\b|\.\.", text), job.id
        if text.strip():
            assert all(re.match(r"[A-Z].*\.$", part) for part in text.split("\n\n")), job.id


def test_no_two_texts_are_equal(dataset: Dataset) -> None:
    """Equal texts have equal vectors, and a test that mixes two rows up would not notice."""
    texts = [job.description for job in dataset.jobs if (job.description or "").strip()]
    assert len(set(texts)) == len(texts)


def test_a_posting_asks_for_a_few_skills_each_once(dataset: Dataset) -> None:
    """A link for each; some skill is shared by many postings, or the graph would be a heap of sticks."""
    asked: dict[str, int] = {}
    for job in dataset.jobs:
        assert 2 <= len(job.skills) == len(set(job.skills)) <= 4
        for skill in job.skills:
            assert skill.strip() == skill != ""
            asked[skill] = asked.get(skill, 0) + 1
    assert 40 < len(asked) < 100
    assert max(asked.values()) > 50


def test_salaries_come_in_pairs_and_in_order(dataset: Dataset) -> None:
    """Some postings have none, so that NULL numbers are part of every demo."""
    pairs = [(job.salary_min, job.salary_max) for job in dataset.jobs]
    assert all((low is None) == (high is None) for low, high in pairs)
    assert all(low < high for low, high in pairs if low is not None and high is not None)
    assert 100 < sum(low is None for low, _ in pairs) < 300
    assert any((low or 0) >= 80_000 for low, _ in pairs)


def test_no_posting_was_changed_before_it_was_made(dataset: Dataset) -> None:
    """Times are aware and in order."""
    assert all(job.created_at <= job.updated_at for job in dataset.jobs)
    assert all(job.updated_at.utcoffset() is not None for job in dataset.jobs)
