"""What stands against the LoRA adapters of a spec, whatever its license says. Pure; called by `decide.decision` and `decide.plan`.

Names and licenses of adapters are judged by the license chain (`decide.license.rules.adapters`). What is wrong with an adapter's
files is no problem of the deployment: the pods tell it, and `status.adapters` repeats it.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.catalog.models import Model
from llama_operator.decide.problem import Problem
from llama_operator.decide.serve_application import arguments
from llama_serving.contract.adapters import AdapterRoom

_MOST_VOCABULARY = 258_048
"""Rows of the output layer that vLLM makes room for adapters beside (`LogitsProcessorWithLoRA`)."""


def slots_problem(spec: LlamaDeploymentSpec, model: Model) -> Problem | None:
    """Return why no adapter can be loaded into a model; None if one can be, or if none is asked for."""
    if spec.adapter_slots is None:
        return None
    shape = model.architecture
    if shape.moe is not None or shape.vision is not None or shape.cross_attention is not None:
        why = "takes images" if shape.moe is None else "has experts"
        text = f"{model.id} {why}, and room for adapters is planned for dense models of text only; leave it out"
    elif shape.vocab_size > _MOST_VOCABULARY:
        text = f"{model.id} has more than {_MOST_VOCABULARY:,} tokens, beside which vLLM makes no room for adapters; leave it out"
    else:
        return None
    return Problem(ConditionType.PLANNED, Reason.ADAPTERS_NOT_SUPPORTED, text, "spec.adapterSlots")


def room_of(serve_config: Mapping[str, Any]) -> AdapterRoom | None:
    """Return the room for adapters of a pinned revision; None if it has none, or if it cannot be read.

    Args:
        serve_config: Its Serve config, of whatever version pinned it.
    """
    pinned = arguments(serve_config).get("adapters")
    try:
        return None if pinned is None else AdapterRoom.model_validate(pinned)
    except ValidationError:
        return None


def names_problem(spec: LlamaDeploymentSpec, model: Model) -> Problem | None:
    """Return the problem of an adapter that has the name of the model; None if there is none.

    Names differ by more than the case of letters: people would take one for the other.
    """
    taken = {model.served_name.casefold(): "of the model"}
    for adapter in spec.adapters:
        name = adapter.name.casefold()
        if name in taken:
            text = f"{adapter.name!r} is the name {taken[name]}; give the adapter another one"
            return Problem(ConditionType.ADAPTERS_READY, Reason.ADAPTER_NAME_TAKEN, text, "spec.adapters")
        taken[name] = f"of another adapter, {adapter.name!r}, but for the case of letters"
    return None
