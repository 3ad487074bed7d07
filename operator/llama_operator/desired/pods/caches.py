"""Folders that Ray pods may write to, whoever they run as. Called by `desired.rayservice`.

Some platforms, OpenShift first of all, run containers under a user that the image does not know. Its home is not writable then,
and every library that keeps a cache there fails at its own place.
"""

from llama_operator.desired.pods.parts import PodParts

HOME = "/var/cache/llama-operator"
_VOLUME = "caches"
_USER = "llama"
"""Torch asks for the name of the user, and an id that the image does not know has none."""
ENGINE_VARIABLE = "VLLM_CACHE_ROOT"
"""Where the engine keeps what it compiles and measures."""
_FOLDERS = {"HF_HOME": "huggingface", "TRITON_CACHE_DIR": "triton", ENGINE_VARIABLE: "vllm", "XDG_CACHE_HOME": "xdg"}


def in_pod() -> PodParts:
    """A home on a volume of the pod, and the caches that have names of their own."""
    return PodParts(
        environment={"HOME": HOME, "USER": _USER} | {name: f"{HOME}/{folder}" for name, folder in _FOLDERS.items()},
        mounts={HOME: {"name": _VOLUME}},
        volumes={_VOLUME: {"emptyDir": {}}},
    )
