"""Runs `llama_serving.access_check` under the name that Jobs call: `python -m llama_serving.preflight`.

The name stays, because an older operator may start a Job with this image, and this operator one with an older image.
"""

import os
import sys

from llama_serving.access_check import main

if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not by a return: a library that stalled may still have threads that wait for a socket.
    os._exit(code)
