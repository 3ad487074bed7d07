"""Pure: revisions, the order in which they replace each other, and the end of a deployment."""
