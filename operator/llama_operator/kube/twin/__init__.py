"""A Kubernetes API server in memory, for the laptop and the tests; tests/contract keeps it honest."""
