"""A hint: what words usually come from, and what a person can do. The tables are in `hints_of_pods` and `hints_of_engines`."""

from dataclasses import dataclass
from typing import Final

from llama_operator.api.reasons import Reason


@dataclass(frozen=True, slots=True)
class Hint:
    """What words usually come from, and what a person can do.

    Attributes:
        kind: Name of the incident, once in the table.
        reason: Reason of the causes that it is about.
        words: The hint fits where one of them is in the message, in any case; none: it fits all others of its reason.
        do: What to do. `{name}`, `{namespace}`, `{revision}` and `{accelerator}` are filled in.
    """

    kind: str
    reason: Reason
    words: tuple[str, ...]
    do: str


LOGS: Final = "kubectl logs -n {namespace} -l llama-operator.io/revision={revision} --tail 200 --prefix"
DESCRIBE: Final = "kubectl describe pod -n {namespace} -l llama-operator.io/revision={revision}"
