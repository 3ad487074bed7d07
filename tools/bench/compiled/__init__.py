"""The simulator's event loop once more, for `make bench-autoscaling`: compiled, and equal to `llama_operator.simulate.run` request by request."""
