"""The tiny Llama that the project generates itself."""
