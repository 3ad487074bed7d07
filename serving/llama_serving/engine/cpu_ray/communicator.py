"""Collectives of CPU ranks on different hosts. vLLM loads it by name, see `cpu_ray_platform`."""

from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator


class NetworkCommunicator(CpuCommunicator):
    """vLLM's CPU communicator, over the network.

    The base class exchanges tensors through shared memory when all ranks agree on its name, which they also do on
    different hosts, where there is none to share.
    """

    def _all_group_ranks_share_shm_group_name(self) -> bool:
        return False
