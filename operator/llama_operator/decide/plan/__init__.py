"""Pure: which variant, accelerator and sharding serve a model, and what each candidate needs."""
