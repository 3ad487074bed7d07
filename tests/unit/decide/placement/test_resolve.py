"""How settings of platform and team add up for each role."""

import json

import pytest

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.decide.placement.platform_pods import PlatformPods, PodDefaults
from llama_operator.decide.placement.resolve import resolve
from llama_operator.decide.placement.shape import Requirement, Toleration

AMD64 = Requirement("kubernetes.io/arch", "In", ("amd64",))
ZONE = {"key": "zone", "operator": "In", "values": ["a"]}
POOL = {"key": "pool", "operator": "Exists"}


def required(*expressions):
    terms = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def settings(team=None, platform=None, image=None, architectures=("amd64",)):
    written = {"model": {"name": "llama-3.1-8b"}, "pods": team or {}} | ({"image": image} if image else {})
    spec = LlamaDeploymentSpec.model_validate_json(json.dumps(written))
    defaults = PodDefaults.model_validate_json(json.dumps(platform or {}))
    return resolve(spec, PlatformPods(defaults, architectures=architectures))


def test_where_nobody_says_anything_pods_want_the_images_architecture_and_stay_where_they_are():
    found = settings()
    for role in (found.head, found.workers, found.jobs):
        assert (role.tolerations, role.node_selector, role.requirements) == ((), {}, (AMD64,))
        assert (role.cpu_millicores, role.memory_bytes, role.ephemeral_storage_bytes, role.devices) == (
            None,
            None,
            None,
            {},
        )
        assert role.fields.labels == {"sidecar.istio.io/inject": "false"}
        assert role.fields.annotations["karpenter.sh/do-not-disrupt"] == "true"
        assert (role.service_account, role.lock_memory, role.needs_other_pods) == ("", False, False)


def test_a_plan_without_the_platforms_settings_is_that_of_a_platform_that_says_nothing():
    spec = LlamaDeploymentSpec.model_validate_json('{"model": {"name": "llama-3.1-8b"}}')
    assert resolve(spec, None) == settings()


def test_a_team_goes_before_the_platform_and_a_role_before_all():
    found = settings(
        {"nodeSelector": {"pool": "team", "a": "1"}, "head": {"nodeSelector": {"pool": "team-head"}}},
        {"nodeSelector": {"pool": "all", "b": "2"}, "workers": {"nodeSelector": {"pool": "workers", "c": "3"}}},
    )
    assert found.head.node_selector == {"pool": "team-head", "a": "1", "b": "2"}
    assert found.workers.node_selector == {"pool": "team", "a": "1", "b": "2", "c": "3"}
    assert found.jobs.node_selector == {"pool": "team", "a": "1", "b": "2"}


def test_lists_add_up_and_what_has_a_name_is_there_once():
    found = settings(
        {
            "tolerations": [
                {"key": "sku", "value": "gpu"},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
            ],
            "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
            "imagePullSecrets": [{"name": "team"}],
        },
        {
            "tolerations": [{"key": "sku", "value": "gpu"}],
            "env": [{"name": "NCCL_DEBUG", "value": "WARN"}, {"name": "TZ", "value": "UTC"}],
            "imagePullSecrets": [{"name": "platform"}],
        },
    ).workers
    assert found.tolerations == (Toleration("sku", "Equal", "gpu"), Toleration("", "Exists", "", "NoExecute", 60))
    assert {each.name: each.value for each in found.fields.env} == {"TZ": "UTC", "NCCL_DEBUG": "INFO"}
    assert [each.name for each in found.fields.image_pull_secrets] == ["platform", "team"]


def test_what_kubernetes_takes_once_is_there_once():
    """Also where one section says it twice."""
    aliases = [{"ip": "10.0.0.1", "hostnames": [name]} for name in ("hub", "hub", "store")]
    secrets = [{"name": "registry"}, {"name": "registry"}]
    found = settings({"hostAliases": aliases, "imagePullSecrets": secrets}, {"hostAliases": aliases[:1]}).jobs.fields
    assert [(each.ip, each.hostnames) for each in found.host_aliases] == [("10.0.0.1", ("hub", "store"))]
    assert [each.name for each in found.image_pull_secrets] == ["registry"]


def test_requirements_on_nodes_of_both_must_hold():
    """As two terms of Kubernetes, one of them would do."""
    found = settings(required(ZONE), required(POOL, ZONE)).head
    assert found.requirements == (Requirement("pool", "Exists"), Requirement("zone", "In", ("a",)), AMD64)


def test_an_account_is_for_workers_and_jobs_and_never_for_the_head():
    found = settings({"serviceAccountName": "reader"}, {"serviceAccountName": "other"})
    assert [role.service_account for role in (found.head, found.workers, found.jobs)] == ["", "reader", "reader"]
    assert settings(None, {"serviceAccountName": "other"}).workers.service_account == "other"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"cpu": "3"}, (3000, None, None, {})),
        ({"cpu": "2500m", "memory": "12Gi"}, (2500, 12 << 30, None, {})),
        ({"cpu": "1.5", "ephemeralStorage": "200G"}, (1500, None, 200 * 10**9, {})),
        ({"extended": {"rdma/hca": 1}}, (None, None, None, {"rdma/hca": 1})),
    ],
)
def test_amounts_are_read_as_kubernetes_reads_them(written, read):
    found = settings({"workers": {"resources": written}})
    amounts = (found.workers.cpu_millicores, found.workers.memory_bytes, found.workers.ephemeral_storage_bytes)
    assert (*amounts, found.workers.devices) == read
    assert found.head.cpu_millicores is None


def test_a_part_of_the_amounts_may_come_from_the_platform():
    found = settings(
        {"workers": {"resources": {"cpu": "3"}}}, {"workers": {"resources": {"cpu": "8", "memory": "9Gi"}}}
    )
    assert (found.workers.cpu_millicores, found.workers.memory_bytes) == (3000, 9 << 30)


@pytest.mark.parametrize(
    ("changed", "architecture"),
    [
        ({}, (AMD64,)),
        ({"architectures": ("amd64", "arm64")}, (Requirement("kubernetes.io/arch", "In", ("amd64", "arm64")),)),
        ({"architectures": ()}, ()),
        # An image of the team's own is built for the nodes that it names, or for all.
        ({"image": "acme/serving:1"}, ()),
        ({"team": {"nodeSelector": {"kubernetes.io/arch": "arm64"}}}, ()),
        (
            {"platform": required({"key": "kubernetes.io/arch", "operator": "Exists"})},
            (Requirement("kubernetes.io/arch", "Exists"),),
        ),
    ],
    ids=str,
)
def test_pods_run_where_the_image_runs_unless_somebody_says_it_better(changed, architecture):
    found = settings(**changed)
    assert {role.requirements for role in (found.head, found.workers, found.jobs)} == {architecture}


@pytest.mark.parametrize(
    ("image", "architecture"), [("rocm", "amd64"), ("cuda-arm64", "arm64"), ("cuda-volta", "amd64")]
)
def test_the_image_for_another_card_runs_where_that_card_is(image, architecture):
    spec = LlamaDeploymentSpec.model_validate_json('{"model": {"name": "llama-3.1-8b"}}')
    found = resolve(spec, PlatformPods(architectures=("amd64", "s390x")), image)
    assert found.head.requirements == (Requirement("kubernetes.io/arch", "In", (architecture,)),)


NEAR = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}


@pytest.mark.parametrize(
    ("written", "needs"),
    [
        ({"affinity": {"podAffinity": NEAR}}, True),
        ({"affinity": {"podAntiAffinity": NEAR}}, True),
        ({"affinity": {"podAffinity": {}}}, False),
        ({"topologySpreadConstraints": [{"topologyKey": "zone"}]}, False),
        ({"topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}, True),
    ],
)
def test_what_depends_on_other_pods_is_marked(written, needs):
    assert settings(written).workers.needs_other_pods is needs


def test_memory_is_locked_only_if_the_platform_says_so():
    assert settings(None, {"memoryLock": "Enabled"}).workers.lock_memory
    assert not settings(None, {"memoryLock": "Enabled"}).head.lock_memory
