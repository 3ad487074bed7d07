"""`kubectl llama` against a real API server: what the twin cannot show is defaults, rights, 404s and the real merge."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime

import pytest
import yaml

from llama_operator import catalog
from llama_operator.cli.key import create
from llama_operator.cli.key.store import Store
from llama_operator.cli.main import main
from llama_operator.cli.shared.connection import Connection
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.observed import Settings
from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Ref
from llama_operator.kube.secret_kind import SECRET
from llama_operator.kube.server.client import connect
from llama_operator.observe.serving import NoServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports
from llama_serving.contract.keys import RANDOM_BYTES, is_key_of, make, parse

pytestmark = pytest.mark.control_plane

ACCEPTANCE = "cli-tests"


@pytest.fixture
def llama(kubeconfig, namespace, capsys):
    """The command line on the plane, in the namespace of the test."""

    def run(command, *arguments, at=kubeconfig):
        where = [] if command == "doctor" or "-A" in arguments else ["-n", namespace]
        code = main([command, *arguments, "--kubeconfig", str(at), *where])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def as_json(llama):
    def run(*arguments):
        code, out, err = llama(*arguments, "-o", "json")
        assert out, err
        return code, json.loads(out)

    return run


@pytest.fixture
def manifest(root, namespace, tmp_path):
    """Write the sample of a 70B model, for this namespace, with changes; returns the file."""

    def write(**changes):
        (obj,) = documents(root / "manifests" / "samples" / "llama-3.3-70b-fp8-h100.yaml")
        obj["metadata"] = {"name": "chat"}
        obj["spec"]["license"]["acceptance"] = ACCEPTANCE
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = obj["spec"]
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        path = tmp_path / "m.yaml"
        path.write_text(yaml.safe_dump(obj), encoding="utf-8")
        return path

    return write


@pytest.fixture
def applied(plane, manifest, namespace, root):
    """Apply the manifest, with changes, as a user does."""

    def apply(**changes):
        for obj in documents(root / "manifests" / "samples" / "license-acceptance.yaml"):
            if obj["spec"]["families"] == ["llama-3.3"]:
                spec = obj["spec"] | {"namespaces": [namespace]}
                plane.apply(obj | {"metadata": {"name": ACCEPTANCE}, "spec": spec})
        plane.kubectl("apply", "-n", namespace, "-f", str(manifest(**changes)))

    return apply


@pytest.fixture
def reconciled(kubeconfig, namespace):
    """One pass of the operator over the deployment; returns nothing."""

    async def run():
        async with connect(kubeconfig=kubeconfig) as cluster:
            ports = Ports(
                cluster, NoServingReader(), catalog.load(), Settings(checks_access=False), lambda: datetime.now(UTC)
            )
            await reconcile(ports, Ref(kinds.LLAMA_DEPLOYMENT, namespace, "chat"))

    return lambda: asyncio.run(run())


@pytest.fixture
def live(kubeconfig, namespace):
    """Read the deployment."""

    async def read():
        async with connect(kubeconfig=kubeconfig) as cluster:
            return await cluster.get(Ref(kinds.LLAMA_DEPLOYMENT, namespace, "chat"))

    return lambda: asyncio.run(read())


def test_a_new_deployment_is_shown_and_explained(llama, as_json, applied, reconciled):
    applied()
    code, found = as_json("get", "chat")
    assert code == 0
    assert found["ready"]["status"] == "Unknown"
    reconciled()
    _, found = as_json("get", "chat")
    assert found["plan"]["accelerator"] == "H100-80GB"
    assert (found["ready"]["status"], found["ready"]["reason"]) == ("Unknown", "Starting")
    code, found = as_json("explain", "chat")
    assert code == 5
    checks = {check["name"]: check for check in found["checks"]}
    assert {checks[name]["state"] for name in ("object", "license", "model", "plan", "activation")} == {"Passed"}
    assert "chat" in llama("get", "-A")[1]


def test_a_refused_license_is_explained_with_the_record_that_exists(applied, as_json, reconciled):
    applied(license__acceptance="nobody")
    reconciled()
    code, found = as_json("explain", "chat")
    assert code == 5
    check = next(check for check in found["checks"] if check["name"] == "license")
    assert check["state"] == "Failed"
    assert ACCEPTANCE in check["unblock"]


def test_defaults_of_the_server_are_no_difference(applied, as_json, manifest, reconciled):
    applied()
    reconciled()
    code, found = as_json("diff", "-f", str(manifest()))
    assert code == 0
    assert found["changes"] == []
    assert found["revision"]["exists"] is True


def test_a_diff_says_what_kubectl_apply_then_does(applied, as_json, manifest, live, plane, namespace, reconciled):
    applied(image="acme/serving:1", scaling__mode="External")
    reconciled()
    plane.kubectl("scale", "lld", "chat", "-n", namespace, "--replicas", "3")
    later = {"scaling__mode": "External", "scaling__maxReplicas": 9}
    code, found = as_json("diff", "-f", str(manifest(**later)))
    assert code == 0
    assert {(c["field"], c["from"], c["to"], c["class"]) for c in found["changes"]} == {
        ("spec.image", "acme/serving:1", None, "Restart"),
        ("spec.scaling.maxReplicas", 4, 9, "Live"),
    }
    applied(**later)
    spec = live()["spec"]
    assert (spec["scaling"]["maxReplicas"], spec["replicas"], "image" in spec) == (9, 3, False)
    reconciled()
    assert as_json("diff", "-f", str(manifest(**later)))[1]["revision"]["name"] == found["revision"]["name"]


def test_a_rollback_brings_back_the_revision_with_its_name_and_its_plan(applied, as_json, live, reconciled):
    applied()
    reconciled()
    applied(context__maxModelLength=4096, engine__kvCacheDtype="FP8", scaling__maxReplicas=2)
    reconciled()
    code, found = as_json("history", "chat")
    assert code == 0
    assert [item["number"] for item in found["revisions"]] == [2, 1]
    assert "spec.context.maxModelLength" in {change["field"] for change in found["revisions"][0]["changes"]}
    code, written = as_json("rollback", "chat", "--to-revision", "1")
    assert code == 0
    assert written["toRevision"]["name"] == found["revisions"][1]["name"]
    spec = live()["spec"]
    assert (spec["context"]["maxModelLength"], spec["engine"]["kvCacheDtype"]) == (16384, "Auto")
    assert spec["scaling"]["maxReplicas"] == 2
    reconciled()
    names = {item["name"] for item in as_json("history", "chat")[1]["revisions"]}
    assert names == {item["name"] for item in found["revisions"]}


def test_doctor_reads_a_real_cluster(as_json):
    _, found = as_json("doctor")
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states["api-server"] == "Passed"
    assert states["crds"] == "Passed"
    assert states["kueue"] == "Absent"
    assert states["network-policy"] == "Unknown"


def test_without_rights_the_right_is_named(plane, llama, namespace):
    nobody = plane.kubeconfig_for("jo")
    code, _, err = llama("get", at=nobody)
    assert code == 1
    assert f"jo may not list llamadeployments.llama-operator.io in namespace {namespace}" in err
    code, out, _ = llama("doctor", "-o", "json", at=nobody)
    assert code == 0
    crds = next(check for check in json.loads(out)["checks"] if check["name"] == "crds")
    assert crds["state"] == "Unknown"
    assert "jo may not get customresourcedefinitions.apiextensions.k8s.io" in crds["evidence"]


def test_a_server_that_does_not_answer_is_named(kubeconfig, llama, tmp_path):
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    content["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    code, _, err = llama("get", at=path)
    assert code == 1
    assert "https://127.0.0.1:1" in err
    assert "--kubeconfig" in err


def test_keys_are_kept_in_a_config_map_and_none_is_lost(plane, kubeconfig, namespace, applied, as_json, llama, capsys):
    applied()

    async def several():
        async with connect(kubeconfig=kubeconfig, field_manager="kubectl-llama") as cluster:
            connection = Connection(cluster, cluster, cluster, namespace, lambda: datetime.now(UTC), None)
            await asyncio.gather(
                *(create.command(connection, create.CreateOptions("chat", "acme", output="key")) for _ in range(4))
            )

    asyncio.run(several())
    # Four who make keys at once, of whom one makes the object, lose none.
    keys = capsys.readouterr().out.split()
    ids = {row["id"] for row in as_json("key", "list", "chat")[1]["keys"]}
    assert ids == {parse(key).id for key in keys}
    (old, *others) = ids
    _, new = as_json("key", "rotate", "chat", old)
    assert {row["id"]: row["state"] for row in as_json("key", "list", "chat")[1]["keys"]} == {
        key_id: "EndsSoon" if key_id == old else "Valid" for key_id in (*ids, new["id"])
    }
    # The server drops the map with the last entry; the next key makes it again.
    assert llama("key", "revoke", "chat", old, new["id"], *others)[0] == 0
    assert as_json("key", "list", "chat")[1]["keys"] == []
    assert as_json("key", "create", "chat", "--tenant", "acme")[0] == 0
    plane.kubectl("patch", "configmap", "chat-keys", "-n", namespace, "--type=merge", "-p", '{"immutable": true}')
    code, _, err = llama("key", "create", "chat", "--tenant", "acme")
    assert code == 1
    assert "is immutable" in err


def test_a_secret_takes_keys_by_the_same_patches(plane, namespace, kubeconfig):
    ref = Ref(SECRET, namespace, "ours")
    plane.kubectl("create", "secret", "generic", "ours", "-n", namespace)

    async def go():
        async with connect(kubeconfig=kubeconfig, field_manager="kubectl-llama") as cluster:
            connection = Connection(cluster, cluster, cluster, namespace, lambda: datetime.now(UTC), None)
            store, now = Store(connection, ref, "chat"), datetime.now(UTC)
            keys = [make(bytes([number]) * RANDOM_BYTES) for number in range(3)]
            for key in keys:
                entry = create.entry_of(key, "acme", (), now, None, "")
                await store.change(lambda found, key=key, entry=entry: create.added(found, key, entry))
            found = await store.read()
            await store.change(lambda found: found.removing([keys[0].id]))
            return keys, found, await store.read()

    keys, found, after = asyncio.run(go())
    assert {kept.id for kept in found.kept} == {key.id for key in keys}
    assert all(is_key_of(key, next(kept.entry for kept in found.kept if kept.id == key.id)) for key in keys)
    assert {kept.id for kept in after.kept} == {key.id for key in keys[1:]}


def test_a_role_for_one_object_is_enough_and_its_lack_is_named(plane, namespace, applied, llama, as_json):
    applied()
    assert as_json("key", "create", "chat", "--tenant", "acme")[0] == 0
    rules = ["--verb=get,patch", "--resource=configmaps", "--resource-name=chat-keys"]
    plane.kubectl("create", "role", "keys", "-n", namespace, *rules)
    plane.kubectl(
        "create", "role", "see", "-n", namespace, "--verb=get,list", "--resource=llamadeployments.llama-operator.io"
    )
    jo = plane.kubeconfig_for("jo")
    plane.kubectl("create", "rolebinding", "see", "-n", namespace, "--role=see", "--user=jo")
    code, _, err = llama("key", "create", "chat", "--tenant", "acme", at=jo)
    assert code == 1
    assert f"jo may not get configmaps chat-keys in namespace {namespace}" in err
    plane.kubectl("create", "rolebinding", "keys", "-n", namespace, "--role=keys", "--user=jo")
    assert llama("key", "create", "chat", "--tenant", "acme", at=jo)[0] == 0
    assert len(as_json("key", "list", "chat")[1]["keys"]) == 2


@pytest.fixture(autouse=True)
def _no_record_is_left(kubeconfig):
    """LicenseAcceptances are cluster-scoped: the namespace does not take them along."""
    yield

    async def remove():
        async with connect(kubeconfig=kubeconfig) as cluster:
            with contextlib.suppress(NotFoundError):
                await cluster.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))

    asyncio.run(remove())


@pytest.mark.parametrize("model", ["llama-1-7b", "llama-2-70b", "llama-3.3-70b-instruct", "llama-4-scout"])
def test_the_api_server_refuses_a_template_until_it_is_filled_in(plane, model, capsys):
    assert main(["license", "template", model]) == 0
    template = capsys.readouterr().out
    refused = plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=template, check=False)
    assert refused.returncode != 0
    for field in ("spec.legalEntity", "spec.acceptedBy", "spec.acceptedOn", "spec.namespaces"):
        assert field in refused.stderr
    record = yaml.safe_load(template)
    record["spec"] |= {"legalEntity": "Acme", "domicile": "DE", "acceptedBy": "Jo Doe", "acceptedOn": "2026-03-02"}
    record["spec"]["namespaces"] = ["team-a"]
    if users := record["spec"].get("monthlyActiveUsers"):
        users |= {"count": 5, "attestedBy": "Jo Doe", "attestedOn": "2026-03-02"}
    plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(record))
