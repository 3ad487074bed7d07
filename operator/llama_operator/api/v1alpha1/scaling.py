"""`spec.scaling`: how many replicas, and who sets their number. Part of the `LlamaDeployment` resource.

`decide.bounds` makes live settings of it; `decide.scaling.schedule` says which bounds hold when.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from llama_operator.api.meta import ApiModel


class ScalingMode(StrEnum):
    """Who chooses the number of replicas."""

    QUEUE_DEPTH = "QueueDepth"
    MANUAL = "Manual"
    EXTERNAL = "External"


class Weekday(StrEnum):
    """A day of the week."""

    MONDAY = "Monday"
    TUESDAY = "Tuesday"
    WEDNESDAY = "Wednesday"
    THURSDAY = "Thursday"
    FRIDAY = "Friday"
    SATURDAY = "Saturday"
    SUNDAY = "Sunday"


_HOUR_AND_MINUTE: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]"
BEGIN: Final = f"^{_HOUR_AND_MINUTE}$"
END: Final = f"^({_HOUR_AND_MINUTE}|24:00)$"
TIME_ZONE: Final = r"^[A-Za-z][A-Za-z0-9_+/-]*$"


class ScheduleWindow(ApiModel):
    """Bounds at some hours of some days."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
    """What status, events and costs call it."""
    days: Annotated[tuple[Weekday, ...], Field(max_length=7, strict=False)] = ()
    """Days on which it begins. Default: every day."""
    from_: Annotated[str, Field(min_length=5, max_length=5, pattern=BEGIN)]
    """When it begins, as `08:00`. New replicas serve one start later (`status.coldStart`): begin early enough."""
    to: Annotated[str, Field(min_length=5, max_length=5, pattern=END)]
    """When it ends, as `18:00`; `24:00` is the end of the day. A time before `from` is one of the next day."""
    min_replicas: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Lower limit in these hours. Default: that of `scaling`."""
    max_replicas: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Upper limit in these hours. Default: that of `scaling`."""


class ScheduleSpec(ApiModel):
    """Bounds by time of day and week. The hour of a clock change follows the clock on the wall."""

    time_zone: Annotated[str, Field(min_length=1, max_length=64, pattern=TIME_ZONE)] = "UTC"
    """Name of the time zone of all hours, as `Europe/Berlin`."""
    windows: Annotated[tuple[ScheduleWindow, ...], Field(max_length=16, strict=False)] = ()
    """Hours with other bounds. Where several hold, the first of the list counts; where none does, the bounds of `scaling`."""


class ScalingPreference(StrEnum):
    """What the autoscaler saves first."""

    COST = "Cost"
    BALANCED = "Balanced"
    LATENCY = "Latency"


class ScalingSpec(ApiModel):
    """How many replicas, and who sets their number."""

    mode: ScalingMode = ScalingMode.QUEUE_DEPTH
    """`QueueDepth` scales on the work that arrives and on the requests that wait. `Manual` takes `spec.replicas`. With `External`, an autoscaler writes
    `spec.replicas` through the scale subresource."""
    min_replicas: Annotated[int, Field(ge=0, le=1024)] = 1
    """Lower limit on replicas; 0 frees the hardware when there is no load."""
    max_replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """Upper limit on replicas with `QueueDepth`. In the other modes `spec.replicas` is the number, which this field does not
    limit; `spec.hardware.maxGPUs` does."""
    target_queue_depth: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Waiting requests that a replica may have before another one is added."""
    max_queued_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """Requests that may wait before the next one is refused: in one engine with `endpoint.path` `Direct` (429, with the time
    after which to try again), in one router with `Ingress` (503)."""
    schedule: ScheduleSpec | None = None
    """Other bounds at some hours of the week, as office hours. Default: the same bounds at all times."""
    preference: ScalingPreference = ScalingPreference.BALANCED
    """What the autoscaler is to save when it cannot save both. `Cost`: replicas; a load that comes and goes waits for them. `Latency`: the
    waiting; 0.7 of the load stands by for a rise that nothing announces, and replicas stay longer after a load has gone. Changes take
    effect within seconds, without a restart."""
    reserve: Annotated[int, Field(ge=0, le=1024)] = 0
    """Replicas that are kept beyond what the load needs, while there is any. They are within `maxReplicas`."""
    upscale_delay_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """How long more replicas must be needed before they are asked for. Default: not at all, because the autoscaler looks at its own
    certainty. 5, which older definitions wrote by themselves, counts as unset."""
    downscale_delay_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """How long fewer replicas must be needed before one is removed. Default: one start of a replica, and longer for loads that are seen to
    come back. 300, which older definitions wrote by themselves, counts as unset."""
