"""Cross-field rules of `spec.scaling`. Part of `rules.RULES`."""

from typing import Final
from zoneinfo import ZoneInfo

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.scaling import ScalingMode, ScalingSpec, ScheduleSpec, ScheduleWindow


def _known(schedule: ScheduleSpec) -> bool:
    try:
        ZoneInfo(schedule.time_zone)
    except (KeyError, ValueError, OSError):
        return False
    # The zone of a machine has no meaning in a cluster.
    return schedule.time_zone != "Local"


def _within(scaling: ScalingSpec) -> bool:
    windows = () if scaling.schedule is None else scaling.schedule.windows
    return all(
        (scaling.max_replicas if window.max_replicas is None else window.max_replicas)
        >= (scaling.min_replicas if window.min_replicas is None else window.min_replicas)
        for window in windows
    )


SCALING_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=ScalingSpec,
        field="maxReplicas",
        cel="self.maxReplicas >= self.minReplicas",
        holds=lambda scaling: scaling.max_replicas >= scaling.min_replicas,
        message="must be at least minReplicas; raise maxReplicas or lower minReplicas",
    ),
    Rule(
        model=ScalingSpec,
        field="minReplicas",
        cel="self.minReplicas > 0 || self.mode == 'QueueDepth'",
        holds=lambda scaling: scaling.min_replicas > 0 or scaling.mode is ScalingMode.QUEUE_DEPTH,
        message="may be 0 only in mode QueueDepth; with other modes set spec.activation to Suspended to free the hardware",
    ),
    Rule(
        model=ScalingSpec,
        field="schedule",
        cel="!has(self.schedule) || self.mode == 'QueueDepth'",
        holds=lambda scaling: scaling.schedule is None or scaling.mode is ScalingMode.QUEUE_DEPTH,
        message="may be set only when mode is QueueDepth: in the other modes spec.replicas is the number, which whoever writes it sets "
        "at every hour; set mode to QueueDepth, or leave schedule out",
    ),
    Rule(
        model=ScalingSpec,
        field="schedule.windows",
        cel="!has(self.schedule) || !has(self.schedule.windows) || self.schedule.windows.all(w, (has(w.maxReplicas) ? w.maxReplicas : self.maxReplicas) >= "
        "(has(w.minReplicas) ? w.minReplicas : self.minReplicas))",
        holds=_within,
        message="has a window whose maxReplicas is below its minReplicas; a bound that a window does not name is that of scaling",
    ),
    Rule(
        model=ScheduleSpec,
        field="timeZone",
        # Of a zone that it does not know the API server says so; Kubernetes has the list for its CronJobs.
        cel="self.timeZone != 'Local' && timestamp('2026-01-01T12:00:00Z').getFullYear(self.timeZone) > 2000",
        holds=_known,
        message="must be the name of a time zone, as Europe/Berlin or UTC (https://en.wikipedia.org/wiki/List_of_tz_database_time_zones)",
    ),
    Rule(
        model=ScheduleSpec,
        field="windows",
        cel="!has(self.windows) || self.windows.all(w, self.windows.exists_one(v, v.name == w.name))",
        holds=lambda schedule: len({window.name for window in schedule.windows}) == len(schedule.windows),
        message="must have names that differ; rename one",
    ),
    Rule(
        model=ScheduleWindow,
        field="to",
        cel="self.from != self.to",
        holds=lambda window: window.from_ != window.to,
        message="must differ from 'from'; for a whole day take 00:00 and 24:00",
    ),
    Rule(
        model=ScheduleWindow,
        field="minReplicas",
        cel="has(self.minReplicas) || has(self.maxReplicas)",
        holds=lambda window: window.min_replicas is not None or window.max_replicas is not None,
        message="or maxReplicas must be set, or the window changes nothing",
    ),
)
