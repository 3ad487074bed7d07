"""Container engines: which is there, and how each is asked to build. Called by `__main__`."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from images.errors import ImageError

NAMES: Final = ("docker", "podman", "buildah")
"""In this order the first that works is taken."""
_ASKS: Final = {
    # A client is no engine: it has to reach one.
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),
    "podman": ("podman", "info", "--format", "{{.Version.Version}}"),
    "buildah": ("buildah", "--version"),
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to build.

    Attributes:
        name: Name and tag of the image.
        dockerfile: File with the recipe.
        context: Folder that it copies from.
        epoch: Time of all files, in seconds since 1970.
        arguments: Arguments of the Dockerfile.
        labels: Labels beside those of the Dockerfile.
    """

    name: str
    dockerfile: Path
    context: Path
    epoch: int
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine.

    Attributes:
        name: One of `NAMES`.
        options: Options of the program, before the verb.
        build_options: Options of `build`, beside those of every build.
        environment: Variables beside those of this process.
    """

    name: str
    options: tuple[str, ...] = ()
    build_options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def build(self, order: Order) -> None:
        """Build an image.

        Raises:
            ImageError: The engine said no; what it said is on the terminal.
        """
        self.run(*self.command(order))

    def command(self, order: Order) -> list[str]:
        """Verb and arguments of a build. Without a cache of layers, and with one time for all files where it can be said."""
        given: list[str] = []
        for key, value in {"SOURCE_DATE_EPOCH": str(order.epoch), **order.arguments}.items():
            given += ["--build-arg", f"{key}={value}"]
        for key, value in order.labels.items():
            given += ["--label", f"{key}={value}"]
        # For who is behind a proxy that signs by itself: it is there while pip runs, and never in the image.
        if authorities := os.environ.get("SSL_CERT_FILE"):
            given += ["--secret", f"id=ca,src={authorities}"]
        own = ["--no-cache"]
        if self.name != "docker":
            own = [f"--timestamp={order.epoch}", "--format=oci", "--layers=false"]
        place = ["--file", str(order.dockerfile), "--tag", order.name, str(order.context)]
        return ["build", *self.build_options, *own, *given, *place]

    def export(self, image: str, layout: Path) -> None:
        """Write an image as an OCI layout, for who has no registry. Not docker, which cannot."""
        shutil.rmtree(layout, ignore_errors=True)
        self.run("push", "--quiet", image, f"oci:{layout}:{image}")

    def has(self, image: str) -> bool:
        """Whether an image is there."""
        done = subprocess.run(self._whole("inspect", "--type=image", image), env=self._variables(), capture_output=True, check=False)  # fmt: skip
        return done.returncode == 0

    def digest(self, image: str) -> str:
        """Ask for what tells this image from every other."""
        template = {"docker": "{{.Id}}", "podman": "{{.Digest}}"}.get(self.name, "{{.FromImageDigest}}")
        return self.asked("inspect", "--type=image", "--format", template, image).strip()

    def asked(self, *arguments: str) -> str:
        """Run, and return what it prints.

        Raises:
            ImageError: It ended with an error.
        """
        done = subprocess.run(self._whole(*arguments), env=self._variables(), capture_output=True, text=True, check=False)  # fmt: skip
        if done.returncode:
            raise ImageError(f"{self.name} {arguments[0]}: {done.stderr.strip()}")
        return done.stdout

    def run(self, *arguments: str) -> None:
        """Run on this terminal.

        Raises:
            ImageError: It ended with an error.
        """
        status = subprocess.run(self._whole(*arguments), env=self._variables(), check=False).returncode
        if status:
            raise ImageError(f"{self.name} {arguments[0]} ended with {status}; the lines above say why")

    def _whole(self, *arguments: str) -> Sequence[str]:
        return [self.name, *self.options, *arguments]

    def _variables(self) -> Mapping[str, str]:
        return {**os.environ, **self.environment}


def first(names: Sequence[str] = NAMES) -> tuple[Engine | None, list[str]]:
    """Choose an engine.

    Args:
        names: Engines to try, in order.

    Returns:
        The first that works, and for each before it why not.
    """
    why = []
    for name in names:
        if shutil.which(name) is None:
            why.append(f"{name} is not installed")
            continue
        done = subprocess.run(_ASKS[name], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 0:
            return Engine(name), why
        last = (done.stderr.strip() or done.stdout.strip() or f"ended with {done.returncode}").splitlines()[-1]
        why.append(f"{name} does not answer: {last}")
    return None, why
