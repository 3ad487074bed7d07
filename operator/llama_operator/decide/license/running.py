"""What the license chain says about every revision in the cluster, by the model that it pins. Pure; called by `decide.decision`.

The spec asks for one revision; others may hold the traffic or the hardware, or may be gone back to. Each is judged by its own
model, so that no edit of the spec hides what runs. What a revision declares is what the spec declared while it asked for it,
or what the spec declares now: a revision may run if either is allowed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec
from llama_operator.catalog import Catalog
from llama_operator.decide.find_model import find_model
from llama_operator.decide.license import LicenseVerdict, judge
from llama_operator.decide.license.gather import gpus_of, license_input
from llama_operator.decide.observed import LicenseEnd, Observed, RevisionFacts
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
    known: dict[tuple[str, str, int | None, LicenseSpec], LicenseVerdict] = field(default_factory=dict)

    def of(self, pinned: RevisionFacts) -> RevisionVerdict:
        now = self.observed.deployment.spec.license
        then = pinned.license or now
        first, second = self._verdict(pinned, then), self._verdict(pinned, now)
        license_spec, verdict = (now, second) if second.allowed and not first.allowed else (then, first)
        return RevisionVerdict(
            pinned.name, model_of(pinned), license_spec, verdict, end_of(self.observed, license_spec, verdict, pinned)
        )

    def _verdict(self, pinned: RevisionFacts, license_spec: LicenseSpec) -> LicenseVerdict:
        chosen = pinned.plan.chosen
        gpus = None if chosen is None else gpus_of(chosen.gpus_per_replica, chosen.accelerator)
        key = (model_of(pinned), chosen.repository if chosen else "", gpus, license_spec)
        if key not in self.known:
            name, repository, _, _ = key
            model = find_model(name, self.observed.models, self.catalog)
            variant = None
            if not isinstance(model, Problem):
                variant = next((copy for copy in model.variants if (copy.repository or "") == repository), None)
            asked = license_input(self.observed, self.catalog, name, variant, gpus)
            self.known[key] = judge(replace(asked, license=license_spec))
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
    # While the wanted one serves there is nothing to go back to: what only the history knows needs no verdict.
    settled = any(service.name == wanted and service.serves for service in observed.ray_services)
    judges = _Judge(observed, catalog)
    return tuple(
        judges.of(pinned)
        for pinned in observed.revisions
        if pinned.name != wanted
        and (pinned.name in here or pinned.name == traffic or (pinned.served_at and not settled))
    )


def model_of(pinned: RevisionFacts) -> str:
    """Name of the model that a revision pins; empty for a record without one."""
    model = pinned.inputs.get("model")
    return str(model.get("name", "")) if isinstance(model, Mapping) else ""


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
    if before is not None and before.at is not None:
        return before
    acceptance = terminated(observed, license_spec, verdict)
    if acceptance is None:
        return before
    if before is not None and acceptance.spec.state is AcceptanceState.ACCEPTED:
        # The day of the end stays: it says which acceptances are newer.
        return replace(before, at=observed.now)
    return LicenseEnd(
        acceptance=acceptance.metadata.name,
        entity=acceptance.spec.legal_entity,
        families=tuple(acceptance.spec.families),
        on=acceptance.spec.terminated_on or observed.now.date().isoformat(),
        at=observed.now,
    )


def terminated(observed: Observed, license_spec: LicenseSpec, verdict: LicenseVerdict) -> LicenseAcceptance | None:
    """The terminated acceptance that a model rests on: the one that is named, or one of its license.

    To name none, or one that does not exist, is no way out: then a terminated one for this namespace and license counts.
    """
    if verdict.allowed:
        return None
    records = {record.metadata.name: record for record in observed.acceptances or ()}
    ended = {name: record for name, record in records.items() if record.spec.state is AcceptanceState.TERMINATED}
    named = license_spec.acceptance or ""
    if not verdict.families:
        # The model is not known any more: what it was used under still is.
        return ended.get(named)
    if not verdict.drain and named in records:
        return None
    of_license = [record for record in ended.values() if set(verdict.families) & set(record.spec.families)]
    here = [record for record in of_license if observed.deployment.metadata.namespace in record.spec.namespaces]
    if not verdict.drain:
        return _first(here)
    # A grant that ran out ends the license as well, although no record is terminated.
    return ended.get(named) or _first(here or of_license) or records.get(named)


def _first(records: Iterable[LicenseAcceptance]) -> LicenseAcceptance | None:
    return next(iter(records), None)
