"""Plots as SVG, by hand: bars side by side, and lines. Both on a logarithmic scale.

Nothing is drawn for what was not measured.
"""

import html
import math

# What is ours stands out, floors are grey, peers have colours of their own.
COLOURS = (("bare", "#9aa0a6"), ("process", "#7fb3d5"), ("Lamplight", "#1b6ca8"), ("RIE", "#e08e45"),
           ("ministack", "#b5533c"))  # fmt: skip
OTHER = "#6a9a5b"
WIDTH, LEFT, RIGHT, ROW = 760, 262, 90, 20


def colour(label):
    return next((colour for part, colour in COLOURS if part in label), OTHER)


def text(x, y, words, anchor="start", size=12, weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{html.escape(str(words))}</text>')  # fmt: skip


def drawing(height, parts):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'font-family="system-ui, sans-serif" fill="#222">\n'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


class Scale:
    """From a value to a place between `start` and `end`; decades get a line."""

    def __init__(self, values, start, end):
        # Half a decade of room below: the shortest bar is a bar too.
        self.low = math.floor(2 * math.log10(min(values)) - 0.6) / 2
        self.high = math.ceil(math.log10(max(values)) * 4 + 0.2) / 4
        self.start, self.end = start, end

    def __call__(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def decades(self):
        return [10.0**power for power in range(math.ceil(self.low), math.floor(self.high) + 1)]


def number(value):
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def bars(title, groups):
    """`groups`: [(name, [(label, value)])]. A label has one colour everywhere."""
    groups = [(name, [pair for pair in pairs if pair[1]]) for name, pairs in groups]
    groups = [(name, pairs) for name, pairs in groups if pairs]
    if not groups:
        return None
    scale = Scale([value for _, pairs in groups for _, value in pairs], LEFT, WIDTH - RIGHT)
    height = 46 + sum(26 + ROW * len(pairs) for _, pairs in groups) + 24
    parts = [text(14, 26, title, size=15, weight="bold")]
    for decade in scale.decades():
        parts.append(f'<line x1="{scale(decade):.1f}" x2="{scale(decade):.1f}" y1="42" y2="{height - 24}" stroke="#e4e4e4"/>')
        parts.append(text(scale(decade), height - 8, f"{decade:g}", "middle", 11))
    y = 46
    for name, pairs in groups:
        parts.append(text(14, y + 16, name, size=13, weight="bold"))
        y += 24
        for label, value in pairs:
            parts.append(text(LEFT - 8, y + 14, label, "end"))
            parts.append(f'<rect x="{LEFT}" y="{y + 3}" width="{scale(value) - LEFT:.1f}" height="{ROW - 6}" fill="{colour(label)}"/>')
            parts.append(text(scale(value) + 5, y + 14, number(value), size=11))
            y += ROW
        y += 2
    return drawing(height, parts)


def lines(title, under, series):
    """`series`: [(label, [(x, value)])], both axes logarithmic. One of Python is dashed."""
    series = [(label, [point for point in points if point[1]]) for label, points in series]
    series = [(label, points) for label, points in series if points]
    if not series:
        return None
    top, bottom, right = 46, 330, 250
    along = Scale([x for _, points in series for x, _ in points], 60, WIDTH - right)
    up = Scale([value for _, points in series for _, value in points], bottom, top)
    parts = [text(14, 26, title, size=15, weight="bold"), text((60 + WIDTH - right) / 2, bottom + 40, under, "middle", 11)]
    for decade in up.decades():
        parts.append(f'<line x1="60" x2="{WIDTH - right}" y1="{up(decade):.1f}" y2="{up(decade):.1f}" stroke="#e4e4e4"/>')
        parts.append(text(54, up(decade) + 4, f"{decade:g}", "end", 11))
    for x in sorted({x for _, points in series for x, _ in points}):
        parts.append(text(along(x), bottom + 18, f"{x:g}", "middle", 11))
    ends = spread([up(points[-1][1]) for _, points in series])
    for place, (label, points) in enumerate(series):
        stroke = f'stroke="{colour(label)}" stroke-width="2"' + (' stroke-dasharray="6 4"' if "Python" in label else "")
        path = " ".join(f"{along(x):.1f},{up(value):.1f}" for x, value in points)
        parts.append(f'<polyline points="{path}" fill="none" {stroke}/>')
        parts += [f'<circle cx="{along(x):.1f}" cy="{up(value):.1f}" r="3" fill="{colour(label)}"/>' for x, value in points]
        at, beside = ends[place], WIDTH - right + 8
        parts.append(f'<line x1="{beside}" x2="{beside + 22}" y1="{at}" y2="{at}" {stroke}/>')
        parts.append(text(beside + 28, at + 4, f"{label}: {number(points[-1][1])}", size=11))
    return drawing(bottom + 54, parts)


def spread(places, apart=14):
    """The same places, moved down where they would cover one another."""
    moved, last = {}, -math.inf
    for index in sorted(range(len(places)), key=lambda index: places[index]):
        last = moved[index] = max(places[index], last + apart)
    return [moved[index] for index in range(len(places))]
