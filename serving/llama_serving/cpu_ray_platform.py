"""A vLLM platform on which CPU ranks run on several Ray nodes. vLLM loads it as a platform plugin.

Idle unless `LLAMA_SERVING_CPU_RAY_EXECUTOR=1`. vLLM's CPU platform does not support Ray, so tensor parallelism across
nodes would need GPUs. With this platform, tests run the real placement, the real Ray executor and the real collectives on
CPUs. Every node must declare a stand-in accelerator (`ray start --num-gpus=1`): the executor asks for one a rank.
"""

import os

from llama_serving.config import CPU_RAY_EXECUTOR_VARIABLE

_PLATFORM = "llama_serving.engine.cpu_ray.platform.CpuRayPlatform"


def register() -> str | None:
    """Name the platform class if it is wanted; the entry point of `vllm.platform_plugins`."""
    return _PLATFORM if os.environ.get(CPU_RAY_EXECUTOR_VARIABLE) == "1" else None
