"""What plan and performance model predict, beside figures of others and of our own measurements: the fit, and the tables of docs."""
