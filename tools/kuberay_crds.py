"""Puts KubeRay's CRDs, at the version that we support at least, into the user's cache; prints the folder.

Called by `make test`: the RayServices that we render are checked against KubeRay's own schema.

`LLAMA_OPERATOR_KUBERAY=1.7.0` takes the CRDs of another version. With `--later` it fetches those of all later versions whose
module can be had, and prints the stages that `make test-matrix` runs for them.
"""

import os
import sys

from module_crds import Module, NotToBeHadError

VERSION = "1.6.2"
LATER = ("1.7.0", "1.7.1")
"""Versions that were published after `VERSION`."""
VARIABLE = "LLAMA_OPERATOR_KUBERAY"
MODULE = Module(
    "github.com/ray-project/kuberay/ray-operator",
    "kuberay-crds",
    "config/crd/bases/*.yaml",
    {VERSION: "h1:XUckRswLMyk71D00L62d2Vanh0fVkNqu56+IF/rr+O0="},
)


def main() -> int:
    """Fetch what is asked for; print the folder, or the stages of what can be had."""
    if sys.argv[1:] == ["--later"]:
        for version in LATER:
            try:
                MODULE.ensure(version)
            except NotToBeHadError as error:
                print(f"KubeRay {version} is left out, its module cannot be had: {error}", file=sys.stderr)
            else:
                print(f"kuberay-{version}")
        return 0
    try:
        print(MODULE.ensure(os.environ.get(VARIABLE) or VERSION))
    except NotToBeHadError as error:
        print(f"KubeRay's module cannot be had: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
