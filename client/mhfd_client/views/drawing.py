"""A drawing of pictures, boxes and texts, as PNG or as SVG. Sizes are in pixels of the drawing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from mhfd.text import visible
from mhfd_client.views.picture import data_uri

Anchor = Literal["start", "middle"]

INK, PAPER = "#000000", "#ffffff"


@dataclass(frozen=True)
class Photo:
    """A picture, enlarged or reduced to a size; a pixel stays a square."""

    x: float
    y: float
    width: float
    height: float
    image: Image.Image


@dataclass(frozen=True)
class Box:
    """The outline of a rectangle, or a filled one.

    Attributes
    ----------
    line : width of the outline, which lies inside; 0 fills it
    """

    x: float
    y: float
    width: float
    height: float
    colour: str
    line: float = 0


@dataclass(frozen=True)
class Label:
    """A line of text; `x` is its begin or its middle, `y` the middle of its height."""

    x: float
    y: float
    text: str
    size: float = 16
    anchor: Anchor = "start"
    colour: str = INK


@dataclass(frozen=True)
class Drawing:
    """Later items cover earlier ones."""

    width: int
    height: int
    items: tuple[Photo | Box | Label, ...]


def as_image(drawing: Drawing) -> Image.Image:
    """The drawing in pixels."""
    canvas = Image.new("RGB", (drawing.width, drawing.height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for item in drawing.items:
        if isinstance(item, Photo):
            size = round(item.width), round(item.height)
            canvas.paste(item.image.resize(size, Image.Resampling.NEAREST), (round(item.x), round(item.y)))
        elif isinstance(item, Box):
            corners = (item.x, item.y, item.x + item.width - 1, item.y + item.height - 1)
            outline = {"outline": item.colour, "width": round(item.line)} if item.line else {"fill": item.colour}
            draw.rectangle(corners, **outline)
        else:
            anchor = "lm" if item.anchor == "start" else "mm"
            draw.text((item.x, item.y), visible(item.text), item.colour, _font(item.size), anchor=anchor)
    return canvas


def as_svg(drawing: Drawing) -> Markup:
    """The drawing as an SVG element that needs nothing else."""
    begin = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
        'font-family="Helvetica, Arial, sans-serif">'
    ).format(w=drawing.width, h=drawing.height)
    paper = _svg(Box(0, 0, drawing.width, drawing.height, PAPER))
    return begin + paper + Markup("").join(map(_svg, drawing.items)) + Markup("</svg>")


def wrapped(text: str, width: float, size: float) -> list[str]:
    """A text in lines that are no wider; a word that is, is broken."""
    lines, line = [], ""
    for word in visible(text).split(" "):
        longer = f"{line} {word}" if line else word
        if line and text_width(longer, size) > width:
            lines.append(line)
            longer = word
        while text_width(longer, size) > width and len(longer) > 1:
            n = max(1, int(len(longer) * width / text_width(longer, size)) - 1)
            lines.append(longer[:n])
            longer = longer[n:]
        line = longer
    return [*lines, line]


def text_width(text: str, size: float) -> float:
    """Of one line, as a PNG has it."""
    return float(_font(size).getlength(text))


def shortened(text: str, width: float, size: float) -> str:
    """A text on one line; a longer one has its middle left out."""
    text = visible(text)
    if text_width(text, size) <= width:
        return text
    keep = next(n for n in range(len(text) // 2, -1, -1) if text_width(_ends(text, n), size) <= width or n == 0)
    return _ends(text, keep)


def _ends(text: str, n: int) -> str:
    return f"{text[:n]}...{text[len(text) - n :]}"


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _svg(item: Photo | Box | Label) -> Markup:
    if isinstance(item, Photo):
        return Markup(
            '<image x="{}" y="{}" width="{}" height="{}" href="{}" preserveAspectRatio="none" '
            'style="image-rendering:pixelated"/>'
        ).format(item.x, item.y, item.width, item.height, data_uri(item.image))
    if isinstance(item, Label):
        return Markup(
            '<text x="{}" y="{}" font-size="{}" text-anchor="{}" dominant-baseline="central" fill="{}">{}</text>'
        ).format(item.x, item.y, item.size, item.anchor, item.colour, visible(item.text))
    half = item.line / 2
    look = Markup('fill="none" stroke="{}" stroke-width="{}"').format(item.colour, item.line)
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" {}/>').format(
        item.x + half,
        item.y + half,
        item.width - item.line,
        item.height - item.line,
        look if item.line else Markup('fill="{}"').format(item.colour),
    )
