"""The license policies on a real API server without an operator: what may be asked for, and what is said instead.

Nobody reconciles here. Status that the operator would have written is written by the test where a rule reads it.
"""

import json

import pytest
import yaml

from llama_operator.catalog import load

pytestmark = pytest.mark.control_plane

GROUP = "llama-operator.io/v1alpha1"
TEAM, OTHER = "licensed-a", "licensed-b"
TEXTS = {family.id: family.license_text_hashes for family in load().families}
VERSIONS = {"llama-2": "2023-07-18", "llama-3": "2024-04-18", "llama-3.1": "2024-07-23", "llama-3.2": "2024-09-25"}
VERSIONS |= {"llama-3.3": "2024-12-06", "llama-4": "2025-04-05"}


def acceptance(name, family="llama-3.3", **spec):
    """A LicenseAcceptance; a field that is None is left out."""
    fields = {
        "families": [family],
        "versionDate": VERSIONS.get(family, "2023-02-24"),
        "textHashes": list(TEXTS[family][:1]),
        "legalEntity": "Acme Ltd",
        "domicile": "US",
        "acceptedBy": "Jo Doe",
        "acceptedOn": "2026-03-02",
        "namespaces": [TEAM],
    } | spec
    return {
        "apiVersion": GROUP,
        "kind": "LicenseAcceptance",
        "metadata": {"name": name},
        "spec": {field: value for field, value in fields.items() if value is not None},
    }


def deployment(
    model="llama-3.3-70b-instruct", named="acme-3-3", *, name="chat", namespace=TEAM, purpose="Production", **spec
):
    license_spec = {"purpose": purpose, "attributionURL": "https://acme.example/about"}
    return {
        "apiVersion": GROUP,
        "kind": "LlamaDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"name": model}, "license": license_spec | ({"acceptance": named} if named else {})} | spec,
    }


RECORDS = (
    acceptance("acme-3-3"),
    acceptance("acme-2", "llama-2"),
    acceptance("acme-3", "llama-3"),
    acceptance("research", "llama-1"),
    acceptance("terminated", state="Terminated"),
    acceptance("other-team", namespaces=[OTHER]),
    acceptance("old-version", versionDate="2024-12-05"),
    acceptance("evaluation", purposes=["Evaluation"]),
    acceptance("acme-3-2", "llama-3.2"),
    acceptance("gmbh-3-2", "llama-3.2", domicile="DE"),
    acceptance("nowhere-4", "llama-4", domicile=None),
    acceptance("swiss-4", "llama-4", domicile="CH"),
)

REFUSED = {
    "no acceptance": (deployment(named=None), "must be accepted before use (P1)"),
    "no acceptance for a derivative": (deployment("deepseek-r1-distill-llama-8b", None), "llama-3.1"),
    "terminated": (deployment(named="terminated"), "terminated is terminated (P20)"),
    "of another namespace": (deployment(named="other-team"), "not licensed-a (P23)"),
    "in another namespace": (deployment(namespace=OTHER), "not licensed-b (P23)"),
    "of another family": (deployment(named="acme-2"), "needs llama-3.3 (P2)"),
    "of a newer family": (deployment("llama-3-8b", "acme-3-3"), "needs llama-3 (P2)"),
    "of another version": (deployment(named="old-version"), "needs version 2024-12-06 (P2)"),
    "for another purpose": (deployment(named="evaluation"), "spec.license.purpose is Production"),
    "research model in production": (deployment("llama-1-7b", "research"), "only for non-commercial research (P4)"),
    "multimodal for a licensee in the union": (deployment("llama-3.2-11b-vision", "gmbh-3-2"), "domicile DE"),
    "multimodal for a licensee of no country": (deployment("llama-4-scout", "nowhere-4"), "domicile (none)"),
}
ADMITTED = {
    "with the right record": deployment(),
    "no license of its own": deployment("tiny-random-llama", None),
    "no license of its own, with a name that exists nowhere": deployment("tiny-random-llama", "nobody"),
    "research": deployment("llama-1-7b", "research", purpose="NonCommercialResearch"),
    "one of two families": deployment("llama-guard-2-8b", "acme-2"),
    "text model of a licensee in the union": deployment("llama-3.2-1b", "gmbh-3-2"),
    "multimodal outside the union": deployment("llama-4-scout", "swiss-4"),
    "without hardware": deployment(named=None, activation="Suspended"),
    "covered namespace": deployment(named="other-team", namespace=OTHER),
}


class Plane:
    """Tries writes without making them."""

    def __init__(self, plane):
        self.plane = plane

    def said(self, obj, *, force=False):
        """The refusal of creating or changing `obj`; empty when it is let through."""
        return self.plane.api.refusal(obj, force=force)

    def write(self, *objects):
        self.plane.apply(*objects)

    def status(self, kind, name, status):
        obj = {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name}, "status": status}
        self.plane.kubectl(
            "apply", "--server-side", "--force-conflicts", "--subresource=status", "-f", "-", stdin=json.dumps(obj)
        )

    def delete(self, kind, *names):
        self.plane.kubectl("delete", kind, *names, "--ignore-not-found", "--wait=true")


@pytest.fixture(scope="module")
def guarded(bare_plane, helm, root, licenses_are_held):
    """The plane with our definitions and the license policies of the chart."""
    rendered = helm(
        "template", "llama-operator", root / "charts" / "llama-operator", "-s", "templates/license-admission.yaml"
    ).stdout
    policies = [o for o in yaml.safe_load_all(rendered) if o]
    bare_plane.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (TEAM, OTHER)))
    bare_plane.apply(*policies)
    licenses_are_held(bare_plane, TEAM)
    yield Plane(bare_plane)
    leftovers = {"apiVersion": "v1", "kind": "List", "items": policies}
    bare_plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(leftovers))
    bare_plane.kubectl("delete", "namespace", TEAM, OTHER, "--wait=false")
    for kind in ("licenseacceptances", "licensepolicies", "llamamodels"):
        bare_plane.kubectl("delete", kind, "--all")


@pytest.fixture(scope="module")
def unrecorded(guarded):
    """What is said while there is no record at all."""
    asked = {"needs none": deployment("tiny-random-llama", None), "needs one": deployment(named=None)}
    return {case: guarded.said(obj) for case, obj in asked.items()}


@pytest.fixture(scope="module")
def licensed(guarded, unrecorded, eventually):
    """The plane with acceptances of all sorts."""
    guarded.write(*RECORDS)
    eventually(lambda: guarded.said(deployment(named="terminated")))
    return guarded


def test_without_any_record_a_model_that_needs_none_is_admitted(unrecorded):
    assert unrecorded["needs none"] == ""
    assert "must be accepted" in unrecorded["needs one"]


@pytest.mark.parametrize("case", REFUSED)
def test_a_deployment_is_refused_and_told_why(licensed, case):
    asked, said = REFUSED[case]
    assert said in licensed.said(asked)


@pytest.mark.parametrize("case", ADMITTED)
def test_a_deployment_with_its_right_is_admitted(licensed, case):
    assert licensed.said(ADMITTED[case]) == ""


@pytest.mark.parametrize(
    "model", [model.id for model in load().models if load().license_families(model)[0].acceptance_required]
)
def test_no_model_of_the_catalog_under_a_llama_license_is_admitted_without_an_acceptance(licensed, model):
    assert "must be accepted" in licensed.said(deployment(model, None, purpose="NonCommercialResearch"))


def test_an_update_is_judged_like_a_creation_and_labels_are_free(licensed):
    licensed.write(deployment(name="running"))
    changed = deployment(name="running", named="terminated")
    assert "(P20)" in licensed.said(changed, force=True)
    assert licensed.said(deployment(name="running", hardware={"maxGPUs": 8})) == ""
    try:
        licensed.write(acceptance("acme-3-3", state="Terminated", terminatedOn="2026-11-01"))
        licensed.plane.kubectl("label", "llamadeployment", "running", "-n", TEAM, "tier=gold")
        assert licensed.said(deployment(name="running", activation="Suspended")) == ""
    finally:
        licensed.plane.kubectl("delete", "licenseacceptance", "acme-3-3")
        licensed.write(acceptance("acme-3-3"))


PEAK = {"windows": [{"name": "peak", "from": "08:00", "to": "18:00", "maxReplicas": 9}]}


class TestPolicy:
    """House rules."""

    @pytest.fixture
    def house(self, licensed, eventually):
        """Put a policy into force."""

        def set_policy(probe, *tiers, status=None, **spec):
            policy = {"apiVersion": GROUP, "kind": "LicensePolicy", "metadata": {"name": "house"}}
            licensed.write(policy | {"spec": {"tiers": list(tiers)} | spec})
            if status is not None:
                licensed.status("LicensePolicy", "house", status)
            eventually(lambda: licensed.said(probe))
            return licensed.said(probe)

        yield set_policy
        licensed.delete("licensepolicy", "house")
        eventually(lambda: not licensed.said(deployment()))

    def test_a_tier_without_an_entry_is_refused_and_other_licenses_are_not(self, house, licensed):
        said = house(deployment(), {"tier": "CommunityLlama2"})
        assert "House policy (no license term): LicensePolicy house has no entry for tier CommunityLlama31Plus" in said
        assert licensed.said(deployment("llama-2-7b", "acme-2")) == ""
        assert licensed.said(deployment("tiny-random-llama", None)) == ""

    @pytest.mark.parametrize(
        ("rule", "asked", "said"),
        [
            ({"namespaces": [OTHER]}, deployment(), "only in namespaces other than licensed-a"),
            ({"purposes": ["Evaluation"]}, deployment(), "for purpose Production"),
            ({"acceptances": ["another"]}, deployment(), "only by acceptances other than acme-3-3"),
            ({"maxReplicas": 2}, deployment(scaling={"maxReplicas": 3}), "fewer replicas"),
            (
                {"maxReplicas": 2},
                deployment(scaling={"maxReplicas": 2, "schedule": PEAK}),
                "than 9: lower maxReplicas of",
            ),
            ({"maxReplicas": 2}, deployment(scaling={"mode": "External"}, replicas=9), "than 9: lower spec.replicas"),
            ({"requireKeys": "Required"}, deployment(access={"mode": "Open"}), "only with API keys"),
            ({"maxRequestsPerMinute": 9}, deployment(endpoint={"path": "Ingress"}), "only with its limits a minute"),
            ({"maxTokensPerMinute": 9}, deployment(endpoint={"path": "Ingress"}), "only with its limits a minute"),
        ],
        ids=["namespace", "purpose", "acceptance", "replicas", "hours", "number", "keys", "requests", "tokens"],
    )
    def test_a_rule_of_an_entry_is_held(self, house, licensed, rule, asked, said):
        assert said in house(asked, {"tier": "CommunityLlama31Plus"} | rule, unlistedTiers="Allowed")
        assert licensed.said(deployment("llama-2-7b", "acme-2")) == "", "another tier"

    def test_where_others_write_the_number_the_bounds_of_the_queue_do_not_count(self, house, licensed):
        probe = deployment(scaling={"maxReplicas": 9})
        assert "fewer" in house(probe, {"tier": "CommunityLlama31Plus", "maxReplicas": 2}, unlistedTiers="Allowed")
        assert licensed.said(deployment(scaling={"mode": "External", "maxReplicas": 9})) == ""

    def test_an_acceptance_that_does_not_exist_is_refused_once_the_operator_has_looked(self, house, licensed):
        probe = deployment(named="nobody")
        assert licensed.said(probe) == "", "nobody knows"
        said = house(probe, unlistedTiers="Allowed", status={"acceptances": ["acme-3-3"]})
        assert "LicenseAcceptance nobody does not exist" in said
        assert licensed.said(deployment()) == ""


CHECKPOINT = {
    "source": {"huggingFace": {"repository": "acme/chat", "revision": "0" * 40}},
    "digest": "0" * 64,
    "lineage": {"derivedFrom": [{"model": "llama-3.3-70b-instruct", "kind": "Finetune"}]},
}


class TestModel:
    """LlamaModels."""

    @pytest.fixture
    def model(self, licensed, eventually):
        """Add a model, with the status that the operator gives it."""

        def add(probe, resolved, required="Required"):
            licensed.write(
                {"apiVersion": GROUP, "kind": "LlamaModel", "metadata": {"name": "acme-chat"}, "spec": CHECKPOINT}
            )
            condition = {"type": "Resolved", "status": resolved, "reason": "X", "message": "nobody knows merged-x"}
            condition |= {"observedGeneration": 1, "lastTransitionTime": "2026-11-01T00:00:00Z"}
            status = {"conditions": [condition], "acceptanceRequired": required, "licenseFamilies": ["llama-3.3"]}
            licensed.status("LlamaModel", "acme-chat", status)
            eventually(lambda: licensed.said(probe))
            return licensed.said(probe)

        yield add
        licensed.delete("llamamodel", "acme-chat")
        eventually(lambda: not licensed.said(deployment("acme-chat", None)))

    def test_one_of_unknown_lineage_is_refused(self, model):
        assert "has no known lineage (P2)" in model(deployment("acme-chat"), "False", "")

    def test_one_under_a_llama_license_needs_an_acceptance(self, model, licensed):
        assert "is under llama-3.3, which must be accepted" in model(deployment("acme-chat", None), "True")
        assert licensed.said(deployment("acme-chat")) == ""

    def test_its_digest_stays(self, model, licensed):
        model(deployment("acme-chat", None), "True")
        changed = {"apiVersion": GROUP, "kind": "LlamaModel", "metadata": {"name": "acme-chat"}}
        assert "other files are another model" in licensed.said(changed | {"spec": CHECKPOINT | {"digest": "1" * 64}})


@pytest.mark.parametrize(
    "change",
    [
        {"families": ["llama-3.3", "llama-4"]},
        {"legalEntity": "Other Ltd"},
        {"versionDate": "2024-01-01"},
        {"textHashes": []},
        {"domicile": "CH"},
        {"domicile": None},
        {"acceptedBy": "Al"},
        {"metaGrant": {"reference": "G-1", "grantedOn": "2026-01-01"}},
        {"monthlyActiveUsers": {"month": "2024-11", "count": 1, "attestedBy": "Jo", "attestedOn": "2026-03-02"}},
    ],
    ids=str,
)
def test_what_an_acceptance_records_stays(licensed, change):
    assert "it is evidence" in licensed.said(acceptance("acme-3-3", **change))


def test_an_acceptance_changes_its_namespaces_and_its_review_and_ends_once(licensed):
    assert licensed.said(acceptance("acme-3-3", namespaces=[TEAM, OTHER], reviewDueOn="2027-01-01")) == ""
    assert licensed.said(acceptance("acme-3-3", state="Terminated", terminatedOn="2026-11-01")) == ""
    assert "cannot be changed once it is Superseded or Terminated" in licensed.said(
        acceptance("terminated", state="Accepted")
    )
    assert "cannot be changed once it is Superseded or Terminated" in licensed.said(
        acceptance("terminated", state="Withdrawn")
    )
    confirmed = {"confirmedBy": "Sam Roe", "confirmedOn": "2026-11-09", "what": "the volume team-a/weights"}
    ended = {"state": "Terminated", "terminatedOn": "2026-11-01"}
    assert licensed.said(acceptance("acme-3-3", **ended, deletionConfirmed=confirmed)) == ""
    assert "may be set only when state is Terminated" in licensed.said(
        acceptance("acme-3-3", deletionConfirmed=confirmed)
    )
    early = confirmed | {"confirmedOn": "2026-10-31"}
    assert "may not be before terminatedOn" in licensed.said(acceptance("acme-3-3", **ended, deletionConfirmed=early))
    assert "may be set only when state is Terminated" in licensed.said(
        acceptance("acme-3-3", terminatedOn="2026-11-01")
    )


@pytest.fixture
def delete(licensed):
    """What the API server says when an officer deletes something; empty when it lets that through. Nothing is deleted."""
    licensed.plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "license-admission-officer"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "officer"}],
        }
    )

    def refusal(*arguments, groups=()):
        officer = ["--as=officer", *(f"--as-group={group}" for group in ("system:authenticated", *groups))]
        done = licensed.plane.kubectl("delete", *arguments, "--dry-run=server", *officer, check=False)
        return "" if done.returncode == 0 else done.stderr

    return refusal


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("acme-3-3", None, "the operator has not looked at it yet"),
        ("acme-3-3", {"deployments": 1, "firstNamedOn": "2026-03-02"}, "have rested on it since 2026-03-02"),
        ("acme-3-3", {"deployments": 0, "firstNamedOn": "2026-03-02"}, "have rested on it since 2026-03-02"),
        ("terminated", {"deployments": 0, "firstNamedOn": "2026-03-02"}, "have rested on it since 2026-03-02"),
        ("evaluation", {"deployments": 0}, ""),
    ],
)
def test_an_acceptance_that_something_rested_on_is_not_deleted(licensed, delete, name, status, said):
    if status is not None:
        licensed.status("LicenseAcceptance", name, status)
    refused = delete("licenseacceptance", name)
    assert said in refused
    assert bool(refused) is bool(said)
    assert delete("licenseacceptance", name, groups=["system:masters"]) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "Terminated"}, "Terminated drains and stops team-a/chat, team-b/chat"),
        ({"state": "Superseded", "supersededBy": "acme-again"}, "acme-again counts from now on for team-a/chat"),
        ({"state": "Withdrawn"}, "what runs goes on: team-a/chat"),
        ({"reviewDueOn": "2027-01-01"}, ""),
    ],
    ids=lambda value: value.get("state", "review") if isinstance(value, dict) else "",
)
def test_a_step_says_whom_it_hits_and_is_not_refused(licensed, change, said):
    licensed.status("LicenseAcceptance", "acme-3-3", {"deployments": 2, "usedBy": ["team-a/chat", "team-b/chat"]})
    patch = json.dumps({"spec": change})
    done = licensed.plane.kubectl(
        "patch", "licenseacceptance", "acme-3-3", "--type=merge", f"--patch={patch}", "--dry-run=server"
    )
    assert said in done.stderr
    assert ("Warning:" in done.stderr) is bool(said)


@pytest.mark.parametrize("how", ["orphan", "background", "foreground"])
def test_a_deployment_is_not_deleted_without_its_ray_clusters(licensed, delete, how):
    licensed.write(deployment())
    refused = delete("llamadeployment", "chat", "-n", TEAM, f"--cascade={how}")
    assert ("cannot be deleted with --cascade=orphan" in refused) is (how == "orphan")
    assert bool(refused) is (how == "orphan")
    assert delete("llamadeployment", "chat", "-n", TEAM, "--cascade=orphan", groups=["system:masters"]) == ""
    licensed.delete("llamadeployment", "chat", "-n", TEAM)


def test_nobody_signs_for_somebody_else(licensed):
    def signed(name, **spec):
        obj = deployment(name="signed", **spec)
        obj["metadata"]["annotations"] = {"llama-operator.io/requested-by": name}
        return obj

    (me,) = licensed.plane.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}").stdout.split()
    assert "must be" in licensed.said(signed("mallory")) or "set it to your own name" in licensed.said(
        signed("mallory")
    )
    assert licensed.said(signed(me)) == ""
