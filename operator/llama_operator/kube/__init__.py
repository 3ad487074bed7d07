"""The Kubernetes API behind one small port: `port` says what the reconcile may ask, `memory` answers in this process.

Nothing above this package touches a Kubernetes client; nothing in it knows what a LlamaDeployment is for.
"""
