"""Changes of a spec: new revisions that serve or do not, and what people ask for."""

from typing import Any, Final

from gameday.incident import Incident, answered, condition, event, explain, logged, never, once, within
from gameday.stage import Stage

_BLUE_GREEN: Final = {"strategy": "BlueGreen", "drainSeconds": 0}
_NCCL: Final = "NCCL error: unhandled system error"
_SERVES: Final = never(condition("Ready", "False"))
_NO_WARNING: Final = never(event("", "Warning"))


def _serves(stage: Stage) -> None:
    stage.deploy(rollout=_BLUE_GREEN)
    stage.served()


def _change(stage: Stage, length: int = 512) -> str:
    """Ask for another context; returns the revision that starts for it."""
    before = {one["metadata"]["name"] for one in stage.objects("rayservices.ray.io")}
    stage.change({"context": {"maxModelLength": length}})

    def started() -> str:
        return next(
            (n for one in stage.objects("rayservices.ray.io") if (n := one["metadata"]["name"]) not in before), ""
        )

    return stage.until(started, "a new revision starts")


def _change_that_fails(stage: Stage) -> None:
    # Only where a revision shall miss it: on a busy machine what is well takes longer than this.
    stage.change({"rollout": {"progressDeadlineSeconds": 15}})
    stage.serve("DEPLOY_FAILED", _NCCL, of=_change(stage))
    stage.reported("DEPLOY_FAILED")


def _given_up(stage: Stage) -> None:
    _serves(stage)
    _change_that_fails(stage)
    stage.reaches("UpToDate", "False", "ProgressDeadlineExceeded")


def _rollback(stage: Stage) -> None:
    stage.llama("rollback", "chat")
    stage.reaches("UpToDate", "True")
    stage.llama("history", "chat")


def _rollback_under_gitops(stage: Stage) -> None:
    manifest = stage.manifest(rollout=_BLUE_GREEN)
    stage.tries("apply", "--server-side", "--field-manager=argocd", "-f", "-", stdin=manifest)
    stage.served()
    stage.tries(
        *("apply", "--server-side", "--field-manager=argocd", "-f", "-"),
        stdin=stage.manifest(rollout=_BLUE_GREEN, context={"maxModelLength": 512, "concurrentSequences": 4}),
    )
    stage.served()


def _rollback_warns(stage: Stage) -> None:
    stage.llama("rollback", "chat")


def _applied(stage: Stage) -> None:
    manifest = stage.manifest(rollout=_BLUE_GREEN)
    stage.tries("apply", "--server-side", "--field-manager=argocd", "-f", "-", stdin=manifest)
    stage.served()
    stage.rests()


def _applied_again(stage: Stage) -> None:
    before = stage.version()
    manifest = stage.manifest(rollout=_BLUE_GREEN)
    for _ in range(5):
        stage.tries("apply", "--server-side", "--field-manager=argocd", "-f", "-", stdin=manifest)
    stage.tries("diff", "--server-side", "--field-manager=argocd", "-f", "-", stdin=manifest)
    stage.says(
        f"resourceVersion {before}, then {stage.version()}: {'unchanged' if stage.version() == before else 'changed'}"
    )


def _two_changes(stage: Stage) -> None:
    stage.serve("DEPLOYING", of=_change(stage))
    _change(stage, 256)
    stage.served()
    stage.llama("history", "chat")


def _never_serves(stage: Stage) -> None:
    stage.serve("DEPLOY_FAILED", _NCCL)
    stage.deploy(rollout={"progressDeadlineSeconds": 10})


def _suspend(stage: Stage) -> None:
    stage.change({"activation": "Suspended"})


def _scale_to_zero(stage: Stage) -> None:
    stage.tries("scale", "lld/chat", "--replicas=0")


def _upgrade(stage: Stage) -> None:
    _change(stage)
    stage.served()
    stage.change({"scaling": {"minReplicas": 2, "maxReplicas": 3}})
    stage.running("worker", 2)
    stage.served()


def _whole_life(stage: Stage) -> None:
    stage.deploy(rollout=_BLUE_GREEN)
    stage.served()
    _upgrade(stage)
    stage.change({"activation": "Suspended"})
    stage.reaches("Ready", "Unknown", "Suspended")
    stage.change({"activation": "Active"})
    stage.served()
    stage.plane.api.delete("lld", "chat", namespace=stage.namespace)
    stage.until(lambda: not stage.objects("lld", ""), "the deployment is gone")
    stage.known()


def _namespace_deleted(stage: Stage) -> None:
    stage.plane.api.delete("namespaces", stage.namespace)
    stage.until(lambda: stage.plane.api.find("namespaces", stage.namespace) is None, "the namespace is gone")


_MISSED: Final = ("UpToDate", "False", "ProgressDeadlineExceeded")


def _incident(name: str, title: str, **more: Any) -> Incident:
    return Incident(name=name, title=title, **{"before": _serves, **more})


INCIDENTS: Final = (
    _incident(
        "rollout-fails",
        "A new revision does not serve before its deadline",
        cause=_change_that_fails,
        reasons=("ProgressDeadlineExceeded",),
        says=(
            _SERVES,
            never(event("NotReady")),
            once(condition("ModelLoaded", "False", "EngineFailed", has=("NCCL error",))),
            within(30, condition(*_MISSED, has=("NCCL error",))),
            within(30, condition("Stalled", "True")),
            within(30, event("RolledBack", has=("NCCL error",))),
            within(30, logged(has=("RolledBack", "NCCL error"))),
            condition("EndpointReady", "True"),
        ),
        sampled=True,
    ),
    _incident(
        "rolled-back",
        "A person rolls back after a revision was given up",
        before=_given_up,
        cause=_rollback,
        says=(_SERVES, within(20, answered(has=("NCCL error",))), within(20, condition("UpToDate", "True"))),
    ),
    _incident(
        "rolled-back-under-gitops",
        "A person rolls back what Argo CD applies",
        before=_rollback_under_gitops,
        cause=_rollback_warns,
        says=(_SERVES, answered(has=("Argo CD",))),
    ),
    _incident(
        "applied-again",
        "Argo CD applies the same manifest again and again",
        before=_applied,
        cause=_applied_again,
        says=(_SERVES, _NO_WARNING, answered(has=(": unchanged",)), never(answered(has=("+  ",)))),
    ),
    _incident(
        "two-changes",
        "The spec is changed again while a revision starts",
        cause=_two_changes,
        says=(
            _SERVES,
            never(event("NotReady")),
            within(40, condition("UpToDate", "True")),
            within(40, answered(has=("active", "never"))),
        ),
    ),
    _incident(
        "first-revision-overdue",
        "The first revision does not serve before its deadline",
        before=lambda _: None,
        cause=_never_serves,
        reasons=("EngineFailed", "ProgressDeadlineExceeded"),
        says=(
            within(25, condition("Stalled", "True", has=("NCCL error",))),
            within(25, condition("Reconciling", "False")),
            within(25, condition("Ready", "False", has=("NCCL error",))),
            within(25, condition(*_MISSED)),
            within(25, event("", has=("NCCL error",))),
            within(25, explain("rollout", lacks=("kubectl llama rollback",))),
        ),
    ),
    _incident(
        "suspended",
        "A person suspends a deployment",
        cause=_suspend,
        says=(
            _NO_WARNING,
            condition("Ready", "Unknown", "Suspended"),
            explain("activation", "Failed", has=("kubectl patch",)),
        ),
    ),
    _incident(
        "scaled-to-zero-by-hand",
        "A person scales a deployment to zero that scales by its queue",
        cause=_scale_to_zero,
        says=(_SERVES, answered(has=("QueueDepth", "minReplicas"))),
    ),
    _incident(
        "whole-life",
        "Nothing goes wrong: create, upgrade, scale, suspend, resume, delete",
        before=lambda _: None,
        cause=_whole_life,
        says=(
            _NO_WARNING,
            never(condition("Ready", "False")),
            once(event("Ready", "Normal")),
            once(logged(has=("RevisionStarted",))),
            once(logged(has=("TrafficMoved",))),
        ),
        own=True,
    ),
    _incident(
        "upgrade",
        "Nothing goes wrong: a BlueGreen upgrade, then more replicas",
        cause=_upgrade,
        says=(_SERVES, _NO_WARNING, within(60, condition("UpToDate", "True"))),
        own=True,
    ),
    _incident(
        "namespace-deleted",
        "The namespace of a deployment that serves is deleted",
        cause=_namespace_deleted,
        says=(
            never(logged(has=("being terminated",), state="warning")),
            never(logged(has=("being terminated",), state="error")),
        ),
    ),
)
