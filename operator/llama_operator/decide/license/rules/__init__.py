"""The checks of the license chain, a module a subject."""
