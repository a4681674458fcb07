"""Links as the catalogue would explain them, without one."""

from __future__ import annotations

from typing import Any

from byov_migrate.config import Config, Entry, parse_config
from byov_migrate.source.links import Carried, LinkEnd, LinkShape
from byov_migrate.source.shape import Column, TableShape, TypeName
from tests.unit.config_files import BASE

TEXT = TypeName("pg_catalog", "text", "b", "S")


def column(name: str, *, is_list: bool = False) -> Column:
    """A column of text, or of lists of it."""
    return Column(name, "text", "text", -1, False, "", TEXT, TEXT if is_list else None, ("", ""))


def end(entry: Entry) -> LinkEnd:
    """The records of an entry, whose key is `id`."""
    return LinkEnd(entry, TableShape(1, "public", entry.label, "r", {}, (column("id"),), True, 0))


def two_labels(**more: Any) -> Config:
    """Jobs and companies, and links of three types between them."""
    tables = [{"name": f"public.{name.lower()}", "label": name, "columns": ["id"]} for name in ("Job", "Company")]
    ends = {"source": {"dsn": {"env": "D"}}, "target": {"url": "http://localhost", "api_key": {"env": "K"}}}
    links = [{"type": kind, "source": "Job.company", "target": "Company.id"} for kind in ("AT", "WANTS", "TYPE")]
    return parse_config({**ends, "tables": tables, "links": links, **more}, {}, base=BASE, stem="jobs")


def carried(kind: str, *, is_list: bool = False) -> LinkShape:
    """A link of jobs to companies, one of AT, WANTS, TYPE, that rows carry."""
    config = two_labels()
    job, company = map(end, config.entries)
    link = next(link for link in config.links if link.type == kind)
    return LinkShape(link, "links[0]", job, company, Carried((column("company", is_list=is_list),), is_list))
