"""What is recorded of a license decision: which rules came out how, on what evidence, for whom. Pure; called by `evidence.log`.

A record is evidence of what the operator decided and why. It is no legal advice, and it holds no token, no Secret and no
request or answer of a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from llama_operator.api.meta import rfc3339
from llama_operator.api.reasons import ConditionType
from llama_operator.catalog.licenses import Tier
from llama_operator.decide.bounds import most_replicas
from llama_operator.decide.decision import Decision
from llama_operator.decide.license import CHAIN, Evidence, LicenseVerdict
from llama_operator.decide.observed import Observed, Requester
from llama_operator.evidence.chain import Json, digest
from llama_operator.evidence.weights import what_runs

MOST_CHARACTERS: Final = 400
MOST_ITEMS: Final = 32
"""Longest text and list of a record, where others decide on the length: a line must fit into a log."""


class Event(StrEnum):
    """What a line is about."""

    TERM_STARTED = "TermStarted"
    """A process began to decide; the chain goes on from the one before."""
    DECIDED = "Decided"
    """The license chain came to a verdict that differs from the last one recorded in this term."""
    REMOVED = "Removed"
    """A deployment with a recorded verdict is gone."""


class Outcome(StrEnum):
    """The verdict."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """How one check of the chain came out.

    Attributes:
        rule: Id of the rule in docs/licenses.md, for example `P5`.
        check: Id of the check.
        outcome: `Allowed`, `Denied`, `NotApplicable` or `NotChecked`.
        origin: `License`, `Record` or `HousePolicy`: a house rule is no term of a license.
        clause: Clause on which it rests.
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
        """Render; a refusal alone has clause, reason and message, which stand in the documents for all others."""
        found: dict[str, Json] = {"rule": self.rule, "check": self.check, "outcome": self.outcome}
        if not self.reason:
            return found
        return found | {
            "origin": self.origin,
            "clause": short(self.clause),
            "reason": self.reason,
            "message": short(self.message),
        }


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision, as far as it is recorded.

    Attributes:
        time: When the chain decided, in UTC.
        deployment: The LlamaDeployment with the version of its spec: namespace, name, uid, generation.
        asked: What that spec asks for and declares: revision, model, most replicas, acceptance, purpose, use, page of the
            attribution.
        outcome, reason, tier, families: The verdict.
        effect: What follows: `MayStart`, `NothingChanges` (nothing starts, and what runs goes on), `Drains` (no new requests)
            or `Ended` (nothing runs any more).
        removes: RayServices that are deleted because the right to them has ended.
        rules: Every check, in the order of the chain.
        evidence: What the verdict rests on.
        requester: Who last wrote the spec, as far as Kubernetes tells.
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

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return str(self.deployment["namespace"]), str(self.deployment["name"])

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
        """What has to differ for a new line: all that the verdict is about and rests on.

        Not the time, nor the words of messages, which may count days. Not the generation of the spec and who wrote it last:
        a spec that asks for the same with another queue depth is no new decision.
        """
        content = self.to_json()
        content["rules"] = [[rule.check, rule.outcome, rule.reason] for rule in self.rules]
        content["deployment"] = self.deployment["uid"]
        return digest({name: value for name, value in content.items() if name not in {"time", "requester"}})


def decided(observed: Observed, decision: Decision, *, default_image: str = "") -> DecisionRecord | None:
    """Record of `decision`; None where no license was judged, and nothing else refused the model.

    Args:
        observed: What the decision rests on.
        decision: What was decided.
        default_image: Image of a deployment that names none.
    """
    deployment, verdict = observed.deployment, decision.license
    metadata, spec = deployment.metadata, deployment.spec
    if verdict is None and (decision.problem is None or decision.problem.condition is not ConditionType.MODEL_RESOLVED):
        return None
    return DecisionRecord(
        time=observed.now,
        deployment={
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "generation": metadata.generation,
        },
        asked={
            "revision": decision.revision.name,
            "model": short(spec.model.name),
            "maxReplicas": most_replicas(spec),
            "acceptance": spec.license.acceptance or "",
            "purpose": spec.license.purpose.value,
            "useCase": spec.license.use_case.value,
            "outputUse": spec.license.output_use.value,
            "attributionURL": short(spec.license.attribution_url or ""),
        },
        outcome=Outcome.ALLOW if verdict is not None and verdict.allowed else Outcome.DENY,
        reason=_reason(decision),
        tier=(verdict.tier if verdict else Tier.UNRESOLVED).value,
        families=verdict.families if verdict else (),
        effect=_effect(observed, decision),
        removes=tuple(sorted(found.name for found in decision.ending.remove)) if decision.ending else (),
        rules=rules(verdict) if verdict else (),
        evidence=_evidence(observed, verdict.evidence if verdict else Evidence())
        | what_runs(observed, decision, default_image=default_image),
        requester=observed.requester,
    )


def rules(verdict: LicenseVerdict) -> tuple[RuleRecord, ...]:
    """How every check came out, in the order of the chain; also used by `kubectl llama license`."""
    checks = {check.id: check for check in CHAIN}
    denials = {denial.check: denial for denial in verdict.denials}
    found = []
    for ran in verdict.evidence.checks:
        check, denial = checks[ran.check], denials.get(ran.check)
        if denial is None:
            found.append(RuleRecord(ran.rule, ran.check, ran.result, check.origin, check.clause))
            continue
        told = (denial.origin, denial.clause, denial.reason.value, denial.message, denial.unblock)
        found.append(RuleRecord(ran.rule, ran.check, ran.result, *told))
    return tuple(found)


def short(text: str) -> str:
    """`text`, cut where a user made it longer than a record should be."""
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."


def _reason(decision: Decision) -> str:
    if decision.license is not None:
        return decision.license.reason.value
    return decision.problem.reason.value if decision.problem else ""


def _effect(observed: Observed, decision: Decision) -> str:
    if decision.license is not None and decision.license.allowed:
        return "MayStart"
    if decision.ending is None:
        return "NothingChanges"
    return "Drains" if observed.ray_services else "Ended"


def _evidence(observed: Observed, found: Evidence) -> dict[str, Json]:
    live = {record.metadata.name: record.metadata for record in observed.acceptances or ()}
    return {
        "modelDigest": found.model_digest,
        "modelSource": short(found.source),
        "textHashes": list[Json](sorted(set(found.text_hashes))),
        "lineage": [short(step) for step in found.lineage[:MOST_ITEMS]],
        "policies": list(found.policies[:MOST_ITEMS]),
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
            for used in found.records[:MOST_ITEMS]
        ],
        "attestations": [
            {
                "rule": said.rule,
                "statement": short(said.statement),
                "by": short(said.by),
                "on": said.on,
                "acceptance": said.record,
            }
            for said in found.attestations[:MOST_ITEMS]
        ],
    }
