"""Who may send requests to a revision: what the spec means for one that is made, and what one that exists has. Pure.

Called by `decide.decision`, which puts the result into the decision, by the license chain, and by `status` for the revision
that serves. What a revision has is pinned with it: nothing that happens later opens or closes an endpoint that serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llama_operator.api import readings
from llama_operator.api.v1alpha1.access import AccessMode
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment, Purpose
from llama_operator.decide.observed import RevisionFacts
from llama_operator.decide.serve_application import arguments
from llama_serving.config import RequestPath
from llama_serving.contract.door import Access


@dataclass(frozen=True, slots=True)
class KeysObject:
    """The object with the hashes of the API keys. The operator names it to the pods, and never reads it."""

    kind: Literal["ConfigMap", "Secret"]
    name: str


@dataclass(frozen=True, slots=True)
class Door:
    """How requests reach a revision, and who may send them."""

    path: RequestPath
    access: Access
    keys: KeysObject | None = None
    """Where its keys are; None where it asks for none."""

    @property
    def words(self) -> str:
        """Who may send requests, for people."""
        if self.access is Access.OPEN:
            return "open: anyone who reaches the Service"
        return "keys" if self.keys is None else f"keys from {self.keys.kind} {self.keys.name}"


def door_of_spec(deployment: LlamaDeployment, *, required: bool) -> Door:
    """What a revision gets that is made now.

    Args:
        deployment: Its spec says it; `Auto` rests on the purpose.
        required: Whether house policy requires keys.
    """
    spec = deployment.spec
    production = spec.license.purpose is Purpose.PRODUCTION
    asks = spec.access.mode is AccessMode.KEYS or (spec.access.mode is AccessMode.AUTO and (required or production))
    if not asks:
        return Door(spec.endpoint.path, Access.OPEN)
    source = spec.access.keys
    if source is not None and source.secret is not None:
        keys = KeysObject("Secret", source.secret)
    else:
        named = None if source is None else source.config_map
        keys = KeysObject("ConfigMap", named or default_keys(deployment.metadata.name))
    return Door(spec.endpoint.path, Access.KEYS, keys)


def default_keys(deployment: str) -> str:
    """Name of the ConfigMap with the keys of a deployment that names no other object."""
    return f"{deployment}-keys"


def door_of_revision(record: RevisionFacts, deployment: str) -> Door:
    """What a revision has that was made: one of an older operator has no door, and so is open.

    Args:
        record: What is pinned of it.
        deployment: Name of its deployment.
    """
    pinned = arguments(record.serve_config)
    path = RequestPath.DIRECT if pinned.get("path") == RequestPath.DIRECT else RequestPath.INGRESS
    if readings.mapping(pinned.get("door")).get("access") != Access.KEYS:
        return Door(path, Access.OPEN)
    return Door(path, Access.KEYS, _named(record.inputs, deployment))


def _named(inputs: Mapping[str, Any], deployment: str) -> KeysObject:
    source = readings.mapping(readings.mapping(inputs.get("access")).get("keys"))
    if secret := readings.text(source.get("secret")):
        return KeysObject("Secret", secret)
    return KeysObject("ConfigMap", readings.text(source.get("configMap")) or default_keys(deployment))
