"""Jobs of the operator: how they ended, and what their pods said. `observe.gather` reads through it."""
