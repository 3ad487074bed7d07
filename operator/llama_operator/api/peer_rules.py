"""Cross-field rules of `spec.access.from`. Part of `rules.RULES`."""

import ipaddress
from typing import Final

from llama_operator.api.rule import Rule
from llama_operator.api.v1alpha1.peers import AccessPeer


def _is_network(peer: AccessPeer) -> bool:
    if peer.cidr is None:
        return True
    try:
        ipaddress.ip_network(peer.cidr)
    except ValueError:
        return False
    return True


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
    Rule(
        model=AccessPeer,
        field="cidr",
        cel="!has(self.cidr) || isCIDR(self.cidr) && cidr(self.cidr) == cidr(self.cidr).masked()",
        holds=_is_network,
        message="must be a network, as 10.0.0.0/8 or fd00::/8: an address with the number of its first bits, and no bit set after those",
    ),
)
