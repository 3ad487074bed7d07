"""The custom resources as pydantic models, and the generator that turns them into CRDs."""
