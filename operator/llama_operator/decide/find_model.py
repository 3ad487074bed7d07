"""From the name in `spec.model.name` to a model: an entry of the catalog, or a LlamaModel that adds one.

Called by `decide.decision`, and for the status of LlamaModels.
"""

from collections.abc import Iterable

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.catalog import Catalog, UnknownModelError
from llama_operator.catalog.additions import Unusable, additions
from llama_operator.catalog.models import Model
from llama_operator.decide.problem import Problem

FIELD = "spec.model.name"


def find_model(name: str, models: Iterable[LlamaModel] | None, catalog: Catalog) -> Model | Problem:
    """Find a model by name; `models` are the LlamaModels that exist, None when they were not read."""
    try:
        return catalog.model(name)
    except UnknownModelError as error:
        unknown = str(error)
    added = additions(catalog, models).added(name)
    if added is None:
        if models is None:
            unknown += "; LlamaModels were not looked up: add its manifest to the files, or ask the cluster"
        return Problem(ConditionType.MODEL_RESOLVED, Reason.MODEL_UNKNOWN, unknown, FIELD)
    if isinstance(added, Unusable):
        reason = Reason.LINEAGE_UNRESOLVED if added.lineage else Reason.MODEL_UNUSABLE
        return Problem(ConditionType.MODEL_RESOLVED, reason, f"LlamaModel {name}: {added.message}", FIELD)
    return added
