"""The desk: limits and usage of tenants, in the engine replica. See docs/designs/0020-data-plane.md."""
