"""Upserts: `mergeBy` and `mergeStrategy`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.rushdb_api import Rushdb, data, message


def test_append_updates_under_the_same_id_and_keeps_the_rest(rushdb: Rushdb, label: str) -> None:
    """The cheap update: nothing that hangs on the id is lost."""
    first = rushdb.create(label, [{"k": "a", "x": 1}], mergeBy=["k"])[0]
    again = rushdb.create(label, [{"k": "a", "y": 2}], mergeBy=["k"])[0]
    assert first["__id"] == again["__id"]
    assert (again["x"], again["y"]) == (1, 2)
    assert rushdb.total(label) == 1


def test_append_does_not_clear_what_is_null(rushdb: Rushdb, label: str) -> None:
    """The old value stays: a value that must go needs PUT or rewrite."""
    rushdb.create(label, [{"k": "a", "x": 1}])
    assert rushdb.create(label, [{"k": "a", "x": None}], mergeBy=["k"])[0]["x"] == 1


def test_append_changes_a_propertys_type(rushdb: Rushdb, label: str) -> None:
    """The type in the reply follows the value."""
    rushdb.create(label, [{"k": "a", "x": 1}])
    assert rushdb.create(label, [{"k": "a", "x": "1"}], mergeBy=["k"])[0]["__proptypes"]["x"] == "string"


def test_rewrite_drops_what_is_not_sent_under_the_same_id(rushdb: Rushdb, label: str) -> None:
    """It clears, like PUT."""
    first = rushdb.create(label, [{"k": "a", "x": 1}])[0]
    again = rushdb.create(label, [{"k": "a", "y": 2}], mergeBy=["k"], mergeStrategy="rewrite")[0]
    assert first["__id"] == again["__id"]
    assert {"k", "y"} == {name for name in again if not name.startswith("__")}


def test_new_and_known_keys_may_come_together(rushdb: Rushdb, label: str) -> None:
    """One request creates and updates."""
    rushdb.create(label, [{"k": "a"}])
    assert {"a", "b"} == {record["k"] for record in rushdb.create(label, [{"k": "a"}, {"k": "b"}], mergeBy=["k"])}
    assert rushdb.total(label) == 2


@pytest.mark.parametrize("row", [{"k": None, "x": 1}, {"x": 1}], ids=["null", "absent"])
def test_a_missing_merge_key_always_creates(rushdb: Rushdb, label: str, row: dict[str, object]) -> None:
    """Every run would add such rows again."""
    for _ in range(2):
        rushdb.create(label, [row], mergeBy=["k"])
    assert rushdb.total(label) == 2


def test_a_number_and_its_text_are_two_keys(rushdb: Rushdb, label: str) -> None:
    """Why byovKey is always a string."""
    rushdb.create(label, [{"k": 1}], mergeBy=["k"])
    rushdb.create(label, [{"k": "1"}], mergeBy=["k"])
    assert rushdb.total(label) == 2


def test_merging_stays_within_the_label(rushdb: Rushdb, label: str) -> None:
    """One key under two labels is two records."""
    other = rushdb.label()
    rushdb.create(label, [{"k": "a"}], mergeBy=["k"])
    rushdb.create(other, [{"k": "a"}], mergeBy=["k"])
    assert (rushdb.total(label), rushdb.total(other)) == (1, 1)


def test_an_empty_merge_key_matches_on_all_properties(rushdb: Rushdb, label: str) -> None:
    """Equal rows are one record, any difference is another."""
    for row in ({"k": "a", "x": 1}, {"k": "a", "x": 1}, {"k": "a", "x": 2}):
        rushdb.create(label, [row], mergeBy=[])
    assert rushdb.total(label) == 2


def test_one_key_twice_in_a_request_makes_two_records_and_later_both_are_updated(rushdb: Rushdb, label: str) -> None:
    """All rows are matched before any is written, and a match is every record with that key."""
    rushdb.create(label, [{"k": "a", "x": 1}, {"k": "a", "x": 2}], mergeBy=["k"])
    assert rushdb.total(label) == 2
    assert [record["x"] for record in rushdb.create(label, [{"k": "a", "x": 3}], mergeBy=["k"])] == [3, 3]


def test_a_strategy_needs_a_merge_key(rushdb: Rushdb, label: str) -> None:
    """`mergeStrategy` alone is a refusal, not an upsert."""
    assert "mergeBy" in message(rushdb.import_rows(label, [{"k": "a"}], mergeStrategy="append"), 400)


def test_an_unknown_strategy_is_400(rushdb: Rushdb, label: str) -> None:
    """The message names the two there are."""
    response = rushdb.import_rows(label, [{"k": "a"}], mergeBy=["k"], mergeStrategy="replace")
    assert "Expected 'append' | 'rewrite', received 'replace'" in message(response, 400)


class TestUniquenessConstraint:
    """What the operator's constraint on (:Label(key)) turns a doubled write into."""

    def test_a_doubled_create_is_a_clean_400(
        self, rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None]
    ) -> None:
        """Nothing of the second request is stored, and the message says why."""
        make_unique(label, "k")
        rushdb.create(label, [{"k": "a"}])
        response = rushdb.import_rows(label, [{"k": "b"}, {"k": "a"}])
        refusal = message(response, 400)
        assert refusal.startswith("Import failed: Node(")
        assert refusal.endswith(f"already exists with label `{label}` and property `k` = 'a'")
        assert rushdb.total(label) == 1

    def test_an_upsert_of_a_known_key_is_an_update(
        self, rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None]
    ) -> None:
        """The constraint does not stand in the way of `append` and `rewrite`."""
        make_unique(label, "k")
        first = rushdb.create(label, [{"k": "a"}])[0]
        for strategy in ("append", "rewrite"):
            again = rushdb.create(label, [{"k": "a", "x": 1}], mergeBy=["k"], mergeStrategy=strategy)
            assert [first["__id"]] == [record["__id"] for record in again]

    def test_one_key_twice_in_an_upsert_is_400(
        self, rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None]
    ) -> None:
        """Without the constraint it would have made two records."""
        make_unique(label, "k")
        assert rushdb.import_rows(label, [{"k": "a"}, {"k": "a"}], mergeBy=["k"]).status_code == 400
        assert rushdb.total(label) == 0

    def test_rows_without_the_key_are_not_bound(
        self, rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None]
    ) -> None:
        """Absent is not a value."""
        make_unique(label, "k")
        rushdb.create(label, [{"x": 1}, {"x": 2}])
        assert rushdb.total(label) == 2

    def test_it_can_be_made_when_records_are_there(
        self, rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None]
    ) -> None:
        """An operator makes it late as well as early."""
        rushdb.create(label, [{"k": "a"}, {"x": 1}])
        make_unique(label, "k")
        assert rushdb.import_rows(label, [{"k": "a"}]).status_code == 400

    def test_it_binds_all_projects(
        self, rushdb: Rushdb, label: str, other_key: str, make_unique: Callable[[str, str], None]
    ) -> None:
        """The constraint is the database's, and projects share the database."""
        make_unique(label, "k")
        rushdb.create(label, [{"k": "a"}])
        body = {"label": label, "data": [{"k": "a"}]}
        assert rushdb.call("POST", "/records/import/json", body, key=other_key).status_code == 400

    def test_a_deleted_records_key_is_free_again(
        self, rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None]
    ) -> None:
        """Delete and create is possible."""
        make_unique(label, "k")
        record = rushdb.create(label, [{"k": "a"}])[0]
        data(rushdb.call("DELETE", f"/records/{record['__id']}"))
        assert len(rushdb.create(label, [{"k": "a"}])) == 1

    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_a_single_write_ends_in_500(
        self, rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None], method: str
    ) -> None:
        """Only the import route turns the violation into a 400."""
        make_unique(label, "k")
        _, second = rushdb.create(label, [{"k": "a"}, {"k": "b"}])
        path = "/records" if method == "POST" else f"/records/{second['__id']}"
        response = rushdb.call(method, path, {"label": label, "data": {"k": "a"}})
        assert message(response, 500) == "Neo4j database error occurred"
