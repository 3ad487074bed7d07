"""What would unblock a condition, by its reason: a field to change or a command. Pure; called by `cli.explain.chain`."""

from collections.abc import Mapping

from llama_operator import catalog
from llama_operator.api.meta import Condition
from llama_operator.api.reasons import Reason
from llama_operator.catalog import UnknownModelError
from llama_operator.cli.explain.facts import Facts
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.diagnosis import hints
from llama_operator.decide.rollout.revision import revision_of

_BY_REASON: Mapping[str, str] = {
    **{reason: hints.general(reason) for reason in hints.reasons()},
    Reason.INTERNAL_ERROR: "it is tried again; the operator's log has the trace: {logs}",
    Reason.KUBERNETES_ERROR: (
        "it is tried again; see that the API server answers (kubectl get --raw /readyz), or grant the right that the message "
        "names; the operator's log has every failure: {logs}"
    ),
    Reason.INVALID_SPEC: "{edit}: correct the fields that the message names",
    Reason.NOT_UNDERSTOOD: "upgrade the operator, or change what the message names; what runs goes on meanwhile",
    Reason.GUARD_DOWN: (
        "see what the message says of it, and the log of its pods; until it runs, spec.guard.failure says what happens to requests"
    ),
    Reason.GUARD_FAILS_OPEN: "{edit}: spec.guard.failure Closed, and leave reason out, once its reason is gone",
    Reason.SUSPENDED: "{edit}: spec.activation Active",
    Reason.COPYING: "kubectl llama weights follow -n {namespace} shows how far it is",
    Reason.COPY_NOT_ALLOWED: "apply the roles of the operator's version: upgrade the chart",
    Reason.NO_SPACE: (
        "raise spec.resources.requests.storage of the claim that the message names, if its StorageClass allows it; or delete the claim, "
        "and name a class with more room in spec.weights.cache.storageClassName"
    ),
    Reason.CLAIM_NOT_WRITABLE: (
        "have the root of the volume given to group 1000, or take a StorageClass whose driver does so (fsGroupPolicy File)"
    ),
    Reason.CLAIM_DIFFERS: "{edit}: spec.weights.cache as the claim is; or delete the claim when no pod uses it",
    Reason.CLAIM_ON_ONE_NODE: "{edit}: spec.weights.cache.accessMode ReadWriteMany, with a StorageClass that has it",
    Reason.IMAGE_VOLUMES_MISSING: "{edit}: spec.weights.cache.mode Claim; or upgrade the cluster",
    Reason.COMMIT_UNKNOWN: "name a commit in a LlamaModel; or have the operator started with --weights-preflight Enabled",
    Reason.COPY_MISMATCH: "it is tried again; if it stays so, ask the publisher, or take another variant in spec.model.variant",
    Reason.SOURCE_DENIED: "use a token or credentials whose account may read the weights",
    Reason.SOURCE_UNREACHABLE: "it is tried again; see that pods of {namespace} may reach the source",
    Reason.COPY_STALLED: "it is tried again; kubectl llama weights follow -n {namespace} shows how far it is",
    Reason.COPY_FORBIDDEN: "spec.model.variant: name weights in safetensors that need no code of their maker",
    Reason.ERASE_FAILED: "it is tried again; kubectl llama weights follow -n {namespace} shows the log",
    Reason.COPY_SHARED: "end the deployments that the message names, if their license has ended too",
    Reason.CLAIM_GONE: "have who runs the storage say whether the volume kept its bytes, and record it in spec.deletionConfirmed",
    Reason.COPY_FAILED: "it is tried again; kubectl llama weights follow -n {namespace} shows the log",
    Reason.LINEAGE_UNRESOLVED: "ask the platform owner to add the model with its lineage to the catalog",
    Reason.ACCEPTANCE_MISSING: (
        "name a LicenseAcceptance for {families} in spec.license.acceptance; {records}; if there is none, a person who "
        "may sign for the company creates one"
    ),
    Reason.ACCEPTANCE_NOT_FOUND: "correct spec.license.acceptance, or create a LicenseAcceptance for {families}; {records}",
    Reason.ACCEPTANCE_WITHDRAWN: "name a LicenseAcceptance that holds in spec.license.acceptance; {records}",
    Reason.ACCEPTANCE_TERMINATED: "name another LicenseAcceptance in spec.license.acceptance; {records}",
    Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED: (
        "kubectl edit licenseacceptance {acceptance}: add {namespace} to spec.namespaces, if the license allows it there"
    ),
    Reason.ACCEPTANCE_FAMILY_NOT_COVERED: (
        "accept {families} in a LicenseAcceptance and name that in spec.license.acceptance; {records}"
    ),
    Reason.RESEARCH_ONLY: (
        "take a model whose license allows the purpose, or, if that is what it is, set spec.license.purpose to "
        "NonCommercialResearch"
    ),
    Reason.ACCEPTANCE_VERSION_WRONG: (
        "record an acceptance of the version that the message names and name that in spec.license.acceptance; {records}"
    ),
    Reason.ACCEPTANCE_TEXT_MISSING: (
        "record an acceptance with the hashes that the message names (docs/licenses.md lists them); {records}"
    ),
    Reason.ACCEPTANCE_TEXT_UNKNOWN: (
        "record an acceptance of the published text (docs/licenses.md lists the hashes); {records}"
    ),
    Reason.ACCEPTANCE_DATE_WRONG: "record an acceptance with the day on which it was accepted; {records}",
    Reason.ACCEPTANCE_PURPOSE_NOT_COVERED: "name an acceptance for the purpose of this deployment; {records}",
    Reason.POLICY_REVIEW_DUE: (
        "read the acceptable use policy again, then: kubectl edit licenseacceptance {acceptance}: spec.reviewDueOn"
    ),
    Reason.ACTIVE_USERS_NOT_ATTESTED: (
        "record an acceptance with spec.monthlyActiveUsers for the month that the message names; {records}"
    ),
    Reason.ACTIVE_USERS_MONTH_WRONG: (
        "record an acceptance with spec.monthlyActiveUsers for the month that the message names; {records}"
    ),
    Reason.META_GRANT_MISSING: (
        "request a license from Meta and record it in spec.metaGrant of a new acceptance; or take another model"
    ),
    Reason.META_GRANT_EXPIRED: (
        "have Meta extend its license and record that in spec.metaGrant of a new acceptance; or take another model"
    ),
    Reason.REATTESTATION_DUE: "record an acceptance with a new attestation of the same month (house policy); {records}",
    Reason.EUROPEAN_UNION_NOT_GRANTED: (
        "take a model that takes only text; the domicile of the licensee counts, not where nodes or users are"
    ),
    Reason.DOMICILE_MISSING: "record an acceptance with spec.domicile; {records}",
    Reason.TRADE_CONTROL: "ask the person responsible for trade control; the message names the LicensePolicy",
    Reason.ATTRIBUTION_MISSING: "spec.license.attributionURL: the page that shows the line that the message names",
    Reason.NAME_PREFIX_MISSING: "have spec.servedName of the LlamaModel begin as the message says",
    Reason.TRADEMARK: "have spec.servedName of the LlamaModel changed",
    Reason.OUTPUT_USE_NOT_ALLOWED: (
        "take a model whose license allows it, or correct spec.license.outputUse and trainedModels"
    ),
    Reason.USE_CASE_NOT_ALLOWED: "take a model whose license allows spec.license.useCase",
    Reason.SAFETY_REMOVED: "spec.model.name: take another model",
    Reason.GUARD_NOT_ALLOWED: (
        "spec.guard.model (or spec.license.guardModel): take another guard, or cure what the message says about its license; {records}"
    ),
    Reason.LICENSEE_AMBIGUOUS: (
        "have {namespace} taken out of the acceptances of all entities but the licensee's; {records}"
    ),
    Reason.LICENSEE_WRONG: "name an acceptance by the entity that the LicensePolicy has; {records}",
    Reason.HOUSE_POLICY: "ask the platform owner, or keep within the LicensePolicy that the message names",
    Reason.MODEL_UNKNOWN: "spec.model.name: take one of `kubectl llama models`",
    Reason.MODEL_UNUSABLE: "have the LlamaModel completed with the fields that the message names",
    Reason.VARIANT_UNKNOWN: "spec.model: take a precision and variant of `kubectl llama models -o json`",
    Reason.ENGINE_CONSTRAINT: "spec.model.name: take another model of `kubectl llama models`",
    Reason.NOTHING_FITS: "{nearest}",
    Reason.ACCELERATOR_UNKNOWN: "spec.hardware.accelerator: take one that the message names",
    Reason.ACCELERATOR_UNDECIDED: (
        "do what the message says for a node, or name the accelerator in spec.hardware.accelerator; `kubectl llama doctor` shows "
        "which cards the nodes have"
    ),
    Reason.POD_SETTING_NOT_ALLOWED: "spec.pods: leave out what the message names, or ask the platform owner",
    Reason.CONTEXT_TOO_LONG: "spec.context.maxModelLength: lower it as the message says",
    Reason.IMAGE_MISSING: "name an image in spec.image that is built for the accelerator; or the operator's --card-image",
    Reason.PRECISION_NOT_SUPPORTED: "spec.model.precision, or another spec.hardware.accelerator",
    Reason.HEADS_NOT_DIVISIBLE: "spec.parallelism.tensor: take a size that the message names, or mode Auto",
    Reason.SHARD_NOT_ALIGNED: "spec.parallelism.tensor: take a smaller size, or mode Auto",
    Reason.LAYERS_NOT_DIVISIBLE: "spec.parallelism.pipeline: take a smaller size, or mode Auto",
    Reason.PIPELINE_NOT_SUPPORTED: "spec.parallelism.pipeline: 1 on this device",
    Reason.PARALLELISM_SPANS_NODES: "spec.parallelism.tensor: at most the GPUs of a node, or mode Auto",
    Reason.WEIGHTS_DO_NOT_FIT: "{nearest}",
    Reason.KV_CACHE_TOO_SMALL: "{nearest}",
    Reason.MAX_GPUS_EXCEEDED: "raise spec.hardware.maxGPUs, or lower spec.scaling.maxReplicas",
    Reason.ACCESS_CHECK_FAILED: "kubectl describe job -n {namespace} -l llama-operator.io/deployment={name}",
    Reason.TOKEN_MISSING: (
        "kubectl create secret generic hugging-face -n {namespace} --from-literal=token=hf_..., and name it in "
        "spec.weights.tokenSecret"
    ),
    Reason.TOKEN_INVALID: "put another token into the Secret that spec.weights.tokenSecret names; it is asked again",
    Reason.NOT_ACCEPTED: "ask for access on the model's page at huggingface.co, with the account of the token",
    Reason.PENDING_REVIEW: "wait for the authors' answer, which comes by mail to the account of the token",
    Reason.DENIED: "ask the authors of the repository, or use the token of another account",
    Reason.NOT_FOUND: "correct the repository or revision, or use a token that may see it",
    Reason.OFFLINE: (
        "let pods of {namespace} reach the Hub (DNS and HTTPS), or have the platform owner set --hub-endpoint to a mirror; "
        "it is asked again"
    ),
    Reason.QUEUED: "kubectl describe workloads -n {namespace}: have the quota of the queue raised, free what holds it, or ask for less",
    Reason.NODES_LEAVING: "kubectl uncordon NODE if it shall stay; else drain it once nothing of the deployment that the message names is left there, or "
    "when a pause does no harm",
    Reason.NODES_MISSING: "add nodes with the accelerator, or let a cluster autoscaler do it",
    Reason.ENGINE_TOO_OLD: "take an image with a newer engine: spec.image, or the operator's --image",
    Reason.WRITE_REFUSED: (
        "change what the message names: raise the quota, mend the webhook, grant the right, or rename; it is tried again within "
        "a minute"
    ),
    Reason.DEGRADED: "kubectl llama explain {name} -n {namespace} says what the other replicas wait for",
    Reason.SCALE_UP_GIVEN_UP: "add nodes with the accelerator, free some, or lower spec.scaling.maxReplicas; any change of the spec tries at once",
    Reason.SCALE_UP_STUCK: "add nodes with the accelerator, or cure what the step above that waits or fails names",
    Reason.ADAPTER_NAME_TAKEN: "{edit}: spec.adapters: give the adapter another name",
    Reason.ADAPTERS_NOT_SUPPORTED: "{edit}: leave spec.adapterSlots out, or take another model",
    Reason.ADAPTER_NOT_FOUND: (
        "{edit}: spec.adapters: correct the path, which is below the root of the claim; or copy adapter_config.json and "
        "adapter_model.safetensors there: replicas look again twice a minute"
    ),
    Reason.ADAPTER_REFUSED: "train the adapter as the message says, and name its new folder in spec.adapters",
    Reason.ADAPTER_RANK_TOO_LARGE: "{edit}: spec.adapterSlots.maxLoraRank; new engines start",
    Reason.ADAPTER_DOES_NOT_FIT: "take an adapter of this model, or the model of this adapter",
    Reason.ADAPTER_NOT_LOADED: "see what the message says; replicas try again twice a minute",
    Reason.CHANGED_BY_OTHERS: (
        "stop what the message names: change the LlamaDeployment in its place, and take the object out of other tools; "
        "kubectl get events -n {namespace} --field-selector involvedObject.name={name} has each change"
    ),
    Reason.OBJECTIVES_NOT_MET: (
        "relax spec.objectives, or name a faster spec.hardware.accelerator; `kubectl llama plan -f FILE` shows what each "
        "candidate reaches"
    ),
    Reason.KV_CACHE_SMALLER_THAN_PLANNED: (
        "lower spec.context.maxModelLength or concurrentSequences, raise spec.engine.gpuMemoryUtilizationPercent, or name "
        "a larger spec.parallelism.tensor; nothing has to be done while the load is small"
    ),
    Reason.PROGRESS_DEADLINE_EXCEEDED: (
        "change what the message names and apply again{back}; the same spec is tried once more after a new "
        "spec.rollout.restartedAt"
    ),
}
"""A cure for every reason that waiting does not cure."""

_NAMED = 5

_NO_REJECTED = (
    "lower spec.context.maxModelLength or concurrentSequences, take a lower spec.model.precision, or a larger "
    "spec.hardware.accelerator; `kubectl llama plan -f FILE` shows every candidate"
)


def unblock(facts: Facts, condition: Condition) -> str:
    """What to do about a condition; empty when only waiting helps."""
    told = hints.hint(condition.reason, condition.message)
    template = _BY_REASON.get(condition.reason) if told is None else told.do
    if template is None:
        return ""
    acceptance = facts.deployment.spec.license.acceptance if facts.deployment else None
    chosen, revisions = facts.status.plan.chosen if facts.status.plan else None, facts.status.revisions
    return template.format(
        name=facts.name,
        namespace=facts.namespace,
        edit=f"kubectl edit lld {facts.name} -n {facts.namespace}",
        # As the JSON lines of a pod name the object.
        logs=f"""kubectl logs {_operator_pod(facts)} | grep '"{facts.namespace}", "name": "{facts.name}"'""",
        acceptance=acceptance or "NAME",
        accelerator=chosen.accelerator if chosen else "GPU",
        revision=(revisions.pending or revisions.active) if revisions else facts.name,
        families=_families(facts),
        back=_back(facts),
        records=_records(facts),
        nearest=_nearest(facts),
    )


def cures() -> frozenset[str]:
    """Reasons for which there is a cure."""
    return frozenset(_BY_REASON)


def template(reason: str) -> str:
    """What to do about a reason, with its fields still to be filled in; empty when only waiting helps. For the runbooks."""
    return _BY_REASON.get(reason, "")


def _operator_pod(facts: Facts) -> str:
    lease = facts.lease
    if lease is None or isinstance(lease, Unknown) or not lease.holder:
        return "deployment/llama-operator"
    # The identity of a holder begins with its pod's name.
    return f"-n {lease.namespace} {lease.holder.partition('_')[0]}"


def _families(facts: Facts) -> str:
    """License families that the model needs accepted."""
    if facts.deployment is None:
        return "the model's license"
    known = catalog.load()
    try:
        model = known.model(facts.deployment.spec.model.name)
    except UnknownModelError:
        return "the model's license"
    return ", ".join(family.id for family in known.license_families(model) if family.acceptance_required)


def _records(facts: Facts) -> str:
    """The acceptances that would be allowed, as far as they may be seen."""
    if isinstance(facts.acceptances, Unknown):
        return "list them: kubectl get licenseacceptances"
    if not facts.acceptances:
        return "there is none yet"
    allowed = [record for record in facts.acceptances if record.metadata.name in facts.allowed]
    names = [f"{record.metadata.name} ({', '.join(record.spec.families)})" for record in allowed[:_NAMED]]
    return f"allowed would be: {', '.join(names)}" if names else "none of those that exist would be allowed"


def _back(facts: Facts) -> str:
    """How to go back for good, where a revision that served is there to go back to."""
    if facts.deployment is None or isinstance(facts.revisions, Unknown):
        return ""
    wanted = revision_of(facts.deployment, facts.revisions).name
    inputs = next((record.inputs for record in facts.revisions if record.name == wanted), None)
    served = any(record.served_at and record.name != wanted and record.inputs != inputs for record in facts.revisions)
    return f", or go back for good: kubectl llama rollback {facts.name} -n {facts.namespace}" if served else ""


def _nearest(facts: Facts) -> str:
    """What the candidate that came nearest would need."""
    rejected = facts.status.plan.rejected if facts.status.plan else ()
    if not rejected:
        return _NO_REJECTED
    return f"nearest is {rejected[0].candidate}: {rejected[0].message}; {_NO_REJECTED}"
