"""Figures that people measured, fitted or pay, as data: speeds and links, the reserve, cold starts, prices. Called by `decide.plan`."""
