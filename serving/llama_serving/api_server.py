"""Ray's autoscaler takes every certificate of an API server that the operator takes. Named by `images/autoscaler.pth`.

Python 3.13 refuses certificates without key identifiers, and urllib3 asks for that by itself; API servers of EKS have had such ones. Who
signed is checked as before. Only the autoscaler talks to an API server, so other processes of the pods keep the strict rules.
"""

from typing import Final

from urllib3.util import ssl_

COMMAND: Final = "kuberay-autoscaler"
"""Word in the command line of Ray's autoscaler, as KubeRay starts it."""


def be_lenient() -> None:
    """Have urllib3 leave the strict rules out of all contexts that it makes from now on."""
    vars(ssl_)["VERIFY_X509_STRICT"] = 0
