"""Runs `llama_serving.access_check` under the name that Jobs call: `python -m llama_serving.preflight`.

The name stays, because an older operator may start a Job with this image, and this operator one with an older image.
"""

import sys

from llama_serving.access_check import main

if __name__ == "__main__":
    sys.exit(main())
