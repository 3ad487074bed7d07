"""Writes the files that come from the code: CRDs, references, the CRD chart and what installs without Helm."""
