"""Team member, license officer and platform owner: what each may write, asked of a real API server."""

import pytest
import yaml

pytestmark = pytest.mark.control_plane

RBAC = "rbac.authorization.k8s.io"
TEAM = "roles-team"
RESOURCES = ("llamadeployments", "licenseacceptances", "licensepolicies", "llamamodels", "accelerators")
WRITES = {
    "team-member": {"llamadeployments"},
    "license-officer": {"licenseacceptances"},
    "platform-owner": {"licensepolicies", "llamamodels", "accelerators"},
}
BUILT_IN = {"edit": {"llamadeployments"}, "admin": {"llamadeployments"}, "view": set()}


@pytest.fixture(scope="module")
def may(bare_plane, helm, root, eventually):
    """Ask what somebody with one role may do."""
    chart = root / "charts" / "llama-operator"
    rendered = helm("template", "llama-operator", chart, "-s", "templates/user-roles.yaml").stdout
    roles = [found for found in yaml.safe_load_all(rendered) if found]
    bare_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}}, *roles)
    names = {role: f"llama-operator-{role}" for role in WRITES} | {role: role for role in BUILT_IN}
    bindings = [
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"roles-{role}"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": role}],
        }
        for role, name in names.items()
    ]
    bare_plane.apply(*bindings)

    def ask(user, verb, resource, *more):
        arguments = ("auth", "can-i", verb, f"{resource}.llama-operator.io", f"--as={user}", "-n", TEAM, *more)
        return bare_plane.kubectl(*arguments, check=False).stdout.strip() == "yes"

    # The controller manager puts aggregated roles together.
    eventually(lambda: all(ask(role, "list", "llamadeployments") for role in names))
    yield ask
    bare_plane.kubectl("delete", "clusterrolebinding", *(found["metadata"]["name"] for found in bindings))
    bare_plane.kubectl("delete", "clusterrole", *(found["metadata"]["name"] for found in roles))
    bare_plane.kubectl("delete", "namespace", TEAM, "--wait=false")


@pytest.mark.parametrize("role", [*WRITES, *BUILT_IN])
def test_each_role_writes_what_it_is_for_and_nothing_else(may, role):
    expected = (WRITES | BUILT_IN)[role]
    for verb in ("create", "patch", "delete"):
        assert {resource for resource in RESOURCES if may(role, verb, resource)} == expected, verb


@pytest.mark.parametrize("role", [*WRITES, *BUILT_IN])
def test_nobody_writes_what_the_operator_says(may, role):
    assert not any(may(role, "patch", resource, "--subresource=status") for resource in RESOURCES)


@pytest.mark.parametrize("role", [*WRITES, *BUILT_IN])
def test_everybody_sees_all_of_it(may, role):
    assert all(may(role, "list", resource) for resource in RESOURCES)
