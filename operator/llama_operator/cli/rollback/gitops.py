"""Who else writes a deployment: the tools that keep a cluster as a repository says. Pure; called by `cli.rollback.command`."""

from llama_operator.kube.port import Object

_FLUX = "kustomize.toolkit.fluxcd.io"
_FLUX_HELM = "helm.toolkit.fluxcd.io"
_ARGO_TRACKING = "argocd.argoproj.io/tracking-id"
_HELM_RELEASE = "meta.helm.sh/release-name"
_MANAGERS = {
    "argocd": "Argo CD",
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
}


def advice(live: Object) -> str:
    """What will happen to a change of `live` by hand, and what to do about it."""
    metadata = live["metadata"]
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    if name := labels.get(f"{_FLUX}/name"):
        where = labels.get(f"{_FLUX}/namespace", "flux-system")
        return _takes_back(f"Flux ({name})", f"flux suspend kustomization {name} -n {where}")
    if name := labels.get(f"{_FLUX_HELM}/name"):
        where = labels.get(f"{_FLUX_HELM}/namespace", "flux-system")
        return _takes_back(f"Flux ({name})", f"flux suspend helmrelease {name} -n {where}")
    if tracking := notes.get(_ARGO_TRACKING):
        name = tracking.partition(":")[0]
        return _takes_back(f"Argo CD ({name})", f"argocd app set {name} --sync-policy none")
    if release := notes.get(_HELM_RELEASE):
        return f"Helm release {release} owns this object: its next upgrade writes the newer spec again; revert it there"
    writers = {_MANAGERS.get(str(entry.get("manager"))) for entry in metadata.get("managedFields") or ()} - {None}
    if writers:
        return _takes_back(str(min(str(writer) for writer in writers)), "")
    return (
        "if the manifest is kept in a repository, revert it there as well: the next apply writes the newer spec again"
    )


def _takes_back(who: str, pause: str) -> str:
    first = f" (until then: {pause})" if pause else ""
    return f"{who} writes the newer spec again at its next sync: revert it in the repository as well{first}"
