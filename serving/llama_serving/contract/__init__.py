"""What the operator and the serving pods both know, beside the config of a revision: see `llama_serving.config`."""
