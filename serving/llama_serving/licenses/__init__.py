"""License texts, attribution and output terms, as the serving pods show them."""
