"""Cross-field rules of sections of a LlamaDeployment's spec, a module a section. `api.rules` puts them together."""
