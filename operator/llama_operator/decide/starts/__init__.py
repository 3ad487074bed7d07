"""What starts of replicas take, and how long they may. Called by `decide`, `desired` and `status`."""
