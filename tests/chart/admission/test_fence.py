"""The policies on accounts of the platform itself, and on other kinds of KubeRay, on a real API server."""

import copy
import json

import pytest
import yaml

from support.admission import (
    A_JOB,
    AUTOSCALER,
    BACKUP,
    CLUSTER,
    EVERYBODY,
    KUBERAY,
    LABEL,
    OPERATOR,
    OTHER_AUTOSCALER,
    PERSON,
    TEAM,
    TOKEN,
    rayjob,
)
from support.pod_settings import ALLOWED, REFUSED, VALUES

pytestmark = pytest.mark.control_plane

POD = ("spec", "template", "spec")
HEAD = ("spec", "rayClusterConfig", "headGroupSpec", "template", "spec")
WORKER = ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "template", "spec")
CLUSTER_SPEC = ("spec", "rayClusterConfig")


@pytest.fixture(scope="module")
def made(root, objects):
    """What the operator makes that has pods: the Job and the RayService, as they are rendered."""
    job = yaml.safe_load((root / "tests" / "golden" / "access_check.output.yaml").read_text())
    job["metadata"] = {"name": "chat-preflight", "namespace": TEAM, "labels": {LABEL: "chat"}}
    service = copy.deepcopy(objects["rayservice"])
    service["metadata"]["name"] = "chat-new"
    return {"Job": job, "RayService": service}


def at(obj, path):
    for step in path:
        obj = obj[step]
    return obj


def created(guarded, obj, user=OPERATOR):
    """What `user` is told who creates `obj`; empty when it may."""
    return guarded.said(user, "create", "-f", "-", stdin=json.dumps(obj))


def with_field(obj, path, field, value):
    """`obj` with one more field, or one more item where there is a list."""
    found = copy.deepcopy(obj)
    part = at(found, path)
    part[field] = [*part.get(field, []), *value] if isinstance(value, list) else value
    return found


def test_the_operator_creates_what_it_renders_of_each_sample(guarded, root):
    rendered = sorted((root / "tests" / "golden" / "samples").glob("*.output.yaml"))
    services = [
        obj | {"metadata": obj["metadata"] | {"namespace": TEAM}}
        for path in rendered
        for obj in yaml.safe_load(path.read_text())["apply"]
        if obj["kind"] == "RayService"
    ]
    assert len(services) == len(rendered)
    assert {obj["metadata"]["name"]: said for obj in services if (said := created(guarded, obj))} == {}


@pytest.mark.parametrize("kind", ["Job", "RayService"])
def test_the_operator_creates_what_it_renders(guarded, made, kind):
    assert not created(guarded, made[kind])


MOUNTED_DIGEST = f"models@sha256:{'0' * 64}"


def mounted(image):
    return [{"name": "weights", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}]


SECRET_VOLUME = [{"name": "a", "secret": {"secretName": "admin-password"}}]
SECRET_PROJECTED = [{"name": "a", "projected": {"sources": [{"secret": {"name": "admin-password"}}]}}]
SECRET_VARIABLE = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "admin-password", "key": "a"}}}]
SECRET_VARIABLES = [{"secretRef": {"name": "admin-password"}}]
A_CONTAINER = {"name": "more", "image": "good/image"}

IN_ANY_POD = {
    "host path": ("volumes", [{"name": "a", "hostPath": {"path": "/"}}], "of its node"),
    "csi": ("volumes", [{"name": "a", "csi": {"driver": "secrets-store.csi.k8s.io"}}], "of a kind that"),
    "host network": ("hostNetwork", True, "of its node"),
    "host processes": ("hostPID", True, "of its node"),
    "host memory": ("hostIPC", True, "of its node"),
    "account": ("serviceAccountName", "admin", "podServiceAccounts"),
    "account by its old name": ("serviceAccount", "admin", "podServiceAccounts"),
    "privileged": ("containers", [A_CONTAINER | {"securityContext": {"privileged": True}}], "privileged"),
    "privileged at the start": (
        "initContainers",
        [A_CONTAINER | {"securityContext": {"privileged": True}}],
        "privileged",
    ),
    "escalation": ("containers", [A_CONTAINER | {"securityContext": {"allowPrivilegeEscalation": True}}], "privileged"),
    "capability": (
        "containers",
        [A_CONTAINER | {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}],
        "capability",
    ),
    "host port": ("containers", [A_CONTAINER | {"ports": [{"containerPort": 80, "hostPort": 80}]}], "port of its node"),
}
IN_ANY_CLUSTER = {
    "autoscaler": ("autoscalerOptions", {"securityContext": {"privileged": True}}, "privileged"),
    "password of a store in words": (
        "gcsFaultToleranceOptions",
        {"redisAddress": "a:1", "redisPassword": {"value": "x"}},
        "head store",
    ),
    "name from a Secret": (
        "gcsFaultToleranceOptions",
        {
            "redisAddress": "a:1",
            "redisUsername": {"valueFrom": {"secretKeyRef": {"name": "admin-password", "key": "a"}}},
        },
        "head store",
    ),
    "password from the pod": (
        "gcsFaultToleranceOptions",
        {"redisAddress": "a:1", "redisPassword": {"valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}},
        "head store",
    ),
    "token": ("authOptions", {"mode": "token", "secretName": "admin-password"}, "authOptions.secretName"),
}
CASES = [
    *(("Job", POD, *case) for case in IN_ANY_POD.values()),
    *(("RayService", HEAD, *case) for case in IN_ANY_POD.values()),
    *(("RayService", WORKER, *case) for case in IN_ANY_POD.values()),
    *(("RayService", CLUSTER_SPEC, *case) for case in IN_ANY_CLUSTER.values()),
]


def test_the_operators_pods_get_nothing_of_their_node_and_no_rights_of_others(guarded, made):
    for kind, path, field, value, told in CASES:
        said = created(guarded, with_field(made[kind], path, field, value))
        assert told in said, (kind, path, field, value, said)


def head_store(secret):
    return {
        "redisAddress": "redis.team-a.svc:6379",
        "redisUsername": {"value": "ray"},
        "redisPassword": {"valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}},
    }


def test_a_store_of_the_head_is_let_through(guarded, made):
    for options in (head_store("redis"), {"redisAddress": "redis:6379"}):
        assert not created(guarded, with_field(made["RayService"], CLUSTER_SPEC, "gcsFaultToleranceOptions", options))


def test_an_account_that_the_platform_lists_is_let_through(guarded, made):
    for kind, path in (("Job", POD), ("RayService", WORKER)):
        assert not created(guarded, with_field(made[kind], path, "serviceAccountName", "weights-reader"))


SECRETS = [
    ("Job", POD, "imagePullSecrets", [{"name": "admin-password"}]),
    ("Job", POD, "containers", [A_CONTAINER | {"env": SECRET_VARIABLE}]),
    ("Job", POD, "initContainers", [A_CONTAINER | {"envFrom": SECRET_VARIABLES}]),
    ("RayService", HEAD, "volumes", SECRET_VOLUME),
    ("RayService", WORKER, "volumes", SECRET_PROJECTED),
    ("RayService", CLUSTER_SPEC, "autoscalerOptions", {"env": SECRET_VARIABLE}),
    ("RayService", CLUSTER_SPEC, "autoscalerOptions", {"envFrom": SECRET_VARIABLES}),
]


@pytest.fixture
def listed(guarded, helm, root, tmp_path, eventually):
    """The policies where the platform lists Secrets and images."""
    values = tmp_path / "values.json"
    chosen = {"trustedUsers": [BACKUP], "tokenSecrets": [TOKEN], "images": ["good/", "llama-operator/"]}
    values.write_text(json.dumps({"admission": chosen, "serviceAccount": {"name": "llama-operator"}}))
    rendered = helm("template", "second", root / "charts/llama-operator", "-n", "llama-system", "-f", values).stdout
    names = {"second-llama-operator-operator-writes", "second-llama-operator-pod-contents"}
    policies = [o for o in yaml.safe_load_all(rendered) if o and o["metadata"]["name"] in names]
    guarded.plane.apply(*policies)
    eventually(lambda: said_of_deployment(guarded, {"image": "evil/image"}))
    yield guarded
    guarded.plane.kubectl("delete", "validatingadmissionpolicies,validatingadmissionpolicybindings", *names)


def said_of_deployment(guarded, spec):
    return guarded.said(PERSON, "patch", "llamadeployment", "chat", "--type=merge", "-p", json.dumps({"spec": spec}))


def test_secrets_and_images_are_those_that_the_platform_lists(listed, made, eventually):
    """For the operator, and for whoever writes a LlamaDeployment."""
    secret = {"tokenSecret": {"name": "admin-password", "key": "a"}}
    assert "admission.tokenSecrets" in said_of_deployment(listed, {"weights": secret})
    in_store = {"storeSecret": {"name": "admin-password"}}
    assert "names Secret admin-password; " in said_of_deployment(listed, {"weights": in_store})
    assert "admission.images" in said_of_deployment(listed, {"image": "evil/image"})
    assert not said_of_deployment(
        listed, {"weights": {"tokenSecret": {"name": TOKEN, "key": "b"}}, "image": "good/image"}
    )
    eventually(lambda: created(listed, with_field(made["Job"], POD, "volumes", SECRET_VOLUME)))
    for kind, path, field, value in SECRETS:
        assert "admission.tokenSecrets" in created(listed, with_field(made[kind], path, field, value))
    store = {"address": "redis:6379"}
    for named in (
        {"headStore": store | {"passwordSecret": {"name": "admin-password"}}},
        {"headStore": store | {"tls": {"authority": {"secret": "admin-password"}}}},
        {"headStore": store | {"tls": {"authority": {"configMap": "ca"}, "clientSecret": "admin-password"}}},
        {"usageStore": store | {"secret": "admin-password"}},
        {"access": {"mode": "Keys", "keys": {"secret": "admin-password"}}},
    ):
        assert "names Secret admin-password; " in said_of_deployment(listed, named)
    for name, allowed in (("admin-password", False), (TOKEN, True)):
        with_store = with_field(made["RayService"], CLUSTER_SPEC, "gcsFaultToleranceOptions", head_store(name))
        assert bool(created(listed, with_store)) != allowed
    for kind in made:
        assert not created(listed, made[kind])
    job = with_field(made["Job"], POD, "initContainers", [A_CONTAINER | {"image": "evil/image"}])
    assert "admission.images" in created(listed, job)
    for image, allowed in ((f"evil/{MOUNTED_DIGEST}", False), (f"good/{MOUNTED_DIGEST}", True)):
        assert bool(created(listed, with_field(made["RayService"], WORKER, "volumes", mounted(image)))) != allowed
        said = said_of_deployment(listed, {"weights": {"cache": {"mode": "Image", "image": image}}})
        assert bool(said) != allowed
        assert allowed or f"spec.weights.cache.image is {image}; the platform allows" in said


def test_what_a_team_sets_of_pods_is_judged_as_the_operator_judges_it(guarded, helm, root, tmp_path, eventually):
    plane, values = guarded.plane, tmp_path / "values.json"
    values.write_text(json.dumps(VALUES))
    rendered = helm("template", "third", root / "charts/llama-operator", "-n", "llama-system", "-f", values).stdout
    name = "third-llama-operator-pod-settings"
    plane.apply(*(o for o in yaml.safe_load_all(rendered) if o and o["metadata"]["name"] == name))
    # Those of the chart's own values stand beside, and judge by other lists.
    usual, both = "llama-operator-pod-settings", "validatingadmissionpolicies,validatingadmissionpolicybindings"
    taken = plane.api.list(both)
    plane.kubectl("delete", both, usual)
    # The server takes a policy up, and drops one, some time after it was written; only when both are done, all of this is allowed.
    for pods in ALLOWED.values():
        eventually(lambda pods=pods: not said_of_deployment(guarded, {"pods": pods}))
    eventually(lambda: said_of_deployment(guarded, {"pods": REFUSED["account"][0]}))
    for case, (pods, named) in REFUSED.items():
        said = said_of_deployment(guarded, {"pods": pods})
        assert named in said, (case, said)
        assert "chart value" in said or "no key that Kubernetes takes" in said, (case, said)
    plane.kubectl("delete", both, name)
    for policy in (obj for obj in taken if obj["metadata"]["name"] == usual):
        policy["metadata"] = {"name": usual}
        plane.apply({field: content for field, content in policy.items() if field != "status"})


FOREIGN = {
    "service": {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}},
    "networkpolicy": {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}},
    "job": {"apiVersion": "batch/v1", "kind": "Job", "spec": A_JOB},
    "ingress": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": [{"host": "a.example"}]}},
}


def test_the_operator_writes_and_deletes_nothing_that_belongs_to_others(guarded, objects):
    plane = guarded.plane
    for resource, obj in FOREIGN.items():
        named = obj | {"metadata": {"name": "theirs", "namespace": TEAM}}
        assert "operator-writes" in created(guarded, named)
        plane.kubectl("create", "-f", "-", stdin=json.dumps(named))
        label = {"metadata": {"labels": {LABEL: "chat"}}}
        assert guarded.may_patch(resource, "theirs", label) == set(EVERYBODY) - {OPERATOR}
        plane.kubectl("delete", resource, "theirs", "-n", TEAM, "--wait=false")
    assert guarded.said(OPERATOR, "delete", "rayservice", "free-rayservice")
    assert guarded.said(OPERATOR, "delete", "controllerrevision", "free-controllerrevision")


def ingress(service, **spec):
    backend = {"service": {"name": service, "port": {"number": 8000}}}
    paths = [{"path": "/v1", "pathType": "Prefix", "backend": backend}]
    metadata = {"name": "chat", "namespace": TEAM, "labels": {LABEL: "chat"}}
    rules = [{"host": "llama.acme.example", "http": {"paths": paths}}]
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    return kind | {"metadata": metadata, "spec": {"rules": rules} | spec}


def test_what_the_operator_lets_in_reaches_an_endpoint_and_nothing_else(guarded):
    wrong = "leads to something else than the Service chat"
    database = {"service": {"name": "database", "port": {"number": 5432}}}
    assert wrong in created(guarded, ingress("database"))
    assert wrong in created(guarded, ingress("chat", defaultBackend=database))
    assert not created(guarded, ingress("chat"))


SELECTOR = {"clusterSelector": {"ray.io/cluster": CLUSTER}, "entrypoint": "python evil.py"}


def cron(template):
    job = rayjob("nightly", {"jobTemplate": template, "schedule": "0 0 * * *"})
    return job | {"kind": "RayCronJob"}


def test_no_job_of_kuberay_runs_in_a_cluster_of_a_llamadeployment(guarded):
    old = rayjob("evil", SELECTOR) | {"apiVersion": "ray.io/v1alpha1"}
    for obj in (rayjob("evil", SELECTOR), old, cron(SELECTOR)):
        refused = {user for user in EVERYBODY if "spec.rayClusterSpec" in created(guarded, obj, user)}
        # KubeRay as well: it makes the job that a RayCronJob describes.
        assert refused == set(EVERYBODY) - {BACKUP}


def test_jobs_of_kuberay_in_other_clusters_are_nobodys_business(guarded):
    other = {"clusterSelector": {"ray.io/cluster": "free-raycluster"}, "entrypoint": "true"}
    for obj in (rayjob("free", other), cron(other)):
        assert not created(guarded, obj, PERSON)


def test_a_job_is_not_turned_to_a_cluster_of_a_llamadeployment_later(guarded):
    plane = guarded.plane
    other = rayjob("turned", {"clusterSelector": {"ray.io/cluster": "free-raycluster"}, "entrypoint": "true"})
    plane.kubectl("create", "-f", "-", stdin=json.dumps(other))
    assert guarded.judged(PERSON, "rayjob", "turned", "/spec/clusterSelector/ray.io~1cluster", CLUSTER)
    status = json.dumps({"status": {"rayClusterName": CLUSTER}})
    patch = ("patch", "rayjob", "turned", "--subresource=status", "--type=merge", "-p", status)
    assert guarded.may(*patch) == {KUBERAY, BACKUP}
    assert not guarded.said(PERSON, "label", "rayjob", "turned", "mine=yes")
    plane.kubectl("delete", "rayjob", "turned", "-n", TEAM)


def test_no_other_kind_of_kuberay_takes_the_label_of_a_deployment(guarded):
    """KubeRay copies labels of a RayJob to the RayCluster that it makes."""
    job = rayjob("dressed", {"entrypoint": "true", "rayClusterSpec": {"headGroupSpec": HEAD_GROUP}})
    assert not created(guarded, job, PERSON)
    job["metadata"]["labels"] = {LABEL: "chat"}
    assert created(guarded, job, PERSON)


HEAD_GROUP = {
    "rayStartParams": {},
    "template": {"spec": {"containers": [{"name": "a", "image": "a", "resources": {}}]}},
}


def pod(name, labels):
    metadata = {"name": name, "namespace": TEAM, "labels": labels}
    container = {"name": "a", "image": "good", "resources": {"requests": {"cpu": "1"}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


@pytest.fixture(scope="module")
def pods(guarded):
    """A pod of the cluster, one of another cluster, and one of nobody."""
    guarded.plane.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": TEAM}}
    )
    owners = {"own": {"ray.io/cluster": CLUSTER}, "other": {"ray.io/cluster": "free-raycluster"}, "nobodys": {}}
    guarded.plane.apply(*(pod(name, labels) for name, labels in owners.items()))
    return tuple(owners)


def test_an_autoscaler_changes_no_image_and_no_pod_of_others(guarded, pods):
    image = json.dumps({"spec": {"containers": [{"name": "a", "image": "evil"}]}})
    note = json.dumps({"metadata": {"annotations": {"ray.io/ippr-status": "{}"}}})
    label = json.dumps({"metadata": {"labels": {"ray.io/cluster": "free-raycluster"}}})
    larger = json.dumps({"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "2"}}}]}})
    allowed = {
        (user, name, what)
        for user in (AUTOSCALER, PERSON, OTHER_AUTOSCALER)
        for name in pods
        for what, patch in {"image": image, "note": note, "label": label}.items()
        if not guarded.said(user, "patch", "pod", name, "-p", patch)
    }
    others = {
        (user, name, what)
        for user in (PERSON, OTHER_AUTOSCALER)
        for name in pods
        for what in ("image", "note", "label")
    }
    assert allowed == others | {(AUTOSCALER, "own", "note")}
    resize = ("--subresource=resize", "-p", larger)
    assert not guarded.said(AUTOSCALER, "patch", "pod", "own", *resize)
    assert guarded.said(AUTOSCALER, "patch", "pod", "nobodys", *resize)


@pytest.mark.parametrize(
    ("name", "account"),
    [
        (f"abc{'d' * 41}-12345", f"abc{'d' * 41}-12345"),
        (f"abc{'d' * 42}-12345", f"bc{'d' * 42}-12345"),
        (f"ab7{'d' * 44}-12345", f"d{'d' * 43}-12345"),
        (f"a7{'d' * 43}-12345", f"r{'d' * 43}-12345"),
        (f"a-{'d' * 43}-12345", f"r{'d' * 43}-12345"),
    ],
)
def test_the_account_of_an_autoscaler_has_the_name_that_kuberay_gives_it(guarded, objects, name, account):
    """The last 50 characters; one that is no letter at the front becomes an r."""
    plane = guarded.plane
    cluster = objects["raycluster"] | {"metadata": objects["raycluster"]["metadata"] | {"name": name}}
    plane.kubectl("create", f"--as={BACKUP}", "-f", "-", stdin=json.dumps(cluster))
    user = f"system:serviceaccount:{TEAM}:{account}"
    patch = json.dumps([{"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": 6}])
    try:
        done = plane.kubectl(
            *("patch", "raycluster", name, "-n", TEAM, "--type=json", "-p", patch, "--dry-run=server"),
            *(f"--as={user}", "--as-group=system:masters"),
        )
        assert name in done.stdout
    finally:
        plane.kubectl("delete", "raycluster", name, "-n", TEAM, f"--as={BACKUP}", "--wait=false")
