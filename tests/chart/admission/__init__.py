"""A package, so that its fixtures end with it: pytest knows no other folder whose fixtures do."""
