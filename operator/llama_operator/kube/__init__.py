"""The Kubernetes API behind one small port: `port` says what the reconcile may ask; `server` and `twin` answer.

Nothing above this package touches a Kubernetes client; nothing in it knows what a LlamaDeployment is for. `kinds` has its
address, and `twin.schemas` how its fields merge.
"""
