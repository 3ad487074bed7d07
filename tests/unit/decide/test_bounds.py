"""Replica bounds and queue limits: every field of `spec.scaling` reaches the settings that change while engines run."""

import json
from datetime import UTC, datetime

import pytest

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.api.v1alpha1.scaling import ScalingPreference, ScalingSpec, ScheduleSpec, ScheduleWindow
from llama_operator.api.v1alpha1.tenants import TenantSpec
from llama_operator.decide.bounds import live_settings, most_replicas
from llama_serving.config import RequestPath
from llama_serving.contract.scaling import ScalingKnobs
from llama_serving.contract.tenants import DeskSettings, HouseLimit, HouseLimits, TenantLimits

BATCH = 8
MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OFFICE = ScheduleWindow.model_validate({"name": "office", "from": "08:00", "to": "18:00", "min_replicas": 2})
CHANGED = {
    "schedule": ScheduleSpec(windows=(OFFICE,)),
    "min_replicas": 2,
    "max_replicas": 4,
    "target_queue_depth": 5,
    "max_queued_requests": 50,
    "upscale_delay_seconds": 6,
    "downscale_delay_seconds": 60,
    "preference": ScalingPreference.LATENCY,
    "reserve": 2,
}


def settings(path=RequestPath.INGRESS, *, counts_work=False, **scaling):
    scaled = ScalingSpec(min_replicas=1, max_replicas=3).model_copy(update=scaling)
    spec = LlamaDeploymentSpec.model_validate({"model": {"name": "llama-3.1-8b"}})
    return live_settings(spec.model_copy(update={"scaling": scaled}), BATCH, path, counts_work=counts_work, now=MONDAY)


@pytest.mark.parametrize("path", list(RequestPath))
@pytest.mark.parametrize("field", [name for name in ScalingSpec.model_fields if name != "mode"])
def test_a_field_of_scaling_reaches_serve(field, path):
    before = settings(path, counts_work=True)
    assert settings(path, counts_work=True, **{field: CHANGED[field]}) != before


@pytest.mark.parametrize("path", list(RequestPath))
def test_pods_whose_policy_counts_work_are_told_of_the_preference_and_damp_by_themselves(path):
    found = settings(path, counts_work=True, preference=ScalingPreference.COST, reserve=1)
    assert (found.upscale_delay_seconds, found.downscale_delay_seconds) == (0, 0)
    assert found.desk.scaling == ScalingKnobs(price=5, reserve=1)
    # What older definitions wrote by themselves.
    assert settings(path, counts_work=True, upscale_delay_seconds=5, downscale_delay_seconds=300) == settings(
        path, counts_work=True
    )
    said = settings(path, counts_work=True, upscale_delay_seconds=7, downscale_delay_seconds=60)
    assert (said.upscale_delay_seconds, said.downscale_delay_seconds) == (7, 60)


@pytest.mark.parametrize("path", list(RequestPath))
def test_pods_of_before_keep_their_delays_and_are_told_nothing_new(path):
    found = settings(path, preference=ScalingPreference.COST)
    assert (found.upscale_delay_seconds, found.downscale_delay_seconds) == (5, 300)
    assert found.desk is None or found.desk.scaling is None


def test_on_the_direct_path_the_queue_stands_in_the_engine():
    direct, before = settings(RequestPath.DIRECT, max_queued_requests=50), settings(max_queued_requests=50)
    assert (direct.max_ongoing_requests, direct.max_queued_requests) == (100_000, -1)
    assert direct.desk.max_waiting_requests == before.max_queued_requests == 50
    assert before.desk is None


TENANT = {
    "name": "acme",
    "requestsPerMinute": 1,
    "tokensPerMinute": 7,
    "concurrentRequests": 3,
    "tokensPerDay": 4,
    "tokensPerMonth": 5,
    "maxOutputTokens": 6,
    "priority": -7,
}


def test_every_limit_of_a_tenant_reaches_the_desk_under_the_same_name():
    assert set(TENANT) == {field.alias for field in TenantSpec.model_fields.values()}
    assert set(TenantSpec.model_fields) == set(TenantLimits.model_fields)
    spec = LlamaDeploymentSpec.model_validate_json(json.dumps({"model": {"name": "llama-3.1-8b"}, "tenants": [TENANT]}))
    (found,) = live_settings(spec, BATCH, RequestPath.DIRECT).desk.tenants
    assert found.model_dump() == spec.tenants[0].model_dump()
    assert found.model_dump() == {
        api_field: TENANT[field.alias] for api_field, field in TenantSpec.model_fields.items()
    }
    assert live_settings(spec, BATCH, RequestPath.INGRESS).desk is None


def test_tenants_that_are_not_listed_have_the_limits_of_all_others():
    others = {name: value for name, value in TENANT.items() if name != "name"}
    spec = LlamaDeploymentSpec.model_validate_json(
        json.dumps({"model": {"name": "llama-3.1-8b"}, "otherTenants": others})
    )
    found = live_settings(spec, BATCH, RequestPath.DIRECT).desk
    assert found.tenants == ()
    assert found.others.model_dump(exclude={"name"}) == spec.other_tenants.model_dump()
    assert settings(RequestPath.DIRECT).desk.others is None


@pytest.mark.parametrize("name", list(TenantSpec.model_fields))
def test_a_limit_has_the_same_bounds_in_both(name):
    ours, theirs = (model.model_json_schema(by_alias=False)["properties"][name] for model in (TenantSpec, TenantLimits))
    bounds = {"minimum", "maximum", "minLength", "maxLength", "pattern"}
    values = [
        {key: part[key] for part in (one, *one.get("anyOf", ())) for key in bounds & set(part)}
        for one in (ours, theirs)
    ]
    assert values[0] == values[1] != {}


@pytest.mark.parametrize("mode", ["External", "Manual"])
def test_a_number_of_replicas_that_is_given_is_not_bound_by_the_limit_of_the_queue(mode):
    """`maxReplicas` says so; spec.hardware.maxGPUs is the limit that holds in every mode."""
    written = {"model": {"name": "llama-3.1-8b"}, "replicas": 1024, "scaling": {"mode": mode, "maxReplicas": 2}}
    spec = LlamaDeploymentSpec.model_validate_json(json.dumps(written))
    assert most_replicas(spec) == 1024


def house(requests=None, tokens=None):
    limits = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    return HouseLimits(
        **{
            name: None if most is None else HouseLimit(most=most, policy="house", tier="t")
            for name, most in limits.items()
        }
    )


@pytest.mark.parametrize(
    ("written", "bound", "expected"),
    [
        ({}, house(), (None, None)),
        ({}, house(requests=5), (5, None)),
        ({"requestsPerMinute": 3}, house(requests=5, tokens=9), (3, 9)),
        ({"requestsPerMinute": 30, "tokensPerMinute": 8}, house(requests=5, tokens=9), (5, 8)),
        ({"requestsPerMinute": 30}, None, (30, None)),
    ],
)
def test_of_spec_and_house_policy_the_smaller_limit_wins_for_tenants_that_are_listed_and_for_all_others(
    written, bound, expected
):
    spec = LlamaDeploymentSpec.model_validate_json(
        json.dumps(
            {"model": {"name": "llama-3.1-8b"}, "tenants": [{"name": "acme", **written}], "otherTenants": written}
        )
    )
    desk = live_settings(spec, BATCH, RequestPath.DIRECT, bound).desk
    for found in (*desk.tenants, desk.others):
        assert (found.requests_per_minute, found.tokens_per_minute) == expected
    assert desk.house == bound


def test_house_policy_counts_for_tenants_of_whom_the_spec_says_nothing():
    assert settings(RequestPath.DIRECT).desk.others is None
    spec = LlamaDeploymentSpec.model_validate({"model": {"name": "llama-3.1-8b"}})
    assert live_settings(spec, BATCH, RequestPath.DIRECT, house(tokens=9)).desk.others.tokens_per_minute == 9


def test_what_pods_of_before_do_not_know_is_rendered_only_if_it_is_said():
    assert set(settings(RequestPath.DIRECT).desk.model_dump(exclude_none=True)) == {"tenants", "max_waiting_requests"}
    assert DeskSettings.model_validate({"tenants": [{"name": "acme", "new": 1}], "newer": 1}).tenants[0].name == "acme"
