"""`spec.model.chatTemplate`: what makes a prompt of a conversation. Part of the `LlamaDeployment` resource."""

from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.pods import ObjectName


class ChatTemplateKey(ApiModel):
    """A key of a ConfigMap in the deployment's own namespace, with a chat template in Jinja."""

    config_map: ObjectName
    """Name of the ConfigMap. Pods read it when they start: for other words make another ConfigMap, and name that."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] = "chat_template.jinja"
    """Key in the ConfigMap."""
