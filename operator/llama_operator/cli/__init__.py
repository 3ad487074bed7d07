"""`kubectl llama`: the operator's own core on the command line. An executable `kubectl-llama` on the PATH is the plugin."""
