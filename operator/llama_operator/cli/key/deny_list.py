"""Names revoked keys in `spec.access.revokedKeys`, so that replicas refuse them before the kubelets have brought the change.

Called by `revoke`, after the keys are gone from their object: that alone revokes them, this makes it fast. It needs the user's right to
change the deployment, which not everybody has who may change its keys.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from llama_operator.api import paths, readings
from llama_operator.cli.key.endpoint import Endpoint
from llama_operator.cli.shared.connection import Connection
from llama_operator.kube.port import ConflictError, ForbiddenError, InvalidError, JsonPatch, KubeError
from llama_serving.config import RequestPath
from llama_serving.contract.keys import is_key_id
from llama_serving.contract.tenants import MOST_REVOKED_KEYS

_TRIES: Final = 5
"""Of a change that another one overtakes. Each try reads the deployment again."""


async def deny(connection: Connection, endpoint: Endpoint, ids: Iterable[str]) -> str:
    """Add ids to the list of the deployment.

    Returns:
        Empty if they are in it; else why not, for people.
    """
    wanted = [key_id for key_id in ids if is_key_id(key_id)]
    if not endpoint.asks or not wanted:
        return "no request needs a key there"
    if endpoint.path != RequestPath.DIRECT:
        return f"{endpoint.ref} serves on the path {endpoint.path or 'Ingress'}, which has no such list"
    try:
        return await _written(connection, endpoint, wanted)
    except ForbiddenError:
        return f"you may not change {endpoint.ref}"
    except KubeError as error:
        return f"{endpoint.ref} could not be changed: {error}"


async def _written(connection: Connection, endpoint: Endpoint, ids: Sequence[str]) -> str:
    for _ in range(_TRIES):
        live = await connection.cluster.get(endpoint.ref)
        try:
            await connection.cluster.patch(endpoint.ref, _patch(live, ids))
        except (ConflictError, InvalidError) as error:
            why = str(error)
        else:
            return ""
    return f"{endpoint.ref} could not be changed: {why}"


def _patch(live: dict[str, Any], ids: Sequence[str]) -> tuple[JsonPatch, ...]:
    """The patch that puts `ids` first; the oldest give way, whose keys no pod has any more."""
    access = paths.at(live, "spec.access")
    before = readings.mapping(access).get("revokedKeys")
    before = [text for text in before if isinstance(text, str)] if isinstance(before, list) else []
    listed = [*dict.fromkeys((*ids, *before))][:MOST_REVOKED_KEYS]
    same = JsonPatch("test", "/metadata/resourceVersion", readings.mapping(live.get("metadata")).get("resourceVersion"))
    if not isinstance(access, dict):
        return same, JsonPatch("add", "/spec/access", {"revokedKeys": listed})
    return same, JsonPatch("add", "/spec/access/revokedKeys", listed)
