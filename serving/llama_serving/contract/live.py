"""Base of what replicas take while they run. Used by the modules of the contract that the operator renders into `user_config`."""

from pydantic import ConfigDict

from llama_serving.contract.frozen import Frozen


class Live(Frozen):
    """Base of what replicas take while they run. They may be older than the operator, and ignore what they do not know."""

    model_config = ConfigDict(extra="ignore")
