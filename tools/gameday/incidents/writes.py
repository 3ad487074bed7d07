"""Objects of the operator that the API server refuses."""

from typing import Any, Final

from gameday.incident import Incident, Play, condition, event, explain, never, once
from gameday.incidents.pods import quota
from gameday.stage import Stage


def _quota(resource: str) -> Play:
    def before(stage: Stage) -> None:
        stage.apply(quota(**{f"count/{resource}": "0"}))
        named = {"hard": {f"count/{resource}": "0"}}

        def counted() -> bool:
            live = stage.plane.api.find("resourcequotas", "small", namespace=stage.namespace) or {}
            return (live.get("status") or {}).get("hard") == named["hard"]

        stage.until(counted, "the quota is counted")

    return before


def _broken_webhook(stage: Stage) -> None:
    rules = [{"apiGroups": ["ray.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["rayservices"]}]
    stage.plane.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": stage.namespace},
            "webhooks": [
                {
                    "name": "gate.platform.example",
                    "clientConfig": {"url": "https://127.0.0.1:1/gate"},
                    "rules": rules,
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}},
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "failurePolicy": "Fail",
                    "timeoutSeconds": 2,
                }
            ],
        }
    )
    probe: dict[str, Any] = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "probe"},
        "spec": {"rayClusterConfig": {"headGroupSpec": {"template": {"spec": {"containers": []}}}}},
    }
    stage.until(lambda: stage.refuses(probe), "the webhook is known to the API server")


def _webhook_gone(stage: Stage) -> None:
    stage.plane.api.delete("validatingwebhookconfigurations", stage.namespace)


def _deploy(stage: Stage) -> None:
    stage.deploy()


def _refusal(name: str, title: str, words: str, before: Play, **more: Any) -> Incident:
    return Incident(
        name=name,
        title=title,
        before=before,
        cause=_deploy,
        reasons=("WriteRefused",),
        says=(
            condition("Ready", "", "WriteRefused", has=(words,)),
            never(condition("", "", "InternalError")),
            event("WriteRefused", has=(words,)),
            once(explain("", "Failed", has=(words,))),
        ),
        **more,
    )


INCIDENTS: Final = (
    _refusal(
        "quota-of-services",
        "A ResourceQuota allows no Service",
        "exceeded quota: small",
        _quota("services"),
        sampled=True,
    ),
    _refusal(
        "quota-of-rayservices",
        "A ResourceQuota allows no RayService",
        "exceeded quota: small",
        _quota("rayservices.ray.io"),
    ),
    _refusal(
        "webhook-away",
        "A webhook that judges RayServices does not answer",
        "gate.platform.example",
        _broken_webhook,
        after=_webhook_gone,
        own=True,
    ),
)
