"""Parts of vLLM and Ray in a process of their own, with an environment that suits them; what they found comes back as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
_RUN = "import gc, runpy; gc.disable(); runpy.run_module({!r}, run_name='__main__')"
"""Without the collector, which takes a quarter of the time in which vLLM is imported."""


def said_by(module):
    """Run a module and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN.format(module)],
        cwd=TESTS,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
