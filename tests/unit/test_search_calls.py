"""The code of a printed request: what is data in it stays data, and no secret gets into it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from byov_migrate.config import TargetConfig
from byov_migrate.jobs.search.calls import Language, application_call
from byov_migrate.target.drawing import Drawn, Paper
from byov_migrate.target.wire import Index

ODD = "$(touch x) `id` ${HOME} %s \\ ' \" \n </script> \u2028 ü"
INDEX = Index("", "Job", "description", 3, "cosine", "")
VECTOR = np.array([0.1, -1e-9, 1 / 3], dtype=np.float32)


def target(**changes: Any) -> TargetConfig:
    """A target on loopback."""
    content = {"url": "http://127.0.0.1:3999/api/v1/", "api_key": {"env": "SOME_KEY"}, **changes}
    return TargetConfig.model_validate(content, context={"base": Path("/srv")})


def drawn(where: dict[str, Any] | None) -> Drawn:
    """What the wire would send."""
    paper = Paper()
    paper.wire().search(INDEX, VECTOR, where=where, limit=3)
    [request] = paper.drawn
    return request


def body_of(language: Language, code: str) -> Any:
    """The body inside the code, read as its language reads it."""
    if language == "curl":
        words = shlex.split(code, comments=True)
        return json.loads(words[words.index("--data-raw") + 1])
    if language == "javascript":
        found = re.search(r"(?m)^const query = (.*);$", code)
        assert found is not None
        return json.loads(found[1])
    names: dict[str, Any] = {}
    start, end = code.index("query = "), code.index("for record in")
    exec(code[start:end], names)  # noqa: S102 - what is printed is meant to be run
    return names["query"]


@pytest.mark.parametrize("where", [None, {"byovKey": "12"}, {"location": {"$contains": ODD}, ODD: True, "gone": None}])
@pytest.mark.parametrize("language", get_args(Language))
def test_the_body_in_the_code_is_what_the_wire_would_send(language: Language, where: dict[str, Any] | None) -> None:
    """Every digit of the vector, and values that would be code if they were not quoted."""
    request = drawn(where)
    code = application_call(language, target(), request).code
    assert body_of(language, code) == request.body
    assert np.array_equal(np.array(request.body["queryVector"], dtype=np.float32), VECTOR)
    assert "\u2028" not in code or language != "javascript"


@pytest.mark.parametrize("language", get_args(Language))
@pytest.mark.parametrize(("api_key", "name"), [({"env": "SOME_KEY"}, "SOME_KEY"), ({"file": "key"}, "RUSHDB_API_KEY")])
def test_the_key_is_a_variable(language: Language, api_key: dict[str, str], name: str) -> None:
    """The one that the configuration names, else the usual one; the key itself is never read."""
    code = application_call(language, target(api_key=api_key), drawn(None)).code
    assert name in code
    assert "http://127.0.0.1:3999/api/v1" in code


@pytest.mark.parametrize("language", get_args(Language))
def test_a_call_that_may_give_fewer_hits_says_so(language: Language) -> None:
    """And one that is exact does not."""
    assert "may give fewer hits" in application_call(language, target(), drawn(None)).code
    assert "may give fewer hits" not in application_call(language, target(), drawn({"a": 1})).code


@pytest.mark.parametrize("language", get_args(Language))
def test_certificates_and_proxy_of_the_configuration_are_told(language: Language) -> None:
    """Curl takes them as options; others from their surroundings."""
    settings = {"url": "https://rushdb.internal", "ca_file": "corp.pem", "proxy": "http://proxy:3128"}
    code = application_call(language, target(**settings), drawn(None)).code
    assert "/srv/corp.pem" in code
    assert "http://proxy:3128" in code
    assert ("--cacert" in code) == (language == "curl")
    assert "--insecure" not in code


def test_only_curl_is_told_not_to_check_certificates_and_only_when_that_is_configured() -> None:
    """As the migration itself does."""
    settings = {"url": "https://rushdb.internal", "tls": "insecure"}
    assert "--insecure" in application_call("curl", target(**settings), drawn(None)).code
