"""Draws the simulator's SVG pictures as PNG, with Pillow, which is an extra (`pictures`). Called by `kubectl llama simulate` and the bench.

It knows what `simulate.picture.svg` writes, and no more of SVG: rectangles, lines, polygons, circles and text, which may stand
upright.
"""

import io
import xml.etree.ElementTree as ET

from PIL import Image, ImageDraw, ImageFont

_SCALE = 2
"""Pixels for each unit of the picture."""
_WHITE = "#ffffff"


def png(picture: str) -> bytes:
    """Return an SVG picture of the simulator as PNG."""
    root = ET.fromstring(picture)  # noqa: S314 - written by this program
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    image = Image.new("RGB", (round(width * _SCALE), round(height * _SCALE)), _WHITE)
    for element in root:
        _draw(image, element.tag.rpartition("}")[2], element.attrib, element.text or "")
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _draw(image: Image.Image, kind: str, said: dict[str, str], text: str) -> None:
    draw = ImageDraw.Draw(image, "RGBA")
    fill, stroke = _color(said.get("fill"), said), _color(said.get("stroke"), {})
    thick = max(1, round(float(said.get("stroke-width", 1)) * _SCALE))
    if kind == "rect":
        left, top = _number(said, "x"), _number(said, "y")
        box = (left, top, left + _number(said, "width"), top + _number(said, "height"))
        draw.rectangle(box, fill=fill, outline=stroke, width=thick if stroke else 0)
    elif kind == "line":
        ends = [_number(said, name) for name in ("x1", "y1", "x2", "y2")]
        draw.line(ends, fill=stroke, width=thick)
    elif kind == "polyline":
        draw.line(_points(said), fill=stroke, width=thick)
    elif kind == "polygon":
        draw.polygon(_points(said), fill=fill)
    elif kind == "circle":
        x, y, radius = (_number(said, name) for name in ("cx", "cy", "r"))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    elif kind == "text":
        _write(image, said, text)


def _write(image: Image.Image, said: dict[str, str], text: str) -> None:
    font = ImageFont.load_default(size=float(said.get("font-size", 12)) * _SCALE)
    x, y = _number(said, "x"), _number(said, "y")
    anchor = {"middle": "ms", "end": "rs"}.get(said.get("text-anchor", ""), "ls")
    if "transform" not in said:
        ImageDraw.Draw(image).text((x, y), text, fill="#222222", font=font, anchor=anchor)
        return
    left, top, right, bottom = font.getbbox(text)
    label = Image.new("L", (round(right - left) + 2, round(bottom - top) + 2), 0)
    ImageDraw.Draw(label).text((-left, -top), text, fill=255, font=font)
    upright = label.rotate(90, expand=True)
    image.paste("#222222", (round(x - upright.width), round(y - upright.height / 2)), upright)


def _number(said: dict[str, str], name: str) -> float:
    return float(said.get(name, 0)) * _SCALE


def _points(said: dict[str, str]) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in said["points"].split())
    return [(float(x) * _SCALE, float(y) * _SCALE) for x, y in pairs]


def _color(value: str | None, said: dict[str, str]) -> str | None:
    if value in {None, "none"} or value is None:
        return None
    whole = value if len(value) > len("#fff") else "#" + "".join(2 * letter for letter in value[1:])
    return f"{whole}{round(255 * float(said.get('fill-opacity', 1))):02x}"
