"""A refusal says in the form of the client's dialect whose fault it is."""

import json

import pytest

from llama_serving.door.refusals import Dialect, Refusal, body_of


@pytest.mark.parametrize(
    ("status", "said", "openai", "anthropic"),
    [
        (400, "", "invalid_request_error", "invalid_request_error"),
        (401, "", "invalid_request_error", "authentication_error"),
        (429, "requests", "requests", "rate_limit_error"),
        (500, "", "server_error", "api_error"),
        (503, "", "server_error", "overloaded_error"),
        (599, "", "server_error", "api_error"),
    ],
)
def test_the_kind_of_an_error_follows_from_its_status(status, said, openai, anthropic):
    refusal = Refusal(status, "It is so.", code="so", type=said)
    kinds = [json.loads(body_of(refusal, dialect))["error"]["type"] for dialect in Dialect]
    assert kinds == [openai, anthropic]
