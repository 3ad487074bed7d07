"""Which nodes pods may run on, what they ask of them, and whether they fit. Pure; knows neither planner nor Kubernetes."""
