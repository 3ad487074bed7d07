"""Reads and changes the object with the keys, by the right of the user. Called by the actions of `kubectl llama key`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from llama_operator.cli.key.entries import MOST_BYTES, Kept, KeyObject, blank
from llama_operator.cli.key.terms import COMMAND_LINE
from llama_operator.cli.shared.connection import ClusterError, Connection
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, InvalidError, JsonPatch, NotFoundError, Ref
from llama_serving.contract.keys import KeyEntry, parse

DELAY: Final = "within about two minutes, when the kubelet of each node has brought the change to the pods"
DELAY_SECONDS: Final = 120
"""The kubelet's sync of one minute, and its cache of another."""
_TRIES: Final = 5
"""Of a change that another one overtakes. Each try reads the object again."""


@dataclass(frozen=True, slots=True)
class Store:
    """Where the keys of one deployment are.

    Attributes:
        connection: The cluster.
        ref: The ConfigMap or Secret.
        deployment: Name of the deployment.
    """

    connection: Connection
    ref: Ref
    deployment: str

    async def read(self) -> KeyObject:
        """Read the object; it may be absent."""
        try:
            return KeyObject(self.ref, await self.connection.cluster.get(self.ref))
        except NotFoundError:
            return KeyObject(self.ref, None)

    async def change(self, change: Callable[[KeyObject], Sequence[JsonPatch]]) -> None:
        """Patch the object; reads it and works the patch out again if somebody else changed it in between.

        Args:
            change: Makes the patch from the object as it is; an empty one writes nothing.

        Raises:
            ClusterError: If the object is immutable, or others change it all the time.
            KubeError: If the server refuses the patch.
        """
        last: ConflictError | InvalidError | None = None
        for _ in range(_TRIES):
            found = await self.read()
            if found.immutable:
                raise ClusterError(
                    f"{self.ref} is immutable, so no key can be made or revoked in it: name another object in "
                    f"spec.access.keys, or delete it and create it again without `immutable`"
                )
            operations = change(found)
            if not operations:
                return
            try:
                await self.connection.cluster.patch(self.ref, operations)
            except (ConflictError, InvalidError) as error:
                last = error
            else:
                return
        if isinstance(last, InvalidError):
            raise last
        raise ClusterError(f"{self.ref} is being changed by others all the time, so nothing was written: try again")

    async def made(self) -> None:
        """Make the ConfigMap if it is absent.

        Raises:
            ClusterError: If it is a Secret: those are made by the team itself.
        """
        if (await self.read()).live is not None:
            return
        if self.ref.kind != kinds.CONFIG_MAP:
            raise ClusterError(
                f"there is no {self.ref}, and this command makes no Secret: "
                f"kubectl create secret generic {self.ref.name} -n {self.ref.namespace}"
            )
        await self.connection.cluster.apply(blank(self.ref, self.deployment))


def check_room(found: KeyObject, entries: Sequence[KeyEntry]) -> None:
    """Refuse keys for which the object has no room.

    Raises:
        ClusterError: If the values would have more bytes than an object may have.
    """
    needed = found.bytes_with(entries)
    if needed > MOST_BYTES:
        raise ClusterError(
            f"{found.ref} has no room for another key: it holds {len(found.kept):,} and would have {needed:,} bytes, of "
            f"{MOST_BYTES:,} that an object may have. Revoke keys that ended (kubectl llama key list), or name another "
            f"object in spec.access.keys"
        )


def one_of(found: KeyObject, key_id: str) -> Kept:
    """Find a key by its id.

    Raises:
        ClusterError: If there is none.
    """
    kept = next((one for one in found.kept if one.id == key_id), None)
    if kept is None:
        raise ClusterError(f"there is no key {key_id} in {found.ref}; `kubectl llama key list` has those that exist")
    return kept


def id_of(text: str, option: str) -> str:
    """The id that the user means: by itself, or as a part of a whole key.

    Raises:
        InvalidManifestError: If it looks like a whole key and is none. The message has nothing of it.
    """
    if not text.startswith("llm_"):
        return text
    if (key := parse(text)) is None:
        problem = "looks like a key, and has a typo or is cut off"
        raise InvalidManifestError.of(COMMAND_LINE, option, problem, "give its id: the part after llm_, 16 characters")
    return key.id
