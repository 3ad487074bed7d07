"""What Ray pods need beside the variables that switch their traces on. Called by `desired.rayservice`.

Traces are switched on by OpenTelemetry's own variables in the settings of pods, so only the sum of all parts says whether they are.
"""

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.desired.pods.parts import PodParts
from llama_serving.contract.tracing import variables_beside


def traced(parts: PodParts, deployment: LlamaDeployment, revision: str) -> PodParts:
    """Add what is missing for traces; nothing where they are off.

    Args:
        parts: The whole pod, with the settings of platform and team.
        deployment: Names the service in traces.
        revision: Of the pods.
    """
    about = deployment.metadata
    added = variables_beside(
        parts.environment,
        service=about.name,
        attributes={
            "service.namespace": about.namespace,
            "service.version": revision,
            "k8s.namespace.name": about.namespace,
        },
    )
    return parts + PodParts(environment=added)
