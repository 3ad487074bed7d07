"""Pictures of runs, as text: for a terminal, and SVG."""
