"""Cross-field rules of `spec.access.from`. Part of `rules.RULES`."""

from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.peers import AccessPeer

PEER_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        model=AccessPeer,
        field="namespace",
        cel="has(self.namespace) != has(self.cidr)",
        holds=lambda peer: (peer.namespace is None) != (peer.cidr is None),
        message="or cidr must be set, and not both; pods of the deployment's own namespace need no entry",
    ),
    Rule(
        model=AccessPeer,
        field="podLabels",
        cel="!has(self.podLabels) || self.podLabels.size() == 0 || has(self.namespace)",
        holds=lambda peer: not peer.pod_labels or peer.namespace is not None,
        message="must not be set beside cidr: addresses have no labels",
    ),
)
