"""Says what HAProxy of this node does not do although the deployment asks for it. Called by each replica, for the status.

The image may start HAProxy without the launcher, or the launcher may not know what Ray wrote. Both keep the endpoint up, so
nobody would notice.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from llama_serving.contract.haproxy import LAUNCHER_NAME, LAUNCHER_WORDS, SWITCH_VARIABLE
from llama_serving.contract.routing import LAUNCHER_VARIABLE, ROUTING_VARIABLE
from llama_serving.contract.status import MOST_FAULT_CHARACTERS

_FOLDER_VARIABLE: Final = "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"
_DEFAULT_CONFIG: Final = "/tmp/haproxy-serve/haproxy.cfg"  # noqa: S108 - Ray's own place


def haproxy_fault(variables: Mapping[str, str], node: str) -> str:
    """Return what HAProxy of this node does not do; empty if it does all, is not used, or has not started.

    Args:
        variables: Environment of a process of the node.
        node: Ray's id of it: Serve keeps the files of each node apart.
    """
    if variables.get(SWITCH_VARIABLE) != "1":
        return ""
    if Path(variables.get(LAUNCHER_VARIABLE, "")).name != LAUNCHER_NAME:
        routing = variables.get(ROUTING_VARIABLE)
        lost = "headers of requests have no time limit"
        if routing is not None:
            lost = f"requests go by least connections and not by {routing}, and {lost}"
        return f"{lost}: {LAUNCHER_VARIABLE} of the image does not name {LAUNCHER_NAME}"
    config = Path(variables.get(_FOLDER_VARIABLE, _DEFAULT_CONFIG))
    try:
        words = (config.parent / node / LAUNCHER_WORDS).read_text(encoding="utf-8")
    except OSError:
        return ""
    return " ".join(words.split())[:MOST_FAULT_CHARACTERS]
