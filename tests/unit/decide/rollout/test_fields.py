"""The one table of fields: every leaf of the schema has a row, every row counts, and a forgotten field restarts.

`WRITTEN` has a value that is no default for every leaf; a new field of the spec needs one there and a row in the table.
"""

import json

import pytest

from generate import field_reference
from generate.__main__ import ROOT
from llama_operator.api import crd, paths
from llama_operator.api.v1alpha1.endpoint import DEFAULT_PATH
from llama_operator.api.v1alpha1.llamadeployment import HardwareSpec, LlamaDeployment, LlamaDeploymentSpec
from llama_operator.cli.shared import changes
from llama_operator.decide.rollout.fields import FIELDS, FieldClass, FieldRow, FieldTable
from llama_operator.decide.rollout.revision import revision_of
from llama_serving.config import RequestPath

RESTART, LIVE = FieldClass.RESTART, FieldClass.LIVE

ZONE = {"key": "zone", "operator": "In", "values": ["a"]}
NEAR = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app.acme.example/part": "x"}}}
PODS = {
    "labels": {"acme.example/cost": "7"},
    "annotations": {"acme.example/note": "a b"},
    "nodeSelector": {"acme.example/pool": "gold"},
    "tolerations": [{"key": "sku", "value": "gpu"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [ZONE]}]},
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "preference": {"matchExpressions": [ZONE]}}
            ],
        },
        **{
            side: {
                "requiredDuringSchedulingIgnoredDuringExecution": [NEAR],
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": NEAR}],
            }
            for side in ("podAffinity", "podAntiAffinity")
        },
    },
    "topologySpreadConstraints": [{"topologyKey": "zone"}],
    "priorityClassName": "high",
    "runtimeClassName": "nvidia",
    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
}
ALL_PODS = {
    "schedulerName": "volcano",
    "imagePullSecrets": [{"name": "registry"}],
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["hub.acme.example"]}],
    "caBundle": {"configMap": "acme-ca", "key": "bundle.pem"},
    "proxy": {"url": "http://proxy.acme.example:3128", "noProxy": [".acme.example"]},
}
RESOURCES = {"cpu": "3", "memory": "12Gi", "ephemeralStorage": "200Gi", "extended": {"acme.example/hca": 1}}
WRITTEN = {
    "model": {
        "name": "llama-3.1-8b",
        "precision": "FP8",
        "precisions": ["FP8"],
        "variant": "acme/llama",
        "chatTemplate": {"configMap": "acme-template", "key": "short.jinja"},
    },
    "context": {"maxModelLength": 4096, "concurrentSequences": 2},
    "hardware": {"accelerator": "L40S-48GB", "gpusPerNode": 4, "maxGPUs": 16},
    "parallelism": {"mode": "Manual", "tensor": 2, "pipeline": 2},
    "engine": {
        "kvCacheDtype": "FP8",
        "gpuMemoryUtilizationPercent": 80,
        "arguments": {
            "maxNumSeqs": 8,
            "maxNumBatchedTokens": 4096,
            "graphs": "Eager",
            "prefixCaching": "Disabled",
            "loadFormat": "Safetensors",
            "seed": 7,
        },
    },
    "objectives": {
        "timeToFirstTokenMilliseconds": 900,
        "timePerOutputTokenMilliseconds": 90,
        "requestsPerMinute": 60,
        "promptTokens": 700,
        "outputTokens": 70,
    },
    "scaling": {
        "schedule": {
            "timeZone": "Europe/Berlin",
            "windows": [{"name": "office", "from": "08:00", "to": "18:00", "minReplicas": 2}],
        },
        "mode": "Manual",
        "minReplicas": 2,
        "maxReplicas": 3,
        "targetQueueDepth": 5,
        "maxQueuedRequests": 50,
        "upscaleDelaySeconds": 6,
        "downscaleDelaySeconds": 60,
        "preference": "Latency",
        "reserve": 2,
    },
    "replicas": 2,
    "endpoint": {
        "path": next(path for path in RequestPath if path is not DEFAULT_PATH),
        "routing": "ConsistentHash",
        "aliases": ["Llama-chat"],
        "expose": {
            "hosts": ["llama.acme.example"],
            "gateway": {
                "name": "public",
                "namespace": "infra",
                "sectionName": "https",
                "timeouts": "GatewayDefault",
            },
            "ingress": {
                "className": "nginx",
                "tlsSecret": "llama-tls",
                "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"},
            },
        },
    },
    "access": {
        "mode": "Keys",
        "keys": {"configMap": "acme-keys", "secret": "acme-keys"},
        "from": [{"namespace": "acme", "podLabels": {"app": "web"}}],
        "maxBodyMiB": 5,
        "mediaDomains": ["images.acme.example"],
        "revokedKeys": ["abcdefghijklmnop"],
    },
    "tenants": [{"name": "acme", "requestsPerMinute": 60}],
    "headStore": {
        "address": "redis:6379",
        "tls": {"authority": {"configMap": "ca", "secret": "ca", "key": "acme.crt"}, "clientSecret": "acme"},
        "username": "ray",
        "passwordSecret": {"name": "acme", "key": "redis"},
    },
    "usageStore": {"address": "valkey:6379", "tls": "Disabled", "secret": "acme"},
    "otherTenants": {
        "requestsPerMinute": 6,
        "tokensPerMinute": 9000,
        "concurrentRequests": 2,
        "tokensPerDay": 100_000,
        "tokensPerMonth": 1_000_000,
        "maxOutputTokens": 512,
        "priority": 5,
    },
    "adapterSlots": {"maxLoras": 2, "maxLoraRank": 8, "maxAdapters": 5, "volumeClaim": "acme-adapters"},
    "adapters": [{"name": "Llama-Acme", "source": {"path": "acme"}}],
    "guard": {
        "model": {"name": "llama-guard-3-8b", "variant": "acme/guard"},
        "mode": "Annotate",
        "failure": "Open",
        "reason": "a trial",
        "categories": ["S1"],
        "deadlineMilliseconds": 500,
        "replicas": 2,
        "accelerator": "L4-24GB",
        "placement": "Shared",
    },
    "license": {
        "acceptance": "acme",
        "purpose": "Production",
        "attributionURL": "https://acme.example/about",
        "outputUse": "TrainsModels",
        "trainedModels": ["llama-acme"],
        "useCase": "Military",
        "guardModel": "llama-guard-3-8b",
    },
    "weights": {
        "tokenSecret": {"name": "hub", "key": "hf"},
        "storeSecret": {"name": "minio"},
        "cache": {
            "mode": "Claim",
            "storageClassName": "fast",
            "accessMode": "ReadWriteOnce",
            "claimName": "models",
            "image": f"acme/llama@sha256:{'0' * 64}",
            "imageFolder": "models",
            "retention": "Retain",
        },
        "engineCache": "Disabled",
    },
    "rollout": {
        "strategy": "Recreate",
        "progressDeadlineSeconds": 60,
        "drainSeconds": 6,
        "revisionHistoryLimit": 2,
        "restartedAt": "2026-03-02T10:00:00Z",
    },
    "pods": {
        **PODS,
        **ALL_PODS,
        "serviceAccountName": "weights-reader",
        "head": PODS | {"resources": RESOURCES},
        "workers": PODS | {"resources": RESOURCES},
    },
    "activation": "Suspended",
    "image": "acme/serving:2",
}


def schema():
    (resource,) = (each for each in crd.RESOURCES if each.model is LlamaDeployment)
    return crd.build(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def leaves(section, prefix=""):
    """Every leaf of a schema, with whether its section demands it."""
    for name, field in section["properties"].items():
        if "properties" in field:
            yield from leaves(field, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", name in section.get("required", ())


LEAVES = dict(leaves(schema()))


def forgotten(table, of=LEAVES):
    return [path for path in of if table.row(path) is None]


def without(path):
    return FieldTable(row for row in FIELDS.rows if row.path != path)


def deployment(spec, model=LlamaDeployment):
    # By the schema only: WRITTEN has all fields at once, which the rules across fields forbid.
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a"},
        "spec": spec,
    }
    return model.model_validate_json(json.dumps(obj))


def test_every_leaf_of_the_schema_has_a_row():
    assert forgotten(FIELDS) == [], "give each a row in decide/rollout/fields.py"


def test_every_row_is_about_a_field_and_no_path_stands_twice():
    known = set(LEAVES) | {path.rpartition(".")[0] for path in LEAVES} | {path.partition(".")[0] for path in LEAVES}
    assert [row.path for row in FIELDS.rows if row.path not in known] == []
    assert len({row.path for row in FIELDS.rows}) == len(FIELDS.rows)


@pytest.mark.parametrize("row", FIELDS.rows, ids=lambda row: row.path)
def test_no_row_can_be_removed_unseen(row):
    covered = [path for path in LEAVES if FIELDS.row(path) == row]
    assert covered, "a row for nothing"
    assert forgotten(without(row.path)) == covered or {without(row.path).class_of(path) for path in covered} != {
        row.kind
    }


def test_the_reference_has_every_row():
    page = (ROOT / "docs" / "reference" / "fields.md").read_text(encoding="utf-8")
    assert page == field_reference.fields(FIELDS)
    assert all(page != field_reference.fields(without(row.path)) for row in FIELDS.rows)


def test_a_field_that_must_be_written_restarts_or_goes_with_its_section():
    optional = {"endpoint.expose"}
    live = [path for path, required in LEAVES.items() if required and FIELDS.class_of(path) is LIVE]
    assert {FIELDS.row(path).path for path in live} == optional
    assert all("default" not in section(path) for path in optional)


def section(path):
    found = schema()
    for name in path.split("."):
        found = found["properties"][name]
    return found


WAYS_IN = (
    {"hosts": ["a.acme.example"], "ingress": {}},
    {"hosts": ["a.acme.example"], "gateway": {"name": "public"}},
    {"hosts": ["a.acme.example"], "ingress": {"annotations": {"nginx.org/proxy-buffering": "off"}}},
)


@pytest.mark.parametrize("expose", WAYS_IN, ids=str)
def test_a_live_section_with_fields_that_must_be_written_is_left_out_and_kept_whole(expose):
    inputs = {"model": {"name": "llama-3.1-70b"}, "endpoint": {"path": "Direct"}}
    for path in ({}, *({"path": one.value} for one in RequestPath)):
        live = SMALL | {"endpoint": path | {"expose": expose}}
        without_it = SMALL | {"endpoint": path}
        assert revision_of(deployment(live)) == revision_of(deployment(without_it))
        assert FIELDS.rolled_back(live, inputs)["endpoint"] == {"path": "Direct", "expose": expose}


def test_the_written_spec_has_every_leaf():
    assert set(paths.leaves(WRITTEN)) == set(LEAVES)


@pytest.mark.parametrize("path", [path for path, required in LEAVES.items() if not required])
def test_a_field_alone_makes_a_new_revision_if_and_only_if_diff_calls_it_a_restart(path):
    before, after = deployment(paths.without(WRITTEN, path)), deployment(WRITTEN)
    (change,) = changes.between(before.spec, after.spec)
    assert change.field == f"spec.{path}"
    assert (revision_of(before).name != revision_of(after).name) is (change.kind is RESTART)
    assert (revision_of(before).inputs != revision_of(after).inputs) is (change.kind is RESTART)


@pytest.mark.parametrize("path", list(LEAVES))
def test_rollback_takes_restart_fields_from_the_revision_and_all_others_from_the_spec(path):
    before = {"model": {"name": "llama-3.1-70b"}, "guard": {"model": {"name": "llama-guard-3-1b"}}}
    inputs = revision_of(deployment(before)).inputs
    found = paths.at(FIELDS.rolled_back(WRITTEN, inputs), path)
    wanted = paths.at(inputs, path) if FIELDS.class_of(path) is RESTART else paths.at(WRITTEN, path)
    assert found == wanted


def test_what_means_nothing_without_its_section_goes_with_it():
    inputs = revision_of(deployment({"model": {"name": "llama-3.1-70b"}})).inputs

    assert "guard" not in FIELDS.rolled_back(WRITTEN, inputs)


def test_a_row_stands_for_everything_below_it():
    assert FIELDS.class_of("scaling.somethingNew") is LIVE
    assert FIELDS.class_of("engine.arguments.somethingNew") is RESTART
    assert FIELDS.class_of("hardware.maxGPUs.below") is LIVE


class Hardware(HardwareSpec):
    node_pool: str | None = None


class Spec(LlamaDeploymentSpec):
    hardware: Hardware = Hardware()
    tolerations: tuple[str, ...] = ()


class Deployment(LlamaDeployment):
    spec: Spec


SMALL = {"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "CPU"}}
POOL = {**SMALL, "hardware": {"accelerator": "CPU", "nodePool": "gold"}}


@pytest.mark.parametrize(
    ("path", "spec"),
    [("hardware.nodePool", POOL), ("tolerations", {**SMALL, "tolerations": ["gpu"]})],
)
def test_a_field_that_the_table_forgot_restarts_under_its_own_path(path, spec):
    spec = json.loads(json.dumps(spec))
    before = deployment({**SMALL}, Deployment)
    after = Deployment.model_validate(
        {**before.model_dump(by_alias=True), "spec": Spec.model_validate_json(json.dumps(spec))}
    )
    assert FIELDS.row(path) is None
    assert FIELDS.class_of(path) is RESTART
    assert revision_of(before) == revision_of(deployment(SMALL))
    assert revision_of(after).name != revision_of(before).name
    assert FIELDS.restart_values(after.spec)[path] == paths.at(spec, path)


def values(spec, *rows):
    table = FieldTable((*FIELDS.rows, *rows))
    return table.restart_values(spec.spec)


def test_a_restart_row_that_comes_later_changes_no_name():
    row = FieldRow("hardware.nodePool", RESTART, "")
    for spec in (SMALL, POOL):
        asked = Spec.model_validate_json(json.dumps(spec))
        assert FieldTable((*FIELDS.rows, row)).restart_values(asked) == FIELDS.restart_values(asked)


@pytest.mark.parametrize(
    ("engine", "rest"),
    [
        ({"arguments": {"seed": 5}}, {}),
        ({"kvCacheDtype": "FP8", "arguments": {"seed": 5}}, {"kvCacheDtype": "FP8"}),
        ({"arguments": {"seed": 5, "maxNumSeqs": 3}}, {"arguments": {"maxNumSeqs": 3}}),
        ({"arguments": {"maxNumSeqs": 3}}, {"arguments": {"maxNumSeqs": 3}}),
    ],
)
def test_a_live_row_below_a_section_that_restarts_leaves_only_that_field_out(engine, rest):
    row = FieldRow("engine.arguments.seed", LIVE, "")
    asked, without_it = deployment(SMALL | {"engine": engine}), deployment(SMALL | {"engine": rest})
    assert values(asked, row) == values(without_it, row) == values(without_it)


def test_a_section_that_may_be_absent_counts_as_there_though_all_in_it_is_live():
    row = FieldRow("objectives.promptTokens", LIVE, "")
    asked = deployment(SMALL | {"objectives": {"promptTokens": 7}})
    assert values(asked, row) == values(deployment(SMALL | {"objectives": {}})) != values(deployment(SMALL))


def test_a_restart_row_below_a_live_section_takes_that_field_alone():
    row = FieldRow("scaling.mode", RESTART, "")
    asked = deployment(SMALL | {"scaling": {"mode": "External", "maxReplicas": 3}})
    assert values(asked, row) == values(asked) | {"scaling.mode": "External"}
    assert values(deployment(SMALL | {"scaling": {"maxReplicas": 3}}), row) == values(deployment(SMALL))


def test_rollback_keeps_a_live_field_below_a_section_that_restarts():
    table = FieldTable((*FIELDS.rows, FieldRow("engine.arguments.seed", LIVE, "")))
    live = SMALL | {"engine": {"kvCacheDtype": "FP8", "arguments": {"seed": 5, "maxNumSeqs": 3}}}
    assert table.rolled_back(live, SMALL) == SMALL | {"engine": {"arguments": {"seed": 5}}}


HUB = {"name": "Llama-Hub", "source": {"huggingFace": {"repository": "acme/support", "revision": "0" * 40}}}
ON_VOLUME = {"name": "Llama-Acme", "source": {"path": "acme"}}


def test_of_the_adapters_only_those_of_the_hub_restart():
    plain, on_volume, both = (
        FIELDS.restart_values(deployment({"model": {"name": "m"}} | more).spec)
        for more in ({}, {"adapters": [ON_VOLUME]}, {"adapters": [ON_VOLUME, HUB]})
    )
    assert plain == on_volume
    assert both == plain | {"adapters": [HUB]}
    assert FIELDS.class_of_change("adapters", [ON_VOLUME], [ON_VOLUME, HUB]) is FieldClass.RESTART
    assert FIELDS.class_of_change("adapters", [ON_VOLUME, HUB], [HUB]) is FieldClass.LIVE


def test_a_rollback_takes_the_adapters_of_the_hub_and_leaves_those_of_the_volume():
    other = HUB | {"name": "Llama-Other"}
    rolled = FIELDS.rolled_back(
        {"model": {"name": "n"}, "adapters": [ON_VOLUME, other]}, {"model": {"name": "m"}, "adapters": [HUB]}
    )
    assert rolled == {"model": {"name": "m"}, "adapters": [ON_VOLUME, HUB]}
    assert FIELDS.rolled_back({"adapters": [other]}, {"model": {"name": "m"}}) == {"model": {"name": "m"}}
