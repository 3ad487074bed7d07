"""Replica bounds, queue limits and limits of tenants: the live settings of a revision. Called by `decide.decision`."""

from collections.abc import Iterator
from datetime import datetime

from llama_operator.api.v1alpha1.adapters import repository_of
from llama_operator.api.v1alpha1.guard import GuardSpec
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.api.v1alpha1.scaling import ScalingMode, ScalingPreference, ScalingSpec
from llama_operator.decide.scaling.schedule import ReplicaBounds, bounds_at, widest
from llama_serving.config import DIRECT_ONGOING_REQUESTS, LiveSettings, RequestPath
from llama_serving.contract.adapters import Adapter, AdapterRoom
from llama_serving.contract.guard import GuardSettings
from llama_serving.contract.scaling import ScalingKnobs
from llama_serving.contract.tenants import DeskSettings, HouseLimits, TenantLimits

_OTHERS = "others"
"""Stands where the limits of tenants that are not listed need a name; each of them counts under its own."""

PRICES = {ScalingPreference.COST: 5.0, ScalingPreference.BALANCED: 20.0, ScalingPreference.LATENCY: 100.0}
"""What a late request is worth, in multiples of the engine seconds that it costs: 17, 5 and 1 % of shortage are then worth no replica."""

_UNSET = (5, 300)
"""Delays that the API server wrote into specs that name none, as the definition said before; in seconds, up and down."""


def wanted_replicas(spec: LlamaDeploymentSpec) -> int | None:
    """Number of replicas that the user or an external autoscaler fixed; None when the queue decides."""
    if spec.scaling.mode is ScalingMode.QUEUE_DEPTH:
        return None
    return spec.scaling.min_replicas if spec.replicas is None else spec.replicas


def most_replicas(spec: LlamaDeploymentSpec) -> int:
    """Most replicas that may ever run under this spec, at any hour; what a limit on hardware has to hold."""
    fixed = wanted_replicas(spec)
    return max(1, widest(spec.scaling).most if fixed is None else fixed)


def most_from(spec: LlamaDeploymentSpec) -> str:
    """Return the field that says `most_replicas`, for people."""
    if wanted_replicas(spec) is not None:
        return "scaling.minReplicas" if spec.replicas is None else "spec.replicas"
    window = widest(spec.scaling).window
    return f"maxReplicas of window {window}" if window else "scaling.maxReplicas"


def least_replicas(spec: LlamaDeploymentSpec, now: datetime | None = None) -> int:
    """Fewest replicas that run under this spec.

    Args:
        spec: What the user asks for.
        now: The time, in UTC; None for the hours that no schedule names.
    """
    return replica_bounds(spec, now).least


def replica_bounds(spec: LlamaDeploymentSpec, now: datetime | None = None) -> ReplicaBounds:
    """Return the bounds that hold.

    Args:
        spec: What the user asks for.
        now: The time, in UTC; None for the hours that no schedule names.
    """
    fixed = wanted_replicas(spec)
    if fixed is not None:
        return ReplicaBounds(fixed, max(1, fixed))
    return bounds_at(spec.scaling, now)


def live_settings(
    spec: LlamaDeploymentSpec,
    max_num_seqs: int,
    path: RequestPath,
    house: HouseLimits | None = None,
    *,
    guarded: bool = False,
    adapters: AdapterRoom | None = None,
    counts_work: bool = False,
    cold_start: float | None = None,
    now: datetime | None = None,
    most: int | None = None,
    least: int | None = None,
) -> LiveSettings:
    """Bounds and limits that may change while engines run.

    On the path `Ingress` a replica accepts what it computes at once and as many waiting requests as the target allows. The
    rest waits in Serve's router, from where a new replica can take it: a request that an engine has accepted never moves.
    On the path `Direct` it accepts everything, because nobody sees what waits for a slot of Serve; the desk refuses what
    would wait too long.

    Args:
        spec: What the user asks for.
        max_num_seqs: Sequences that one replica computes at once.
        path: Path of the revision that gets the settings; that of the spec may be the next one's.
        adapters: Room of the revision for adapters; that of the spec may be the next one's too.
        house: What house policy allows each tenant of its model.
        guarded: Whether the revision has a guard; the spec may ask for one that only the next one has.
        counts_work: Whether the policy in its pods counts the work that arrives, and damps by itself. One of before needs delays.
        cold_start: Seconds of a start as they were measured; None for what the revision pins of its plan.
        now: The time, in UTC, by which a schedule has bounds; None for the hours that it does not name.
        most: Replicas that have a place, where more were given up; None where only the spec bounds them.
        least: Replicas that the revision has while it takes over from another; None where only the spec bounds them.
    """
    bounds = replica_bounds(spec, now)
    upper = bounds.most if most is None else max(1, bounds.least, min(bounds.most, most))
    lower = bounds.least if least is None else max(bounds.least, min(upper, least))
    scaling, direct = spec.scaling, path is RequestPath.DIRECT
    up, down = _delays(scaling, counts_work=counts_work)
    desk = desk_settings(spec, house, guarded=guarded, adapters=adapters) if direct else None
    if counts_work:
        # Pods of before take no settings on the path `Ingress`.
        desk = (desk or DeskSettings()).model_copy(update={"scaling": knobs(scaling, cold_start)})
    return LiveSettings(
        min_replicas=lower,
        max_replicas=upper,
        target_queue_depth=scaling.target_queue_depth,
        max_ongoing_requests=DIRECT_ONGOING_REQUESTS if direct else max_num_seqs + scaling.target_queue_depth,
        max_queued_requests=-1 if direct else scaling.max_queued_requests,
        upscale_delay_seconds=up,
        downscale_delay_seconds=down,
        graceful_shutdown_seconds=max(1, spec.rollout.drain_seconds),
        desk=desk,
        guard_replicas=spec.guard.replicas if guarded and spec.guard is not None else None,
    )


def _delays(scaling: ScalingSpec, *, counts_work: bool) -> tuple[int, int]:
    """Seconds for which Serve waits before it adds, and before it removes replicas."""
    said = (scaling.upscale_delay_seconds, scaling.downscale_delay_seconds)
    up, down = (None if one == unset else one for one, unset in zip(said, _UNSET, strict=True))
    if counts_work:
        return up or 0, down or 0
    return _UNSET[0] if up is None else up, _UNSET[1] if down is None else down


def knobs(scaling: ScalingSpec, cold_start: float | None = None) -> ScalingKnobs:
    """Return what the policy is told of the user's preference, and of starts that were measured."""
    return ScalingKnobs(price=PRICES[scaling.preference], reserve=scaling.reserve, cold_start=cold_start)


def listed(spec: LlamaDeploymentSpec, room: AdapterRoom) -> Iterator[Adapter]:
    """Yield the adapters of the spec that a revision with `room` can load: those of the Hub only if it was made for them."""
    for one in spec.adapters:
        repository = repository_of(one)
        if repository is None:
            yield Adapter(name=one.name, path=one.source.path)
        elif repository in (room.repositories or ()):
            yield Adapter(name=one.name, repository=repository)


def desk_settings(
    spec: LlamaDeploymentSpec,
    house: HouseLimits | None = None,
    *,
    guarded: bool = False,
    adapters: AdapterRoom | None = None,
) -> DeskSettings:
    """What replicas take while they run, in one place.

    Args:
        spec: What the user asks for.
        house: What house policy allows each tenant, also those that are not listed.
        guarded: Whether the revision has a guard.
        adapters: Room of the revision for adapters; None if it has none.
    """
    others = spec.other_tenants
    unlisted = None if others is None else TenantLimits(name=_OTHERS, **others.model_dump())
    if house is not None:
        unlisted = _within(unlisted or TenantLimits(name=_OTHERS), house)
    return DeskSettings(
        tenants=tuple(_within(TenantLimits(**tenant.model_dump()), house) for tenant in spec.tenants),
        others=unlisted,
        max_waiting_requests=spec.scaling.max_queued_requests,
        adapters=tuple(listed(spec, adapters)) if adapters is not None else None,
        guard=_guard_settings(spec.guard) if guarded and spec.guard is not None else None,
        aliases=spec.endpoint.aliases or None,
        house=house,
        revoked_keys=spec.access.revoked_keys or None,
    )


def _guard_settings(guard: GuardSpec) -> GuardSettings:
    return GuardSettings(
        mode=guard.mode,
        failure=guard.failure,
        reason=guard.reason,
        categories=guard.categories,
        deadline_ms=guard.deadline_milliseconds,
    )


def _within(limits: TenantLimits, house: HouseLimits | None) -> TenantLimits:
    """The smaller one of each limit: that of the spec, or that of house policy."""
    if house is None:
        return limits
    bounds = {"requests_per_minute": house.requests_per_minute, "tokens_per_minute": house.tokens_per_minute}
    said = {name: getattr(limits, name) for name in bounds}
    lower = {
        name: bound.most
        for name, bound in bounds.items()
        if bound is not None and (said[name] is None or said[name] > bound.most)
    }
    return limits.model_copy(update=lower)
