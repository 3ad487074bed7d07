"""What stands in the way of a deployment, and whether only a different manifest can cure it. Used all over `decide`."""

from dataclasses import dataclass

from llama_operator.api.reasons import ConditionType, Reason


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the decision stops here: the condition that is False, and what a person can do."""

    condition: ConditionType
    reason: Reason
    message: str
    field: str = ""
    """API path of the field to change, where one is to blame."""

    @property
    def text(self) -> str:
        """The message with the field that it is about."""
        return f"{self.field}: {self.message}" if self.field else self.message

    @property
    def unclear(self) -> bool:
        """Whether it is about what this version does not understand: then nobody can say that something is wrong."""
        return self.reason is Reason.NOT_UNDERSTOOD

    @property
    def invalid(self) -> bool:
        """Whether only a different manifest can cure it: a wrong name or number, not a lack of hardware or rights."""
        return self.reason in _INVALID


_STRUCTURAL = frozenset(
    {
        Reason.HEADS_NOT_DIVISIBLE,
        Reason.LAYERS_NOT_DIVISIBLE,
        Reason.SHARD_NOT_ALIGNED,
        Reason.PIPELINE_NOT_SUPPORTED,
        Reason.PARALLELISM_SPANS_NODES,
    }
)
"""Rejections that no hardware can cure: wrong when the user named the size, ordinary when the search tried it."""

_INVALID = _STRUCTURAL | {
    Reason.MODEL_UNKNOWN,
    Reason.VARIANT_UNKNOWN,
    Reason.ENGINE_CONSTRAINT,
    Reason.ACCELERATOR_UNKNOWN,
    Reason.CONTEXT_TOO_LONG,
    Reason.POD_SETTING_NOT_ALLOWED,
    Reason.ADAPTERS_NOT_SUPPORTED,
    Reason.ADAPTER_NAME_TAKEN,
}
