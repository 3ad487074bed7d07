"""Objects that watches keep up to date, and a cluster that reads from them."""
