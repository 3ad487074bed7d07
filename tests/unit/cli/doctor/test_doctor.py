"""`kubectl llama doctor`: what a cluster offers, what is missing, and what nobody may say."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from llama_operator import __version__, catalog
from llama_operator.api import crd
from llama_operator.cli.doctor import facts as doctor_facts
from llama_operator.cli.doctor import kinds as foreign_kinds
from llama_operator.cli.doctor.checks import judge
from llama_operator.cli.doctor.deployments import DeploymentFacts
from llama_operator.cli.doctor.facts import CrdFacts, DoctorFacts, NodeSummary, expected_fields
from llama_operator.cli.doctor.storage import StorageClassFacts
from llama_operator.cli.explain.facts import LeaseFacts
from llama_operator.cli.explain.gather import lease_facts
from llama_operator.cli.shared.checks import State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.placement.shape import Amounts, Taint
from llama_operator.decide.platform import Platform
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref, UnavailableError
from llama_operator.observe.unreadable import LeftOut
from support.deployments import node_of
from support.rights import WithoutRights

H100 = catalog.load().accelerator("H100-80GB")
OURS = ("llamadeployments.llama-operator.io", "licenseacceptances.llama-operator.io")


@pytest.fixture
def complete(now):
    """A cluster that has everything."""
    others = [
        *doctor_facts.KUBERAY,
        doctor_facts.GATEWAY_API,
        doctor_facts.KUEUE,
        doctor_facts.PROMETHEUS,
        doctor_facts.METRICS_SERVER,
        doctor_facts.FEATURE_DISCOVERY,
    ]
    return DoctorFacts(
        now=now,
        platform=Platform(
            kubernetes="v1.36.2",
            kuberay="v1.6.2",
            kinds=dict.fromkeys([*others, next(iter(doctor_facts.NETWORK_PLUGINS))], ("v1",)),
        ),
        crds={name: CrdFacts(("v1alpha1",), fields) for name, fields in expected_fields().items()},
        lease=LeaseFacts("llama-system", "llama-operator-0", now - timedelta(seconds=2), 15),
        operators=(DeploymentFacts("llama-system", "llama-operator", "acme/op:1", 2, 2, __version__),),
        kuberays=(DeploymentFacts("kuberay-system", "kuberay-operator", "quay.io/kuberay/operator:v1.6.2", 1, 1),),
        policies=("llama-operator-owned-objects",),
        bindings=("llama-operator-owned-objects",),
        nodes=(
            NodeSummary(
                "gpu-1",
                "H100-80GB",
                8,
                "NVIDIA-H100-80GB-HBM3",
                room=node_of("gpu-1", "H100-80GB", 8).room,
                card=H100,
                runtime="containerd://2.1.4",
            ),
            NodeSummary("cpu-1", "", 0, room=node_of("cpu-1", "CPU", 8).room, runtime="containerd://2.1.4"),
        ),
        node_pools=("gpu",),
        cluster_autoscaler=False,
        storage=(StorageClassFacts("shared", "efs.csi.aws.com", default=True),),
    )


def found(facts, name):
    return next(check for check in judge(facts) if check.name == name)


def without(facts, *names):
    served = {name: versions for name, versions in facts.platform.kinds.items() if name not in names}
    return replace(facts, platform=replace(facts.platform, kinds=served))


def undiscovered(facts):
    return replace(facts, platform=replace(facts.platform, kinds=None))


def test_a_complete_cluster_passes_everything(complete):
    assert {check.state for check in judge(complete)} == {State.PASSED}
    assert not any(check.unblock for check in judge(complete))


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("v1.34.9", State.MISSING),
        ("v1.35.0", State.PASSED),
        ("v1.37.1-gke.100", State.PASSED),
        ("v1.38.0", State.WARNING),
        ("unknown", State.UNKNOWN),
        ("", State.UNKNOWN),
    ],
)
def test_the_api_server_is_of_a_supported_version(complete, version, state):
    told = replace(complete, platform=replace(complete.platform, kubernetes=version))
    assert found(told, "api-server").state is state


def test_our_crds_are_there_and_of_this_version(complete):
    absent = replace(complete, crds={**complete.crds, OURS[0]: None})
    assert found(absent, "crds").state is State.MISSING
    for crd_facts, state, words in (
        (CrdFacts(("v1",), frozenset()), State.MISSING, "does not serve v1alpha1"),
        (CrdFacts(("v1alpha1",), frozenset()), State.WARNING, "is older than this command"),
        (CrdFacts(("v1alpha1",), expected_fields()[OURS[0]] | {"spec.future"}), State.WARNING, "newer than"),
        (Unknown("no right"), State.UNKNOWN, "no right"),
    ):
        check = found(replace(complete, crds={**complete.crds, OURS[0]: crd_facts}), "crds")
        assert check.state is state
        assert words in check.evidence


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({"lease": None, "operators": ()}, State.MISSING, "no Lease and no Deployment"),
        ({"lease": None}, State.MISSING, "no process holds its Lease"),
        ({"lease": Unknown("no right")}, State.PASSED, "no right"),
        ({"lease": Unknown("no right"), "operators": Unknown("no right")}, State.UNKNOWN, "no right"),
        ({"operators": Unknown("no right")}, State.PASSED, "llama-operator-0 leads in llama-system"),
    ],
)
def test_the_operator_runs_or_it_is_said(complete, changed, state, words):
    check = found(replace(complete, **changed), "operator")
    assert check.state is state
    assert words in check.evidence


@pytest.mark.parametrize(
    ("late", "state"),
    [(timedelta(hours=-1), State.PASSED), (timedelta(minutes=9), State.PASSED), (timedelta(minutes=11), State.WARNING)],
    ids=str,
)
def test_a_full_list_that_is_overdue_is_told(complete, late, state):
    lease = replace(complete.lease, listed=complete.now - timedelta(hours=5), lists_again=complete.now - late)
    operator = found(replace(complete, lease=lease), "operator")
    assert operator.state is state
    assert "listed all that it watches 5h ago" in operator.evidence
    assert ("may go unnoticed" in operator.evidence) is (state is State.WARNING)


def test_the_times_of_full_lists_stand_in_the_lease(complete):
    notes = {
        "llama-operator.io/listed-at": "2026-03-02T09:00:00Z",
        "llama-operator.io/lists-again-at": "2026-03-02T09:11:00Z",
    }
    found = lease_facts({"metadata": {"annotations": notes}})
    assert (found.listed.minute, found.lists_again.minute) == (0, 11)
    assert lease_facts({"metadata": {}}).listed is None


def test_a_lease_that_ran_out_means_that_nobody_works(complete):
    check = found(
        replace(complete, lease=replace(complete.lease, renewed=complete.now - timedelta(hours=5))), "operator"
    )
    assert check.state is State.MISSING
    assert "5h ago" in check.evidence


def test_an_operator_of_another_version_is_a_warning(complete):
    other = replace(complete.operators[0], version="9.9.9")
    check = found(replace(complete, operators=(other,)), "operator")
    assert check.state is State.WARNING
    assert "9.9.9" in check.unblock


@pytest.mark.parametrize(
    ("image", "versions", "state"),
    [
        ("kuberay/operator:v1.6.1", (), State.MISSING),
        ("kuberay/operator:1.7.0", (), State.PASSED),
        ("kuberay/operator@sha256:abc", ("v1.6.2",), State.PASSED),
        ("kuberay/operator@sha256:abc", ("v1.5.0",), State.MISSING),
        ("kuberay/operator@sha256:abc", (), State.PASSED),
    ],
)
def test_kuberay_is_new_enough_by_its_image_or_by_what_it_made(complete, image, versions, state):
    deployment = replace(complete.kuberays[0], image=image)
    platform = replace(complete.platform, kuberay="").seen([image.rpartition(":")[2]]).seen(versions)
    check = found(replace(complete, kuberays=(deployment,), platform=platform), "kuberay")
    assert check.state is state


def test_kuberay_is_there_and_runs(complete):
    assert found(without(complete, "rayservices.ray.io"), "kuberay").state is State.MISSING
    stopped = replace(complete, kuberays=(replace(complete.kuberays[0], ready=0),))
    assert "kubectl describe deployment kuberay-operator" in found(stopped, "kuberay").unblock
    untold = replace(complete.platform, kuberay="")
    unseen = found(replace(complete, kuberays=Unknown("no right"), platform=untold), "kuberay")
    assert unseen.state is State.UNKNOWN
    assert "no right" in unseen.evidence
    assert found(undiscovered(complete), "kuberay").state is State.UNKNOWN


@pytest.mark.parametrize("kuberays", [(), Unknown("jo may not list deployments")])
def test_kuberay_whose_deployment_nobody_saw_is_not_called_running(complete, kuberays):
    """A RayCluster keeps the version of what made it, long after that is gone."""
    check = found(replace(complete, kuberays=kuberays), "kuberay")
    assert check.state is State.UNKNOWN
    assert "its Deployment is not seen" in check.evidence
    assert "a RayCluster was made by 1.6.2" in check.evidence
    assert ("jo may not list deployments" in check.evidence) is bool(kuberays)


def test_what_went_wrong_last_with_kuberay_is_told(complete):
    wrong = replace(
        complete.kuberays[0], ready=0, trouble="CrashLoopBackOff: back-off 5m0s restarting failed container"
    )
    check = found(replace(complete, kuberays=(wrong,)), "kuberay")
    assert check.state is State.MISSING
    assert "last trouble: CrashLoopBackOff: back-off 5m0s" in check.evidence
    assert "kubectl logs deployment/kuberay-operator -n kuberay-system" in check.unblock


WAITS = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
ENDED = {"state": {"running": {}}, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
DONE = {"state": {"running": {}}, "lastState": {"terminated": {"reason": "Completed"}}}
REFUSED = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}]


@pytest.mark.parametrize(
    ("containers", "conditions", "said"),
    [
        ([WAITS], [], "last trouble: ImagePullBackOff: Back-off pulling image"),
        ([ENDED], [], "last trouble: OOMKilled"),
        ([DONE], [], None),
        ([], REFUSED, "last trouble: exceeded quota: q"),
        ([], [], None),
    ],
)
def test_the_last_trouble_is_that_of_the_pods_or_of_the_deployment(world, containers, conditions, said):
    install(world)
    labels = {"app.kubernetes.io/name": "kuberay-operator"}
    status = {"readyReplicas": 1, "conditions": conditions}
    deployment(world, "kuberay-operator", labels, "kuberay/operator:v1.6.2", status=status)
    if containers:
        pod_status = {"containerStatuses": containers}
        world.seed(kinds.POD, "kuberay-operator-x", "llama-system", metadata={"labels": labels}, status=pod_status)
    check = next(one for one in world.json("doctor")[1]["checks"] if one["name"] == "kuberay")
    assert (said in check["evidence"]) if said else ("trouble" not in check["evidence"])


RECORDED = (Path(__file__).parent / "kuberay.log").read_text(encoding="utf-8")


def kuberay_evidence(world):
    return next(one for one in world.json("doctor")[1]["checks"] if one["name"] == "kuberay")["evidence"]


def with_kuberay_pod(world, node="n"):
    labels = {"app.kubernetes.io/name": "kuberay-operator"}
    world.seed(kinds.POD, "kuberay-operator-x", "llama-system", metadata={"labels": labels}, spec={"nodeName": node})
    return Ref(kinds.POD, "llama-system", "kuberay-operator-x")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (RECORDED, "the last error in its log, 0s ago: Reconciler error (RayService kuberay-team/chat-70b-196efa73): found 0 head."),
        (RECORDED + '{"level":"info","msg":"all is well"}\n' * 499, "no error in the last 500 lines of its log"),
        (None, "its log is not known: log of Pod llama-system/kuberay-operator-x: its node n does not answer"),
    ],
)  # fmt: skip
def test_the_last_error_in_the_log_of_kuberay_is_told(world, log, said):
    install(world)
    pod = with_kuberay_pod(world)
    if log is not None:
        world.memory.write_log(pod, log)
    assert said in kuberay_evidence(world)


def test_a_log_that_the_user_may_not_read_is_said_to_be_so(world):
    install(world)
    world.memory.write_log(with_kuberay_pod(world), RECORDED)

    class WithoutLogs(WithoutRights):
        def _check(self, verb, ref, request=None, *, part=""):
            if part == "log":
                super()._check(verb, ref, request, part=part)

    world.client = WithoutLogs(world.client)
    evidence = kuberay_evidence(world)
    assert (
        "its log is not known: jo may not get the log of pods kuberay-operator-x in namespace llama-system" in evidence
    )
    assert "found 0 head" not in evidence
    world.client = WithoutRights(world.memory.client("kubectl-llama"), kinds.POD)
    assert "its log is not known: jo may not list pods in all namespaces" in kuberay_evidence(world)


def test_without_a_pod_or_without_a_node_of_it_nothing_is_said_of_a_log(world):
    install(world)
    assert "its log" not in kuberay_evidence(world)
    with_kuberay_pod(world, node="")
    assert "its log" not in kuberay_evidence(world)


def test_a_lease_that_was_given_back_is_held_by_nobody(complete):
    lease = replace(complete.lease, holder="", renewed=complete.now - timedelta(seconds=9))
    check = found(replace(complete, lease=lease), "operator")
    assert check.state is State.MISSING
    assert "nobody holds its Lease: the last process gave it back 9s ago" in check.evidence
    assert (
        "llama-operator-0 holds its Lease and never renewed it"
        in found(replace(complete, lease=replace(complete.lease, renewed=None)), "operator").evidence
    )


def test_nodes_are_labeled_by_a_discovery_or_without_one(complete):
    absent = without(complete, doctor_facts.FEATURE_DISCOVERY)
    assert found(absent, "feature-discovery").state is State.PASSED, "GPU nodes have the label"
    assert found(replace(absent, nodes=()), "feature-discovery").state is State.ABSENT
    assert found(replace(undiscovered(complete), nodes=()), "feature-discovery").state is State.UNKNOWN


def test_the_admission_policy_is_there_and_bound(complete):
    assert found(replace(complete, policies=()), "admission-policy").state is State.WARNING
    assert found(replace(complete, bindings=()), "admission-policy").state is State.WARNING
    assert found(replace(complete, policies=Unknown("no right")), "admission-policy").state is State.UNKNOWN


def test_nodes_are_asked_for_room_for_a_head_and_a_small_model(complete):
    check = found(complete, "room-for-pods")
    assert check.evidence == (
        "a head pod (2.5 cpu, 8.5 GiB of memory) fits 2 node(s); a worker of llama-3.1-8b with one H100-80GB (3 cpu, 12 GiB of "
        "memory, 17 GiB of node disk (ephemeral-storage), 1 nvidia.com/gpu) fits 1 of 1"
    )
    gpu, cpu = complete.nodes
    tainted = replace(gpu, room=replace(gpu.room, taints=(Taint("sku", "NoSchedule", "gpu"),)))
    check = found(replace(complete, nodes=(tainted, cpu)), "room-for-pods")
    assert check.state is State.WARNING
    assert check.evidence.endswith(
        "fits 0 of 1; with H100-80GB on gpu-1 a worker does not tolerate the taint sku=gpu:NoSchedule of gpu-1"
    )
    small = replace(cpu, room=replace(cpu.room, amounts=Amounts(2000, 16 << 30)))
    check = found(replace(complete, nodes=(small,)), "room-for-pods")
    assert check.state is State.WARNING
    assert check.evidence == "no node takes a head pod: it needs 2.5 cpu, and cpu-1, which comes nearest, has 2 left"
    assert found(replace(complete, nodes=Unknown("no right")), "room-for-pods").state is State.UNKNOWN


def test_gpus_are_counted_and_unknown_ones_named(complete):
    assert found(complete, "accelerators").evidence == "8 H100-80GB on 1 node(s)"
    strange = NodeSummary("gpu-2", "", 8, problem="offers nvidia.com/gpu of product NVIDIA-H900: declare it")
    check = found(replace(complete, nodes=(*complete.nodes, strange)), "accelerators")
    assert check.state is State.WARNING
    assert "node gpu-2 offers nvidia.com/gpu of product NVIDIA-H900" in check.evidence
    assert check.unblock == "declare it"
    cordoned = replace(complete.nodes[0], usable=False)
    assert "no node" in found(replace(complete, nodes=(cordoned,)), "accelerators").evidence
    assert found(replace(complete, nodes=()), "accelerators").state is State.WARNING
    assert found(replace(complete, nodes=Unknown("no right")), "accelerators").state is State.UNKNOWN


@pytest.mark.parametrize(
    ("pools", "status", "state"),
    [
        (("gpu",), False, State.PASSED),
        (None, True, State.PASSED),
        ((), False, State.WARNING),
        (None, False, State.WARNING),
        (Unknown("no right"), False, State.UNKNOWN),
        (None, Unknown("no right"), State.UNKNOWN),
    ],
)
def test_something_adds_nodes_or_it_is_said(complete, pools, status, state):
    check = found(replace(complete, node_pools=pools, cluster_autoscaler=status), "node-autoscaler")
    assert check.state is state


def test_a_network_plugin_that_nobody_knows_is_not_called_missing(complete):
    check = found(without(complete, *doctor_facts.NETWORK_PLUGINS), "network-policy")
    assert check.state is State.UNKNOWN


@pytest.mark.parametrize(
    ("name", "crd_name"),
    [
        ("gateway-api", doctor_facts.GATEWAY_API),
        ("kueue", doctor_facts.KUEUE),
        ("prometheus", doctor_facts.PROMETHEUS),
        ("metrics-server", doctor_facts.METRICS_SERVER),
    ],
)
def test_what_nothing_needs_is_absent_not_missing(complete, name, crd_name):
    assert found(without(complete, crd_name), name).state is State.ABSENT
    assert found(undiscovered(complete), name).state is State.UNKNOWN


def install(world):
    """Put there what a real installation would."""
    for resource in crd.RESOURCES:
        built = crd.build(resource)
        world.seed(foreign_kinds.CRD, built["metadata"]["name"], spec=built["spec"])
    served = dict.fromkeys((*doctor_facts.KUBERAY, doctor_facts.KARPENTER), ("v1",))
    world.platform = replace(world.platform, kinds=served)
    part_of = {"app.kubernetes.io/part-of": "llama-operator"}
    deployment(world, "llama-operator", part_of | {"app.kubernetes.io/component": "operator"}, f"acme/op:{__version__}")
    deployment(world, "kuberay-operator", {"app.kubernetes.io/name": "kuberay-operator"}, "kuberay/operator:v1.6.2")
    world.seed(
        kinds.LEASE,
        "llama-operator",
        "llama-system",
        spec={"holderIdentity": "op-0", "renewTime": "2026-03-02T09:29:59Z", "leaseDurationSeconds": 15},
    )
    world.seed(foreign_kinds.ADMISSION_POLICY, "llama-operator-owned-objects", metadata={"labels": part_of})
    world.seed(
        foreign_kinds.ADMISSION_BINDING,
        "llama-operator-owned-objects",
        metadata={"labels": part_of},
        spec={"policyName": "llama-operator-owned-objects"},
    )
    world.seed(foreign_kinds.NODE_POOL, "gpu")
    world.seed(
        kinds.NODE,
        "gpu-1",
        metadata={"labels": {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
        status={
            "allocatable": {
                "nvidia.com/gpu": "8",
                "cpu": "192",
                "memory": "2Ti",
                "ephemeral-storage": "8Ti",
                "pods": "110",
            }
        },
    )


def deployment(world, name, labels, image, status=None):
    world.seed(
        foreign_kinds.DEPLOYMENT,
        name,
        "llama-system",
        metadata={"labels": labels},
        spec={"replicas": 1, "template": {"spec": {"containers": [{"image": image}]}}},
        status=status or {"readyReplicas": 1},
    )


def test_an_installed_cluster_is_ready(world):
    install(world)
    code, found_ = world.json("doctor")
    assert code == 0
    assert found_["complete"] is True
    states = {check["name"]: check["state"] for check in found_["checks"]}
    needed = ("api-server", "crds", "operator", "kuberay", "admission-policy", "accelerators", "node-autoscaler")
    assert {states[name] for name in needed} == {"Passed"}
    code, out, _ = world.run("doctor")
    assert "ready for LlamaDeployments; see network-policy" in out


def test_an_empty_cluster_exits_with_5_and_says_what_to_install(world):
    world.platform = replace(world.platform, kinds={})
    code, out, _ = world.run("doctor")
    assert code == 5
    assert "install KubeRay 1.6.2 or newer" in out
    assert "not ready for LlamaDeployments: crds, operator, kuberay" in out


def test_what_may_not_be_read_is_unknown_not_missing(world):
    install(world)

    world.client = WithoutRights(world.client)
    world.platform = replace(world.platform, kinds=None)
    code, found_ = world.json("doctor")
    assert code == 0
    assert {check["state"] for check in found_["checks"] if check["name"] != "api-server"} == {"Unknown"}
    assert any("jo may not list nodes in all namespaces" in check["evidence"] for check in found_["checks"])


def test_a_cluster_that_does_not_answer_is_an_error_not_a_list_of_missing_things(world):
    class Silent:
        async def get(self, ref):
            raise UnavailableError("no answer from the API server at https://10.0.0.1:6443")

        async def list(self, kind, *, namespace=None, labels=None, fields=None):
            raise UnavailableError("no answer from the API server at https://10.0.0.1:6443")

    world.client = Silent()
    code, _, err = world.run("doctor")
    assert code == 1
    assert "https://10.0.0.1:6443" in err
    assert "--kubeconfig" in err
    assert asyncio.run(world.user.list(kinds.NODE)).items == ()


def test_what_the_operator_cannot_read_is_named_with_the_reason(complete):
    assert found(complete, "readable-objects").state is State.PASSED
    left_out = (LeftOut("Node", "strange", "cpu: 'many' is no amount"), LeftOut("Job", "team-a/x", "no name"))
    told = found(replace(complete, unreadable=left_out), "readable-objects")
    assert told.state is State.WARNING
    assert "Node strange, Job team-a/x" in told.evidence
    assert "cpu: 'many' is no amount" in told.evidence
    assert "kubectl get node strange -o yaml" in told.unblock


def test_objects_are_read_as_the_operator_reads_them(world):
    install(world)
    world.seed(kinds.NODE, "strange", status={"allocatable": {"cpu": "many"}})
    _, told = world.json("doctor")
    check = next(check for check in told["checks"] if check["name"] == "readable-objects")
    assert check["state"] == "Warning"
    assert "Node strange" in check["evidence"]
