"""A real Kubernetes node on this machine: containerd, kubelet, kube-proxy and CoreDNS in namespaces of their own.

Used by `make e2e` (tests/e2e), where pods must really run. Needs root, containerd, runc, nftables and iproute2.
"""
