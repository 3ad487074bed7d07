"""What the charts render: shape, security and the agreement with the operator's own settings."""

import json
import re

import kubernetes_validate
import pytest
import yaml

from generate import install_manifests
from llama_operator.decide.placement.platform_pods import PodRules
from llama_operator.evidence import follow
from llama_operator.settings.operator import OperatorSettings
from llama_operator.settings.options import SettingsError, load, options

pytestmark = pytest.mark.control_plane

EVERYTHING = {
    "replicas": 3,
    "namespaces": ["team-a", "team-b"],
    "settings": {"servingImage": "registry.example/serving:1", "workers": 4, "graceSeconds": 60, "logLevel": "Debug"},
    "kuberay": {"namespace": "ray", "serviceAccount": "kuberay"},
    "image": {"digest": "sha256:" + "a" * 64, "pullSecrets": ["regcred"]},
    "serviceAccount": {"name": "operator", "annotations": {"example.com/a": "b"}},
    "evidence": {"signingKeySecret": {"name": "evidence-key", "key": "private.pem"}},
    "admission": {"podServiceAccounts": ["reader"], "tokenSecrets": ["hugging-face"], "images": ["registry.example/"]},
    "podDefaults": {"tolerations": [{"key": "sku", "operator": "Exists"}], "imagePullSecrets": [{"name": "registry"}]},
    "podRules": {"env": ["ACME_*"], "metadataKeys": ["cluster-autoscaler.kubernetes.io/*"]},
    "networkPolicy": {"enabled": True, "egress": True, "extraEgress": [{"ports": [{"port": 4317}]}]},
    "priorityClassName": "system-cluster-critical",
    "runtimeClassName": "gvisor",
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
    "commonLabels": {"team": "platform"},
    "podLabels": {"pod": "yes"},
    "podAnnotations": {"note": "x"},
}
VARIANTS = {
    "defaults": {},
    "everything": EVERYTHING,
    "single": {"replicas": 1, "admission": {"enabled": False}, "rbac": {"aggregate": False}},
}


GENERATED = {"settings", "podDefaults", "podRules"}
"""Values whose schema is the operator's own; the file shows some of them in comments."""

ABSENT = {
    ("", "networkpolicies"),
    ("networking.k8s.io", "services"),
    ("apps", "jobs"),
    ("batch", "controllerrevisions"),
    ("", "licenseacceptances"),
    ("", "licensepolicies"),
    ("", "llamamodels"),
    ("", "accelerators"),
    ("llama-operator.io", "nodes"),
}
"""Pairs that a rule over two groups names and no cluster has."""


def find(objects, kind, name=None):
    return [o for o in objects if o["kind"] == kind and (name is None or o["metadata"]["name"] == name)]


def only(objects, kind, name=None):
    (found,) = find(objects, kind, name)
    return found


def container(objects):
    (found,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def environment(objects):
    return {variable["name"]: variable.get("value") for variable in container(objects)["env"]}


@pytest.mark.parametrize("chart", ["llama-operator", "llama-operator-crds"])
def test_helm_finds_nothing_to_complain_about(helm, root, chart):
    assert "0 chart(s) failed" in helm("lint", "--strict", root / "charts" / chart).stdout


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_object_is_valid_for_the_newest_kubernetes(render, values):
    objects = render(values)
    for each in objects:
        kubernetes_validate.validate(each, "1.37", strict=True)
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_variable_is_a_setting_that_the_operator_takes(render, values):
    found = {name: value for name, value in environment(render(values)).items() if name.startswith("LLAMA_OPERATOR_")}
    assert set(found) <= {option.variable for option in options()}
    load([], {name: value or "filled-by-the-pod" for name, value in found.items()})


def test_values_reach_the_operator(render):
    found = environment(render(EVERYTHING))
    settings = load([], {k: v or "llama-system" for k, v in found.items() if k.startswith("LLAMA_OPERATOR_")})
    assert settings.namespaces == ("team-a", "team-b")
    assert (settings.workers, settings.grace_seconds, settings.kuberay_namespace) == (4, 60, "ray")
    assert settings.serving_image == "registry.example/serving:1"
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"


def test_what_the_platform_says_about_pods_reaches_the_operator(render):
    found = environment(render(EVERYTHING))
    pods = load([], {k: v for k, v in found.items() if k.startswith("LLAMA_OPERATOR_POD_")}).decisions().pods
    assert [each.key for each in pods.defaults.tolerations] == ["sku"]
    assert [each.name for each in pods.defaults.image_pull_secrets] == ["registry"]
    assert pods.rules.env == ("ACME_*",)
    assert pods.rules.service_accounts == ("reader",)
    assert pods.rules.fields == PodRules().fields


def ids(pod):
    return {
        name: value for name, value in pod["securityContext"].items() if name not in {"runAsNonRoot", "seccompProfile"}
    }


def test_on_openshift_the_platform_gives_the_ids(helm, root, render):
    fixed = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    assert ids(only(render(), "Deployment")["spec"]["template"]["spec"]) == fixed
    chart = root / "charts/llama-operator"
    there = helm("template", "llama-operator", chart, "--api-versions", "security.openshift.io/v1").stdout
    pod = only([o for o in yaml.safe_load_all(there) if o], "Deployment")["spec"]["template"]["spec"]
    assert ids(pod) == {}
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_ids_can_be_others_or_left_out(render):
    chosen = {"podSecurityContext": {"runAsUser": 1000, "runAsGroup": None, "fsGroup": 1000}}
    assert ids(only(render(chosen), "Deployment")["spec"]["template"]["spec"]) == {"runAsUser": 1000, "fsGroup": 1000}


def test_the_chart_gives_more_time_to_stop_than_the_operator_takes(render):
    for values, seconds in (({}, OperatorSettings().grace_seconds), (EVERYTHING, 60)):
        assert only(render(values), "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > seconds


def test_every_setting_is_a_value_or_decided_by_the_chart(root):
    schema = json.loads((root / "charts/llama-operator/values.schema.json").read_text())
    offered = set(schema["properties"]["settings"]["properties"])
    assert offered == dict(install_manifests.settings_schema()).keys()
    assert len(offered) + len(install_manifests.CHART_OWNED) == len(OperatorSettings.model_fields)


def test_the_values_file_and_its_schema_name_the_same_values(root):
    values = yaml.safe_load((root / "charts/llama-operator/values.yaml").read_text())
    schema = json.loads((root / "charts/llama-operator/values.schema.json").read_text())

    def names(part, prefix=""):
        for key, value in part.get("properties", {}).items():
            assert value.get("description"), f"{prefix}{key} has no description"
            yield f"{prefix}{key}"
            if value.get("additionalProperties") is False and key not in GENERATED:
                yield from names(value, f"{prefix}{key}.")

    def given(part, prefix=""):
        for key, value in part.items():
            yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from given(value, f"{prefix}{key}.")

    described = set(names(schema))
    inner = ("resources.requests.", "resources.limits.")
    free = (*inner, *(f"evidence.container.{name}" for name in inner))
    assert {name for name in given(values) if not name.startswith(free)} == described - {"global"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replica": 2}, "replica"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": "2"}, "replicas"),
        ({"namespaces": ["Team"]}, "namespaces"),
        ({"settings": {"worker": 4}}, "worker"),
        ({"settings": {"workers": 0}}, "workers"),
        ({"settings": {"logLevel": "Loud"}}, "logLevel"),
        ({"settings": {"probePort": 9}}, "probePort"),
        ({"image": {"digest": "abc"}}, "digest"),
        ({"image": {"repository": "bad repo:x"}}, "repository"),
        ({"image": {"repository": "acme/operator:1.0"}}, "repository"),
        ({"image": {"repository": "https://registry.example/operator"}}, "repository"),
        ({"image": {"tag": "a tag"}}, "tag"),
        (
            {"settings": {"leaseDurationSeconds": 3}},
            "leaseRenewSeconds < leaseDurationSeconds must hold, found 2, 10, 3",
        ),
        ({"settings": {"leaseRenewSeconds": 15}}, "found 2, 15, 15"),
        ({"settings": {"leaseRetrySeconds": 10}}, "found 10, 10, 15"),
        ({"admission": {"trustedUsers": ["a'] || true || 'b' in ['"]}}, "trustedUsers"),
        ({"admission": {"podServiceAccounts": ["a'] || true || 'b' in ['"]}}, "podServiceAccounts"),
        ({"admission": {"tokenSecrets": ["Hub_Token"]}}, "tokenSecrets"),
        ({"admission": {"images": ["evil' in ["]}}, "images"),
        ({"kuberay": {"serviceAccount": "x' || true || '"}}, "serviceAccount"),
        ({"podDefaults": {"toleration": []}}, "toleration"),
        ({"podDefaults": {"head": {"serviceAccountName": "a"}}}, "serviceAccountName"),
        ({"podDefaults": {"serviceAccountName": "a'] || true || 'b' in ['"}}, "serviceAccountName"),
        ({"podRules": {"env": ["A'].exists("]}}, "env"),
        ({"podRules": {"serviceAccounts": ["a"]}}, "serviceAccounts"),
        ({"podSecurityContext": {"privileged": True}}, "privileged"),
        ({"metrics": {"monitor": "Prometheus"}}, "monitor"),
        ({"metrics": {"fromNamespaces": ["*"]}}, "fromNamespaces"),
        ({"extraEnv": [{"name": "LLAMA_OPERATOR_WORKERS", "value": "1"}]}, "extraEnv"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is needed"),
        ({"evidence": {"signingKeySecret": {"name": "Key"}}}, "name"),
        ({"evidence": {"signingKeySecret": {"name": "a", "key": "../token"}}}, "key"),
        ({"evidence": {"signingKeySecret": {"name": "a", "key": ""}}}, "key"),
        ({"evidence": {"signingKey": "a"}}, "signingKey"),
        ({"settings": {"evidenceSigningKey": "/tmp/key.pem"}}, "evidenceSigningKey"),
        # A null takes the default away, and what stays would be a policy that lets nobody write, or one that is not there.
        ({"admission": None}, "missing property 'admission'"),
        ({"admission": {"enabled": None}}, "missing property 'enabled'"),
        ({"admission": {"images": None}}, "missing property 'images'"),
        ({"admission": {"breakGlassGroups": None}}, "missing property 'breakGlassGroups'"),
        ({"image": {"repository": None}}, "missing property 'repository'"),
        ({"kuberay": {"namespace": None}}, "missing property 'namespace'"),
        ({"networkPolicy": {"egress": True, "apiServerPorts": None}}, "missing property 'apiServerPorts'"),
        ({"metrics": {"monitor": None}}, "missing property 'monitor'"),
        ({"settings": {"logLevel": None}}, "logLevel"),
        ({"commonLabels": {"app.kubernetes.io/name": "acme"}}, "app.kubernetes.io/name"),
        ({"podLabels": {"app.kubernetes.io/instance": "acme"}}, "app.kubernetes.io/instance"),
        ({"commonLabels": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}}, "aggregate-to-admin"),
        ({"commonLabels": {"llama-operator.io/deployment": "chat"}}, "llama-operator.io/deployment"),
        ({"commonLabels": {"team": "not valid!"}}, "commonLabels/team"),
        ({"image": {"pullSecrets": [""]}}, "pullSecrets"),
    ],
    ids=str,
)
def test_wrong_values_are_refused_by_name(refusal, values, said):
    assert said in refusal(values)


@pytest.mark.parametrize(
    "repository",
    [
        "llama-operator",
        "acme/llama-operator",
        "registry.example/acme/llama_operator",
        "localhost:5000/a",
        "[::1]:5000/a/b-c",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/llama-operator",
    ],
)
def test_a_repository_of_any_registry_is_taken(render, repository):
    image = only(render({"image": {"repository": repository}}), "Deployment")["spec"]["template"]["spec"]["containers"][
        0
    ]
    assert image["image"].startswith(f"{repository}:")


@pytest.mark.parametrize(
    ("settings", "holds"),
    [((2, 10, 15), True), ((4, 5, 6), True), ((2, 2, 15), False), ((2, 15, 15), False)],
)
def test_the_chart_and_the_operator_agree_on_the_times_of_the_lease(refusal, render, settings, holds):
    names = ("leaseRetrySeconds", "leaseRenewSeconds", "leaseDurationSeconds")
    values = {"settings": dict(zip(names, settings, strict=True))}
    given = {option: str(seconds) for option, seconds in zip(_TIMES, settings, strict=True)}
    if holds:
        assert load([], given).lease_retry_seconds == settings[0]
        assert environment(render(values)).items() >= given.items()
    else:
        assert "must hold" in refusal(values)
        with pytest.raises(SettingsError, match="must hold"):
            load([], given)


_TIMES = [f"LLAMA_OPERATOR_LEASE_{name}_SECONDS" for name in ("RETRY", "RENEW", "DURATION")]


def test_the_chart_assumes_the_operators_own_times_of_the_lease(refusal):
    own = OperatorSettings()
    found = (own.lease_retry_seconds, own.lease_renew_seconds, own.lease_duration_seconds)
    # Each wrong by itself, so that the two others in the message are what the chart assumes.
    assert f"found {found[0]}, {found[1]}, 1;" in refusal({"settings": {"leaseDurationSeconds": 1}})
    assert f"found 600, {found[1]}, {found[2]};" in refusal({"settings": {"leaseRetrySeconds": 600}})


def test_the_key_of_evidence_is_a_file_that_the_kubelet_mounts_for_the_process_alone(render):
    pod = only(render(EVERYTHING), "Deployment")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if "secret" in each]
    assert volume["secret"] == {
        "secretName": "evidence-key",
        "defaultMode": 0o440,
        "items": [{"key": "private.pem", "path": "key.pem"}],
    }
    # Of root, and of the group that the process has: mode 0440 lets it in, and no other user.
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    assert mount["readOnly"] is True
    # A folder and no subPath, which would never see another key.
    assert set(mount) == {"name", "mountPath", "readOnly"}
    assert environment(render(EVERYTHING))["LLAMA_OPERATOR_EVIDENCE_SIGNING_KEY"] == f"{mount['mountPath']}/key.pem"


def test_evidence_has_a_container_of_its_own_which_begins_before_the_operator(render):
    pod = only(render(), "Deployment")["spec"]["template"]["spec"]
    (shows,), (operator,) = pod["initContainers"], pod["containers"]
    assert shows["restartPolicy"] == "Always", "a sidecar: it also ends after the operator"
    assert shows["image"] == operator["image"]
    file = environment(render())["LLAMA_OPERATOR_EVIDENCE_FILE"]
    assert shows["command"] == ["python", "-m", follow.__name__, file]
    (mount,) = shows["volumeMounts"]
    assert mount in operator["volumeMounts"]
    assert file.startswith(f"{mount['mountPath']}/")
    assert "sizeLimit" in next(each["emptyDir"] for each in pod["volumes"] if each["name"] == mount["name"])


@pytest.mark.parametrize(
    ("values", "file", "volumes"),
    [
        ({"evidence": {"container": {"enabled": False}}}, None, ["tmp"]),
        ({"evidence": {"claim": "kept"}}, "/evidence/evidence.jsonl", ["tmp", "evidence"]),
        (
            {"evidence": {"claim": "kept"}, "settings": {"evidenceFile": "/evidence/a.jsonl"}},
            "/evidence/a.jsonl",
            ["tmp", "evidence"],
        ),
    ],
    ids=["off", "a claim", "a claim and a name"],
)
def test_without_that_container_evidence_goes_where_the_values_say(render, values, file, volumes):
    rendered = render(values)
    pod = only(rendered, "Deployment")["spec"]["template"]
    assert "initContainers" not in pod["spec"]
    assert "annotations" not in pod["metadata"]
    assert [each["name"] for each in pod["spec"]["volumes"]] == volumes
    assert environment(rendered).get("LLAMA_OPERATOR_EVIDENCE_FILE") == file
    mounted = {each["name"]: each["mountPath"] for each in pod["spec"]["containers"][0]["volumeMounts"]}
    assert file is None or file.startswith(mounted["evidence"] + "/")


@pytest.mark.parametrize(("replicas", "strategy"), [(1, {"type": "Recreate", "rollingUpdate": None}), (2, None)])
def test_one_operator_with_a_claim_is_replaced_after_it_is_gone(render, replicas, strategy):
    spec = only(render({"evidence": {"claim": "kept"}, "replicas": replicas}), "Deployment")["spec"]
    assert spec.get("strategy") == strategy


@pytest.mark.parametrize("claim", ["", "kept"])
def test_a_file_of_evidence_that_would_not_outlive_the_pod_is_refused(refusal, claim):
    said = refusal({"settings": {"evidenceFile": "/data/evidence.jsonl"}, "evidence": {"claim": claim}})
    assert "settings.evidenceFile" in said
    assert "evidence.claim" in said


def test_without_a_secret_nothing_is_mounted_and_nothing_is_signed(render):
    rendered = render({"evidence": {"signingKeySecret": {"name": ""}}})
    assert rendered == render()
    volumes = only(rendered, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {frozenset(each) for each in volumes} == {frozenset({"name", "emptyDir"})}
    assert "LLAMA_OPERATOR_EVIDENCE_SIGNING_KEY" not in environment(rendered)


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_the_rights_are_few_and_name_what_they_are_for(render, values):
    operator = {"llama-operator", "llama-operator-cluster", "llama-operator-leader"}
    roles = [o for o in render(values) if o["kind"] in {"ClusterRole", "Role"} and o["metadata"]["name"] in operator]
    rules = [rule for role in roles for rule in role["rules"]]
    assert len(roles) == 3
    # One for each right that has a reason of its own: an entry more needs a line there that says what it is for.
    assert len(rules) <= 18
    assert "*" not in json.dumps(rules)
    assert "secrets" not in json.dumps(rules)
    granted = {
        f"{group}/{resource}".removeprefix("/"): " ".join(sorted(rule["verbs"]))
        for rule in rules
        if "resourceNames" not in rule
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if (group, resource) not in ABSENT
    }
    assert granted == {
        "apps/controllerrevisions": "create delete get list patch watch",
        "batch/jobs": "create delete get list patch watch",
        "coordination.k8s.io/leases": "create",
        "events.k8s.io/events": "create patch",
        "gateway.networking.k8s.io/httproutes": "create delete get list patch watch",
        "kueue.x-k8s.io/localqueues": "get",
        "llama-operator.io/accelerators": "get list watch",
        "llama-operator.io/licenseacceptances": "get list watch",
        "llama-operator.io/licenseacceptances/status": "patch",
        "llama-operator.io/licensepolicies": "get list watch",
        "llama-operator.io/licensepolicies/status": "patch",
        "llama-operator.io/llamamodels": "get list watch",
        "llama-operator.io/llamamodels/status": "patch",
        "llama-operator.io/llamadeployments": "get list watch",
        "llama-operator.io/llamadeployments/finalizers": "patch update",
        "llama-operator.io/llamadeployments/status": "patch update",
        "networking.k8s.io/ingresses": "create delete get list patch watch",
        "networking.k8s.io/networkpolicies": "create get list patch watch",
        "nodes": "get list watch",
        "persistentvolumeclaims": "create delete get list patch watch",
        "pods": "list watch",
        "policy/poddisruptionbudgets": "create get list patch watch",
        "ray.io/rayclusters": "get list patch watch",
        "ray.io/rayservices": "create delete get list patch watch",
        "services": "create get list patch watch",
    }
    (named,) = [rule for rule in rules if "resourceNames" in rule]
    assert named["resourceNames"] == [environment(render(values))["LLAMA_OPERATOR_LEASE_NAME"]]


@pytest.mark.parametrize(("value", "resource"), [("gateway", "httproutes"), ("ingress", "ingresses")])
def test_a_platform_that_wants_no_way_in_gives_no_right_to_one(render, value, resource):
    def granted(values):
        return {
            each
            for role in find(render(values), "ClusterRole")
            for rule in role.get("rules") or ()
            for each in rule["resources"]
        }

    assert granted({}) - granted({"expose": {value: False}}) == {resource}


def test_with_namespaces_the_rights_to_write_end_at_their_border(render):
    objects = render({"namespaces": ["team-a", "team-b"]})
    assert [o["metadata"]["name"] for o in find(objects, "ClusterRoleBinding")] == ["llama-operator-cluster"]
    bound = {o["metadata"]["namespace"] for o in find(objects, "RoleBinding", "llama-operator")}
    assert bound == {"team-a", "team-b"}
    (reading,) = find(objects, "ClusterRole", "llama-operator-cluster")
    written = {each for rule in reading["rules"] if "patch" in rule["verbs"] for each in rule["resources"]}
    assert written == {"licenseacceptances/status", "licensepolicies/status", "llamamodels/status"}
    assert {verb for rule in reading["rules"] for verb in rule["verbs"]} == {"get", "list", "watch", "patch"}
    for binding in find(objects, "ValidatingAdmissionPolicyBinding"):
        if binding["metadata"]["name"] in {"llama-operator-license-records", "llama-operator-license-ends"}:
            continue  # of what is in no namespace
        if binding["metadata"]["name"] == "llama-operator-operator-writes":
            assert "matchResources" not in binding["spec"]  # it writes nothing outside of them either
            continue
        (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert expression["values"] == ["team-a", "team-b"]


def test_the_probes_and_metrics_are_one_port(render):
    objects = render({"metrics": {"monitor": "PodMonitor"}})
    (port,) = container(objects)["ports"]
    assert port == {"name": "probes", "containerPort": 8081, "protocol": "TCP"}
    assert environment(objects)["LLAMA_OPERATOR_PROBE_PORT"] == "8081"
    probes = {name: container(objects)[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {"probes"}
    assert probes["readinessProbe"]["path"] == "/readyz"
    assert probes["livenessProbe"]["path"] == "/healthz"
    (service_port,) = only(objects, "Service")["spec"]["ports"]
    assert service_port["targetPort"] == "probes"
    (endpoint,) = only(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("probes", "/metrics")
    assert endpoint["honorLabels"] is True, "else the namespace of a deployment is called exported_namespace"


def test_a_service_monitor_selects_the_metrics_service(render):
    objects = render({"metrics": {"monitor": "ServiceMonitor", "labels": {"release": "prometheus"}}})
    monitor, service = only(objects, "ServiceMonitor"), only(objects, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_only_namespaces_that_are_named_reach_the_port_of_the_metrics(render):
    policy = only(render(), "NetworkPolicy")
    deployment = only(render(), "Deployment")
    assert policy["spec"]["podSelector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (rule,) = policy["spec"]["ingress"]
    assert rule["ports"] == [{"port": "probes", "protocol": "TCP"}]
    (peer,) = rule["from"]
    (expression,) = peer["namespaceSelector"]["matchExpressions"]
    assert (expression["key"], expression["values"]) == ("kubernetes.io/metadata.name", ["monitoring"])
    chosen = only(render({"metrics": {"fromNamespaces": ["prometheus", "agents"]}}), "NetworkPolicy")
    assert chosen["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchExpressions"][0]["values"] == [
        "prometheus",
        "agents",
    ]
    # Without a rule nobody is let in; a rule without peers would let everybody in.
    assert only(render({"metrics": {"fromNamespaces": []}}), "NetworkPolicy")["spec"]["ingress"] == []
    assert find(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy") == []


def test_what_the_operator_reaches_is_bounded_where_that_is_asked_for(render):
    objects = render({"networkPolicy": {"egress": True, "apiServerPorts": [8443]}})
    egress = only(objects, "NetworkPolicy", "llama-operator-egress")["spec"]
    assert egress["policyTypes"] == ["Egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in egress["egress"]] == [[53, 53], [8443], [8000]]
    assert all("to" in rule for rule in egress["egress"] if rule["ports"][0]["port"] == 8000)


def test_one_replica_has_no_disruption_budget_that_would_hold_a_drain_up(render):
    assert find(render({"replicas": 1}), "PodDisruptionBudget") == []
    assert only(render(), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_accepting_a_license_is_no_right_of_the_built_in_roles(render):
    aggregated = [
        role
        for role in find(render(), "ClusterRole")
        if any(label.startswith("rbac.authorization.k8s.io/aggregate-to-") for label in role["metadata"]["labels"])
    ]
    assert len(aggregated) == 3
    for rule in (rule for role in aggregated for rule in role["rules"]):
        if "licenseacceptances" in rule["resources"]:
            assert set(rule["verbs"]) == {"get", "list", "watch"}


def test_names_follow_the_release(render):
    objects = render(release="blue")
    assert {o["metadata"]["name"] for o in find(objects, "Deployment")} == {"blue-llama-operator"}
    assert environment(objects)["LLAMA_OPERATOR_LEASE_NAME"] == "blue-llama-operator"
    policy = only(objects, "ValidatingAdmissionPolicy", "blue-llama-operator-owned-objects")
    (operator,) = [v for v in policy["spec"]["variables"] if v["name"] == "operator"]
    assert "'system:serviceaccount:llama-system:blue-llama-operator'" in operator["expression"]


@pytest.mark.parametrize(
    "value",
    ["settings", "podDefaults", "podRules", "namespaces", "nodeSelector", "tolerations", "affinity", "podLabels"],
)
def test_a_heading_of_which_all_is_commented_out_counts_as_left_out(render, value):
    assert render({value: None}) == render()


def test_a_label_that_is_given_twice_stands_once_and_the_nearest_wins(render, helm, root, tmp_path):
    values = {
        "commonLabels": {"app.kubernetes.io/part-of": "acme", "team": "all"},
        "podLabels": {"team": "pods", "app.kubernetes.io/version": "1"},
        "podAnnotations": {"kubectl.kubernetes.io/default-container": "evidence"},
        "metrics": {"monitor": "PodMonitor", "labels": {"team": "monitor"}},
    }
    objects = render(values)
    deployment, monitor = only(objects, "Deployment"), only(objects, "PodMonitor")
    pod = deployment["spec"]["template"]["metadata"]
    said = [each["labels"]["team"] for each in (deployment["metadata"], pod, monitor["metadata"])]
    assert said == ["all", "pods", "monitor"]
    assert (pod["labels"]["app.kubernetes.io/part-of"], pod["labels"]["app.kubernetes.io/version"]) == ("acme", "1")
    assert pod["annotations"] == {"kubectl.kubernetes.io/default-container": "evidence"}
    (tmp_path / "given.json").write_text(json.dumps(values))
    text = helm("template", "a", root / "charts/llama-operator", "--values", tmp_path / "given.json").stdout
    for document in yaml.compose_all(text):
        assert list(_keys_that_stand_twice(document)) == []


def _keys_that_stand_twice(node):
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _keys_that_stand_twice(each)
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from {key for key in keys if keys.count(key) > 1}
        for _, value in node.value:
            yield from _keys_that_stand_twice(value)


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_setting_that_is_empty_is_not_set(render, nothing):
    values = {"settings": {"evidenceFile": nothing}}
    assert container(render(values))["env"] == container(render())["env"]


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("my.release", {}, "my-release-llama-operator"),
        ("llama-operator", {"fullnameOverride": "llama.eu.operator"}, "llama-eu-operator"),
        ("a" * 49 + ".bc", {}, "a" * 49),
    ],
)
def test_a_name_with_dots_names_a_service_and_a_lease_too(render, release, values, name):
    objects = render(values, release=release)
    assert [o["metadata"]["name"] for o in find(objects, "Service")] == [f"{name}-metrics"]
    lease = {"LLAMA_OPERATOR_LEASE_NAME": environment(objects)["LLAMA_OPERATOR_LEASE_NAME"]}
    assert load([], lease).lease_name == name


@pytest.mark.parametrize(
    ("release", "namespace", "values"),
    [
        ("123", "4567", {}),
        ("on", "true", {}),
        ("0x1f", "012", {"namespaces": ["123", "off"], "kuberay": {"namespace": "8"}}),
        (
            "a",
            "b",
            {
                "fullnameOverride": "7",
                "serviceAccount": {"name": "8"},
                "priorityClassName": "9",
                "runtimeClassName": "no",
                "image": {"pullSecrets": ["10"]},
                "evidence": {"signingKeySecret": {"name": "11"}},
                "networkPolicy": {"egress": True},
            },
        ),
    ],
)
def test_names_that_yaml_takes_for_numbers_stay_names(render, release, namespace, values):
    for each in render(values, release=release, namespace=namespace):
        kubernetes_validate.validate(each, "1.37", strict=True)


def test_both_charts_have_the_version_of_the_product(root):
    product = re.search(r'^version = "([^"]+)"', (root / "pyproject.toml").read_text(), flags=re.MULTILINE)
    for chart in ("llama-operator", "llama-operator-crds"):
        described = yaml.safe_load((root / "charts" / chart / "Chart.yaml").read_text())
        assert described["version"] == described["appVersion"] == product.group(1)
