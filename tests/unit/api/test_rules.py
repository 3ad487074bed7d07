"""Every cross-field rule gives the same verdict as CEL (in the API server) and as Python (in the CLI)."""

import json

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

from llama_operator.api.meta import ObjectMeta
from llama_operator.api.rules import IMMUTABLE_EVIDENCE, RULES, TRANSITIONS
from llama_operator.api.v1alpha1.accelerator import Accelerator, AcceleratorSpec
from llama_operator.api.v1alpha1.access import AccessPeer, KeysSource
from llama_operator.api.v1alpha1.adapters import AdapterSlotsSpec, AdapterSource
from llama_operator.api.v1alpha1.endpoint import EndpointSpec, ExposeSpec, IngressSettings
from llama_operator.api.v1alpha1.guard import GuardSpec
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptanceSpec
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicySpec
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment, LlamaDeploymentSpec, ModelSpec, ParallelismSpec
from llama_operator.api.v1alpha1.llamamodel import (
    ArchitectureFingerprint,
    LlamaModel,
    LlamaModelSpec,
    ObjectStoreSource,
    VolumeClaimSource,
)
from llama_operator.api.v1alpha1.pods import (
    EnvironmentVariable,
    LabelExpression,
    NodeExpression,
    PodFields,
    TolerationSpec,
)
from llama_operator.api.v1alpha1.scaling import ScalingSpec, ScheduleSpec, ScheduleWindow
from llama_operator.api.v1alpha1.stores import AuthorityFile
from llama_operator.api.v1alpha1.tenants import Limits
from llama_operator.api.v1alpha1.weights import WeightsCacheSpec

OFFICE = {"name": "office", "from": "08:00", "to": "18:00", "minReplicas": 3}
NIGHT = {"name": "night", "from": "22:00", "to": "06:00", "maxReplicas": 3}
ACCEPTANCE = {
    "families": ["llama-3.3"],
    "legalEntity": "Acme",
    "acceptedBy": "Jo",
    "acceptedOn": "2026-03-02",
    "namespaces": ["team-a"],
}
EVIDENCE = {
    "families": ["llama-3.2"],
    "versionDate": "2024-12-06",
    "textHashes": ["0" * 64],
    "legalEntity": "Other",
    "domicile": "CH",
    "receivedAs": "IntegratedEndUserProduct",
    "acceptedBy": "Al",
    "acceptedOn": "2026-03-03",
    "evidence": "DOC-1",
    "purposes": ["Production"],
    "monthlyActiveUsers": {"month": "2024-11", "count": 1, "attestedBy": "Jo", "attestedOn": "2026-03-02"},
    "metaGrant": {"reference": "G-1", "grantedOn": "2026-01-01"},
    "tradeListCheckedOn": "2026-03-02",
}
"""Another value for every field that stays as it was recorded."""
CONFIRMED = {
    "deletionConfirmed": {"confirmedBy": "Jo", "confirmedOn": "2026-04-08", "what": "the volume team-a/weights"}
}
SOURCES = {
    "huggingFace": {"repository": "acme/chat", "revision": "0" * 40},
    "objectStore": {"uri": "s3://models/chat"},
    "volumeClaim": {"name": "models"},
}
ATTESTED = {"attestedBy": "Jo", "attestedOn": "2026-03-02", "evidence": "https://arxiv.org/abs/2401.02385"}
CHECKPOINT = {"source": {"volumeClaim": {"name": "models"}}, "digest": "0" * 64}
EFFECTS = ("NoExecute", "NoSchedule")
HARD = "DoNotSchedule"
MODEL = {"model": {"name": "m"}}
CARD = {"memoryMebibytes": 15360, "nodes": [{"labels": [{"key": "acme.example/card", "values": ["old"]}]}]}
ADAPTER = {"source": {"path": "a"}}
STRINGS = [ext_strings.ExtStrings()]
"""The API server has them too."""
OBJECTS = {
    LlamaDeployment: [
        {"metadata": {"name": name}, "spec": MODEL}
        for name in ("a", "chat-70b", "9a", "A", "a.b", "a" * 38, "a" * 39, "a-", "with_underscore")
    ],
    Accelerator: [
        {"metadata": {"name": name}, "spec": CARD | {"computeCapability": "7.5"}}
        for name in ("t4", "half-l4", "4t", "cpu", "auto", "a.b", "a" * 40, "a" * 41, "A")
    ],
    AcceleratorSpec: [
        CARD | {"vendor": vendor} | known
        for vendor in ("NVIDIA", "AMD")
        for known in ({}, *({"computeCapability": number} for number in ("6.1", "7.0", "8.9", "10.0", "12.0")))
    ],
    ScalingSpec: [
        {"minReplicas": low, "maxReplicas": high, "mode": mode}
        for low in (0, 1, 3)
        for high in (1, 2, 3)
        for mode in ("QueueDepth", "Manual", "External")
    ]
    + [
        {"minReplicas": 2, "maxReplicas": 4, "mode": mode, "schedule": {"windows": [OFFICE, NIGHT | bounds]}}
        for mode in ("QueueDepth", "Manual")
        for bounds in ({}, {"minReplicas": 5}, {"maxReplicas": 1}, {"minReplicas": 5, "maxReplicas": 5})
    ],
    ScheduleSpec: [
        {"timeZone": zone, "windows": windows}
        for zone in ("UTC", "Europe/Berlin", "America/New_York", "Europe/Atlantis", "Local")
        for windows in ([OFFICE], [OFFICE, NIGHT], [OFFICE, NIGHT | {"name": "office"}])
    ],
    ScheduleWindow: [
        {"name": "office", "from": "08:00", "to": end} | least | most
        for end in ("08:00", "18:00", "24:00")
        for least in ({}, {"minReplicas": 1})
        for most in ({}, {"maxReplicas": 2})
    ],
    ParallelismSpec: [
        {"mode": mode} | tensor | pipeline
        for mode in ("Auto", "Manual")
        for tensor in ({}, {"tensor": 8})
        for pipeline in ({}, {"pipeline": 2})
    ],
    ModelSpec: [{"name": name} for name in ("meta-llama/Llama-3.1-8B", "Llama-3.1-8B", "a:b", "a-", "a" * 63, "a" * 64)]
    + [
        {"name": "m", "precision": precision} | precisions
        for precision in ("Auto", "FP8")
        for precisions in ({}, {"precisions": []}, {"precisions": ["BF16", "INT4"]}, {"precisions": ["FP8", "FP8"]})
    ],
    LlamaDeploymentSpec: [
        MODEL | {"scaling": {"mode": mode}} | replicas
        for mode in ("QueueDepth", "Manual", "External")
        for replicas in ({}, {"replicas": 0}, {"replicas": 2})
    ]
    + [
        MODEL | {"context": {"concurrentSequences": held}} | batch
        for held in (1, 4, 5)
        for batch in ({}, {"engine": {"arguments": {"maxNumSeqs": 4}}})
    ]
    + [
        MODEL | {"endpoint": {"path": path}, "access": {"mode": mode} | keys, "tenants": [{"name": n} for n in names]}
        for path in ("Direct", "Ingress")
        for mode in ("Auto", "Open", "Keys")
        for keys in ({}, {"keys": {"secret": "keys"}})
        for names in ((), ("anonymous",), ("anonymous", "acme"))
    ]
    + [MODEL | {"endpoint": {"path": path}, "otherTenants": {"priority": 1}} for path in ("Direct", "Ingress")]
    + [
        MODEL | {"endpoint": {"routing": routing}, "engine": {"arguments": {"prefixCaching": caching}}}
        for routing in ("LeastConnections", "PrefixAware")
        for caching in ("Enabled", "Disabled")
    ]
    + [
        MODEL | {"endpoint": {"path": path}, "adapters": [{"name": n, "source": {"path": "a"}} for n in names]} | slots
        for path in ("Direct", "Ingress")
        for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))
        for slots in ({}, {"adapterSlots": {"maxLoras": 1, "maxAdapters": 2}})
    ]
    + [
        MODEL
        | {"adapterSlots": {}, "endpoint": {"aliases": aliases}, "adapters": [ADAPTER | {"name": n} for n in names]}
        for aliases in ([], ["Llama-chat"])
        for names in (["a"], ["a", "b"], ["a", "A"], ["a", "Llama-chat"], ["llama-CHAT"])
    ]
    + [
        MODEL | {"endpoint": {"path": path}, "license": named} | guard
        for path in ("Direct", "Ingress")
        for named in ({}, {"guardModel": "llama-guard-3-8b"})
        for guard in ({}, *({"guard": {"model": {"name": name}}} for name in ("llama-guard-3-8b", "llama-guard-3-1b")))
    ]
    + [
        MODEL
        | {"guard": {"model": {"name": "llama-guard-3-8b"}, "placement": placement, "replicas": guards}}
        | length
        | {"scaling": {"mode": mode, "minReplicas": least, "maxReplicas": 4} | schedule}
        | replicas
        for placement in ("Own", "Shared")
        for guards in (1, 2)
        for length in ({}, {"context": {"maxModelLength": 4096}})
        for mode in ("QueueDepth", "Manual")
        for least in ((0, 1, 2) if mode == "QueueDepth" else (1, 2))
        for schedule in (
            (
                {},
                {"schedule": {}},
                *(
                    {"schedule": {"windows": [OFFICE | bound]}}
                    for bound in ({}, {"minReplicas": 0}, {"minReplicas": 2})
                ),
            )
            if mode == "QueueDepth"
            else ({},)
        )
        for replicas in ({}, *({"replicas": number} for number in (0, 1, 2)))
    ]
    + [MODEL | {"endpoint": {"path": path}, "usageStore": {"address": "valkey:6379"}} for path in ("Direct", "Ingress")]
    + [
        MODEL
        | {"weights": {"cache": {"mode": "Claim", "accessMode": access}}, "scaling": {"maxReplicas": most}}
        | {"rollout": {"strategy": strategy}}
        | wanted
        for access in ("ReadWriteMany", "ReadWriteOnce")
        for most in (1, 2)
        for strategy in ("Auto", "Recreate")
        for wanted in ({}, {"replicas": 1}, {"replicas": 2}, {"guard": {"model": {"name": "llama-guard-3-8b"}}})
    ],
    WeightsCacheSpec: [
        {"mode": mode, "retention": retention, "accessMode": access} | named | claim
        for mode in ("None", "Claim")
        for retention in ("Delete", "Retain")
        for access in ("ReadWriteMany", "ReadWriteOnce")
        for named in ({}, {"storageClassName": "fast"})
        for claim in ({}, {"claimName": "models"})
    ]
    + [
        {"mode": mode} | image | folder
        for mode in ("None", "Claim", "Image")
        for image in ({}, *({"image": f"acme/llama{end}"} for end in ("", ":1", f"@sha256:{'0' * 64}", "@sha256:0")))
        for folder in ({}, {"imageFolder": "models"})
    ],
    EndpointSpec: [
        {"path": path, "routing": routing} | aliases
        for path in ("Direct", "Ingress")
        for routing in ("LeastConnections", "ConsistentHash", "PrefixAware")
        for aliases in ({}, {"aliases": []}, {"aliases": ["Llama-chat"]})
    ],
    AdapterSlotsSpec: [{"maxLoras": 4, "maxAdapters": held} for held in (3, 4, 5)],
    AdapterSource: [
        path | hub
        for path in ({}, *({"path": path} for path in ("a/b", "a..b", "..", "a/../../b")))
        for hub in ({}, {"huggingFace": {"repository": "acme/support", "revision": "0" * 40}})
    ],
    GuardSpec: [
        {"model": {"name": "llama-guard-3-8b"}, "failure": failure} | reason
        for failure in ("Closed", "Open")
        for reason in ({}, {"reason": "a trial"})
    ]
    + [
        {"model": {"name": "llama-guard-3-8b"}, "placement": placement} | card
        for placement in ("Own", "Shared")
        for card in ({}, {"accelerator": "L4-24GB"})
    ],
    AccessPeer: [
        namespace | cidr | labels
        for namespace in ({}, {"namespace": "team-b"})
        for cidr in ({}, {"cidr": "10.0.0.0/8"})
        for labels in ({}, {"podLabels": {}}, {"podLabels": {"app": "web"}})
    ],
    AuthorityFile: [one | other for one in ({}, {"configMap": "a"}) for other in ({}, {"secret": "b"})],
    KeysSource: [config_map | secret for config_map in ({}, {"configMap": "a"}) for secret in ({}, {"secret": "b"})],
    Limits: [
        first | second
        for limits in (("tokensPerDay", "tokensPerMonth"), ("maxOutputTokens", "tokensPerMinute"))
        for first in ({}, {limits[0]: 5}, {limits[0]: 6})
        for second in ({}, {limits[1]: 5})
    ],
    LicenseAcceptanceSpec: [
        ACCEPTANCE | {"state": state} | ended
        for state in ("Accepted", "Superseded", "Withdrawn", "Terminated")
        for ended in (
            {},
            {"terminatedOn": "2026-04-01"},
            {"supersededBy": "acme-again"},
            *(CONFIRMED | {"terminatedOn": day} for day in ("2026-04-01", "2026-04-08", "2026-04-09")),
            CONFIRMED,
        )
    ],
    VolumeClaimSource: [{"name": "m", "path": path} for path in ("", "a/b", "a..b", "..", "a/../../b")],
    ObjectStoreSource: [
        {"uri": uri} | more
        for uri in (
            "s3://m/a",
            "gs://m/a..b",
            "s3://m/../other",
            "s3://anonymous@m/a",
            "s3://somebody@m/a",
            "abfss://m@acme.dfs.core.windows.net/a",
            "abfss://m@acme.blob.core.windows.net/a",
            "azure://m@acme.blob.core.windows.net",
            "az://m/a",
            "https://m/a",
        )
        for more in ({}, {"account": "acme"}, {"endpoint": "http://minio:9000"}, {"region": "eu-central-1"})
    ],
    LlamaModel: [
        {"metadata": {"name": name}, "spec": CHECKPOINT | {"lineage": {"derivedFrom": ancestors}}}
        for name in ("chat", "a" * 63, "a" * 64)
        for ancestors in (
            [{"model": "llama-3.1-8b", "kind": "Finetune"}],
            [{"model": "llama-3.1-8b", "kind": "Merge"}, {"model": "chat", "kind": "Merge"}],
        )
    ],
    LlamaModelSpec: [
        CHECKPOINT | lineage | families
        for lineage in ({}, {"lineage": {"derivedFrom": [{"model": "m", "kind": "Finetune"}]}})
        for families in ({}, {"licenseFamilies": ["mit"]})
    ]
    + [
        CHECKPOINT | {"licenseFamilies": ["mit"], "source": {name: SOURCES[name] for name in names}}
        for names in ((), *((name,) for name in SOURCES), (*SOURCES,))
    ]
    + [
        CHECKPOINT | {"licenseFamilies": families} | license_
        for families in (["other"], ["mit"], ["mit", "other"])
        for license_ in (
            {},
            {"otherLicense": {"name": "Falcon 3 TII License", "url": "https://falconllm.tii.ae/terms"}},
        )
    ]
    + [
        CHECKPOINT | {"licenseFamilies": ["mit"], "independence": ATTESTED} | lineage
        for lineage in ({}, {"lineage": {"derivedFrom": [{"model": "m", "kind": "Finetune"}]}})
    ],
    TolerationSpec: [
        {"operator": operator} | key | value | effect
        for operator in ("Exists", "Equal")
        for key in ({}, {"key": "sku"})
        for value in ({}, {"value": "gpu"})
        for effect in ({}, {"effect": "NoExecute"}, *({"effect": e, "tolerationSeconds": 5} for e in EFFECTS))
    ]
    + [{"operator": "Exists", "tolerationSeconds": 5}],
    NodeExpression: [
        {"key": "zone", "operator": operator} | values
        for operator in ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
        for values in ({}, *({"values": values} for values in ([], ["a"], ["4"], ["4", "5"])))
    ],
    LabelExpression: [
        {"key": "app", "operator": operator} | values
        for operator in ("In", "NotIn", "Exists", "DoesNotExist")
        for values in ({}, {"values": []}, {"values": ["a", "b"]})
    ],
    EnvironmentVariable: [
        {"name": "A"} | value | source
        for value in ({}, {"value": ""}, {"value": "b"})
        for source in ({}, {"valueFrom": {"configMapKeyRef": {"name": "net", "key": "if"}}})
    ],
    PodFields: [
        {},
        *({"env": [{"name": name, "value": "1"} for name in names]} for names in ("A", "AB", "ABA")),
        *(
            {"topologySpreadConstraints": [{"topologyKey": key} for key in keys]}
            for keys in (["zone"], ["zone", "host"], ["zone", "zone"])
        ),
        {"topologySpreadConstraints": [{"topologyKey": "zone"}, {"topologyKey": "zone", "whenUnsatisfiable": HARD}]},
    ],
    ExposeSpec: [
        {"hosts": ["a.example"]} | gateway | ingress
        for gateway in ({}, {"gateway": {"name": "public"}})
        for ingress in ({}, {"ingress": {}}, {"ingress": {"className": "nginx"}})
    ],
    IngressSettings: [
        {},
        *(
            {"annotations": {name: "3600"}}
            for name in (
                "nginx.ingress.kubernetes.io/proxy-read-timeout",
                "nginx.ingress.kubernetes.io/server-snippet",
                "nginx.ingress.kubernetes.io/auth-url",
            )
        ),
    ],
    ArchitectureFingerprint: [
        heads | width | shared
        for heads in ({}, {"numAttentionHeads": 32})
        for width in ({}, {"hiddenSize": 32}, {"hiddenSize": 31}, {"hiddenSize": 31, "headDim": 64})
        for shared in ({}, {"numKeyValueHeads": 8}, {"numKeyValueHeads": 12}, {"numKeyValueHeads": 64})
    ],
    LicensePolicySpec: [
        {"tiers": [{"tier": tier} for tier in tiers]}
        for tiers in ((), ("OtherLicense",), ("OtherLicense", "CommunityLlama3"), ("OtherLicense", "OtherLicense"))
    ],
}
STATES = ("Accepted", "Superseded", "Withdrawn", "Terminated")
CHANGES = {
    LicenseAcceptanceSpec: [
        ({}, {"namespaces": ["team-a", "team-b"]}),
        ({}, {"reviewDueOn": "2027-01-01"}),
        ({}, {"state": "Terminated", "terminatedOn": "2026-04-01"}),
        ({"state": "Terminated"}, {"state": "Terminated", "terminatedOn": "2026-04-01"}),
        ({"state": "Terminated", "terminatedOn": "2026-04-01"}, {"state": "Terminated"}),
        *(({"state": before}, {"state": after}) for before in STATES for after in STATES),
        *(({"supersededBy": before}, {"supersededBy": after}) for before in ("a", "b") for after in ("a", "b")),
        ({"supersededBy": "a"}, {}),
        ({}, CONFIRMED),
        (CONFIRMED, CONFIRMED),
        (CONFIRMED, {}),
        (CONFIRMED, {"deletionConfirmed": CONFIRMED["deletionConfirmed"] | {"confirmedBy": "Al"}}),
        *(change for name, value in EVIDENCE.items() for change in (({}, {name: value}), ({name: value}, {}))),
    ],
    LlamaModelSpec: [({}, {}), ({}, {"digest": "1" * 64}), ({}, {"servedName": "Llama-chat"})],
}
BEFORE = {LicenseAcceptanceSpec: ACCEPTANCE, LlamaModelSpec: CHECKPOINT | {"licenseFamilies": ["mit"]}}


@pytest.mark.parametrize("rule", TRANSITIONS, ids=lambda rule: f"{rule.model.__name__}.{rule.field}")
def test_a_change_is_judged_alike_by_cel_and_python(rule):
    program = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}).compile(rule.cel)
    verdicts = set()
    for old, new in CHANGES[rule.model]:
        instances = [rule.model.model_validate_json(json.dumps(BEFORE[rule.model] | each)) for each in (old, new)]
        before, after = (each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in instances)
        verdict = program.eval(data={"self": after, "oldSelf": before}).value()
        assert verdict == rule.holds(*instances), (old, new)
        verdicts.add(verdict)
    assert verdicts == {True, False}


def test_all_that_an_acceptance_records_is_immutable_or_known_to_change():
    fields = set(LicenseAcceptanceSpec.model_json_schema(by_alias=True)["properties"])
    may_change = {"namespaces", "reviewDueOn", "state", "supersededBy", "terminatedOn", "deletionConfirmed"}
    assert fields - may_change == set(IMMUTABLE_EVIDENCE) == set(EVIDENCE)


@pytest.fixture(scope="module")
def judged():
    """Each object as it is judged, by the kind of its rules: read, and as JSON with defaults, as the API server sees it."""
    read = {
        kind: [kind.model_validate_json(json.dumps(given)) for given in objects] for kind, objects in OBJECTS.items()
    }
    return {
        kind: [(one, one.model_dump(mode="json", by_alias=True, exclude_none=True)) for one in instances]
        for kind, instances in read.items()
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.model.__name__}.{rule.field}")
def test_cel_and_python_agree_and_a_rule_is_broken_and_kept(rule, judged):
    program = cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=STRINGS).compile(rule.cel)
    verdicts = set()
    for instance, as_json in judged[rule.model]:
        holds = rule.holds(instance)
        # An error, as of a time zone that nobody knows, is no consent: the API server refuses with the words of the rule.
        assert (program.eval(data={"self": as_json}).value() is True) == holds, as_json
        verdicts.add(holds)
    assert verdicts == {True, False}


def test_the_longest_name_still_leaves_room_for_the_revision():
    longest = LlamaDeployment(metadata=ObjectMeta(name="a" * 38), spec=LlamaDeploymentSpec(model=ModelSpec(name="m")))
    assert len(longest.metadata.name) + len("-12345678") <= 47
