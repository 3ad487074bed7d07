"""What the cluster itself can do: versions, and the kinds that it serves. Part of `Observed`; read by `observe.platform`.

Read once, by the operator's process or by a command. Whatever needs a kind or a version asks here before it relies on it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

Version: TypeAlias = tuple[int, ...]
"""Major, minor and, where there is one, patch number."""


def version(text: str) -> Version:
    """Return the numbers at the beginning of `text`, as in `v1.37.1-gke.100`; empty if there are none."""
    numbers = re.match(r"v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", text)
    return tuple(int(part) for part in numbers.groups() if part is not None) if numbers else ()


@dataclass(frozen=True, slots=True)
class Platform:
    """Versions and kinds, as far as they are known."""

    kubernetes: str = ""
    """Version of the API server, as in `v1.37.0`; empty if it is not known."""
    kuberay: str = ""
    """Version of the newest KubeRay that is seen; empty if it is not known."""
    kinds: Mapping[str, tuple[str, ...]] | None = None
    """Served versions by `plural.group`, as in `rayservices.ray.io`, without the core group; None if not known."""

    def has(self, kind: str) -> bool:
        """Whether the kind `plural.group` is known to be served."""
        return self.kinds is not None and kind in self.kinds

    def lacks(self, kind: str) -> bool:
        """Whether the kind `plural.group` is known to be missing; not the opposite of `has` if kinds are not known."""
        return self.kinds is not None and kind not in self.kinds

    def kuberay_at_least(self, oldest: Version) -> bool:
        """Whether KubeRay is known to be of that version or newer."""
        return version(self.kuberay) >= oldest

    def seen(self, made_by: Iterable[str]) -> Self:
        """Return the platform with the newest version of KubeRay that made something, if none is known yet.

        Args:
            made_by: Versions that KubeRay wrote onto RayClusters; what is no version is ignored.
        """
        newest = max(made_by, key=version, default="")
        return replace(self, kuberay=newest) if version(newest) and not version(self.kuberay) else self
