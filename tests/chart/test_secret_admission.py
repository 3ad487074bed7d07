"""Whose Secrets a LlamaDeployment may name: those that its author may read, asked of a real API server."""

import json

import pytest
import yaml

pytestmark = pytest.mark.control_plane

NAMESPACE = "secret-team"
AUTHOR = "deploys-only"
MINE, OTHERS = "mine", "of-others"
POLICY = "llama-operator-secrets"
NAMED = [
    ("weights", {"tokenSecret": {"name": "?", "key": "token"}}),
    ("weights", {"storeSecret": {"name": "?"}}),
    ("usageStore", {"address": "valkey:6379", "secret": "?"}),
    ("headStore", {"address": "redis:6379", "passwordSecret": {"name": "?"}}),
    ("headStore", {"address": "redis:6379", "tls": {"authority": {"secret": "?"}}}),
    ("headStore", {"address": "redis:6379", "tls": {"authority": {"configMap": "ca"}, "clientSecret": "?"}}),
    ("access", {"keys": {"secret": "?"}}),
    ("endpoint", {"expose": {"hosts": ["a.example"], "ingress": {"tlsSecret": "?"}}}),
]
"""Every field of the spec that names a Secret whose content comes into a pod or a controller."""


def of(field, content, secret):
    return {field: json.loads(json.dumps(content).replace('"?"', f'"{secret}"'))}


@pytest.fixture(scope="module")
def plane(bare_plane, helm, root, eventually):
    """The policy alone, and an author who may write LlamaDeployments and read one Secret."""
    chart = root / "charts" / "llama-operator"
    rendered = helm("template", "llama-operator", chart, "-s", "templates/secret-admission.yaml").stdout
    policy = [found for found in yaml.safe_load_all(rendered) if found]
    rbac = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": ["llama-operator.io"], "resources": ["llamadeployments"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [MINE], "verbs": ["get"]},
    ]
    subject = {"apiGroup": rbac, "kind": "User", "name": AUTHOR}
    where = {"name": "author", "namespace": NAMESPACE}
    bare_plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *policy,
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": where, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": where,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "author"},
            "subjects": [subject],
        },
    )
    eventually(lambda: said(bare_plane, AUTHOR, "probe", of(*NAMED[0], OTHERS)))
    yield bare_plane
    bare_plane.kubectl("delete", "validatingadmissionpolicies,validatingadmissionpolicybindings", POLICY)
    bare_plane.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def deployment(name, spec):
    return {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": {"name": "tiny-random-llama"}} | spec,
    }


def said(plane, user, name, spec, *more):
    """The refusal; empty if it is let through."""
    if not more:
        return plane.api.refusal(deployment(name, spec), force=True, user=user)
    as_user = (f"--as={user}",) if user else ()
    command = ("apply", "--server-side", "--force-conflicts", "-f", "-", *more, *as_user)
    return plane.kubectl(*command, stdin=json.dumps(deployment(name, spec)), check=False).stderr


@pytest.mark.parametrize(("field", "content"), NAMED)
def test_a_secret_is_named_by_who_may_read_it(plane, field, content):
    refused = said(plane, AUTHOR, "new", of(field, content, OTHERS))
    assert f"spec names Secret {OTHERS}, and {AUTHOR} may not read it (verb get)" in refused
    assert not said(plane, AUTHOR, "new", of(field, content, MINE))
    assert not said(plane, "", "new", of(field, content, OTHERS)), "the administrator may read all"


def test_what_was_named_before_may_stay_and_the_rest_may_be_changed(plane):
    kept = of(*NAMED[0], OTHERS)
    assert not said(plane, "", "kept", kept, "--field-manager=platform")
    assert not said(plane, AUTHOR, "kept", kept | {"context": {"maxModelLength": 128}})
    assert "may not read" in said(plane, AUTHOR, "kept", kept | of(*NAMED[3], "another"))


def test_no_secret_is_no_question(plane):
    assert not said(plane, AUTHOR, "none", {})
