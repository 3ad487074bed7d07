"""What runs in the Ray pods of a LlamaDeployment. The operator imports only `config`, which imports no Ray."""
