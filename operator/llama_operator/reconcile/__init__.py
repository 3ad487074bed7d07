"""One pass: over a deployment, or over a license record."""
