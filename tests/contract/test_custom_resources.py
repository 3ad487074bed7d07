"""What a real API server makes of our CRDs: rules, defaults, the scale subresource. The twin has none of these."""

import re

import pytest

from llama_operator.api.manifest import parse
from llama_operator.api.rules import RULES, TRANSITIONS
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import InvalidError, JsonPatch, NotFoundError
from support.kstatus import kstatus

pytestmark = pytest.mark.control_plane

MODEL = {"name": "tiny-random-llama"}
ACME = {"name": "acme", "requestsPerMinute": 60}
TAINT = {"key": "sku"}
VARIABLE = {"name": "NCCL_DEBUG", "value": "INFO"}
IN_NOTHING = [{"key": "zone", "operator": "In"}]
SPREAD = {"topologyKey": "zone", "labelSelector": {"matchExpressions": IN_NOTHING}}
WITHOUT_VALUES = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": IN_NOTHING}]}
    }
}
OF_NODES = "spec.pods.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
INGRESS = {"endpoint": {"path": "Ingress"}}
GUARD = {"guard": {"model": {"name": "llama-guard-3-8b"}}}
SHARED, LENGTH = {"placement": "Shared"}, {"maxModelLength": 4096}
OFFICE = {"name": "office", "from": "08:00", "to": "18:00", "minReplicas": 1}
ADAPTER = {"name": "a", "source": {"path": "a"}}
BROKEN = (
    ("metadata.name", {"name": "chat.70b"}),
    ("spec.scaling.maxReplicas", {"scaling": {"minReplicas": 3, "maxReplicas": 2}}),
    ("spec.scaling.minReplicas", {"scaling": {"minReplicas": 0, "mode": "Manual"}}),
    ("spec.scaling.schedule", {"replicas": 2, "scaling": {"mode": "Manual", "schedule": {"windows": [OFFICE]}}}),
    ("spec.scaling.schedule.windows", {"scaling": {"schedule": {"windows": [OFFICE | {"minReplicas": 9}]}}}),
    ("spec.scaling.schedule.windows", {"scaling": {"maxReplicas": 9, "schedule": {"windows": [OFFICE, OFFICE]}}}),
    ("spec.scaling.schedule.timeZone", {"scaling": {"schedule": {"timeZone": "Local", "windows": [OFFICE]}}}),
    ("spec.scaling.schedule.windows[0].to", {"scaling": {"schedule": {"windows": [OFFICE | {"to": "08:00"}]}}}),
    (
        "spec.scaling.schedule.windows[0].minReplicas",
        {"scaling": {"schedule": {"windows": [{"name": "a", "from": "08:00", "to": "18:00"}]}}},
    ),
    ("spec.parallelism.tensor", {"parallelism": {"mode": "Manual"}}),
    ("spec.parallelism.mode", {"parallelism": {"tensor": 8}}),
    ("spec.replicas", {"replicas": 2}),
    (
        "spec.engine.arguments.maxNumSeqs",
        {"context": {"concurrentSequences": 5}, "engine": {"arguments": {"maxNumSeqs": 4}}},
    ),
    ("spec.model.name", {"model": {"name": "meta-llama/Llama-3.1-8B-Instruct"}}),
    ("spec.model.precisions", {"model": MODEL | {"precision": "BF16", "precisions": ["FP8"]}}),
    ("spec.model.precisions", {"model": MODEL | {"precisions": ["FP8", "FP8"]}}),
    ("spec.pods.tolerations[0].key", {"pods": {"tolerations": [{"value": "gpu"}]}}),
    ("spec.pods.tolerations[0].value", {"pods": {"tolerations": [TAINT | {"operator": "Exists", "value": "gpu"}]}}),
    ("spec.pods.tolerations[0].tolerationSeconds", {"pods": {"tolerations": [TAINT | {"tolerationSeconds": 5}]}}),
    (f"{OF_NODES}.nodeSelectorTerms[0].matchExpressions[0].values", {"pods": {"affinity": WITHOUT_VALUES}}),
    (
        "spec.pods.topologySpreadConstraints[0].labelSelector.matchExpressions[0].values",
        {"pods": {"topologySpreadConstraints": [SPREAD]}},
    ),
    ("spec.pods.env[0].value", {"pods": {"env": [{"name": "NCCL_DEBUG"}]}}),
    ("spec.pods.env", {"pods": {"env": [VARIABLE, VARIABLE]}}),
    ("spec.endpoint.expose.gateway", {"endpoint": {"expose": {"hosts": ["a.example"]}}}),
    (
        "spec.endpoint.expose.ingress.annotations",
        {"endpoint": {"expose": {"hosts": ["a.example"], "ingress": {"annotations": {"acme.example/a": "b"}}}}},
    ),
    ("spec.access.from[0].namespace", {"access": {"from": [{"podLabels": {"app": "web"}}]}}),
    ("spec.access.from[0].podLabels", {"access": {"from": [{"cidr": "10.0.0.0/8", "podLabels": {"app": "web"}}]}}),
    ("spec.access.keys.configMap", {"access": {"keys": {"configMap": "keys", "secret": "keys"}}}),
    ("spec.access.keys", {"access": {"mode": "Open", "keys": {"secret": "keys"}}}),
    ("spec.tenants", {"endpoint": {"path": "Ingress"}, "tenants": [ACME]}),
    ("spec.otherTenants", {"endpoint": {"path": "Ingress"}, "otherTenants": {"requestsPerMinute": 6}}),
    ("spec.tenants", {"endpoint": {"path": "Direct"}, "access": {"mode": "Open"}, "tenants": [ACME]}),
    (
        "spec.tenants[0].tokensPerDay",
        {"endpoint": {"path": "Direct"}, "tenants": [ACME | {"tokensPerDay": 9, "tokensPerMonth": 8}]},
    ),
    (
        "spec.tenants[0].maxOutputTokens",
        {"endpoint": {"path": "Direct"}, "tenants": [ACME | {"maxOutputTokens": 9, "tokensPerMinute": 8}]},
    ),
    ("spec.pods.topologySpreadConstraints", {"pods": {"topologySpreadConstraints": [{"topologyKey": "zone"}] * 2}}),
    ("spec.headStore.tls.authority.configMap", {"headStore": {"address": "redis:6379", "tls": {"authority": {}}}}),
    ("spec.usageStore", INGRESS | {"usageStore": {"address": "valkey:6379"}}),
    ("spec.endpoint.routing", {"endpoint": {"path": "Ingress", "routing": "PrefixAware"}}),
    (
        "spec.endpoint.routing",
        {"endpoint": {"routing": "PrefixAware"}, "engine": {"arguments": {"prefixCaching": "Disabled"}}},
    ),
    ("spec.endpoint.aliases", {"endpoint": {"path": "Ingress", "aliases": ["Llama-chat"]}}),
    ("spec.guard", INGRESS | GUARD),
    ("spec.guard.reason", {"guard": GUARD["guard"] | {"failure": "Open"}}),
    ("spec.guard.accelerator", {"guard": GUARD["guard"] | SHARED | {"accelerator": "l4"}, "context": LENGTH}),
    ("spec.context.maxModelLength", {"guard": GUARD["guard"] | SHARED}),
    ("spec.guard.replicas", {"guard": GUARD["guard"] | SHARED | {"replicas": 2}, "context": LENGTH}),
    ("spec.weights.cache.mode", {"weights": {"cache": {"storageClassName": "fast"}}}),
    ("spec.weights.cache.image", {"weights": {"cache": {"mode": "Image"}}}),
    ("spec.weights.cache.image", {"weights": {"cache": {"image": f"acme/llama@sha256:{'0' * 64}"}}}),
    ("spec.weights.cache.imageFolder", {"weights": {"cache": {"mode": "Claim", "imageFolder": "models"}}}),
    (
        "spec.weights.cache.claimName",
        {"weights": {"cache": {"mode": "Claim", "claimName": "m", "retention": "Retain"}}},
    ),
    ("spec.weights.cache.accessMode", {"weights": {"cache": {"mode": "Claim", "accessMode": "ReadWriteOnce"}}}),
    ("spec.license.guardModel", GUARD | {"license": {"guardModel": "llama-guard-3-1b"}}),
    ("spec.adapters", {"adapters": [ADAPTER]}),
    (
        "spec.adapters",
        {"adapterSlots": {"maxLoras": 1, "maxAdapters": 1}, "adapters": [ADAPTER, ADAPTER | {"name": "b"}]},
    ),
    (
        "spec.adapters",
        {"adapterSlots": {}, "endpoint": {"aliases": ["Llama-A"]}, "adapters": [ADAPTER | {"name": "llama-a"}]},
    ),
    ("spec.adapterSlots", INGRESS | {"adapterSlots": {}}),
    ("spec.adapterSlots.maxAdapters", {"adapterSlots": {"maxLoras": 2, "maxAdapters": 1}}),
    ("spec.adapters[0].source.path", {"adapterSlots": {}, "adapters": [{"name": "a", "source": {}}]}),
    ("spec.adapters[0].source.path", {"adapterSlots": {}, "adapters": [{"name": "a", "source": {"path": "a/../b"}}]}),
)
"""Field and spec of a LlamaDeployment that breaks the rule on that field."""
DELETED = {"confirmedBy": "Jo Doe", "confirmedOn": "2026-04-02", "what": "volume models"}
BROKEN_RECORDS = {
    "spec.terminatedOn": ("acceptance", {"terminatedOn": "2026-04-01"}),
    "spec.supersededBy": ("acceptance", {"supersededBy": "another"}),
    "spec.deletionConfirmed": ("acceptance", {"deletionConfirmed": DELETED}),
    "spec.architectureFingerprint.headDim": (
        "llama_model",
        {"architectureFingerprint": {"hiddenSize": 1, "numAttentionHeads": 4096}},
    ),
    "spec.architectureFingerprint.numKeyValueHeads": (
        "llama_model",
        {"architectureFingerprint": {"numAttentionHeads": 32, "numKeyValueHeads": 5}},
    ),
    "spec.source": ("llama_model", {"source": {}}),
    "spec.source.volumeClaim.path": ("llama_model", {"source": {"volumeClaim": {"name": "m", "path": "a/../../b"}}}),
    "spec.source.objectStore.uri": ("llama_model", {"source": {"objectStore": {"uri": "s3://models/../others"}}}),
    **{
        f"spec.source.objectStore.{field}": (
            "llama_model",
            {"source": {"objectStore": {"uri": "gs://models/chat", field: value}}},
        )
        for field, value in (("account", "acme"), ("endpoint", "http://minio:9000"), ("region", "eu-central-1"))
    },
    "metadata.name": ("llama_model", {"name": "a" * 64}),
    "spec.lineage.derivedFrom": ("llama_model", {"name": "loop", "lineage": [("loop", "Merge")]}),
    "spec.lineage": ("llama_model", {"lineage": []}),
    "spec.otherLicense": ("llama_model", {"licenseFamilies": ["other"]}),
    "spec.independence": (
        "llama_model",
        {"independence": {"attestedBy": "Jo Doe", "attestedOn": "2026-03-02", "evidence": "DOC-4711"}},
    ),
    "spec.tiers": ("license_policy", {"tiers": [{"tier": "CommunityLlama2"}, {"tier": "CommunityLlama2"}]}),
}
"""Builder and contents of a license record that breaks the rule on a field."""
BROKEN_CARDS = (
    ("metadata.name", ("accelerator", {"name": "a" * 41})),
    ("spec.computeCapability", ("accelerator", {"vendor": "AMD"})),
    ("spec.computeCapability", ("accelerator", {"computeCapability": "6.1"})),
)
"""The same of a declared card."""
CHANGED_RECORDS = {
    "spec.families": ("acceptance", {"families": ["llama-3.1", "llama-4"]}),
    "spec.versionDate": ("acceptance", {"versionDate": "2024-07-23"}),
    "spec.textHashes": ("acceptance", {"textHashes": ["0" * 64]}),
    "spec.legalEntity": ("acceptance", {"legalEntity": "Other Ltd"}),
    "spec.domicile": ("acceptance", {"domicile": "CH"}),
    "spec.receivedAs": ("acceptance", {"receivedAs": "IntegratedEndUserProduct"}),
    "spec.acceptedBy": ("acceptance", {"acceptedBy": "Al"}),
    "spec.acceptedOn": ("acceptance", {"acceptedOn": "2026-03-03"}),
    "spec.evidence": ("acceptance", {"evidence": "DOC-2"}),
    "spec.purposes": ("acceptance", {"purposes": ["Production"]}),
    "spec.monthlyActiveUsers": (
        "acceptance",
        {"monthlyActiveUsers": {"month": "2024-06", "count": 1, "attestedBy": "Jo", "attestedOn": "2026-03-02"}},
    ),
    "spec.metaGrant": ("acceptance", {"metaGrant": {"reference": "G-1", "grantedOn": "2026-01-01"}}),
    "spec.tradeListCheckedOn": ("acceptance", {"tradeListCheckedOn": "2026-03-02"}),
    "spec.digest": ("llama_model", {"digest": "1" * 64}),
}
"""Builder and contents of a change that a license record does not take."""


@pytest.fixture
def ours(api_server):
    return api_server.client("llama-operator")


@pytest.fixture
def objects(api_server, builders):
    return builders(api_server.namespace)


@pytest.fixture
def scale(api_server):
    """Reads or writes the scale subresource of `chat`, as `kubectl scale` and autoscalers do."""
    path = f"/apis/llama-operator.io/v1alpha1/namespaces/{api_server.namespace}/llamadeployments/chat/scale"

    async def send(replicas=None, version=None):
        if replicas is None:
            return await api_server.ask("GET", path)
        metadata = {"name": "chat", "namespace": api_server.namespace}
        metadata |= {"resourceVersion": version} if version else {}
        body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas}}
        return await api_server.ask("PUT", path, body)

    return send


@pytest.mark.parametrize(("kind", "most"), [("LlamaDeployment", 38), ("LlamaModel", 63)])
async def test_a_name_that_is_too_long_is_refused_by_the_path_of_the_name(ours, objects, kind, most):
    broken = objects.llama() if kind == "LlamaDeployment" else objects.llama_model()
    broken["metadata"]["name"] = "a" * (most + 1)
    with pytest.raises(InvalidError, match=r"metadata\.name: Invalid value") as refused:
        await ours.apply(broken)
    assert f"must be at most {most} characters" in str(refused.value)
    assert "<nil>" not in str(refused.value)


async def test_what_nobody_has_looked_at_is_not_taken_for_done_by_tools_that_wait(ours, objects):
    live = await ours.apply(objects.llama())
    assert kstatus(live) == "InProgress"
    assert kstatus(await ours.get(objects.chat)) == "InProgress"
    assert live["status"] == {"observedGeneration": -1}


DIRECT = {"endpoint": {"path": "Direct"}}


async def test_a_tenant_has_one_entry_for_the_server_and_for_the_command_line(ours, objects):
    twice = objects.llama(**DIRECT, tenants=[ACME, ACME | {"requestsPerMinute": 6}])
    with pytest.raises(InvalidManifestError, match=r"spec\.tenants: .*must have each name once"):
        parse(twice)
    with pytest.raises(Exception, match=r"spec\.tenants.*uplicate"):
        await ours.apply(twice)
    with pytest.raises(NotFoundError):
        await ours.get(objects.chat)


async def test_as_many_tenants_as_are_allowed_are_judged_by_all_rules(ours, objects):
    every = [
        ACME | {"name": f"{'t' * 57}-{number:05d}", "tokensPerDay": 1, "tokensPerMonth": 2} for number in range(256)
    ]
    live = await ours.apply(objects.llama(**DIRECT, tenants=every))
    assert [tenant["priority"] for tenant in live["spec"]["tenants"]] == [0] * 256


async def test_two_writers_have_a_tenant_each(api_server, ours, objects):
    """As a team and its platform do, each by server-side apply of its own."""
    other = api_server.client("platform")
    await ours.apply(objects.llama(**DIRECT, tenants=[ACME]))
    only = objects.llama(**DIRECT, tenants=[{"name": "globex"}])
    live = await other.apply(only)
    assert [tenant["name"] for tenant in live["spec"]["tenants"]] == ["acme", "globex"]
    live = await ours.apply(objects.llama(**DIRECT))
    assert [tenant["name"] for tenant in live["spec"]["tenants"]] == ["globex"]


@pytest.mark.parametrize("image", ["acme/llama:3.3", "acme/llama@sha256:0123"])
async def test_weights_in_an_image_are_named_by_its_digest(ours, objects, image):
    with pytest.raises(InvalidError, match=r"spec\.weights\.cache\.image"):
        await ours.apply(objects.llama(weights={"cache": {"mode": "Image", "image": image}}))


def test_every_rule_is_broken_by_a_case_here():
    fields = {rule.field for rule in RULES}
    paths = [*(path for path, _ in BROKEN), *BROKEN_RECORDS, *(path for path, _ in BROKEN_CARDS)]
    assert {field for field in fields if any(path.endswith(field) for path in paths)} == fields
    assert len(paths) == len(RULES)
    # The state of an acceptance, its successor, its end and what is confirmed then have tests of their own below.
    changes = {rule.field for rule in TRANSITIONS} - {"state", "supersededBy", "terminatedOn", "deletionConfirmed"}
    assert {path.removeprefix("spec.") for path in CHANGED_RECORDS} == changes


def record(objects, builder, contents):
    """A record of `contents`; `name` is its whole name, `lineage` a list of (model, kind)."""
    spec = dict(contents)
    name = spec.pop("name", None)
    if "lineage" in spec:
        spec["lineage"] = {"derivedFrom": [{"model": model, "kind": kind} for model, kind in spec["lineage"]]}
    found = getattr(objects, builder)(**spec)
    return found if name is None else found | {"metadata": {"name": name}}


@pytest.mark.parametrize(("path", "case"), [*BROKEN_RECORDS.items(), *BROKEN_CARDS], ids=str)
async def test_a_record_that_breaks_a_rule_is_refused_in_the_same_words(ours, objects, path, case):
    broken = record(objects, *case)
    with pytest.raises(InvalidManifestError) as by_us:
        parse(broken)
    with pytest.raises(InvalidError) as by_the_server:
        await ours.apply(broken)
    (problem,) = by_us.value.problems
    assert problem.path == path
    # Two kinds may have the same rule.
    (message,) = {rule.message for rule in RULES if path.endswith(rule.field) and rule.message in str(problem)}
    assert message in str(by_the_server.value)
    assert f"{path}: " in str(by_the_server.value)


@pytest.mark.parametrize(("path", "case"), CHANGED_RECORDS.items(), ids=str)
async def test_what_a_record_pins_cannot_be_changed_or_taken_away(ours, objects, path, case):
    builder, change = case
    (rule,) = [rule for rule in TRANSITIONS if path == f"spec.{rule.field}"]
    for name, (before, after) in {"set": ({}, change), "taken": (change, {})}.items():
        await ours.apply(getattr(objects, builder)(name, **before))
        with pytest.raises(InvalidError) as refused:
            await ours.apply(getattr(objects, builder)(name, **after))
        assert f"{path}: " in str(refused.value)
        assert rule.message in str(refused.value)


async def test_an_acceptance_ends_once(ours, objects):
    ended = {"state": "Terminated", "terminatedOn": "2026-04-01"}
    await ours.apply(objects.acceptance())
    await ours.apply(objects.acceptance(namespaces=["team-b"], reviewDueOn="2027-01-01", **ended))
    for change in ({}, {"state": "Terminated"}, ended | {"terminatedOn": "2026-05-01"}):
        with pytest.raises(InvalidError, match=r"spec\.(state|terminatedOn)"):
            await ours.apply(objects.acceptance(namespaces=["team-b"], **change))


async def test_a_deletion_is_confirmed_once_and_after_the_end(ours, objects):
    ended = {"state": "Terminated", "terminatedOn": "2026-04-01"}
    await ours.apply(objects.acceptance())
    await ours.apply(objects.acceptance(**ended))
    with pytest.raises(InvalidError, match=r"spec\.deletionConfirmed"):
        await ours.apply(objects.acceptance(**ended, deletionConfirmed=DELETED | {"confirmedOn": "2026-03-31"}))
    await ours.apply(objects.acceptance(**ended, deletionConfirmed=DELETED))
    for change in ({}, {"deletionConfirmed": DELETED | {"what": "nothing"}}):
        with pytest.raises(InvalidError, match=r"spec\.deletionConfirmed"):
            await ours.apply(objects.acceptance(**ended, **change))


@pytest.mark.parametrize(
    "later",
    [
        {"state": "Accepted"},
        {"state": "Withdrawn"},
        {"state": "Terminated", "terminatedOn": "2026-05-01"},
        {"state": "Superseded", "supersededBy": "third"},
    ],
    ids=lambda later: later["state"],
)
async def test_an_acceptance_is_superseded_once(ours, objects, later):
    await ours.apply(objects.acceptance())
    await ours.apply(objects.acceptance(state="Superseded", supersededBy="second"))
    with pytest.raises(InvalidError, match=r"spec\.(state|supersededBy)"):
        await ours.apply(objects.acceptance(**later))


@pytest.mark.parametrize(("path", "spec"), BROKEN, ids=str)
async def test_what_breaks_a_rule_is_refused_with_the_field_and_the_words_of_the_command_line(
    ours, objects, path, spec
):
    broken = objects.llama(**spec)
    with pytest.raises(InvalidManifestError) as by_us:
        parse(broken)
    with pytest.raises(InvalidError) as by_the_server:
        await ours.apply(broken)
    (problem,) = by_us.value.problems
    assert problem.path == path
    # Two kinds may have the same rule.
    (message,) = {rule.message for rule in RULES if path.endswith(rule.field) and rule.message in str(problem)}
    assert message in str(by_the_server.value)
    assert f"{path}: " in str(by_the_server.value)
    with pytest.raises(NotFoundError):
        await ours.get(objects.ref(kinds.LLAMA_DEPLOYMENT, broken["metadata"]["name"]))


@pytest.mark.parametrize(("path", "spec"), BROKEN[1:], ids=str)
async def test_an_update_that_breaks_a_rule_is_refused_and_changes_nothing(ours, objects, path, spec):
    before = await ours.apply(objects.llama())
    with pytest.raises(InvalidError, match=re.escape(path)):
        await ours.apply(objects.llama(**spec))
    assert await ours.get(objects.chat) == before


async def test_a_time_zone_that_nobody_knows_is_refused_and_named(ours, objects):
    """The API server cannot evaluate the rule then: it names the section, and has the words of the rule beside its own."""
    broken = objects.llama(scaling={"schedule": {"timeZone": "Europe/Atlantis", "windows": [OFFICE]}})
    with pytest.raises(InvalidManifestError, match=r"spec\.scaling\.schedule\.timeZone"):
        parse(broken)
    with pytest.raises(
        InvalidError, match=r"spec\.scaling\.schedule(\.timeZone)?: .*timeZone:? must be the name of a time zone"
    ):
        await ours.apply(broken)


async def test_a_patch_that_breaks_a_rule_is_refused(ours, objects):
    await ours.apply(objects.llama())
    with pytest.raises(InvalidError, match=r"spec\.scaling\.maxReplicas"):
        await ours.patch(objects.chat, [JsonPatch("replace", "/spec/scaling/minReplicas", 3)])


async def test_an_unknown_field_is_refused_by_its_name(ours, objects):
    with pytest.raises(InvalidError, match=r"\.spec\.surprise"):
        await ours.apply(objects.llama(surprise=1))


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"replicas": "many"}, "spec.replicas"),
        ({"scaling": {"maxReplicas": 0}}, "spec.scaling.maxReplicas"),
        ({"activation": "Asleep"}, "spec.activation"),
    ],
)
async def test_a_value_out_of_its_bounds_is_refused_by_its_field(ours, objects, spec, path):
    with pytest.raises(InvalidError, match=path):
        await ours.apply(objects.llama(**spec))


async def test_a_status_that_breaks_its_schema_is_refused(ours, objects):
    before = await ours.apply(objects.llama())
    with pytest.raises(InvalidError, match=r"status\.replicas"):
        await ours.apply_status(objects.llama(status={"replicas": "many"}))
    assert await ours.get(objects.chat) == before


async def test_the_server_fills_in_the_defaults_that_the_command_line_fills_in(ours, objects):
    live = await ours.apply(objects.llama())
    plain = {**objects.llama(), "spec": live["spec"]}
    assert parse(plain).spec == parse(objects.llama()).spec
    spec = parse(objects.llama()).spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    # A section of which no field has a default is left out by the server: it would say nothing.
    assert filled(live["spec"]) == filled(spec)


def filled(value):
    """The value without the parts that say nothing."""
    if not isinstance(value, dict):
        return value
    return {name: part for name, one in value.items() if (part := filled(one)) not in ({}, [])}


async def test_a_default_belongs_to_nobody(ours, objects):
    live = await ours.apply(objects.llama())
    (entry,) = live["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:spec": {"f:model": {"f:name": {}}}}


async def test_a_field_that_is_given_up_gets_its_default_back(ours, objects):
    await ours.apply(objects.llama(scaling={"maxReplicas": 4}))
    live = await ours.apply(objects.llama())
    assert live["spec"]["scaling"]["maxReplicas"] == 1


async def test_scale_says_how_many_are_wanted_and_how_many_there_are(ours, objects, scale):
    await ours.apply(objects.llama(scaling={"mode": "Manual", "maxReplicas": 4}, replicas=2))
    selector = "llama-operator.io/deployment=chat"
    await ours.apply_status(objects.llama(status={"replicas": 1, "selector": selector}))
    found = await scale()
    assert found["spec"]["replicas"] == 2
    assert found["status"] == {"replicas": 1, "selector": selector}


async def test_scaling_changes_spec_replicas(ours, objects, scale):
    before = await ours.apply(objects.llama(scaling={"mode": "Manual", "maxReplicas": 4}, replicas=2))
    await scale(3)
    live = await ours.get(objects.chat)
    assert live["spec"] == before["spec"] | {"replicas": 3}
    assert live["metadata"]["generation"] == 2


async def test_scaling_is_refused_where_the_autoscaler_owns_the_number(ours, objects, scale):
    before = await ours.apply(objects.llama())
    with pytest.raises(InvalidError, match=r"spec\.replicas.*scaling\.mode"):
        await scale(3)
    assert await ours.get(objects.chat) == before


async def test_who_scaled_owns_the_number_and_an_apply_without_it_leaves_it(ours, objects, scale):
    deployment = objects.llama(scaling={"mode": "External", "maxReplicas": 4})
    await ours.apply(deployment)
    await scale(3)
    live = await ours.apply(deployment)
    assert live["spec"]["replicas"] == 3


async def test_license_acceptances_have_defaults_too(ours, objects):
    live = await ours.apply(objects.acceptance())
    assert live["spec"]["state"] == "Accepted"


async def test_a_ray_service_that_is_applied_again_is_not_written_despite_its_defaults(ours, objects):
    first = await ours.apply(objects.ray_service())
    again = await ours.apply(objects.ray_service())
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_ray_service_keeps_weights_in_an_image(ours, objects):
    """KubeRay's definition could have no such volume: the server would take it away, and pods would find no weights."""
    image = {"reference": f"acme/llama@sha256:{'0' * 64}", "pullPolicy": "IfNotPresent"}
    service = objects.ray_service()
    cluster = service["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        group["template"]["spec"]["volumes"] = [{"name": "weights", "image": image}]
    live = (await ours.apply(service))["spec"]["rayClusterConfig"]
    for group in (live["headGroupSpec"], *live["workerGroupSpecs"]):
        assert group["template"]["spec"]["volumes"] == [{"name": "weights", "image": image}]


async def test_a_kind_that_the_server_does_not_serve_says_what_to_install(ours, objects):
    kind = kinds.Kind("llama-operator.io/v9", "LlamaDeployment", "llamadeployments")
    with pytest.raises(NotFoundError, match="install its CRDs"):
        await ours.list(kind, namespace=objects.namespace)


async def test_a_map_that_an_apply_empties_becomes_null_and_is_refused(ours, objects):
    """A flaw of the server's merge: so what is rendered must not empty a required map of a live object."""
    full = objects.ray_service()
    full["spec"]["rayClusterConfig"]["headGroupSpec"]["rayStartParams"] = {"num-cpus": "0"}
    await ours.apply(full)
    with pytest.raises(InvalidError, match=r"rayStartParams.*null"):
        await ours.apply(objects.ray_service())
