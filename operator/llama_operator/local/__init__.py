"""Runs a LlamaDeployment on this machine: plays KubeRay and the kubelet for the in-memory twin, with real Ray.

`runtime.LocalRuntime` is the only entrance; the command line uses it. Nothing here imports Ray: it is started as a
process of its own environment and spoken to over HTTP, so the operator's package stays small.
"""
