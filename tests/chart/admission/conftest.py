"""The plane with the policies of the chart, for all modules of this folder: the API server takes some seconds to know them."""

import json
from contextlib import contextmanager

import pytest
import yaml

from support import admission


@pytest.fixture(scope="module")
def objects(root):
    """One of each guarded kind, and one of each that is nobody's."""
    return admission.guarded_objects(root)


@pytest.fixture(scope="module")
def guarded(furnished, bare_server, with_definitions, helm, root, objects, eventually, tmp_path_factory):
    """The plane with the policies of the chart, all objects, and a namespace in which everybody may do everything."""

    def begin():
        return in_force(with_definitions(bare_server), helm, root, objects, eventually, tmp_path_factory)

    return furnished.with_("the policies", begin)


@contextmanager
def in_force(plane, helm, root, objects, eventually, tmp_path_factory):
    chart = root / "charts" / "llama-operator"
    values = tmp_path_factory.mktemp("values") / "values.json"
    chosen = {
        "trustedUsers": [admission.BACKUP],
        "breakGlassGroups": ["firefighters"],
        "podServiceAccounts": ["weights-reader"],
    }
    values.write_text(json.dumps({"admission": chosen}))
    rendered = helm("template", "llama-operator", chart, "--namespace", "llama-system", "--values", values).stdout
    policies = [o for o in yaml.safe_load_all(rendered) if o and o["kind"].startswith("ValidatingAdmissionPolicy")]
    group = admission.RBAC
    plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": admission.TEAM}},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "admission-test"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user} for user in admission.EVERYBODY],
        },
        admission.deployment(root),
        *objects.values(),
    )
    plane.apply(*policies)
    guard = admission.Guard(plane)
    eventually(guard.is_up)
    yield guard
    leftovers = {"apiVersion": "v1", "kind": "List", "items": policies}
    plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(leftovers))
    plane.kubectl("delete", "clusterrolebinding", "admission-test")
    plane.kubectl("delete", "namespace", admission.TEAM, "--ignore-not-found", "--timeout=240s")
