"""Whether a model's folder holds what was declared, before an engine reads it."""
