"""An endpoint in the settings of pods switches traces on, and without one no pod has a variable more."""

import json

import pytest
import yaml

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.placement.platform_pods import PlatformPods, PodDefaults
from llama_operator.desired import objects

KNOWN = catalog.load()
ENDPOINT = {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}
OF_SERVE = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"


def built(team=None, platform=None):
    """The pods of a revision by role, each as its environment, and what Serve runs."""
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
        "spec": {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "pods": team or {}},
    }
    settings = Settings(pods=PlatformPods(PodDefaults.model_validate_json(json.dumps(platform or {}))))
    observed = Observed(parse(json.loads(json.dumps(obj))), acceptances=None)
    made = objects.build(observed, decide(observed, KNOWN), settings).apply
    (service,) = (each for each in made if each["kind"] == "RayService")
    cluster = service["spec"]["rayClusterConfig"]
    groups = {"head": cluster["headGroupSpec"], "worker": cluster["workerGroupSpecs"][0]}
    environments = {
        role: {each["name"]: each.get("value") for each in group["template"]["spec"]["containers"][0]["env"]}
        for role, group in groups.items()
    }
    return environments, yaml.safe_load(service["spec"]["serveConfigV2"]), service["metadata"]["name"]


def of_traces(environment):
    return {name for name in environment if name.startswith(("OTEL_", "RAY_SERVE_TRACING_"))}


@pytest.mark.parametrize("said", [{"team": {"env": [ENDPOINT]}}, {"platform": {"env": [ENDPOINT]}}])
def test_head_and_workers_send_to_the_endpoint_of_the_team_or_the_platform(said):
    environments, _, revision = built(**said)
    for environment in environments.values():
        assert environment["OTEL_SERVICE_NAME"] == "chat"
        assert environment["OTEL_RESOURCE_ATTRIBUTES"] == (
            f"k8s.namespace.name=team-a,service.namespace=team-a,service.version={revision}"
        )
        assert environment["OTEL_TRACES_SAMPLER"] == "parentbased_traceidratio"
        assert environment[OF_SERVE] == "llama_serving.tracing.exporting:span_processors"


def test_what_the_team_says_goes_before_what_is_added():
    own = [
        ENDPOINT,
        {"name": "OTEL_SERVICE_NAME", "value": "mine"},
        {"name": "OTEL_TRACES_SAMPLER", "value": "always_on"},
    ]
    environments, _, _ = built({"env": own})
    for environment in environments.values():
        assert environment["OTEL_SERVICE_NAME"] == "mine"
        assert environment["OTEL_TRACES_SAMPLER"] == "always_on"
        assert "OTEL_TRACES_SAMPLER_ARG" not in environment


def test_an_endpoint_out_of_a_config_map_switches_on_as_well():
    source = {"configMapKeyRef": {"name": "otel", "key": "endpoint"}}
    environments, _, _ = built({"env": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "valueFrom": source}]})
    assert all(OF_SERVE in environment for environment in environments.values())


@pytest.mark.parametrize("env", [[], [{"name": "OTEL_SERVICE_NAME", "value": "mine"}]])
def test_without_an_endpoint_nothing_is_added(env):
    environments, _, _ = built({"env": env})
    for environment in environments.values():
        assert of_traces(environment) == {each["name"] for each in env}


def test_what_serve_runs_is_the_same_with_and_without():
    (_, with_traces, name), (_, without, other) = built(platform={"env": [ENDPOINT]}), built()
    # Of the platform's settings no revision gets another name, and Serve restarts nothing.
    assert (with_traces, name) == (without, other)
