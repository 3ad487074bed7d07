"""What tools that wait for a change make of an object: Flux, Argo CD's kstatus plugin and `helm --wait` of Helm 4.

The rules of sigs.k8s.io/cli-utils for a kind that it does not know. For tests of any kind.
"""


def kstatus(live):
    """Return `Terminating`, `InProgress`, `Failed` or `Current`."""
    metadata, status = live["metadata"], live.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    said = [(each["type"], each["status"]) for each in status.get("conditions", ())]
    for each in said:
        if each in _ABNORMAL:
            return _ABNORMAL[each]
    ready = [value for kind, value in said if kind == "Ready"]
    return "Current" if ready in ([], ["True"]) else "InProgress"


_ABNORMAL = {("Reconciling", "True"): "InProgress", ("Stalled", "True"): "Failed"}
