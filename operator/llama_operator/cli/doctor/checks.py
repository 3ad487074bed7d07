"""What a cluster offers to llama-operator, judged. Pure: facts in, checks out; called by `cli.doctor.command`."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from llama_operator import __version__
from llama_operator.api.meta import VERSION
from llama_operator.cli.doctor import mounted_images, room, storage
from llama_operator.cli.doctor.deployments import LOG_LINES, DeploymentFacts
from llama_operator.cli.doctor.facts import (
    FEATURE_DISCOVERY,
    GATEWAY_API,
    KUBERAY,
    KUEUE,
    METRICS_SERVER,
    NETWORK_PLUGINS,
    NO_DISCOVERY,
    PROMETHEUS,
    CrdFacts,
    DoctorFacts,
    NodeSummary,
    expected_fields,
)
from llama_operator.cli.explain.facts import LeaseFacts
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.connection import Unknown, value_or
from llama_operator.cli.shared.output import age
from llama_operator.decide.platform import version

OLDEST_KUBERNETES, NEWEST_KUBERNETES = (1, 35), (1, 37)
"""Minor versions of Kubernetes that this version is for."""
OLDEST_KUBERAY = (1, 6, 2)

_INSTALL = "install the chart: docs/install.md"
_NAMED = 4
_LATE = timedelta(minutes=10)
"""How much later than announced a full list is no cause for a warning: an API server may be away for a while."""


def judge(facts: DoctorFacts) -> tuple[Check, ...]:
    """Judge everything, what is needed first."""
    return tuple(check(facts) for check in _CHECKS)


def _api_server(facts: DoctorFacts) -> Check:
    name, told = "api-server", facts.platform.kubernetes
    numbers = version(told)[:2]
    supported = f"{_text(OLDEST_KUBERNETES)} to {_text(NEWEST_KUBERNETES)}"
    if not numbers:
        return Check(name, State.UNKNOWN, f"version {told or '(not told)'} cannot be compared with {supported}")
    if numbers < OLDEST_KUBERNETES:
        return Check(name, State.MISSING, f"{told}; supported is {supported}", "upgrade the cluster")
    if numbers > NEWEST_KUBERNETES:
        return Check(name, State.WARNING, f"{told} is newer than what was tested: {supported}")
    return Check(name, State.PASSED, f"{told}; supported is {supported}")


def _crds(facts: DoctorFacts) -> Check:
    name = "crds"
    expected = expected_fields()
    live = {crd: facts.crds.get(crd) for crd in expected}
    if unknown := _first_unknown(live.values()):
        return Check(name, State.UNKNOWN, unknown.why)
    absent = [crd for crd, definition in live.items() if definition is None]
    if absent:
        return Check(name, State.MISSING, f"not there: {', '.join(absent)}", "install llama-operator-crds")
    for crd, wanted in expected.items():
        definition = live[crd]
        if not isinstance(definition, CrdFacts):
            continue
        if VERSION not in definition.versions:
            return Check(name, State.MISSING, f"{crd} does not serve {VERSION}", "upgrade llama-operator-crds")
        if lacking := sorted(wanted - definition.fields):
            text = f"{crd} is older than this command ({__version__}): it lacks {_some(lacking)}"
            return Check(name, State.WARNING, text, "upgrade llama-operator-crds")
        if more := sorted(definition.fields - wanted):
            text = f"{crd} is newer than this command ({__version__}): it also has {_some(more)}"
            return Check(name, State.WARNING, text, "upgrade this command")
    return Check(name, State.PASSED, f"{', '.join(expected)} serve {VERSION} as of version {__version__}")


def _operator(facts: DoctorFacts) -> Check:
    name, lease = "operator", facts.lease
    there = "; ".join(map(_deployment, value_or(facts.operators, ())))
    if isinstance(lease, Unknown):
        state = State.PASSED if any(_ready(facts.operators)) else State.UNKNOWN
        return Check(name, state, f"{there or 'its Deployment is not seen'}; its Lease: {lease.why}")
    if lease is None:
        if there:
            return Check(name, State.MISSING, f"{there}; no process holds its Lease", "kubectl logs of that Deployment")
        return Check(name, State.MISSING, "no Lease and no Deployment of it are there", _INSTALL)
    if not lease.alive(facts.now):
        text = f"{_silence(lease, facts)}; {there or 'no Deployment is seen'}"
        return Check(name, State.MISSING, text, f"kubectl get deployments,pods -n {lease.namespace}")
    text = f"{lease.holder} leads in {lease.namespace}, renewed {age(lease.renewed, facts.now)} ago"
    if lease.listed is not None:
        text += f", listed all that it watches {age(lease.listed, facts.now)} ago"
    if lease.lists_again is not None and facts.now > lease.lists_again + _LATE:
        hint = f"kubectl logs -n {lease.namespace} {lease.holder.partition('_')[0]} | grep list"
        return Check(name, State.WARNING, f"{text}, which was to be done again: changes may go unnoticed", hint)
    other = [operator for operator in value_or(facts.operators, ()) if _another_version(operator)]
    if other:
        hint = f"take the kubectl-llama of version {other[0].version}, or upgrade the operator"
        return Check(name, State.WARNING, f"{text}; {there}, this command is {__version__}", hint)
    return Check(name, State.PASSED, f"{text}; {there}" if there else text)


def _silence(lease: LeaseFacts, facts: DoctorFacts) -> str:
    last = age(lease.renewed, facts.now)
    if not lease.holder:
        return "nobody holds its Lease" + (f": the last process gave it back {last} ago" if last else "")
    return f"{lease.holder} holds its Lease and " + (
        f"renewed it {last} ago for the last time" if last else "never renewed it"
    )


def _kuberay(facts: DoctorFacts) -> Check:
    name, platform = "kuberay", facts.platform
    if platform.kinds is None:
        return Check(name, State.UNKNOWN, NO_DISCOVERY)
    if absent := [kind for kind in KUBERAY if platform.lacks(kind)]:
        hint = f"install KubeRay {_text(OLDEST_KUBERAY)} or newer"
        return Check(name, State.MISSING, f"not there: {', '.join(absent)}", hint)
    number = _text(version(platform.kuberay)) if platform.kuberay else ""
    if number and not platform.kuberay_at_least(OLDEST_KUBERAY):
        return Check(name, State.MISSING, number, f"upgrade KubeRay to {_text(OLDEST_KUBERAY)} or newer")
    if not (deployments := value_or(facts.kuberays, ())):
        # A RayCluster keeps the version of the KubeRay that made it, however long that one is gone.
        why = f" ({facts.kuberays.why})" if isinstance(facts.kuberays, Unknown) else ""
        made = f"; a RayCluster was made by {number}" if number else ""
        text = f"its CRDs are there, its Deployment is not seen{why}{made}: whether it runs is not known"
        return Check(name, State.UNKNOWN, text, "kubectl get deployments -A | grep -i kuberay")
    there = "; ".join(map(_deployment, deployments))
    text = f"{number or 'no image or RayCluster tells its version'}; {there}"
    trouble = next((f"; last trouble: {one.trouble}" for one in deployments if one.trouble), "")
    trouble += "".join(f"; {said}" for one in deployments if (said := _log(one, facts.now)))
    if not any(_ready(deployments)):
        where = f"{deployments[0].name} -n {deployments[0].namespace}"
        hint = f"kubectl describe deployment {where}; kubectl logs deployment/{where} --tail=50"
        return Check(name, State.MISSING, f"{text}{trouble}", hint)
    return Check(name, State.PASSED, f"{text}{trouble}")


def _admission(facts: DoctorFacts) -> Check:
    name = "admission-policy"
    if isinstance(facts.policies, Unknown):
        return Check(name, State.UNKNOWN, facts.policies.why)
    if not facts.policies:
        text = "none of ours: others may edit the RayServices of a LlamaDeployment"
        return Check(name, State.WARNING, text, "install the chart with admission.enabled")
    bound = value_or(facts.bindings, facts.policies)
    if loose := [policy for policy in facts.policies if policy not in bound]:
        return Check(name, State.WARNING, f"{', '.join(loose)}: without a binding it does nothing", _INSTALL)
    return Check(name, State.PASSED, ", ".join(facts.policies))


def _accelerators(facts: DoctorFacts) -> Check:
    name = "accelerators"
    if isinstance(facts.nodes, Unknown):
        return Check(name, State.UNKNOWN, facts.nodes.why)
    text = _counted(facts.nodes)
    if refused := [node for node in facts.nodes if node.problem]:
        first = refused[0]
        said, _, cure = first.problem.rpartition(": ")
        names = _some([node.name for node in refused])
        return Check(name, State.WARNING, f"{text}; not used: {names}; node {first.name} {said}", cure)
    if not any(node.accelerator for node in facts.nodes):
        return Check(
            name, State.WARNING, f"{text}: models that need one wait until nodes are added", "add nodes with GPUs"
        )
    return Check(name, State.PASSED, text)


def _readable(facts: DoctorFacts) -> Check:
    name = "readable-objects"
    if isinstance(facts.unreadable, Unknown):
        return Check(name, State.UNKNOWN, facts.unreadable.why)
    if not facts.unreadable:
        return Check(name, State.PASSED, "every object that the operator looks at can be read")
    first = facts.unreadable[0]
    named = _some([f"{each.kind} {each.name}" for each in facts.unreadable])
    namespace, _, own = first.name.rpartition("/")
    where = f" -n {namespace}" if namespace else ""
    hint = f"correct or delete it: kubectl get {first.kind.lower()} {own}{where} -o yaml"
    return Check(name, State.WARNING, f"left out by the operator: {named}; the first: {first.why}", hint)


def _counted(nodes: Iterable[NodeSummary]) -> str:
    gpus: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for node in nodes:
        if node.accelerator and node.usable:
            gpus[node.accelerator] += node.gpus
            count[node.accelerator] += 1
    parts = [f"{gpus[kind]} {kind} on {count[kind]} node(s)" for kind in sorted(gpus)]
    return ", ".join(parts) or "no node with an accelerator that takes pods"


def _autoscaler(facts: DoctorFacts) -> Check:
    name, pools = "node-autoscaler", facts.node_pools
    if isinstance(pools, tuple) and pools:
        return Check(name, State.PASSED, f"Karpenter with NodePools {_some(sorted(pools))}")
    if facts.cluster_autoscaler is True:
        return Check(name, State.PASSED, "Cluster Autoscaler reports its status in kube-system")
    if isinstance(pools, tuple):
        return Check(name, State.WARNING, "Karpenter is there without a NodePool", "create a NodePool with GPUs")
    unknown = _first_unknown((pools, facts.cluster_autoscaler))
    if unknown:
        return Check(name, State.UNKNOWN, unknown.why)
    text = "neither Karpenter nor Cluster Autoscaler is seen: replicas wait until nodes are added"
    return Check(name, State.WARNING, text, "a managed cluster may have one that it does not show")


def _network_policy(facts: DoctorFacts) -> Check:
    name = "network-policy"
    if plugins := [plugin for kind, plugin in NETWORK_PLUGINS.items() if facts.platform.has(kind)]:
        return Check(name, State.PASSED, f"{plugins[0]} is there, which enforces NetworkPolicies")
    return Check(
        name,
        State.UNKNOWN,
        "the API does not tell whether the network plugin enforces NetworkPolicies, which keep others from Ray's ports",
        "see what the network plugin of this cluster says about NetworkPolicy",
    )


def _optional(name: str, kind: str, there: str, absent: str) -> Callable[[DoctorFacts], Check]:
    def check(facts: DoctorFacts) -> Check:
        served = facts.platform.kinds
        if served is None:
            return Check(name, State.UNKNOWN, NO_DISCOVERY)
        if kind not in served:
            return Check(name, State.ABSENT, absent)
        return Check(name, State.PASSED, f"{there} ({', '.join(served[kind])})")

    return check


def _feature_discovery(facts: DoctorFacts) -> Check:
    name = "feature-discovery"
    if facts.platform.has(FEATURE_DISCOVERY):
        return Check(
            name, State.PASSED, "Node Feature Discovery is there, on which NVIDIA's GPU feature discovery rests"
        )
    if any(node.product for node in value_or(facts.nodes, ())):
        return Check(name, State.PASSED, "GPU nodes have the label nvidia.com/gpu.product")
    if facts.platform.kinds is None:
        return Check(name, State.UNKNOWN, NO_DISCOVERY)
    return Check(name, State.ABSENT, "no Node Feature Discovery: something else has to label GPU nodes")


_CHECKS: tuple[Callable[[DoctorFacts], Check], ...] = (
    _api_server,
    _crds,
    _operator,
    _kuberay,
    _admission,
    _accelerators,
    room.check,
    _feature_discovery,
    _readable,
    _autoscaler,
    _network_policy,
    lambda facts: storage.check(facts.storage),
    lambda facts: mounted_images.check(facts.platform, facts.nodes),
    _optional("gateway-api", GATEWAY_API, "Gateway API is there", "no Gateway API: Services are reached inside"),
    _optional("kueue", KUEUE, "Kueue is there", "no Kueue: replicas do not queue for quota"),
    _optional(
        "prometheus",
        PROMETHEUS,
        "Prometheus Operator is there",
        "no Prometheus Operator: scrape /metrics by other means",
    ),
    _optional(
        "metrics-server",
        METRICS_SERVER,
        "the API of a metrics server is there",
        "no metrics server: `kubectl top` shows nothing; llama-operator needs none",
    ),
)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _deployment(facts: DeploymentFacts) -> str:
    return f"{facts.namespace}/{facts.name} {facts.ready}/{facts.wanted} ready, {facts.image}"


def _log(deployment: DeploymentFacts, now: datetime) -> str:
    """What the log of a Deployment's pods says; empty if it has none."""
    error = deployment.last_error
    if not deployment.looked_at_log:
        return ""
    if error is None:
        return f"no error in the last {LOG_LINES} lines of its log"
    if isinstance(error, Unknown):
        return f"its log is not known: {error.why}"
    ago = f", {age(error.at, now)} ago" if error.at is not None else ""
    return f"the last error in its log{ago}: {error.words}"


def _ready(deployments: Iterable[DeploymentFacts] | Unknown) -> list[DeploymentFacts]:
    return [deployment for deployment in value_or(deployments, ()) if deployment.ready]


def _another_version(operator: DeploymentFacts) -> bool:
    return bool(operator.version) and operator.version != __version__


def _first_unknown(facts: Iterable[object]) -> Unknown | None:
    return next((item for item in facts if isinstance(item, Unknown)), None)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
