"""kopf, and kopf only: events fill the cache and name the LlamaDeployments to look at again. Nothing is decided here."""
