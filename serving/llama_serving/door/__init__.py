"""The door: middleware that judges every request before Serve or vLLM reads it. See docs/designs/0020-data-plane.md."""
