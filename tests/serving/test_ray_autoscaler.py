"""What Ray's autoscaler does with a pod that no node takes, asked of Ray itself: why a claim is given up by the bound of the worker group."""

import pytest
from ray.autoscaler._private.constants import RAY_AUTOSCALER_PENDING_NODE_IDLE_TIMEOUT_S
from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.core.generated.autoscaler_pb2 import NodeState, NodeStatus, ResourceRequest, ResourceRequestByCount
from ray.core.generated.instance_manager_pb2 import Instance, NodeKind, TerminationRequest

pytestmark = pytest.mark.serving
GROUP = "h100"


def instance(number, *, runs):
    ray = None
    if runs:
        amounts = {"total_resources": {"GPU": 8.0}, "available_resources": {"GPU": 0.0}}
        ray = NodeState(node_id=b"n%d" % number, ray_node_type_name=GROUP, status=NodeStatus.RUNNING, **amounts)
    managed = Instance(
        instance_id=f"pod-{number}", instance_type=GROUP, node_kind=NodeKind.WORKER, cloud_instance_id=f"pod-{number}",
        status=Instance.RAY_RUNNING if runs else Instance.ALLOCATED, node_id=f"n{number}" if runs else "",
    )  # fmt: skip
    return AutoscalerInstance(cloud_instance_id=f"pod-{number}", ray_node=ray, im_instance=managed)


@pytest.mark.parametrize(
    ("most", "taken_back"),
    [
        pytest.param(4, [], id="nobody needs it any more, and it waits for ever"),
        pytest.param(2, ["pod-2"], id="the bound takes back the pod that waits, and none that runs"),
    ],
)
def test_a_pod_that_waits_goes_when_the_bound_of_its_group_falls(most, taken_back):
    group = NodeTypeConfig(name=GROUP, min_worker_nodes=1, max_worker_nodes=most, resources={"GPU": 8.0})
    asked = SchedulingRequest(
        disable_launch_config_check=True, node_type_configs={GROUP: group}, max_num_nodes=10, idle_timeout_s=60.0,
        current_instances=[instance(0, runs=True), instance(1, runs=True), instance(2, runs=False)],
    )  # fmt: skip
    reply = ResourceDemandScheduler(None).schedule(asked)
    assert [each.instance_id for each in reply.to_terminate] == taken_back


def test_a_bound_below_what_runs_would_stop_a_busy_node_at_once():
    """So the operator lets the bound of a group follow its pods, and never go before them."""
    group = NodeTypeConfig(name=GROUP, min_worker_nodes=1, max_worker_nodes=1, resources={"GPU": 8.0})
    asked = SchedulingRequest(
        disable_launch_config_check=True, node_type_configs={GROUP: group}, max_num_nodes=10, idle_timeout_s=60.0,
        current_instances=[instance(0, runs=True), instance(1, runs=True)],
    )  # fmt: skip
    (stopped,) = ResourceDemandScheduler(None).schedule(asked).to_terminate
    assert stopped.cause == TerminationRequest.Cause.MAX_NUM_NODE_PER_TYPE, "which is no drain"


def test_a_pod_that_waits_for_nothing_goes_by_the_setting_of_ours_and_one_that_is_needed_stays():
    """Ray takes a negative number for never where it reads the setting, and for long ago where it has one: no clock is waited for."""
    assert RAY_AUTOSCALER_PENDING_NODE_IDLE_TIMEOUT_S == -1, "then the setting may go"
    group = NodeTypeConfig(name=GROUP, min_worker_nodes=1, max_worker_nodes=4, resources={"GPU": 8.0})
    needed = ResourceRequestByCount(count=1, request=ResourceRequest(resources_bundle={"GPU": 8.0}))

    def gone(*demands):
        scheduler = ResourceDemandScheduler(None)
        for _ in range(2):
            asked = SchedulingRequest(
                disable_launch_config_check=True, node_type_configs={GROUP: group}, max_num_nodes=10, idle_timeout_s=60.0,
                pending_idle_timeout_s=-1.0, resource_requests=[*demands],
                current_instances=[instance(0, runs=True), instance(1, runs=True), instance(2, runs=False)],
            )  # fmt: skip
            reply = scheduler.schedule(asked)
        return [each.instance_id for each in reply.to_terminate]

    assert gone() == ["pod-2"]
    assert gone(needed) == []
