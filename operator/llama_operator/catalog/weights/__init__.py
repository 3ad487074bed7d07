"""What copies of weights are: the methods by which they are quantized, and the names under which people find them."""
