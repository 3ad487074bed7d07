"""The names are those of the conventions; the package of the conventions is installed beside the SDK."""

import warnings

import pytest

from llama_serving.contract.usage import Dialect
from llama_serving.tracing import names

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from opentelemetry.semconv import schemas
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, http_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
    from opentelemetry.semconv.attributes import error_attributes

OURS = {names.TENANT, names.REQUEST_ID}
NAMES = {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
ATTRIBUTES = {value for name, value in NAMES.items() if "." in value and name not in {"CONVENTIONS", "SCHEMA"}}


@pytest.mark.parametrize("name", sorted(ATTRIBUTES - OURS))
def test_each_name_is_one_of_the_conventions(name):
    known = set()
    for module in (gen_ai_attributes, http_attributes, error_attributes, gen_ai_metrics):
        known |= {value for value in vars(module).values() if isinstance(value, str)}
    assert name in known


def test_ours_are_told_apart():
    assert all(name.startswith("llama.") for name in OURS)


def test_the_version_is_one_that_there_is():
    assert any(schema.value == names.SCHEMA for schema in schemas.Schemas)


def test_each_api_has_an_operation():
    assert set(names.OPERATIONS) == set(Dialect)


def test_buckets_grow():
    assert all(list(bounds) == sorted(set(bounds)) for bounds in names.BUCKETS.values())


@pytest.mark.parametrize(
    ("name", "in_prometheus"),
    [
        (names.DURATION, "gen_ai_server_request_duration_seconds"),
        (names.REQUEST_MODEL, "gen_ai_request_model"),
        (names.ERROR, "error_type"),
    ],
)
def test_names_in_prometheus(name, in_prometheus):
    assert names.in_prometheus(name) == in_prometheus
