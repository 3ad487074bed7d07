"""`kubectl llama license`: records, rules and evidence of licenses."""
