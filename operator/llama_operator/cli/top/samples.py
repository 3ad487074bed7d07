"""Asks the pods of deployments what they do now. Called by `cli.top.command`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.cli.get.rows import Row
from llama_operator.cli.shared import revisions
from llama_operator.cli.shared.connection import Connection, Unknown, missing_right, read_if_permitted
from llama_operator.kube import kinds
from llama_operator.kube.port import ForbiddenError, KubeError, Ref
from llama_operator.observe.serving_http import read_answer
from llama_operator.observe.unreadable import Unreadable
from llama_serving.config import HTTP_PORT, STATUS_PATH
from llama_serving.contract.status import ServingStatus

_AT_ONCE: Final = 8
"""Deployments that are asked side by side: each answer passes the API server."""
_PATIENCE_SECONDS: Final = 5.0
"""An API server that is kept from the pods says so after half a minute, and all the others would be shown as old as that."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One deployment at one moment.

    Attributes:
        row: What the API server has of it.
        said: What its pods answered; None if they did not.
        why: Why they did not; empty if they did.
        plan: Plan of the revision that serves; None if there is none, or if it cannot be known.
    """

    row: Row
    said: ServingStatus | None
    why: str = ""
    plan: PlanStatus | None = None

    @property
    def ready(self) -> int:
        """Replicas that serve."""
        return self.row.status.ready_replicas if self.said is None else self.said.replicas

    @property
    def wanted(self) -> int:
        """Replicas that are wanted: by the autoscaler in the pods, which knows first."""
        return self.row.status.replicas if self.said is None else self.said.target_replicas

    @property
    def waiting(self) -> int | None:
        """Requests that wait; None if nobody knows."""
        return self.row.status.queue_depth if self.said is None else self.said.queue_depth

    @property
    def running(self) -> int | None:
        """Requests that engines compute; None if nobody knows."""
        return None if self.said is None else self.said.running_requests

    @property
    def cache(self) -> float | None:
        """Share of the fullest KV cache in use, 0 to 1; None if nobody knows."""
        return max((report.kv_cache_usage for report in self.said.reports), default=None) if self.said else None

    @property
    def needed(self) -> int | None:
        """Replicas that the load needs, by the autoscaler; None if it does not say."""
        return None if self.said is None or self.said.scaling is None else self.said.scaling.needed_replicas

    @property
    def work(self) -> float | None:
        """Engine seconds that arrive in a second, as a share of what the replicas that serve have; None if nobody knows."""
        scaling = None if self.said is None else self.said.scaling
        if (
            scaling is None
            or scaling.requests_per_second is None
            or scaling.seconds_per_request is None
            or not self.ready
        ):
            return None
        return scaling.requests_per_second * scaling.seconds_per_request / self.ready

    @property
    def why_so_many(self) -> str:
        """What the autoscaler says of its last decision; empty if it says nothing."""
        return "" if self.said is None or self.said.scaling is None else self.said.scaling.reason

    @property
    def gpus(self) -> int | None:
        """GPUs of the wanted replicas: 0 on CPUs, and where none is wanted; None if nobody knows."""
        if self.plan is None or self.plan.chosen is None:
            return None if self.wanted else 0
        return 0 if self.plan.chosen.accelerator == "CPU" else self.wanted * self.plan.chosen.gpus_per_replica


async def taken(connection: Connection, rows: Sequence[Row]) -> list[Sample]:
    """Ask the pods of all `rows`; one that does not answer costs only its own columns."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Row) -> Sample:
        async with gate:
            return await _sample(connection, row)

    return list(await asyncio.gather(*map(one, rows)))


async def _sample(connection: Connection, row: Row) -> Sample:
    sample = await _asked(connection, row)
    return replace(sample, plan=await _plan(connection, sample))


async def _plan(connection: Connection, sample: Sample) -> PlanStatus | None:
    """The plan of what serves. The status has that of the spec, which another revision serves until it is rolled out."""
    row, before = sample.row, sample.row.status.revisions
    serves = sample.said.identity.revision if sample.said else "" if before is None else before.active
    done = row.up_to_date is not None and row.up_to_date.status is ConditionStatus.TRUE and not row.behind
    if done or not serves:
        return row.status.plan
    known = await read_if_permitted(revisions.read(connection.cluster, row.namespace, row.name))
    return None if isinstance(known, Unknown) else next((one.plan for one in known if one.name == serves), None)


async def _asked(connection: Connection, row: Row) -> Sample:
    service = Ref(kinds.SERVICE, row.namespace, row.name)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            answer = await connection.services.ask(service, port=HTTP_PORT, path=STATUS_PATH)
    except TimeoutError:
        return Sample(
            row, None, f"nothing in {_PATIENCE_SECONDS:g} s; may the API server reach the pods (spec.access.from)?"
        )
    except ForbiddenError as error:
        return Sample(row, None, missing_right(error))
    except KubeError as error:
        return Sample(row, None, " ".join(str(error).split()))
    unreadable = Unreadable()
    said = read_answer(answer.encode(), f"{row.namespace}/{row.name}", unreadable)
    if said is None:
        return Sample(row, None, f"its answer cannot be read: {unreadable.found[0].why}")
    if (said.identity.namespace, said.identity.name) != (row.namespace, row.name):
        return Sample(row, None, f"pods of {said.identity.namespace}/{said.identity.name} answer in its place")
    return Sample(row, said)
