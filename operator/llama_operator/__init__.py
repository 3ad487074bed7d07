"""llama-operator: turns a LlamaDeployment into a sharded Ray Serve + vLLM cluster.

The layers, top to bottom, are listed in pyproject.toml (`[tool.importlinter]`) and drawn in docs/architecture.md.
"""

__version__ = "0.1.0"
