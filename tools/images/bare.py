"""A bare Debian machine: buildah with a store of its own, and a base image from Debian's packages. Called by `__main__`.

Nothing of the machine is changed and no registry is asked. As root buildah needs neither user namespaces nor a daemon.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from images.engines import Engine, Order
from images.errors import ImageError

PACKAGES: Final = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
"""Packages of Debian, by the program that they bring."""
SUITE: Final = "trixie"
"""Its Python is that of the Dockerfiles."""
_INCLUDED: Final = ("ca-certificates", "python3", "python3-venv", "python-is-python3")
_LEFT_OUT: Final = ("man", "locale", "info", "lintian")


def missing() -> list[str]:
    """List Debian's packages that are needed and not there."""
    return [package for program, package in PACKAGES.items() if shutil.which(program) is None]


def engine(folder: Path) -> Engine:
    """Buildah with all that it writes below `folder`, which accepts only what is there already.

    Raises:
        ImageError: Something is not installed, or this is not root.
    """
    if packages := missing():
        raise ImageError(f"Debian's packages are needed: apt-get install --no-install-recommends {' '.join(packages)}")
    if os.geteuid():
        raise ImageError("a base of Debian's packages is made by root: run it as root, or install docker or podman")
    (folder / "run").mkdir(parents=True, exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder / "storage"}"\nrunroot = "{folder / "run"}"\n')
    anything = {"": [{"type": "insecureAcceptAnything"}]}
    policy = folder / "policy.json"
    # What is here was made here. From a registry it would not know what to trust.
    kinds = {"containers-storage": anything, "oci": anything, "dir": anything}
    policy.write_text(json.dumps({"default": [{"type": "reject"}], "transports": kinds}))
    return Engine(
        "buildah",
        build_options=("--isolation=chroot", f"--signature-policy={policy}", "--pull-never"),
        environment={"CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"},
    )


def base(buildah: Engine, folder: Path, *, included: Iterable[str] = (), epoch: int) -> str:
    """Make the base image, if it is not there.

    Args:
        buildah: Engine of `engine`.
        folder: Where files may lie meanwhile.
        included: Packages beside Python.
        epoch: Time of its files, in seconds since 1970.

    Returns:
        Name and digest.
    """
    packages = sorted({*_INCLUDED, *included})
    extra = "-".join(sorted(included))
    name = f"localhost/debian-python{'-' + extra if extra else ''}:{SUITE}"
    if buildah.has(name):
        print(f"==> base {name} is there (make clean removes it)")
    else:
        print(f"==> base {name}: {', '.join(packages)} of Debian {SUITE}, by mmdebstrap")
        context = folder / "base"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir(parents=True)
        _bootstrap(context / "rootfs.tar", packages, epoch)
        dockerfile = context / "Dockerfile"
        dockerfile.write_text('FROM scratch\nADD rootfs.tar /\nCMD ["python3"]\n')
        buildah.build(Order(name=name, dockerfile=dockerfile, context=context, epoch=epoch))
        shutil.rmtree(context)
    return f"{name}@{buildah.digest(name)}"


def _bootstrap(target: Path, packages: Iterable[str], epoch: int) -> None:
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in _LEFT_OUT]
    # Licenses stay: an image is a copy that one gives away.
    documents = ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}", *left_out, *documents]
    variables = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    # Without a mirror it takes its own for the suite, with updates and those of security.
    done = subprocess.run([*command, SUITE, str(target)], env=variables, check=False)
    if done.returncode:
        raise ImageError(f"mmdebstrap ended with {done.returncode}; the lines above say why")
