"""What the license chain says about every revision in the cluster, by the model that it pins. Pure; called by `decide.decision`.

The spec asks for one revision; others may hold the traffic or the hardware, or may be gone back to. Each is judged by its own
model, so that no edit of the spec hides what runs. What a revision declares is what the spec declared while it asked for it,
or what the spec declares now: a revision may run if either is allowed.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from llama_operator.api import readings
from llama_operator.api.paths import at
from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec
from llama_operator.catalog import Catalog
from llama_operator.decide.access import Door, door_of_revision
from llama_operator.decide.find_model import find_model
from llama_operator.decide.license import LicenseVerdict, judge
from llama_operator.decide.license.facts import ended_on, last_named, leading, same_party
from llama_operator.decide.license.gather import gpus_of, license_input
from llama_operator.decide.observed import LONG_AGO, LicenseEnd, Observed, RevisionFacts
from llama_operator.decide.problem import Problem


@dataclass(frozen=True, slots=True)
class RevisionVerdict:
    """One revision, and what the license chain says about it.

    Attributes:
        revision: Name of the revision.
        model: Name of the model that it pins.
        license: Declarations under which it was judged.
        verdict: What the chain says.
        end: How the right to it ended; None while it has not.
    """

    revision: str
    model: str
    license: LicenseSpec
    verdict: LicenseVerdict
    end: LicenseEnd | None = None

    @property
    def ended(self) -> bool:
        """Whether it has to go: no requests, then no hardware."""
        return self.end is not None and self.end.at is not None


@dataclass(slots=True)
class _Judge:
    """Judges revisions of one pass; revisions that pin the same model share a verdict."""

    observed: Observed
    catalog: Catalog
    known: dict[tuple[str, str, int | None, Door, str, LicenseSpec], LicenseVerdict] = field(default_factory=dict)

    def of(self, pinned: RevisionFacts) -> RevisionVerdict:
        now = self.observed.deployment.spec.license
        then = pinned.license or now
        first, second = self._verdict(pinned, then), self._verdict(pinned, now)
        license_spec, verdict = (now, second) if second.allowed and not first.allowed else (then, first)
        return RevisionVerdict(
            pinned.name, pinned.model, license_spec, verdict, end_of(self.observed, license_spec, verdict, pinned)
        )

    def _verdict(self, pinned: RevisionFacts, license_spec: LicenseSpec) -> LicenseVerdict:
        chosen = pinned.plan.chosen
        gpus = None if chosen is None else gpus_of(chosen.gpus_per_replica, chosen.accelerator)
        door = door_of_revision(pinned, self.observed.deployment.metadata.name)
        guard = readings.text(at(pinned.inputs, "guard.model.name"))
        key = (pinned.model, chosen.repository if chosen else "", gpus, door, guard, license_spec)
        if key not in self.known:
            name, repository, *_ = key
            model = find_model(name, self.observed.models, self.catalog)
            variant = None
            if not isinstance(model, Problem):
                variant = next((copy for copy in model.variants if (copy.repository or "") == repository), None)
            asked = license_input(self.observed, self.catalog, name, variant, gpus, door=door, pinned_guard=guard)
            # Adapters and aliases of the spec are not its own: it has those that it got when the spec was last right.
            self.known[key] = judge(replace(asked, license=license_spec, adapters=(), aliases=()))
        return self.known[key]


def judge_others(observed: Observed, catalog: Catalog, wanted: str) -> tuple[RevisionVerdict, ...]:
    """Judge every revision but `wanted` that is in the cluster, has the traffic or may be gone back to.

    Args:
        observed: What is known.
        catalog: The built-in catalog.
        wanted: Revision that the spec asks for; it is judged by the spec.
    """
    here = {service.name for service in observed.ray_services}
    traffic = observed.traffic.revision if observed.traffic else ""
    # While the wanted one serves there is nothing to go back to: what only the history knows needs no verdict, unless an end
    # has to be remembered with it.
    settled = any(service.name == wanted and service.serves for service in observed.ray_services)
    settled = settled and not any(map(_is_terminated, observed.acceptances or ()))
    judges = _Judge(observed, catalog)
    return (
        *(
            judges.of(pinned)
            for pinned in observed.revisions
            if pinned.name != wanted
            and (pinned.name in here or pinned.name == traffic or (_may_come_back(pinned) and not settled))
        ),
        *_without_record(observed, catalog, here - {wanted}),
    )


def _may_come_back(pinned: RevisionFacts) -> bool:
    """Whether the traffic may go to it again: it served, or it was being started when its children went."""
    return bool(pinned.served_at) or pinned.live is not None


def judge_wanted(observed: Observed, catalog: Catalog, wanted: str, verdict: LicenseVerdict) -> RevisionVerdict:
    """Add to the verdict about the revision that the spec asks for how the right to it has ended, if it has.

    What the spec declares now neither saves nor ends it: it ends if what it declared while it was allowed does not hold
    either.

    Args:
        observed: What is known.
        catalog: The built-in catalog.
        wanted: Name of the revision.
        verdict: What the chain says about it under what the spec declares now.
    """
    now, pinned = observed.deployment.spec.license, observed.pinned(wanted)
    end = end_of(observed, now, verdict, pinned)
    if pinned is not None and pinned.license not in {None, now} and not verdict.allowed:
        then = _Judge(observed, catalog).of(pinned)
        end = then.end if then.verdict.allowed or not _has_ended(end) else end
    model = observed.deployment.spec.model.name if pinned is None else pinned.model
    return RevisionVerdict(wanted, model, now, verdict, end)


def _without_record(observed: Observed, catalog: Catalog, others: Collection[str]) -> Iterator[RevisionVerdict]:
    """Revisions in the cluster that no record explains: they end with the acceptance that the deployment names."""
    known, now = {pinned.name for pinned in observed.revisions}, observed.deployment.spec.license
    for name in sorted(set(others) - known):
        verdict = judge(license_input(observed, catalog, "", None, None))
        end = end_of(observed, now, verdict, None)
        if end is not None:
            # Nothing remembers since when: it gets no time to finish.
            yield RevisionVerdict(name, "", now, verdict, replace(end, at=LONG_AGO))


def _has_ended(end: LicenseEnd | None) -> bool:
    return end is not None and end.at is not None


def end_of(
    observed: Observed, license_spec: LicenseSpec, verdict: LicenseVerdict, pinned: RevisionFacts | None
) -> LicenseEnd | None:
    """How the right to a revision ended, if it has.

    An end that began goes on, also when the record that it came from is gone. A verdict that allows the model stops it: then
    an acceptance holds that is newer than the end.

    Args:
        observed: What is known.
        license_spec: What the revision declares.
        verdict: What the chain says about it.
        pinned: The revision; None while it has no record.
    """
    before = pinned.license_end if pinned else None
    if verdict.allowed:
        return None if before is None else replace(before, at=None)
    if _has_ended(before):
        return before
    acceptance = terminated(observed, license_spec, verdict, pinned.families if pinned else ())
    if acceptance is None:
        return before
    ran_out = acceptance.spec.state is not AcceptanceState.TERMINATED
    drain = observed.deployment.spec.rollout.drain_seconds
    if before is not None and ran_out:
        # The day of the end stays: it says which acceptances are newer.
        return replace(before, at=observed.now, drain_seconds=drain)
    grant = acceptance.spec.meta_grant if ran_out else None
    on = grant.expires_on if grant else ended_on(acceptance)
    return LicenseEnd(
        acceptance=acceptance.metadata.name,
        entity=acceptance.spec.legal_entity,
        families=tuple(acceptance.spec.families),
        on=on or observed.now.date().isoformat(),
        at=observed.now,
        grant=grant.reference if grant else "",
        drain_seconds=drain,
    )


def terminated(
    observed: Observed, license_spec: LicenseSpec, verdict: LicenseVerdict, remembered: Iterable[str] = ()
) -> LicenseAcceptance | None:
    """The acceptance by which the right to a model ended: the one that is named, or one of its license.

    To name none, or one that does not exist, is no way out: then a terminated one for this namespace and license counts.

    Args:
        observed: What is known.
        license_spec: What is declared.
        verdict: What the chain says about it.
        remembered: License families under which the model was allowed before; a lineage that changed takes none away.
    """
    if verdict.allowed:
        return None
    records = observed.acceptances or ()
    named = leading(records, license_spec.acceptance)
    asked = last_named(records, license_spec.acceptance)
    if any((record.kind, record.name) == ("LicenseAcceptance", asked) for record in observed.unread_records):
        # It exists, and it may well hold.
        return None
    families = {*verdict.families, *remembered}
    if not families:
        # The model is not known any more: what it was used under still is.
        return named if named is not None and _is_terminated(named) else None
    of_license = [record for record in records if _is_terminated(record) and families & set(record.spec.families)]
    here = [record for record in of_license if observed.deployment.metadata.namespace in record.spec.namespaces]
    if not verdict.drain:
        if named is not None:
            return named if named in of_license else None
        return _first(here)
    if named is None:
        return _first(here or of_license)
    if _is_terminated(named):
        return named
    own = [record for record in of_license if same_party(record.spec.legal_entity, named.spec.legal_entity)]
    # A grant that ran out ends the license as well, although no record is terminated.
    if any(denial.reason is Reason.META_GRANT_EXPIRED for denial in verdict.denials):
        return _first(own) or named
    return _first(own) or _first(here or of_license) or named


def _is_terminated(record: LicenseAcceptance) -> bool:
    return record.spec.state is AcceptanceState.TERMINATED


def _first(records: Iterable[LicenseAcceptance]) -> LicenseAcceptance | None:
    return next(iter(records), None)
