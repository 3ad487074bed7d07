"""The vLLM platform behind `cpu_ray_platform`, apart from it because importing this imports a part of vLLM."""

from vllm.platforms.cpu import CpuPlatform


class CpuRayPlatform(CpuPlatform):
    """vLLM's CPU platform, which Ray's executor accepts."""

    ray_device_key = "GPU"

    @classmethod
    def get_device_communicator_cls(cls) -> str:
        """Name the communicator that does not take shared memory for granted."""
        return "llama_serving.engine.cpu_ray.communicator.NetworkCommunicator"
