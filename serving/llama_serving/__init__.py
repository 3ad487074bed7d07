"""What runs in the Ray pods of a LlamaDeployment; `config` alone is imported by the operator, and imports no Ray."""
