"""The images that there are: Dockerfile, lock and base of each. Read by `__main__` and by tests."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from images.errors import ImageError

ROOT: Final = Path(__file__).resolve().parents[2]
_FOLDER: Final = ROOT / "images"
_BY_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an image is built.

    Attributes:
        name: Last part of its name.
        dockerfile: File below `images/`.
        lock: File below `requirements/`: what is in it beside the base.
        bases: Arguments of the Dockerfile that name other images.
        local: Whether it can be built on a base from Debian's packages, without a registry.
        packages: Packages of Debian that such a base has beside Python.
    """

    name: str
    dockerfile: str
    lock: str
    bases: tuple[str, ...]
    local: bool
    packages: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The Dockerfile."""
        return _FOLDER / self.dockerfile

    def defaults(self) -> Mapping[str, str]:
        """Read what the Dockerfile says of its bases, by argument."""
        text = self.path.read_text(encoding="utf-8")
        said = dict(re.findall(r"^ARG ([A-Z_]+)=(\S+)$", text, re.MULTILINE))
        return {base: said[base] for base in self.bases}


OPERATOR: Final = Recipe("llama-operator", "operator.Dockerfile", "operator.txt", ("BASE",), local=True)
SERVING: Final = Recipe("llama-serving", "serving.Dockerfile", "serving.txt", ("BASE",), local=False)
SERVING_CPU: Final = Recipe(
    "llama-serving-cpu",
    "serving-cpu.Dockerfile",
    "serving-cpu.txt",
    ("BASE",),
    local=True,
    packages=("bash", "libnuma1", "wget"),
)
RECIPES: Final = {recipe.name: recipe for recipe in (OPERATOR, SERVING, SERVING_CPU)}


def check_release(bases: Mapping[str, str], *, dirty: bool) -> None:
    """Refuse what no release may be made of.

    Args:
        bases: References of base images, by argument of the Dockerfile.
        dirty: Whether files differ from the commit.

    Raises:
        ImageError: A base can change under its name, or nobody could build the same again.
    """
    for argument, reference in bases.items():
        if not _BY_DIGEST.search(reference):
            raise ImageError(
                f"{argument}: a release needs its base by digest, and {reference!r} has none. Look it up in the registry "
                f"(docker buildx imagetools inspect {reference}), and build with {argument}={reference}@sha256:DIGEST"
            )
    if dirty:
        raise ImageError("a release is built of a commit, and files differ from it: commit or remove them (git status)")
