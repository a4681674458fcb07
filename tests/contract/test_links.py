"""Relationships: joined by values, attached by id, counted, removed."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, message


@pytest.fixture
def kind() -> str:
    """A relationship type of this test's own."""
    return f"T_{secrets.token_hex(4)}"


@pytest.fixture
def company(rushdb: Rushdb) -> str:
    """Companies 0, 1 and the text "1"."""
    label = rushdb.label("Company")
    rushdb.create(label, [{"id": 0, "name": "Zero"}, {"id": 1, "name": "One"}, {"id": "1", "name": "Text"}])
    return label


@pytest.fixture
def job(rushdb: Rushdb) -> str:
    """Jobs 0 to 4 of the companies 0 and 1 in turn, and job 9 of none."""
    label = rushdb.label("Job")
    rushdb.create(label, [{"n": n, "company": n % 2} for n in range(5)] + [{"n": 9}])
    return label


def found(rushdb: Rushdb, label: str, where: Any) -> list[int]:
    """The jobs that a `where` finds."""
    return [record["n"] for record in rushdb.find(label, where)]


def counted(rushdb: Rushdb, kind: str) -> int:
    """How many links of a type there are."""
    response = rushdb.call("POST", "/relationships/search", {"where": {"type": kind}, "limit": 1})
    data(response)
    return int(response.json()["total"])


def test_records_with_equal_values_are_linked_once(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Repeating the join adds nothing, so it may be sent again after any doubt."""
    for _ in range(2):
        answer = data(rushdb.join(job, "company", company, "id", kind), 201)
        assert answer == {"message": "Relations have been successfully created"}
        assert (rushdb.linked(job, company, kind), counted(rushdb, kind)) == (5, 5)


def test_the_join_is_strict_about_types(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """A number never meets its text, and the answer is a success all the same."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    assert found(rushdb, job, {company: {"name": "Text", "$relation": {"type": kind}}}) == []


@pytest.mark.parametrize("change", [{"key": "name"}, {"label": "NoSuchLabel"}], ids=["no value", "no label"])
def test_a_join_that_meets_nothing_succeeds(
    rushdb: Rushdb, job: str, company: str, kind: str, change: dict[str, str]
) -> None:
    """Why links are counted afterwards."""
    data(rushdb.join(job, "company", company, "id", kind, target={"label": company, "key": "id"} | change), 201)
    assert counted(rushdb, kind) == 0


def test_any_element_of_a_list_joins(rushdb: Rushdb, company: str, kind: str) -> None:
    """One record for each array element is linked this way."""
    label = rushdb.label()
    rushdb.create(label, [{"n": 1, "companies": [0, 1]}, {"n": 2, "companies": [1]}])
    data(rushdb.join(label, "companies", company, "id", kind), 201)
    assert counted(rushdb, kind) == 3


def test_a_record_is_not_linked_to_itself(rushdb: Rushdb, job: str, kind: str) -> None:
    """Within one label: 3 x 2 and 2 x 1 pairs."""
    data(rushdb.join(job, "company", job, "company", kind), 201)
    assert counted(rushdb, kind) == 8


def test_a_where_narrows_either_side(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Links are made batch by batch."""
    source = {"label": job, "key": "company", "where": {"n": {"$gt": 1}}}
    target = {"label": company, "key": "id", "where": {"name": "One"}}
    data(rushdb.join(job, "company", company, "id", kind, source=source, target=target), 201)
    assert found(rushdb, job, {company: {"$relation": {"type": kind}}}) == [3]


def test_the_direction_is_from_source_to_target_unless_turned(
    rushdb: Rushdb, job: str, company: str, kind: str
) -> None:
    """`in` makes the links lead from the targets to the sources."""
    data(rushdb.join(job, "company", company, "id", kind, direction="in"), 201)
    assert rushdb.total(job, {company: {"$relation": {"type": kind, "direction": "in"}}}) == 5
    assert rushdb.total(job, {company: {"$relation": {"type": kind, "direction": "out"}}}) == 0


def test_a_join_without_a_type_has_the_default_one(rushdb: Rushdb, job: str, company: str) -> None:
    """Found when a filter names no type."""
    body = {"source": {"label": job, "key": "company"}, "target": {"label": company, "key": "id"}}
    data(rushdb.call("POST", "/relationships/create-many", body), 201)
    assert rushdb.linked(job, company, "__RUSHDB__RELATION__DEFAULT__") == 5


def test_a_type_that_is_no_identifier_is_a_bare_500(rushdb: Rushdb, job: str, company: str) -> None:
    """Why types are checked in the configuration."""
    response = rushdb.join(job, "company", company, "id", "POSTED BY")
    assert (response.status_code, response.json()) == (500, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": {"label": "Job"}}, '"source" does not match any of the allowed types'),
        ({"target": {"key": "id"}}, '"target" does not match any of the allowed types'),
        ({"direction": "sideways"}, "Expected 'in' | 'out' | 'IN' | 'OUT', received 'sideways'"),
    ],
    ids=str,
)
def test_a_join_that_cannot_be_is_400(rushdb: Rushdb, job: str, company: str, change: Any, words: str) -> None:
    """Both sides need a label and a key."""
    assert words in message(rushdb.join(job, "company", company, "id", "T", **change), 400)


@pytest.mark.parametrize("where", [None, {"n": {"$gt": 2}}], ids=["everything", "bounded"])
def test_many_to_many_needs_a_where_on_both_sides(
    rushdb: Rushdb, job: str, company: str, kind: str, where: Any
) -> None:
    """Without keys every source is linked to every target, so both must be bounded."""
    source = {"label": job} | ({"where": where} if where else {})
    target = {"label": company, "where": {"name": {"$in": ["Zero", "One"]}}}
    body = {"source": source, "target": target, "type": kind, "manyToMany": True}
    response = rushdb.call("POST", "/relationships/create-many", body)
    assert (201 if where else 400) == response.status_code
    assert (6 if where else 0) == counted(rushdb, kind)


@pytest.mark.parametrize(
    ("block", "numbers"),
    [
        ({"name": "Zero"}, [4, 2, 0]),
        ({"id": 1}, [3, 1]),
        ({"name": {"$contains": "er"}}, [4, 2, 0]),
        ({}, [4, 3, 2, 1, 0]),
        ({"$relation": "TYPE"}, [4, 3, 2, 1, 0]),
        ({"name": "Zero", "$relation": {"type": "OTHER"}}, []),
    ],
    ids=str,
)
def test_records_are_filtered_across_a_link(
    rushdb: Rushdb, job: str, company: str, kind: str, block: Any, numbers: list[int]
) -> None:
    """A block under a label's name is about linked records of that label."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    if block.get("$relation") == "TYPE":
        block = {"$relation": kind}
    assert numbers == found(rushdb, job, {company: block})


def test_blocks_combine_with_other_conditions(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Within a negation and beside properties."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    assert found(rushdb, job, {company: {"name": "Zero"}, "n": {"$gt": 0}}) == [4, 2]
    assert found(rushdb, job, {"$not": {company: {"name": "Zero"}}}) == [9, 3, 1]
    assert found(rushdb, job, {"$or": [{company: {"name": "Zero"}}, {"n": 9}]}) == [9, 4, 2, 0]


def test_links_are_listed_with_their_ends(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Filtered by type only; what is asked of records here is ignored, so counts are taken from the record side."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    response = rushdb.call("POST", "/relationships/search", {"where": {"type": kind}, "limit": 2, "skip": 4})
    (link,) = data(response)
    assert (job, company, kind) == (link["sourceLabel"], link["targetLabel"], link["type"])
    assert rushdb.record(link["sourceId"])["company"] == rushdb.record(link["targetId"])["id"]
    assert response.json()["total"] == 5


def test_more_than_a_thousand_links_asked_for_are_a_hundred(rushdb: Rushdb, kind: str) -> None:
    """A limit beyond the most is silently lowered, not to the most."""
    left, right = rushdb.label(), rushdb.label()
    rushdb.create(left, [{"k": "a", "n": number} for number in range(150)])
    rushdb.create(right, [{"k": "a"}])
    data(rushdb.join(left, "k", right, "k", kind), 201)
    for limit, rows in ((1000, 150), (1001, 100)):
        body = {"where": {"type": kind}, "limit": limit}
        assert rows == len(data(rushdb.call("POST", "/relationships/search", body)))


def test_a_changed_value_leaves_the_old_link_standing(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """The join adds and never removes."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    record_id = rushdb.find(job, {"n": 0})[0]["__id"]
    data(rushdb.call("PUT", f"/records/{record_id}", {"label": job, "data": {"n": 0, "company": 1}}), 201)
    data(rushdb.join(job, "company", company, "id", kind), 201)
    assert counted(rushdb, kind) == 6


def test_delete_many_removes_by_the_values_of_now(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Why the old value must be the one at the moment of removing."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    body = {
        "source": {"label": job, "key": "company", "where": {"company": 1}},
        "target": {"label": company, "key": "id"},
        "type": kind,
        "direction": "out",
    }
    data(rushdb.call("POST", "/relationships/delete-many", body))
    assert found(rushdb, job, {company: {"$relation": {"type": kind}}}) == [4, 2, 0]


def test_records_are_attached_and_detached_by_id(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """One source, one or several targets; ids that are not there are passed over with 201."""
    source = rushdb.find(job, {"n": 0})[0]["__id"]
    targets = [record["__id"] for record in rushdb.find(company)]
    attach = {"targetIds": [*targets, "01a20e4c-37c3-7e40-95fc-996f41d763a3"], "type": kind, "direction": "out"}
    for _ in range(2):
        data(rushdb.call("POST", f"/relationships/{source}", attach), 201)
    assert counted(rushdb, kind) == 3
    detach = {"targetIds": targets[0], "typeOrTypes": kind, "direction": "out"}
    data(rushdb.call("PUT", f"/relationships/{source}", detach))
    assert counted(rushdb, kind) == 2


def test_attaching_to_a_record_that_is_not_there_succeeds(rushdb: Rushdb, company: str, kind: str) -> None:
    """201, and nothing done."""
    body = {"targetIds": [record["__id"] for record in rushdb.find(company)], "type": kind}
    data(rushdb.call("POST", "/relationships/01a20e4c-37c3-7e40-95fc-996f41d763a3", body), 201)
    assert counted(rushdb, kind) == 0


def test_attaching_in_no_known_direction_is_400(rushdb: Rushdb, job: str) -> None:
    """As for a join."""
    source = rushdb.find(job, {"n": 0})[0]["__id"]
    body = {"targetIds": [source], "direction": "sideways"}
    assert "Expected 'in' | 'out'" in message(rushdb.call("POST", f"/relationships/{source}", body), 400)


def test_attaching_nothing_is_400(rushdb: Rushdb, job: str) -> None:
    """`targetIds` is needed."""
    source = rushdb.find(job, {"n": 0})[0]["__id"]
    assert '"targetIds"' in message(rushdb.call("POST", f"/relationships/{source}", {}), 400)


def test_linked_records_are_searched_from_one_record(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """`/records/:id/search`, which the SDK uses."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    source = rushdb.find(job, {"n": 0})[0]["__id"]
    response = rushdb.call("POST", f"/records/{source}/search", {"labels": [company]})
    assert [record["name"] for record in data(response)] == ["Zero"]


@pytest.mark.parametrize("stem", ["my label ", "Ярлык"])
def test_labels_beyond_ascii_words_are_not_joined(rushdb: Rushdb, company: str, kind: str, stem: str) -> None:
    """Names are reduced before the join: it meets nothing, or fails when nothing is left."""
    label = rushdb.label(stem)
    rushdb.create(label, [{"company": 1}])
    rushdb.join(label, "company", company, "id", kind)
    assert counted(rushdb, kind) == 0


def test_lists_are_joined_and_unjoined_for_some_sources_by_id(rushdb: Rushdb, company: str, kind: str) -> None:
    """How the links of rows that change are removed: by what their records hold, before they are written."""
    label = rushdb.label()
    made = rushdb.create(label, [{"n": 1, "companies": ["1", "x"]}, {"n": 2, "companies": ["1"]}])
    data(rushdb.join(label, "companies", company, "id", kind), 201)
    assert counted(rushdb, kind) == 2
    first = next(record["__id"] for record in made if record["n"] == 1)
    body = {
        "source": {"label": label, "key": "companies", "where": {"$id": {"$in": [first]}}},
        "target": {"label": company, "key": "id"},
        "type": kind,
        "direction": "out",
    }
    data(rushdb.call("POST", "/relationships/delete-many", body))
    assert found(rushdb, label, {company: {"$relation": {"type": kind}}}) == [2]


def test_both_sides_of_a_join_are_narrowed_by_lists(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Portions: some batches of sources, or the targets that have come."""
    source = {"label": job, "key": "company", "where": {"n": {"$in": [0, 1, 2]}}}
    target = {"label": company, "key": "id", "where": {"name": {"$in": ["Zero"]}}}
    data(rushdb.join(job, "company", company, "id", kind, source=source, target=target), 201)
    linked = {"n": {"$in": [0, 1, 2]}, company: {"$relation": {"type": kind, "direction": "out"}}}
    assert rushdb.total(job, linked) == 2


def test_links_hold_properties_and_keep_the_last(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """A join table's columns. Attaching again replaces them."""
    source = rushdb.find(job, {"n": 0})[0]["__id"]
    target = rushdb.find(company, {"name": "Zero"})[0]["__id"]
    for level in ("old", "new"):
        body = {"targetIds": [target], "type": kind, "direction": "out", "properties": {"level": level, "years": 3}}
        data(rushdb.call("POST", f"/relationships/{source}", body), 201)
    response = rushdb.call("POST", "/relationships/search", {"where": {"type": kind}})
    [link] = data(response)
    assert {name: link["properties"][name] for name in ("level", "years")} == {"level": "new", "years": 3}


def test_a_record_is_attached_to_itself_by_id(rushdb: Rushdb, job: str, kind: str) -> None:
    """What the join leaves out."""
    source = rushdb.find(job, {"n": 0})[0]["__id"]
    data(
        rushdb.call("POST", f"/relationships/{source}", {"targetIds": [source], "type": kind, "direction": "out"}), 201
    )
    assert counted(rushdb, kind) == 1


def test_parents_within_a_label_are_told_by_direction(rushdb: Rushdb, kind: str) -> None:
    """Two children of one parent: two records lead out, one is led to."""
    label = rushdb.label()
    rushdb.create(label, [{"id": "a"}, {"id": "b", "parent": "a"}, {"id": "c", "parent": "a"}])
    data(rushdb.join(label, "parent", label, "id", kind), 201)
    directions = [{label: {"$relation": {"type": kind, "direction": way}}} for way in ("out", "in")]
    assert [rushdb.total(label, where) for where in directions] == [2, 1]


def test_links_are_listed_in_pages(rushdb: Rushdb, kind: str) -> None:
    """Every link is on exactly one page, and the total is that of all."""
    left, right = rushdb.label(), rushdb.label()
    rushdb.create(left, [{"n": n, "k": n} for n in range(25)])
    rushdb.create(right, [{"k": n} for n in range(25)])
    data(rushdb.join(left, "k", right, "k", kind), 201)
    seen = set()
    for skip in range(0, 25, 10):
        response = rushdb.call("POST", "/relationships/search", {"where": {"type": kind}, "limit": 10, "skip": skip})
        assert response.json()["total"] == 25
        seen |= {(link["sourceId"], link["targetId"]) for link in data(response)}
    assert len(seen) == 25


def test_two_thousand_records_are_attached_at_once(rushdb: Rushdb, kind: str) -> None:
    """By id, one record to many."""
    left, right = rushdb.label(), rushdb.label()
    [one] = rushdb.create(left, [{"n": 1}])
    ids = [record["__id"] for start in range(2) for record in rushdb.create(right, [{"n": n} for n in range(1000)])]
    for direction in ("out", "in"):
        body = {"targetIds": ids, "type": f"{kind}_{direction}", "direction": direction}
        data(rushdb.call("POST", f"/relationships/{one['__id']}", body), 201)
        assert counted(rushdb, f"{kind}_{direction}") == 2000


def test_ends_are_found_by_id_across_a_link(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Why links that were made or removed by ids can be proved."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    zero, one = (rushdb.find(company, {"name": name})[0]["__id"] for name in ("Zero", "One"))
    some = [record["__id"] for record in rushdb.find(job, {"n": {"$in": [0, 1, 2]}})]
    relation = {"type": kind, "direction": "out"}
    counts = [
        rushdb.total(job, {"$id": {"$in": some}, company: {"$id": {"$in": ids}, "$relation": relation}})
        for ids in ([zero], [one], [zero, one])
    ]
    assert counts == [2, 1, 3]


def test_targets_are_found_by_the_id_of_what_leads_to_them(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """Why the links of one source that were made by ids can be proved: its targets are counted."""
    companies = [record["__id"] for record in rushdb.find(company)]
    one, other = (rushdb.find(job, {"n": n})[0]["__id"] for n in (0, 1))
    for source, targets in ((one, companies[:2]), (other, companies[1:])):
        body = {"targetIds": targets, "type": kind, "direction": "out"}
        data(rushdb.call("POST", f"/relationships/{source}", body), 201)
    relation = {"type": kind, "direction": "in"}
    counts = [
        rushdb.total(company, {"$id": {"$in": some}, job: {"$id": {"$in": [source]}, "$relation": relation}})
        for source, some in ((one, companies), (other, companies), (one, companies[1:]), (one, companies[2:]))
    ]
    assert (len(companies), counts) == (3, [2, 2, 1, 0])


def ends(rushdb: Rushdb, kind: str) -> dict[tuple[str, str], Any]:
    """Source and target id of each link of a type -> its properties."""
    found = data(rushdb.call("POST", "/relationships/search", {"where": {"type": kind}, "limit": 1000}))
    return {(row["sourceId"], row["targetId"]): row["properties"] for row in found}


def test_attaching_takes_the_place_of_a_link_that_leads_back(rushdb: Rushdb, job: str, kind: str) -> None:
    """Also with properties: two records that lead to each other cannot both be attached. Detaching is one way."""
    one, other = (rushdb.find(job, {"n": n})[0]["__id"] for n in (0, 1))
    for source, target in ((one, other), (other, one)):
        for properties in ({}, {"properties": {"level": 1}}):
            body = {"targetIds": [target], "type": kind, "direction": "out", **properties}
            data(rushdb.call("POST", f"/relationships/{source}", body), 201)
            assert set(ends(rushdb, kind)) == {(source, target)}
    detach = {"targetIds": [other], "typeOrTypes": kind, "direction": "out"}
    data(rushdb.call("PUT", f"/relationships/{one}", detach))
    assert set(ends(rushdb, kind)) == {(other, one)}


def test_every_source_is_linked_to_every_target_by_ids_and_keeps_what_leads_back(
    rushdb: Rushdb, job: str, kind: str
) -> None:
    """Many to many: nothing is removed, properties are added, and a record is not linked to itself."""
    one, other, third = (rushdb.find(job, {"n": n})[0]["__id"] for n in (0, 1, 2))

    def link(sources: list[str], targets: list[str], **more: Any) -> None:
        source, target = ({"label": job, "where": {"$id": {"$in": ids}}} for ids in (sources, targets))
        body = {"source": source, "target": target, "type": kind, "direction": "out", "manyToMany": True, **more}
        data(rushdb.call("POST", "/relationships/create-many", body), 201)

    link([other], [one])
    link([one], [one, other, third], properties={"level": 1, "word": "a"})
    link([one], [other], properties={"level": 2})
    expected = {(other, one): {}, (one, other): {"level": 2, "word": "a"}, (one, third): {"level": 1, "word": "a"}}
    assert ends(rushdb, kind) == expected


def test_links_go_with_either_of_their_ends(rushdb: Rushdb, job: str, company: str, kind: str) -> None:
    """A record that is deleted leaves no link behind."""
    data(rushdb.join(job, "company", company, "id", kind), 201)
    for label, where, left in ((company, {"name": "Zero"}, 2), (job, {"n": 1}, 1)):
        ids = [record["__id"] for record in rushdb.find(label, where)]
        data(rushdb.call("POST", "/records/delete", {"labels": [label], "where": {"$id": {"$in": ids}}}), 201)
        assert counted(rushdb, kind) == left


def test_records_found_across_a_link_to_many_are_counted_once(rushdb: Rushdb, company: str, kind: str) -> None:
    """Why the number of linked records proves a join."""
    label = rushdb.label()
    rushdb.create(label, [{"n": 1, "companies": [0, 1]}, {"n": 2, "companies": [1]}])
    data(rushdb.join(label, "companies", company, "id", kind), 201)
    linked = {company: {"$relation": {"type": kind, "direction": "out"}}}
    assert (rushdb.total(label, linked), found(rushdb, label, linked)) == (2, [2, 1])


def test_a_search_by_vector_across_a_link_repeats_a_record_for_each_linked_one(
    rushdb: Rushdb, company: str, kind: str
) -> None:
    """Why a search asks for more until it has enough records."""
    label = rushdb.label()
    index = rushdb.index(label, "text")
    made = rushdb.create(label, [{"n": n, "companies": [0, 1] if n < 3 else [1], "text": ""} for n in (1, 2, 3)])
    rushdb.put_vectors(index, [(record["__id"], [1.0, 0.1 * record["n"], 0, 0]) for record in made])
    data(rushdb.join(label, "companies", company, "id", kind), 201)
    where = {company: {"name": {"$in": ["Zero", "One"]}}}
    for limit, numbers in ((10, [1, 1, 2, 2, 3]), (3, [1, 1, 2])):
        response = rushdb.nearest(label, "text", [1.0, 0, 0, 0], where=where, limit=limit)
        assert [record["n"] for record in data(response)] == numbers
