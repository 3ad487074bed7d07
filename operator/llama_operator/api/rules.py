"""Cross-field rules of the custom resources, each once as CEL (for the API server) and once as Python (for us).

`api.crd` writes the CEL into the CRD; `api.manifest` runs the Python. tests/unit/api/test_rules.py runs both sides of
every rule over the same objects, so they cannot differ.
"""

import re
from collections.abc import Callable

from pydantic import BaseModel

from llama_operator.api.rule import Rule, Transition
from llama_operator.api.spec_rules.adapters import ADAPTER_RULES
from llama_operator.api.spec_rules.endpoint import ENDPOINT_RULES
from llama_operator.api.spec_rules.guard import GUARD_RULES
from llama_operator.api.spec_rules.pods import POD_RULES
from llama_operator.api.spec_rules.scaling import SCALING_RULES
from llama_operator.api.spec_rules.stores import STORE_RULES
from llama_operator.api.spec_rules.weights import WEIGHTS_RULES
from llama_operator.api.v1alpha1.accelerator import Accelerator, AcceleratorSpec, CardVendor
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptanceSpec
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicySpec
from llama_operator.api.v1alpha1.llamadeployment import (
    MAX_NAME_LENGTH,
    LlamaDeployment,
    LlamaDeploymentSpec,
    ModelSpec,
    ParallelismMode,
    ParallelismSpec,
    Precision,
)
from llama_operator.api.v1alpha1.llamamodel import (
    OTHER_FAMILY,
    ArchitectureFingerprint,
    LlamaModel,
    LlamaModelSpec,
    ObjectStoreSource,
    VolumeClaimSource,
)
from llama_operator.api.v1alpha1.scaling import ScalingMode

_DNS_LABEL = "^[a-z]([a-z0-9-]*[a-z0-9])?$"
_ENTRY = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"
_STORE = (
    "^((s3|gs)://(anonymous@)?[A-Za-z0-9][A-Za-z0-9._/=+-]*|az://[A-Za-z0-9][A-Za-z0-9._/=+-]*|"
    "(abfss://[a-z0-9-]+@[a-z0-9]+[.]dfs|azure://[a-z0-9-]+@[a-z0-9]+[.](blob|dfs))[.]core[.]windows[.]net(/[A-Za-z0-9._/=+-]*)?)$"
)
"""Addresses that the libraries in the serving pods read."""


def _name_fits(deployment: LlamaDeployment) -> bool:
    name = deployment.metadata.name
    return len(name) <= MAX_NAME_LENGTH and re.fullmatch(_DNS_LABEL, name) is not None


def _batch_holds_sequences(spec: LlamaDeploymentSpec) -> bool:
    batch = spec.engine.arguments.max_num_seqs
    return batch is None or batch >= spec.context.concurrent_sequences


def _one_source(spec: LlamaModelSpec) -> bool:
    source = spec.source
    return [source.hugging_face, source.object_store, source.volume_claim].count(None) == 2  # noqa: PLR2004


def _heads_have_width(shape: ArchitectureFingerprint) -> bool:
    width, heads = shape.hidden_size, shape.num_attention_heads
    return shape.head_dim is not None or width is None or heads is None or width >= heads


def _kv_heads_divide(shape: ArchitectureFingerprint) -> bool:
    heads, kv_heads = shape.num_attention_heads, shape.num_key_value_heads
    return heads is None or kv_heads is None or heads % kv_heads == 0


def _deletion_after_the_end(spec: LicenseAcceptanceSpec) -> bool:
    confirmed = spec.deletion_confirmed
    if confirmed is None:
        return True
    return spec.state is AcceptanceState.TERMINATED and confirmed.confirmed_on >= (
        spec.terminated_on or confirmed.confirmed_on
    )


def _each_tier_once(policy: LicensePolicySpec) -> bool:
    tiers = [entry.tier for entry in policy.tiers]
    return len(set(tiers)) == len(tiers)


def _card_name_fits(card: Accelerator) -> bool:
    name = card.metadata.name
    return len(name) <= MAX_CARD_NAME_LENGTH and re.fullmatch(_DNS_LABEL, name) is not None and name not in _NO_CARDS


MAX_CARD_NAME_LENGTH = 40
"""Upper limit on the length of the name of an Accelerator: it becomes part of the names of pods."""
_NO_CARDS = ("auto", "cpu")
_CAPABILITY = "^([7-9]|[1-9][0-9])[.]"
"""7.0 is the least that the engine runs on."""

MAX_MODEL_NAME_LENGTH = 63
"""Upper limit on the length of `spec.model.name` of a deployment."""

RULES: tuple[Rule, ...] = (
    Rule(
        model=LlamaDeployment,
        field="metadata.name",
        cel=f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && self.metadata.name.matches('{_DNS_LABEL}')",
        holds=_name_fits,
        message=f"must be at most {MAX_NAME_LENGTH} characters, lower case letters, digits and '-', "
        "and begin with a letter: it becomes part of the names of Services and RayServices",
    ),
    Rule(
        model=ParallelismSpec,
        field="tensor",
        cel="self.mode != 'Manual' || has(self.tensor)",
        holds=lambda sizes: sizes.mode is not ParallelismMode.MANUAL or sizes.tensor is not None,
        message="must be set when mode is Manual; set it, or use mode Auto",
    ),
    Rule(
        model=ParallelismSpec,
        field="mode",
        cel="self.mode != 'Auto' || (!has(self.tensor) && !has(self.pipeline))",
        holds=lambda sizes: sizes.mode is not ParallelismMode.AUTO or (sizes.tensor, sizes.pipeline) == (None, None),
        message="must be Manual when tensor or pipeline is set; set mode to Manual, or remove the sizes",
    ),
    Rule(
        model=ModelSpec,
        field="name",
        cel=f"self.name.size() <= {MAX_MODEL_NAME_LENGTH} && self.name.matches('{_ENTRY}')",
        holds=lambda model: len(model.name) <= MAX_MODEL_NAME_LENGTH and re.fullmatch(_ENTRY, model.name) is not None,
        message="must be the name of a catalog entry or of a LlamaModel, as llama-3.1-8b: at most 63 lower case letters, digits, '-' and "
        "'.'; `kubectl llama models` lists them, and `kubectl llama plan` says which one a repository of the Hub means",
    ),
    Rule(
        model=ModelSpec,
        field="precisions",
        cel="!has(self.precisions) || self.precisions.size() == 0 || self.precision == 'Auto'",
        holds=lambda model: not model.precisions or model.precision is Precision.AUTO,
        message="may be set only when precision is Auto: a named precision is the only one; remove one of the two",
    ),
    Rule(
        model=ModelSpec,
        field="precisions",
        cel="!has(self.precisions) || self.precisions.all(p, self.precisions.exists_one(q, p == q))",
        holds=lambda model: len(set(model.precisions)) == len(model.precisions),
        message="must name each precision once; remove the repeated ones",
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="replicas",
        cel="!has(self.replicas) || self.scaling.mode != 'QueueDepth'",
        holds=lambda spec: spec.replicas is None or spec.scaling.mode is not ScalingMode.QUEUE_DEPTH,
        message="may be set only when scaling.mode is Manual or External: in mode QueueDepth the autoscaler owns the "
        "number of replicas; change scaling.minReplicas and scaling.maxReplicas instead. To go back from another mode, remove replicas in the same "
        'change: kubectl patch llamadeployment NAME --type merge -p \'{"spec":{"replicas":null,"scaling":{"mode":"QueueDepth"}}}\'',
    ),
    Rule(
        model=LlamaDeploymentSpec,
        field="engine.arguments.maxNumSeqs",
        cel="!has(self.engine.arguments.maxNumSeqs) || "
        "self.engine.arguments.maxNumSeqs >= self.context.concurrentSequences",
        holds=_batch_holds_sequences,
        message="must be at least context.concurrentSequences: the operator would hold memory for sequences that "
        "are never computed together; raise maxNumSeqs or lower concurrentSequences",
    ),
    Rule(
        model=LicenseAcceptanceSpec,
        field="terminatedOn",
        cel="!has(self.terminatedOn) || self.state == 'Terminated'",
        holds=lambda spec: spec.terminated_on is None or spec.state is AcceptanceState.TERMINATED,
        message="may be set only when state is Terminated; set state to Terminated, or leave terminatedOn out",
    ),
    Rule(
        model=LicenseAcceptanceSpec,
        field="supersededBy",
        cel="has(self.supersededBy) == (self.state == 'Superseded')",
        holds=lambda spec: (spec.superseded_by is not None) == (spec.state is AcceptanceState.SUPERSEDED),
        message="must name the LicenseAcceptance that counts instead when state is Superseded, and must be left out in any "
        "other state",
    ),
    Rule(
        model=LicenseAcceptanceSpec,
        field="deletionConfirmed",
        cel="!has(self.deletionConfirmed) || (self.state == 'Terminated' && "
        "(!has(self.terminatedOn) || self.deletionConfirmed.confirmedOn >= self.terminatedOn))",
        holds=_deletion_after_the_end,
        message="may be set only when state is Terminated, and its day may not be before terminatedOn; what was deleted earlier "
        "is no answer to the end",
    ),
    Rule(
        model=LlamaModelSpec,
        field="source",
        cel="[has(self.source.huggingFace), has(self.source.objectStore), has(self.source.volumeClaim)]"
        ".filter(given, given).size() == 1",
        holds=_one_source,
        message="must have exactly one of huggingFace, objectStore and volumeClaim; set the one where the weights are",
    ),
    Rule(
        model=VolumeClaimSource,
        field="path",
        cel="!self.path.matches('(^|/)[.][.](/|$)')",
        holds=lambda claim: ".." not in claim.path.split("/"),
        message="must not leave the volume; write the folder without '..'",
    ),
    Rule(
        model=ObjectStoreSource,
        field="uri",
        cel=f"self.uri.matches('{_STORE}') && !self.uri.matches('/[.][.](/|$)')",
        holds=lambda store: re.search(_STORE, store.uri) is not None and ".." not in store.uri.split("/"),
        message="must be one folder that pods can read, without '..': s3://bucket/folder, gs://bucket/folder, "
        "abfss://container@account.dfs.core.windows.net/folder, azure://container@account.blob.core.windows.net/folder, or "
        "az://container/folder with account; write anonymous@ before the bucket of s3 or gs that asks for no credentials",
    ),
    Rule(
        model=ObjectStoreSource,
        field="account",
        cel="!has(self.account) || self.uri.startsWith('az://')",
        holds=lambda store: store.account is None or store.uri.startswith("az://"),
        message="may be set only with a uri that begins with az://; leave it out, the other forms name the account or have none",
    ),
    Rule(
        model=ObjectStoreSource,
        field="endpoint",
        cel="!has(self.endpoint) || self.uri.startsWith('s3://')",
        holds=lambda store: store.endpoint is None or store.uri.startswith("s3://"),
        message="may be set only with a uri that begins with s3://; leave it out",
    ),
    Rule(
        model=ObjectStoreSource,
        field="region",
        cel="!has(self.region) || self.uri.startsWith('s3://')",
        holds=lambda store: store.region is None or store.uri.startswith("s3://"),
        message="may be set only with a uri that begins with s3://; leave it out",
    ),
    Rule(
        model=ArchitectureFingerprint,
        field="headDim",
        cel="has(self.headDim) || !has(self.hiddenSize) || !has(self.numAttentionHeads) || "
        "self.hiddenSize >= self.numAttentionHeads",
        holds=_heads_have_width,
        message="must be set when hiddenSize is smaller than numAttentionHeads: it would be hiddenSize / numAttentionHeads, "
        "which is less than 1; correct hiddenSize and numAttentionHeads",
    ),
    Rule(
        model=ArchitectureFingerprint,
        field="numKeyValueHeads",
        cel="!has(self.numKeyValueHeads) || !has(self.numAttentionHeads) || "
        "self.numAttentionHeads % self.numKeyValueHeads == 0",
        holds=_kv_heads_divide,
        message="must divide numAttentionHeads: each key-value head serves the same number of attention heads; take both from "
        "config.json",
    ),
    Rule(
        model=LlamaModel,
        field="metadata.name",
        cel=f"self.metadata.name.size() <= {MAX_MODEL_NAME_LENGTH}",
        holds=lambda model: len(model.metadata.name) <= MAX_MODEL_NAME_LENGTH,
        message=f"must be at most {MAX_MODEL_NAME_LENGTH} characters: deployments name it in spec.model.name",
    ),
    Rule(
        model=LlamaModel,
        field="spec.lineage.derivedFrom",
        cel="self.spec.lineage.derivedFrom.all(ancestor, ancestor.model != self.metadata.name)",
        holds=lambda model: model.metadata.name not in {part.model for part in model.spec.lineage.derived_from},
        message="must not name the model itself; name the models that it was made from",
    ),
    Rule(
        model=LlamaModelSpec,
        field="lineage",
        cel="self.lineage.derivedFrom.size() > 0 || self.licenseFamilies.size() > 0",
        holds=lambda spec: bool(spec.lineage.derived_from or spec.license_families),
        message="must name what the model was made from, or licenseFamilies must name its own license: without both its duties "
        "are unknown",
    ),
    Rule(
        model=LlamaModelSpec,
        field="otherLicense",
        cel=f"has(self.otherLicense) == self.licenseFamilies.exists(family, family == '{OTHER_FAMILY}')",
        holds=lambda spec: (spec.other_license is not None) == (OTHER_FAMILY in spec.license_families),
        message=f"must have name and url of the license when licenseFamilies has {OTHER_FAMILY}, and must be left out "
        "otherwise",
    ),
    Rule(
        model=LlamaModelSpec,
        field="independence",
        cel="!has(self.independence) || self.lineage.derivedFrom.size() == 0",
        holds=lambda spec: spec.independence is None or not spec.lineage.derived_from,
        message="may be set only when lineage.derivedFrom is empty: what was made from other models is judged by them",
    ),
    Rule(
        model=LicensePolicySpec,
        field="tiers",
        cel="self.tiers.all(entry, self.tiers.exists_one(other, other.tier == entry.tier))",
        holds=_each_tier_once,
        message="must have at most one entry for a tier; put the rules of a tier into one entry",
    ),
    Rule(
        model=Accelerator,
        field="metadata.name",
        cel=f"self.metadata.name.size() <= {MAX_CARD_NAME_LENGTH} && self.metadata.name.matches('{_DNS_LABEL}') && "
        f"!(self.metadata.name in {list(_NO_CARDS)})",
        holds=_card_name_fits,
        message=f"must be at most {MAX_CARD_NAME_LENGTH} characters, lower case letters, digits and '-', begin with a letter, "
        "and be neither auto nor cpu: deployments name it in spec.hardware.accelerator",
    ),
    Rule(
        model=AcceleratorSpec,
        field="computeCapability",
        cel="(self.vendor == 'NVIDIA') == has(self.computeCapability)",
        holds=lambda spec: (spec.vendor is CardVendor.NVIDIA) == (spec.compute_capability is not None),
        message="must be set for a card of NVIDIA, and left out for one of AMD: `nvidia-smi --query-gpu=compute_cap` says it",
    ),
    Rule(
        model=AcceleratorSpec,
        field="computeCapability",
        cel=f"!has(self.computeCapability) || self.computeCapability.matches('{_CAPABILITY}')",
        holds=lambda spec: (
            spec.compute_capability is None or re.match(_CAPABILITY, spec.compute_capability) is not None
        ),
        message="must be at least 7.0: the engine does not run on older cards, so there is nothing to declare",
    ),
    *POD_RULES,
    *STORE_RULES,
    *WEIGHTS_RULES,
    *ENDPOINT_RULES,
    *GUARD_RULES,
    *ADAPTER_RULES,
    *SCALING_RULES,
)

IMMUTABLE_EVIDENCE: tuple[str, ...] = (
    "families",
    "versionDate",
    "textHashes",
    "legalEntity",
    "domicile",
    "receivedAs",
    "acceptedBy",
    "acceptedOn",
    "evidence",
    "purposes",
    "monthlyActiveUsers",
    "metaGrant",
    "tradeListCheckedOn",
)
"""Fields of an acceptance that stay as they were recorded."""


def _same(field: str) -> str:
    return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"


def _unchanged(field: str) -> Callable[[BaseModel, BaseModel], bool]:
    def same(old: BaseModel, new: BaseModel) -> bool:
        return bool(old.model_dump(by_alias=True)[field] == new.model_dump(by_alias=True)[field])

    return same


TRANSITIONS: tuple[Transition, ...] = (
    *(
        Transition(
            model=LicenseAcceptanceSpec,
            field=field,
            cel=_same(field),
            holds=_unchanged(field),
            message="cannot be changed, it is evidence: create another LicenseAcceptance, and set the state of this one "
            "to Superseded, with supersededBy, if the other one corrects it; nothing stops then",
        )
        for field in IMMUTABLE_EVIDENCE
    ),
    Transition(
        model=LicenseAcceptanceSpec,
        field="state",
        cel="oldSelf.state == 'Accepted' || self.state == oldSelf.state || "
        "(oldSelf.state == 'Withdrawn' && self.state != 'Accepted')",
        holds=lambda old, new: (
            old.state in {AcceptanceState.ACCEPTED, new.state}
            or (old.state is AcceptanceState.WITHDRAWN and new.state is not AcceptanceState.ACCEPTED)
        ),
        message="cannot be changed once it is Superseded or Terminated, and does not go back to Accepted; create another "
        "LicenseAcceptance if there is a new acceptance",
    ),
    Transition(
        model=LicenseAcceptanceSpec,
        field="terminatedOn",
        cel=f"!has(oldSelf.terminatedOn) || {_same('terminatedOn')}",
        holds=lambda old, new: old.terminated_on in {None, new.terminated_on},
        message="cannot be changed once it is set; create another LicenseAcceptance if there is a new acceptance",
    ),
    Transition(
        model=LicenseAcceptanceSpec,
        field="deletionConfirmed",
        cel=f"!has(oldSelf.deletionConfirmed) || ({_same('deletionConfirmed')})",
        holds=lambda old, new: old.deletion_confirmed in {None, new.deletion_confirmed},
        message="cannot be changed once it is set, it is evidence; keep further proof where its evidence points to",
    ),
    Transition(
        model=LicenseAcceptanceSpec,
        field="supersededBy",
        cel=f"!has(oldSelf.supersededBy) || {_same('supersededBy')}",
        holds=lambda old, new: old.superseded_by in {None, new.superseded_by},
        message="cannot be changed once it is set; if the successor is wrong, too, set its state to Superseded",
    ),
    Transition(
        model=LlamaModelSpec,
        field="digest",
        cel="self.digest == oldSelf.digest",
        holds=_unchanged("digest"),
        message="cannot be changed: other files are another model; create another LlamaModel for them",
    ),
)
