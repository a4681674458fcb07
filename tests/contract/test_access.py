"""Keys, envelopes and what is answered before a route is reached."""

from __future__ import annotations

import gzip

import pytest

from tests.contract.rushdb_api import Rushdb, data, message


def test_health_asks_nobody_for_a_key(rushdb: Rushdb) -> None:
    """`/health` is outside of /api/v1 and has no envelope."""
    response = rushdb.http.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_good_key_is_described_by_tokens_current(rushdb: Rushdb) -> None:
    """The preflight: level and expiry of the key that is used."""
    token = data(rushdb.call("GET", "/tokens/current"))
    assert token["level"] == "write"
    assert token["expired"] is False
    assert {"id", "name", "expiration", "created"} <= token.keys()


def test_a_read_key_says_that_it_reads(rushdb: Rushdb, read_key: str) -> None:
    """`check` can tell a key that cannot write before it has written."""
    assert data(rushdb.call("GET", "/tokens/current", key=read_key))["level"] == "read"


@pytest.mark.parametrize("key", ["wrong", "in_0000_wrong", "a.b.c"])
def test_a_bad_key_is_403_whatever_it_looks_like(rushdb: Rushdb, key: str) -> None:
    """Never 401: the client takes 403 for refused credentials."""
    assert message(rushdb.call("GET", "/tokens/current", key=key), 403) == "Forbidden resource"


def test_no_key_is_403(rushdb: Rushdb) -> None:
    """A missing header is answered like a wrong key."""
    response = rushdb.http.post("/api/v1/records/search", json={})
    assert response.json() == {"message": "Forbidden resource", "error": "Forbidden", "statusCode": 403}


def test_settings_of_the_sdk_succeed_with_a_bad_key(rushdb: Rushdb) -> None:
    """The trap in the SDK's ping: this route proves nothing about a key."""
    assert data(rushdb.call("GET", "/sdk/settings", key="wrong"))["selfHosted"] is True


def test_settings_are_open_and_say_self_hosted(rushdb: Rushdb) -> None:
    """The client tells a platform from Cloud by this field."""
    response = rushdb.http.get("/api/v1/settings")
    assert data(response)["selfHosted"] is True
    assert rushdb.is_sandbox == ("byovSandbox" in response.json()["data"])


@pytest.mark.parametrize(("method", "path"), [("POST", "/nope"), ("GET", "/text-indexes"), ("POST", "/search/text")])
def test_an_unknown_route_is_404_and_names_itself(rushdb: Rushdb, method: str, path: str) -> None:
    """`/text-indexes` is how Cloud is told apart; here it is not there."""
    body = rushdb.call(method, path).json()
    assert {"message": f"Cannot {method} /api/v1{path}", "error": "Not Found", "statusCode": 404} == body


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/records/search", {"limit": 1}),
        ("/labels/search", {}),
        ("/relationships/search", {"limit": 1}),
    ],
)
def test_a_read_key_may_search(rushdb: Rushdb, read_key: str, path: str, body: object) -> None:
    """Verify and search must work with a key that cannot write."""
    assert rushdb.call("POST", path, body, key=read_key).status_code == 200


def test_a_read_key_may_list_indexes_and_read_statistics(rushdb: Rushdb, read_key: str) -> None:
    """As above, for the routes of `check`."""
    assert rushdb.call("GET", "/ai/indexes", key=read_key).status_code == 200
    assert rushdb.call("GET", "/ai/indexes/none/stats", key=read_key).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/records/import/json"),
        ("POST", "/records"),
        ("PUT", "/records/none"),
        ("DELETE", "/records/none"),
        ("POST", "/ai/indexes"),
        ("POST", "/ai/indexes/none/vectors/upsert"),
        ("POST", "/relationships/create-many"),
    ],
)
def test_a_read_key_may_not_write(rushdb: Rushdb, read_key: str, method: str, path: str) -> None:
    """The message tells a read-only key from a wrong one."""
    body = None if method == "DELETE" else {"label": "Contract", "data": []}
    refusal = message(rushdb.call(method, path, body, key=read_key), 403)
    assert refusal == "This API key is read-only and cannot access this endpoint"


def test_projects_do_not_see_each_other(rushdb: Rushdb, other_key: str, label: str) -> None:
    """A second project's key finds nothing of the first one's records."""
    stored = rushdb.create(label, [{"k": "a"}])[0]
    body = {"labels": [label]}
    assert rushdb.call("POST", "/records/search", body, key=other_key).json()["total"] == 0
    assert rushdb.call("GET", f"/records/{stored['__id']}", key=other_key).status_code == 404


@pytest.mark.parametrize("content", [b'{"a":NaN}', b"{", b"nonsense"])
def test_a_body_that_is_no_json_is_400(rushdb: Rushdb, content: bytes) -> None:
    """NaN included, which some encoders write for a missing number."""
    response = rushdb.send("POST", "/records/search", content)
    assert response.status_code == 400
    assert "JSON" in response.json()["message"]


def test_a_list_as_body_is_400(rushdb: Rushdb) -> None:
    """Validation names what it expected."""
    refusal = message(rushdb.send("POST", "/records/search", b"[1]"), 400)
    assert refusal == "Request validation of body failed, because: value Expected object, received array"


def test_a_compressed_body_is_refused_in_plain_text(rushdb: Rushdb) -> None:
    """Requests must not be compressed, and the refusal is not even JSON."""
    body = gzip.compress(b'{"label":"Contract","data":[]}')
    response = rushdb.send("POST", "/records/import/json", body, content_encoding="gzip")
    assert (response.status_code, response.text) == (400, "Request body size did not match Content-Length")


def test_answers_are_not_compressed(rushdb: Rushdb, label: str) -> None:
    """Sizes measured on the wire are the sizes of the JSON."""
    rushdb.create(label, [{"k": str(number), "fill": "x" * 200} for number in range(50)])
    assert "content-encoding" not in rushdb.search(label).headers
