"""The objects that shall exist, pure: from one `Decision` to Kubernetes objects. No client, no I/O."""
