"""The content of a line of evidence: the result of every rule, what it rests on, and who asked. Pure; called by `evidence.log`.

A line is evidence of what the operator decided and why. It is no legal advice. It holds no token, no Secret, and no request
or answer of a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from llama_operator.api.meta import rfc3339
from llama_operator.api.reasons import ConditionType
from llama_operator.api.v1alpha1.licensepolicy import UNRESOLVED
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec
from llama_operator.decide.bounds import most_replicas
from llama_operator.decide.decision import Decision
from llama_operator.decide.license import CHAIN, Evidence, LicenseVerdict
from llama_operator.decide.license.running import RevisionVerdict
from llama_operator.decide.observed import Observed, Requester
from llama_operator.evidence.chain import Json, digest
from llama_operator.evidence.weights import copies_of, what_is_pinned, what_runs

MOST_CHARACTERS: Final = 400
MOST_ITEMS: Final = 32
"""Upper limits on texts and lists whose length users decide: a line must fit into a log."""


class Event(StrEnum):
    """What a line is about."""

    TERM_STARTED = "TermStarted"
    """A process began to decide; the chain continues that of the process before."""
    DECIDED = "Decided"
    """The license chain came to a verdict that differs from the last one recorded in this term."""
    ORPHAN_ENDED = "OrphanEnded"
    """RayServices outlived their LlamaDeployment without an owner, and are ended."""
    REMOVED = "Removed"
    """A deployment with a recorded verdict is gone."""


class Outcome(StrEnum):
    """The verdict."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """Result of one check of the chain.

    Attributes:
        rule: Id of the rule in docs/licenses.md, for example `P5`.
        check: Id of the check.
        outcome: `Allowed`, `Denied`, `NotApplicable` or `NotChecked`.
        origin: `License`, `Record` or `HousePolicy`; a house rule is no term of a license.
        clause: Clause of the license that says so.
        reason, message, unblock: Why it refused, and what would unblock it; empty otherwise.
    """

    rule: str
    check: str
    outcome: str
    origin: str
    clause: str
    reason: str = ""
    message: str = ""
    unblock: str = ""

    def to_json(self) -> dict[str, Json]:
        """Render; only a refusal has clause, reason and message. docs/licenses.md has the clauses of all others."""
        result: dict[str, Json] = {"rule": self.rule, "check": self.check, "outcome": self.outcome}
        if not self.reason:
            return result
        return result | {
            "origin": self.origin,
            "clause": short(self.clause),
            "reason": self.reason,
            "message": short(self.message),
        }


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """What is recorded of one decision.

    Attributes:
        time: When the chain decided, in UTC.
        deployment: The LlamaDeployment with the version of its spec: namespace, name, uid, generation.
        asked: What that spec asks for and declares: revision, model, maximum of replicas, acceptance, purpose, use, page of
            the attribution.
        outcome, reason, tier, families: The verdict.
        effect: What follows: `MayStart`, `NothingChanges` (nothing starts, and what runs continues), `Drains` (no new
            requests) or `Ended` (nothing runs).
        removes: RayServices that are deleted because the right to them has ended.
        rules: Every check, in the order of the chain.
        evidence: What the verdict rests on.
        requester: Who last wrote the spec, if Kubernetes says it.
        running: Name of the revision, if the spec asks for another one; empty for the wanted one.
    """

    time: datetime
    deployment: Mapping[str, Json]
    asked: Mapping[str, Json]
    outcome: Outcome
    reason: str
    tier: str
    families: tuple[str, ...]
    effect: str
    removes: tuple[str, ...]
    rules: tuple[RuleRecord, ...]
    evidence: Mapping[str, Json]
    requester: Requester
    running: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """Namespace and name of the deployment, and whether it is about the wanted revision or which other one."""
        return str(self.deployment["namespace"]), str(self.deployment["name"]), self.running

    def to_json(self) -> dict[str, Json]:
        """Render as the fields of a line, without those of the chain."""
        return {
            "event": Event.DECIDED.value,
            "time": rfc3339(self.time),
            "deployment": dict(self.deployment),
            **self.asked,
            "decision": self.outcome.value,
            "effect": self.effect,
            "removes": list(self.removes),
            "reason": self.reason,
            "tier": self.tier,
            "families": list(self.families),
            "rules": [rule.to_json() for rule in self.rules],
            **self.evidence,
            "requester": {"user": short(self.requester.user), "manager": short(self.requester.manager)},
        }

    def substance(self) -> str:
        """Return a digest of what has to differ for a new line: all that the verdict is about and rests on.

        The time does not count, nor do the words of messages, which may count days. The generation of the spec and its last
        writer do not count either: a spec that asks for the same with another queue depth is no new decision.
        """
        content = self.to_json()
        content["rules"] = [[rule.check, rule.outcome, rule.reason] for rule in self.rules]
        content["deployment"] = self.deployment["uid"]
        return digest({name: value for name, value in content.items() if name not in {"time", "requester"}})


def decided(observed: Observed, decision: Decision, *, default_image: str = "") -> tuple[DecisionRecord, ...]:
    """Records of `decision`: of the wanted revision, and of every other one that has the traffic or whose license has ended.

    None for the wanted one if no license was judged, and nothing else refused the model.

    Args:
        observed: What the decision rests on.
        decision: What was decided.
        default_image: Image of a deployment that names none.
    """
    wanted, traffic = decision.revision.name, observed.traffic.revision if observed.traffic else ""
    here = {service.name for service in observed.ray_services}
    others = [
        judged
        for judged in decision.verdicts
        if judged.revision in here and judged.revision != wanted and (judged.revision == traffic or judged.ended)
    ]
    unknown_model = decision.problem is not None and decision.problem.condition is ConditionType.MODEL_RESOLVED
    asked = decision.license is not None or unknown_model
    return (
        *((_of_wanted(observed, decision, default_image),) if asked else ()),
        *(_of_running(observed, decision, judged) for judged in others),
    )


def _of_wanted(observed: Observed, decision: Decision, default_image: str) -> DecisionRecord:
    spec, verdict = observed.deployment.spec, decision.license
    return DecisionRecord(
        time=observed.now,
        deployment=_deployment(observed),
        asked=_asked(observed, decision.revision.name, spec.model.name, spec.license),
        outcome=Outcome.ALLOW if verdict is not None and verdict.allowed else Outcome.DENY,
        reason=_reason(decision),
        tier=str(verdict.tier if verdict else UNRESOLVED),
        families=verdict.families if verdict else (),
        effect=_effect(observed, decision),
        removes=_removes(decision, decision.revision.name),
        rules=rules(verdict) if verdict else (),
        evidence=_evidence(observed, verdict.evidence if verdict else Evidence())
        | what_runs(observed, decision, default_image=default_image)
        | copies_of(decision),
        requester=observed.requester,
    )


def _of_running(observed: Observed, decision: Decision, judged: RevisionVerdict) -> DecisionRecord:
    verdict, pinned = judged.verdict, observed.pinned(judged.revision)
    unchanged = "GoesOn" if verdict.allowed else "NothingChanges"
    return DecisionRecord(
        time=observed.now,
        deployment=_deployment(observed),
        asked=_asked(observed, judged.revision, judged.model, judged.license),
        outcome=Outcome.ALLOW if verdict.allowed else Outcome.DENY,
        reason=verdict.reason.value,
        tier=str(verdict.tier),
        families=verdict.families,
        effect="Drains" if judged.ended else unchanged,
        removes=_removes(decision, judged.revision),
        rules=rules(verdict),
        evidence=_evidence(observed, verdict.evidence) | ({} if pinned is None else what_is_pinned(pinned)),
        requester=observed.requester,
        running=judged.revision,
    )


def _deployment(observed: Observed) -> dict[str, Json]:
    metadata = observed.deployment.metadata
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        "uid": metadata.uid,
        "generation": metadata.generation,
    }


def _asked(observed: Observed, revision: str, model: str, license_spec: LicenseSpec) -> dict[str, Json]:
    return {
        "revision": revision,
        "model": short(model),
        "maxReplicas": most_replicas(observed.deployment.spec),
        "acceptance": license_spec.acceptance or "",
        "purpose": license_spec.purpose.value,
        "useCase": license_spec.use_case.value,
        "outputUse": license_spec.output_use.value,
        "attributionURL": short(license_spec.attribution_url or ""),
    }


def _removes(decision: Decision, revision: str) -> tuple[str, ...]:
    """The RayService of `revision`, if it is deleted because the right to it has ended."""
    return tuple(gone.name for gone in decision.ending.remove if gone.name == revision) if decision.ending else ()


def rules(verdict: LicenseVerdict) -> tuple[RuleRecord, ...]:
    """Return the result of every check, in the order of the chain; `kubectl llama license` uses it too."""
    checks = {check.id: check for check in CHAIN}
    denials = {denial.check: denial for denial in verdict.denials}
    results = []
    for ran in verdict.evidence.checks:
        check, denial = checks[ran.check], denials.get(ran.check)
        if denial is None:
            results.append(RuleRecord(ran.rule, ran.check, ran.result, check.origin, check.clause))
            continue
        refusal = (denial.origin, denial.clause, denial.reason.value, denial.message, denial.unblock)
        results.append(RuleRecord(ran.rule, ran.check, ran.result, *refusal))
    return tuple(results)


def short(text: str) -> str:
    """Return `text`, cut if it is longer than a line should hold."""
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."


def _reason(decision: Decision) -> str:
    if decision.license is not None:
        return decision.license.reason.value
    return decision.problem.reason.value if decision.problem else ""


def _effect(observed: Observed, decision: Decision) -> str:
    if decision.license is not None and decision.license.allowed:
        return "MayStart"
    judged = decision.verdict_of(decision.revision.name)
    # An unknown model has no verdict, but what runs may have ended.
    ended = decision.ending is not None if judged is None else judged.ended
    if not ended:
        return "NothingChanges"
    return "Drains" if observed.ray_services else "Ended"


def _evidence(observed: Observed, evidence: Evidence) -> dict[str, Json]:
    live = {acceptance.metadata.name: acceptance.metadata for acceptance in observed.acceptances or ()}
    return {
        "modelDigest": evidence.model_digest,
        "modelSource": short(evidence.source),
        "textHashes": list[Json](sorted(set(evidence.text_hashes))),
        "lineage": [short(step) for step in evidence.lineage[:MOST_ITEMS]],
        "policies": list(evidence.policies[:MOST_ITEMS]),
        "acceptances": [
            {
                "name": used.name,
                "uid": used.uid,
                "generation": live[used.name].generation if used.name in live else 0,
                "family": used.family,
                "versionDate": used.version_date,
                "textHashes": list[Json](sorted(used.text_hashes)),
                "legalEntity": short(used.legal_entity),
                "state": str(used.state),
            }
            for used in evidence.acceptances[:MOST_ITEMS]
        ],
        "attestations": [
            {
                "rule": said.rule,
                "statement": short(said.statement),
                "by": short(said.by),
                "on": said.on,
                "acceptance": said.acceptance,
            }
            for said in evidence.attestations[:MOST_ITEMS]
        ],
    }
