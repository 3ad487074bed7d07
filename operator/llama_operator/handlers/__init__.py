"""kopf, and only here: events fill the cache and name the LlamaDeployments to look at again. No decision is made here."""
