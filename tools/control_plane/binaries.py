"""Builds the programs of a control plane from pinned Go modules, once per user. Run by `make control-plane`.

Everything that one set of pins yields lies in one folder of the user's cache: programs, and the manifests that the
modules carry (KWOK's stages, KubeRay's role, Karpenter's CRDs). Once they are there, Go is not needed any more.

What only a few tests run (`APART`) has pins and a folder of its own: a new one builds nothing else again.

Kubernetes 1.36 is what all tests run on. `LLAMA_OPERATOR_KUBERNETES=1.37` takes another edition (`make test-matrix`): its API
server, controllers, scheduler and kubectl are built from pins of their own, and all else is that of 1.36.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import filelock
import platformdirs

from control_plane import toolchain

MODULES: Final = Path(__file__).parent / "go"
APART_MODULES: Final = Path(__file__).parent / "apart"
KUBERNETES: Final = "1.36.4"
EDITION_MODULES: Final = Path(__file__).parent / "editions"
EDITIONS: Final[Mapping[str, str]] = {"1.35": "1.35.4", "1.36": KUBERNETES, "1.37": "1.37.2"}
"""Versions of Kubernetes that can be had, by minor version."""
EDITION: Final = "LLAMA_OPERATOR_KUBERNETES"
"""Variable of the environment that names the edition; without it, that of `KUBERNETES`."""
_COMPONENT: Final = "k8s.io/component-base/version"


def _stamp(version: str) -> str:
    major, minor, _ = version.split(".")
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return " ".join(f"-X {_COMPONENT}.{name}={value}" for name, value in values.items())


_STAMP: Final = _stamp(KUBERNETES)
_STRIP: Final = "-s -w"
_ENVIRONMENT: Final = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
_OF_EDITION: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
"""Programs that an edition has of its own. etcd, simulated nodes, KubeRay, Helm and Karpenter are the same in all."""
_ASSETS: Final = ("etcd", "kube-apiserver", "kubectl")
"""What KUBEBUILDER_ASSETS, known from controller-runtime's envtest, has."""


class BuildError(Exception):
    """A program cannot be had; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to build.

    Attributes:
        package: Go package.
        module: Folder under `go/`, or `apart/`, whose pins it is built with.
        stamped: Whether it is told Kubernetes' version, which it reports and checks.
    """

    package: str
    module: str = "core"
    stamped: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file or folder that a Go module carries beside its code.

    Attributes:
        source: Path inside of the module.
        of: Go module.
        module: Folder under `go/`, or `apart/`, that pins it.
    """

    source: str
    of: str
    module: str = "core"


@dataclass(frozen=True, slots=True)
class Group:
    """What is built together, by path in the folder."""

    purpose: str
    programs: Mapping[str, Program]
    manifests: Mapping[str, Manifest]


def _kubernetes(name: str) -> Program:
    return Program(f"k8s.io/kubernetes/cmd/{name}", stamped=True)


def _containerd(name: str) -> Program:
    return Program(f"github.com/containerd/containerd/v2/cmd/{name}", "containerd")


def _cni(name: str) -> Program:
    return Program(f"github.com/containernetworking/plugins/plugins/{name}")


_KUBERAY: Final = "github.com/ray-project/kuberay/ray-operator"
_KWOK: Final = "sigs.k8s.io/kwok"
_KARPENTER: Final = "sigs.k8s.io/karpenter"
_STAGES: Final = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
GROUPS: Final[dict[str, Group]] = {
    "core": Group(
        "API server, controllers, scheduler, simulated nodes, KubeRay, Helm",
        {
            "etcd": Program("go.etcd.io/etcd/server/v3"),
            **{
                name: _kubernetes(name)
                for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
            },
            "kwok": Program("sigs.k8s.io/kwok/cmd/kwok", stamped=True),
            "helm": Program("helm.sh/helm/v4/cmd/helm"),
            "ray-operator": Program(_KUBERAY, "kuberay"),
        },
        {
            **{f"manifests/kwok/{Path(stage).name}": Manifest(f"kustomize/stage/{stage}", _KWOK) for stage in _STAGES},
            "manifests/kuberay/role.yaml": Manifest("config/rbac/role.yaml", _KUBERAY, "kuberay"),
            "manifests/kuberay-crds": Manifest("config/crd/bases", _KUBERAY, "kuberay"),
        },
    ),
    "node": Group(
        "what a machine needs to run pods, beside containerd",
        {
            "kubelet": _kubernetes("kubelet"),
            "kube-proxy": _kubernetes("kube-proxy"),
            "cni/bridge": _cni("main/bridge"),
            "cni/loopback": _cni("main/loopback"),
            "cni/host-local": _cni("ipam/host-local"),
            "coredns": Program("./coredns", "kuberay"),
        },
        {},
    ),
    "karpenter": Group(
        "node autoscaling, with KWOK for a cloud",
        {"karpenter": Program("sigs.k8s.io/karpenter/kwok", "karpenter")},
        {
            "manifests/karpenter-crds": Manifest("pkg/apis/crds", _KARPENTER, "karpenter"),
            "manifests/karpenter-kwok-crds": Manifest("kwok/apis/crds", _KARPENTER, "karpenter"),
        },
    ),
}

_KUEUE: Final = "sigs.k8s.io/kueue"
APART: Final[dict[str, Group]] = {
    "kueue": Group(
        "queues with quota",
        {"kueue": Program("sigs.k8s.io/kueue/cmd/kueue", "kueue")},
        {
            "manifests/crds": Manifest("config/components/crd/bases", _KUEUE, "kueue"),
            "manifests/webhooks.yaml": Manifest("config/components/webhook/manifests.yaml", _KUEUE, "kueue"),
            **{
                f"manifests/roles/{name}": Manifest(f"config/components/rbac/{name}", _KUEUE, "kueue")
                for name in ("role.yaml", "manager_secrets_role.yaml")
            },
        },
    ),
    "containerd": Group(
        "a container runtime whose pods mount images as volumes, with a registry",
        {
            **{name: _containerd(name) for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
            "crane": Program("github.com/google/go-containerregistry/cmd/crane", "containerd"),
        },
        {},
    ),
    "kube-router": Group(
        "enforces network policies on a node",
        {"kube-router": Program("github.com/cloudnativelabs/kube-router/v2/cmd/kube-router", "kube-router")},
        {},
    ),
}
"""Groups that have a folder of their own each, by name."""

_DEFAULT: Final = ("core", "karpenter")
"""What the tests without root need."""


def edition() -> str:
    """The edition of Kubernetes that is asked for.

    Raises:
        BuildError: There is none of that name.
    """
    asked = os.environ.get(EDITION) or KUBERNETES.rpartition(".")[0]
    if asked not in EDITIONS:
        raise BuildError(f"{EDITION}={asked}: there is no such edition; there are {', '.join(EDITIONS)}")
    return asked


def folder() -> Path:
    """Where the programs of the edition are, or would be."""
    version = EDITIONS[edition()]
    if version == KUBERNETES:
        return _main_folder()
    digest = hashlib.sha256(f"{_main_folder().name} {_stamp(version)}".encode())
    for path in sorted((EDITION_MODULES / edition()).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return _main_folder().with_name(digest.hexdigest()[:16])


def _main_folder() -> Path:
    """Where the programs are that all tests run on.

    Keyed by the pins (of the modules, and of Go where it is fetched), the flags, the target and the programs that are
    given. Not by a Go on the PATH: the programs have to be found when it is gone.
    """
    digest = hashlib.sha256()
    for path in sorted(MODULES.glob("*/**/*")):
        if path.is_file():
            digest.update(path.relative_to(MODULES).as_posix().encode() + b"\0" + path.read_bytes())
    digest.update(
        json.dumps([toolchain.PACKAGE, _ENVIRONMENT, _STAMP, _STRIP, sys.platform, os.uname().machine]).encode()
    )
    digest.update(os.environ.get("KUBEBUILDER_ASSETS", "").encode())
    return platformdirs.user_cache_path("llama-operator") / "control-plane" / digest.hexdigest()[:16]


def apart_folder(name: str) -> Path:
    """Where the programs of a group of `APART` are, or would be."""
    digest = hashlib.sha256(json.dumps([name, _ENVIRONMENT, _STRIP, sys.platform, os.uname().machine]).encode())
    for path in sorted((APART_MODULES / name).iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return platformdirs.user_cache_path("llama-operator") / "control-plane" / f"{name}-{digest.hexdigest()[:16]}"


def missing(groups: Iterable[str] = ("core",)) -> tuple[str, ...]:
    """What `ensure` would have to build, or `ensure_apart` for a group of `APART`."""
    return tuple(
        name
        for group in groups
        for name in (
            _missing_in(apart_folder(group), APART[group]) if group in APART else _missing_in(folder(), GROUPS[group])
        )
    )


def _missing_in(target: Path, *groups: Group) -> tuple[str, ...]:
    wanted = [name for group in groups for name in (*group.programs, *group.manifests)]
    return tuple(name for name in wanted if not (target / name).exists())


def ensure(groups: Sequence[str] = ("core",)) -> Path:
    """Build what is not there; returns the folder. Of several processes that ask at once, one builds.

    Args:
        groups: Names in `GROUPS`.

    Raises:
        BuildError: Go is not to be had, or a build failed.
    """
    target = folder()
    if not missing(groups):
        return target
    _ensure_in(_main_folder(), [GROUPS[name] for name in groups], MODULES)
    if target != _main_folder():
        _ensure_edition(target, groups)
    return target


def ensure_apart(name: str) -> Path:
    """Build a group of `APART` if it is not there; returns its folder.

    Raises:
        BuildError: Go is not to be had, or a build failed.
    """
    target = apart_folder(name)
    if missing((name,)):
        _ensure_in(target, (APART[name],), APART_MODULES)
    return target


def _ensure_in(target: Path, groups: Sequence[Group], modules: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(target.with_suffix(".lock")):
        names = _missing_in(target, *groups)
        for group in groups:
            _build(target, group, modules, [name for name in names if name in group.programs])
            for name in (each for each in names if each in group.manifests):
                _extract(target / name, group.manifests[name], modules)


def _ensure_edition(target: Path, groups: Sequence[str]) -> None:
    """Build the control plane of another edition; all else is what the tests run on."""
    target.mkdir(parents=True, exist_ok=True)
    version = EDITIONS[edition()]
    with filelock.FileLock(target.with_suffix(".lock")):
        for name in _missing_in(target, *(GROUPS[name] for name in groups)):
            if name in _OF_EDITION:
                _compile(target, name, _kubernetes(name), EDITION_MODULES / edition(), _stamp(version))
            else:
                _take(_main_folder() / name, target / name)


def _take(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        # kubectl does not look into a folder that is a link.
        shutil.copytree(source, target)
    else:
        target.symlink_to(source)


def _build(target: Path, group: Group, modules: Path, names: Sequence[str]) -> None:
    for place, name in enumerate(names, start=1):
        if _given(target, name):
            continue
        program = group.programs[name]
        _compile(target, name, program, modules / program.module, _STAMP, f"{place}/{len(names)} ")


def _compile(target: Path, name: str, program: Program, module: Path, stamp: str, place: str = "") -> None:
    start = time.monotonic()
    print(f"==> {place}building {name}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=target, prefix="build-") as aside:
        flags = f"{_STRIP} {stamp}" if program.stamped else _STRIP
        built = Path(aside) / "program"
        _go(module, "build", "-trimpath", "-ldflags", flags, "-o", str(built), program.package)
        (target / name).parent.mkdir(exist_ok=True)
        built.rename(target / name)
    print(f"    {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def _given(target: Path, name: str) -> bool:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets or name not in _ASSETS or not (found := Path(assets) / name).exists():
        return False
    (target / name).symlink_to(found.resolve())
    return True


def _extract(target: Path, manifest: Manifest, modules: Path) -> None:
    pins = modules / manifest.module
    _go(pins, "mod", "download", manifest.of)
    module = Path(_go(pins, "list", "-m", "-f", "{{.Dir}}", manifest.of).strip())
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="copy-") as aside:
        copy = Path(aside) / "copy"
        source = module / manifest.source
        # The module cache is read-only, and the copies must not be.
        if source.is_dir():
            copy.mkdir()
            for path in source.glob("*.yaml"):
                shutil.copyfile(path, copy / path.name)
        else:
            shutil.copyfile(source, copy)
        copy.rename(target)


def _go(module: Path, *arguments: str) -> str:
    try:
        command = (*toolchain.go_command(), *arguments)
    except toolchain.NoGoError as error:
        raise BuildError(str(error)) from error
    environment = {**os.environ, **_ENVIRONMENT}
    done = subprocess.run(command, cwd=module, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"go {' '.join(arguments)} failed in {module}:\n{done.stderr[-2000:]}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the groups that are named, or list what there is."""
    parser = argparse.ArgumentParser(
        prog="python -m control_plane.binaries",
        description="Build a Kubernetes control plane from pinned Go modules into the cache: about 20 minutes of CPU, once.",
        epilog="Groups: " + "; ".join(f"{name}: {group.purpose}" for name, group in (GROUPS | APART).items()),
    )
    parser.add_argument(
        "groups", nargs="*", default=_DEFAULT, metavar="GROUP", help=f"what to build (default: {' '.join(_DEFAULT)})"
    )
    parser.add_argument("--list", action="store_true", help="say what is built and what is not, and build nothing")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.groups) - set(GROUPS | APART)):
        parser.error(f"unknown group {unknown[0]!r}: choose from {', '.join(GROUPS | APART)}")
    if options.list:
        print(folder())
        for name, group in (GROUPS | APART).items():
            absent = missing((name,))
            print(f"  {name:<10} {'built' if not absent else 'missing: ' + ', '.join(absent)}  ({group.purpose})")
        return 0
    try:
        if groups := [name for name in options.groups if name in GROUPS]:
            print(ensure(groups))
        for name in (name for name in options.groups if name in APART):
            print(ensure_apart(name))
    except BuildError as error:
        print(f"control-plane: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
