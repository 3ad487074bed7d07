"""A Kubernetes control plane on this machine's loopback, with simulated nodes and an unmodified KubeRay.

Used by `make control-plane`, `make dev-cluster` and the tests marked `control_plane`. Needs neither root nor containers.
"""
