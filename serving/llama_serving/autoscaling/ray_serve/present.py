"""Which replicas serve, also while Ray Serve leaves some of them out of its list. Called by `adapter`.

Serve lists the replicas that run. It takes one off the list while it hands it a setting that engines must know, limits of tenants say: one
in five at a time, for some tenths of a second each. A new controller lists none until each has answered it. All of them go on serving. If
the list were believed, engines would seem to end, and to start within a second: the policy would measure that as a start.
"""

from collections.abc import Collection

_AWAY_SECONDS = 10.0
"""Serve needs less than one for a setting, and a busy engine some more. One that is dead is noticed this much later."""


class Present:
    """Remembers which replicas Serve has listed. It begins with a policy object, which Serve makes anew for each change of a setting."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._listed: dict[str, float] = {}
        self._missing: tuple[str, ...] = ()
        self._room = 0
        self._new = True

    def look(self, listed: Collection[str], target: int, now: float) -> None:
        """Take notice of a list.

        Args:
            listed: Names of the replicas that Serve lists.
            target: Replicas that Serve wants. It stops what is more, so nobody beyond it is missed.
            now: Seconds since 1970.
        """
        self._began = now if self._began is None or now < self._began else self._began
        self._new = now - self._began < _AWAY_SECONDS
        self._room = max(0, target - len(listed))
        away = [name for name, seen in self._listed.items() if name not in listed and 0 <= now - seen < _AWAY_SECONDS]
        # Of more than are missed nobody says which ones were stopped: those that were listed last are kept.
        away.sort(key=self._listed.__getitem__, reverse=True)
        self._missing = tuple(away[: self._room])
        self._listed = {name: self._listed[name] for name in self._missing} | dict.fromkeys(listed, now)

    @property
    def missing(self) -> tuple[str, ...]:
        """Replicas that Serve has listed, does not list now, and did not mean to stop."""
        return self._missing

    def unlisted(self, before: int, listed: int) -> int:
        """How many serve and are not listed.

        Args:
            before: Replicas that served as the memory says; a new object knows nobody by name.
            listed: Replicas that are listed.
        """
        forgotten = max(0, before - listed) if self._new else 0
        return min(self._room, max(len(self._missing), forgotten))
