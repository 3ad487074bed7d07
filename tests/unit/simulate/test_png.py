"""The simulator's pictures as PNG: what SVG has is drawn, in its colors."""

import io

from PIL import Image

from llama_operator.simulate.picture.png import png
from llama_operator.simulate.picture.svg import Point, pareto


def test_a_picture_has_its_points_and_its_front():
    points = [Point("product", 1.2, 0.99), Point("fixed", 1.6, 1.0), Point("worse", 2.0, 0.9)]
    with Image.open(io.BytesIO(png(pareto("Title", points)))) as image:
        drawn = image.convert("RGB")
        colors = {color for _, color in drawn.getcolors(1_000_000)}
    assert drawn.width == 1800
    # Front, and what lies behind it.
    assert {(0x00, 0x9E, 0x73), (0xD5, 0x5E, 0x00)} <= colors
