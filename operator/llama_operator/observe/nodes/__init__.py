"""What nodes offer to pods (`facts`), and what of it no pod holds (`free`). Called by `observe.gather`, the CLI and the handlers."""
