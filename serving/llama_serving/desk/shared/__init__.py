"""The ledger in a server, which replicas of several deployments share. `engine.direct` chooses it."""
