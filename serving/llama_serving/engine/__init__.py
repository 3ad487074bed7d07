"""The vLLM engine inside a replica, and the nodes that it runs on."""
