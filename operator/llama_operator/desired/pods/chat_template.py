"""The file with the chat template, where the spec names one. Called by `desired.rayservice` and `desired.serve_config`."""

from typing import Final

from llama_operator.api.v1alpha1.llamadeployment import ChatTemplateKey
from llama_operator.desired.pods.parts import PodParts

_VOLUME: Final = "chat-template"
_FOLDER: Final = "/etc/llama/chat-template"
_NAME: Final = "chat_template.jinja"
_READABLE: Final = 0o444

FILE: Final = f"{_FOLDER}/{_NAME}"
"""Where pods have it."""


def file(template: ChatTemplateKey | None) -> PodParts:
    """The template as a file.

    The ConfigMap has to be there: without it the pods wait and Kubernetes says why, instead of serving by another template.

    Args:
        template: Key of the ConfigMap; None for the checkpoint's own template.
    """
    if template is None:
        return PodParts()
    items = [{"key": template.key, "path": _NAME}]
    return PodParts(
        mounts={_FOLDER: {"name": _VOLUME, "readOnly": True}},
        volumes={_VOLUME: {"configMap": {"name": template.config_map, "items": items, "defaultMode": _READABLE}}},
    )
