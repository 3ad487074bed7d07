"""A newer CRD under the running operator, and an older operator after a newer one, on a real API server with KubeRay."""

import copy
import json
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.control_plane

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "llama-3.3-70b-fp8-h100"
OURS = ("llamadeployments", "licenseacceptances", "licensepolicies", "llamamodels", "accelerators")


def crd(plural):
    return yaml.safe_load(
        (ROOT / "manifests" / "crds" / f"{plural}.llama-operator.io.yaml").read_text(encoding="utf-8")
    )


def with_field(schema, path, field):
    """Add a field that is required and has a default: it is part of the defaults of all that are around it."""
    *above, last = path.split(".")
    for depth, name in enumerate(above):
        schema = schema["properties"][name]
        default = schema.get("default")
        for below in above[depth + 1 :]:
            default = default[below] if default is not None else None
        if default is not None:
            default[last] = field["default"]
    schema["properties"][last] = field
    schema.setdefault("required", []).append(last)


def newer(plural):
    """The definition as a version to come may have it: new fields with defaults at every depth, and new values."""
    changed = copy.deepcopy(crd(plural))
    schema = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec = schema["properties"]["spec"]["properties"]
    if "status" in schema["properties"]:
        schema["properties"]["status"]["properties"]["gateway"] = {"type": "string"}
    spec["observability"] = {"type": "object", "default": {}, "properties": {}}
    with_field(schema, "spec.observability.traces", {"type": "string", "enum": ["On", "Off"], "default": "Off"})
    if plural == "llamadeployments":
        with_field(schema, "spec.engine.arguments.guidedDecoding", {"type": "string", "default": "auto"})
        spec["scaling"]["properties"]["mode"]["enum"].append("Predictive")
    if plural == "licensepolicies":
        spec["unlistedTiers"]["enum"].append("AskFirst")
    return changed


@pytest.fixture
def definitions(plane):
    """Puts the newer definitions in place, and the right ones back."""

    def put(made):
        plane.apply(*filter(None, map(made, OURS)))

    yield put
    put(crd)
    plane.kubectl("delete", "licensepolicy", "of-a-newer-version", "--ignore-not-found")


@pytest.fixture
def served(user, operator, h100_nodes):
    """A deployment that serves; returns what tells whether an engine restarted."""
    user.apply(SAMPLE)
    user.ready()
    user.at_rest()
    return running(user)


def running(user):
    """uid and generation of what KubeRay acts on, and the pods."""
    found = user.get("rayservices.ray.io,rayclusters.ray.io,controllerrevisions.apps")
    told = {
        (obj["kind"], obj["metadata"]["name"]): (obj["metadata"]["uid"], obj["metadata"].get("generation"))
        for obj in found
        if any(each["manager"] == "llama-operator" for each in obj["metadata"]["managedFields"])
        or obj["kind"] == "RayCluster"
    }
    return told | {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in user.pods("worker") + user.pods("head")}


def patch(user, **spec):
    user.kubectl("patch", "lld", "chat", "--type=merge", "-p", json.dumps({"spec": spec}))


def comes_back(eventually, user, *kinds):
    for kind in kinds:
        user.kubectl("delete", kind, "chat")
    eventually(lambda: all(user.one(kind, "chat") for kind in kinds), f"{kinds} are there again")


def told(eventually, user, kind, reason):
    """Wait for a reason, and see that nobody is asked to do anything about the spec."""
    eventually(lambda: user.condition("chat", kind)["reason"] == reason, f"{kind} is {reason}")
    found = user.condition("chat", kind)
    assert user.condition("chat", "Stalled")["status"] == "False", found
    return found


@pytest.mark.nightly
def test_newer_definitions_under_the_running_operator(eventually, user, served, definitions, plane):
    definitions(newer)
    eventually(lambda: "observability" in user.one("lld", "chat")["spec"], "the API server serves the new defaults")
    # An edit of fields that only the newer version knows: one that is new, and one far down that would restart engines.
    patch(user, observability={"traces": "On"}, engine={"arguments": {"guidedDecoding": "xgrammar"}})
    told(eventually, user, "UpToDate", "RolledOut")
    comes_back(eventually, user, "service", "networkpolicy")
    assert running(user) == served

    patch(user, scaling={"mode": "Predictive"})
    current = told(eventually, user, "UpToDate", "NotUnderstood")
    assert current["status"] == "Unknown"
    assert "spec.scaling.mode" in current["message"]
    assert user.condition("chat", "Ready")["status"] == "True"
    assert running(user) == served
    patch(user, scaling={"mode": "QueueDepth"})
    told(eventually, user, "UpToDate", "RolledOut")

    name = {"metadata": {"name": "of-a-newer-version"}}
    policy = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LicensePolicy"} | name
    plane.apply(policy | {"spec": {"unlistedTiers": "AskFirst"}})
    assert "unlistedTiers" in told(eventually, user, "LicenseAccepted", "NotUnderstood")["message"]
    eventually(
        lambda: "NotUnderstood" in json.dumps(plane.api.find("licensepolicy", "of-a-newer-version").get("status", {})),
        "the policy says so itself",
    )
    plane.kubectl("delete", "licensepolicy", "of-a-newer-version")
    told(eventually, user, "UpToDate", "RolledOut")
    assert running(user) == served


def older(plural):
    """The definition as the version before may have it: Helm upgrades an operator and leaves its definitions as they are.

    None for what it did not know.
    """
    if plural == "accelerators":
        return None
    changed = crd(plural)
    status = changed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    for field in ("scalingHistory", "servingSilentSince", "downSince", "kvCache", "models", "ancestors", "acceptances"):
        status["properties"].pop(field, None)
    return changed


@pytest.fixture
def without_accelerators(plane):
    """The version before knew no Accelerators."""
    name = crd("accelerators")["metadata"]["name"]
    plane.kubectl("delete", "crd", name)
    yield
    plane.apply(crd("accelerators"))
    plane.kubectl("wait", "--for=condition=Established", "crd", name, "--timeout=240s")


def test_a_newer_operator_under_older_definitions(
    eventually, user, without_accelerators, operator, h100_nodes, definitions, plane
):
    definitions(older)
    user.apply(SAMPLE)
    user.ready()
    assert "scalingHistory" not in user.one("lld", "chat")["status"]
    records = lambda: plane.api.find("licenseacceptance", user.namespace).get("status", {})  # noqa: E731
    eventually(
        lambda: records().get("conditions") and "models" not in records(), "a license record has its status, too"
    )
    served = running(user)
    patch(user, model={"name": "llama-9"})
    told_bad = lambda: user.condition("chat", "UpToDate")["reason"] == "ModelUnknown"  # noqa: E731
    eventually(told_bad, "the status follows the spec")
    definitions(crd)
    patch(user, model={"name": "llama-3.3-70b-instruct"})
    told(eventually, user, "UpToDate", "RolledOut")
    eventually(lambda: "scalingHistory" in user.one("lld", "chat")["status"], "the status is whole again")
    assert without_records(running(user)) == without_records(served)


@pytest.mark.nightly
def test_an_older_operator_after_a_newer_one(eventually, user, make_operator, h100_nodes, definitions):
    """The newer one is this operator under newer definitions, and what a newer one would have written beside it.

    Nightly: `tests/transition/test_versions.py` has each thing that a newer one leaves.
    """
    definitions(newer)
    newer_operator = make_operator()
    user.apply(SAMPLE)
    user.ready()
    user.at_rest()
    served = running(user)
    newer_operator.stop()
    written_by_the_newer(user)
    definitions(crd)
    older = make_operator()
    patch(user, license={"purpose": "Evaluation"})
    told(eventually, user, "UpToDate", "RolledOut")
    comes_back(eventually, user, "service", "networkpolicy")
    assert running(user) == served
    (record,) = user.get("controllerrevisions.apps")
    assert record["metadata"]["annotations"]["llama-operator.io/canary-weight"] == "5", "its memory outlives this one"
    assert "gateway" not in user.one("lld", "chat")["status"]

    older.stop()
    replace_record(user, record, record["data"] | {"format": 9})
    older.start()
    patch(user, license={"purpose": "Production"})
    assert "upgrade the operator" in told(eventually, user, "Planned", "NotUnderstood")["message"]
    user.wait_for_kuberay()
    assert without_records(running(user)) == without_records(served)
    (spoiled,) = user.get("controllerrevisions.apps")
    assert spoiled["data"]["format"] == 9, "nothing is planned over it"
    older.stop()
    replace_record(user, spoiled, record["data"])
    older.start()
    told(eventually, user, "UpToDate", "RolledOut")
    assert without_records(running(user)) == without_records(served)


def without_records(found):
    return {key: value for key, value in found.items() if key[0] != "ControllerRevision"}


def written_by_the_newer(user):
    """What a newer operator leaves behind: an annotation, and a field of the status that the old definitions do not have."""
    (record,) = user.get("controllerrevisions.apps")
    flags = ("--server-side", "--force-conflicts", "--field-manager=llama-operator", "-f", "-")
    metadata = {key: record["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    metadata["annotations"] = record["metadata"]["annotations"] | {"llama-operator.io/canary-weight": "5"}
    obj = {key: record[key] for key in ("apiVersion", "kind", "revision", "data")} | {"metadata": metadata}
    user.kubectl("apply", *flags, stdin=json.dumps(obj))
    live = user.one("lld", "chat")
    status = {"apiVersion": live["apiVersion"], "kind": live["kind"], "status": live["status"] | {"gateway": "edge"}}
    status["metadata"] = {"name": "chat", "namespace": user.namespace}
    user.kubectl("apply", "--subresource=status", *flags, stdin=json.dumps(status))
    assert user.one("lld", "chat")["status"]["gateway"] == "edge"


def replace_record(user, record, data):
    """Put another record in the place of one, as who restores a backup does; no operator runs."""
    metadata = {
        key: record["metadata"][key] for key in ("name", "namespace", "labels", "annotations", "ownerReferences")
    }
    made = {key: record[key] for key in ("apiVersion", "kind", "revision")} | {"metadata": metadata, "data": data}
    user.kubectl("delete", "controllerrevision", record["metadata"]["name"])
    user.kubectl("create", "-f", "-", stdin=json.dumps(made))
