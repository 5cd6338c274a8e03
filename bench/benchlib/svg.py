"""Small SVG charts: points with jitter, bars with whiskers, lines. Readable on light and on dark pages."""
import html
import math
import random

COLOURS = {
    "tls-off": "#e8590c", "haproxy": "#1c7ed6", "nginx": "#2f9e44", "hitch": "#ae3ec9", "stunnel": "#b08800", "haproxy-plain": "#868e96",
    "node http": "#74838f", "node https": "#e64980",
}
STYLE = """
text{font:12px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;fill:#343a40}
.title{font-size:16px;font-weight:600}.sub{font-size:11px;fill:#6c757d}.head{font-weight:600}
.axis{stroke:#868e96;stroke-width:1}.grid{stroke:#dee2e6;stroke-width:1}.page{fill:#ffffff}.edge{stroke:#ffffff}.whisker{stroke:#343a40;stroke-width:1.3}
@media (prefers-color-scheme:dark){
text{fill:#dee2e6}.sub{fill:#adb5bd}.axis{stroke:#868e96}.grid{stroke:#343a40}.page{fill:#161b22}.edge{stroke:#161b22}.whisker{stroke:#dee2e6}}
"""


class Drawing:
    def __init__(self, width, height, title, subtitle):
        self.width, self.height, self.parts = width, height, []
        self.title, self.subtitle = title, subtitle
        self.text(20, 28, title, css="title")
        self.text(20, 46, subtitle, css="sub")

    def text(self, x, y, what, anchor="start", css="", turn=None):
        more = f' class="{css}"' if css else ""
        more += f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(str(what))}</text>')

    def line(self, x1, y1, x2, y2, css="axis", **more):
        extra = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"{extra}/>')

    def bar(self, x, y, w, h, colour):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0.5):.1f}" height="{h:.1f}" rx="2" fill="{colour}"/>')

    def dot(self, x, y, colour, label, radius=5.5):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.85" class="edge" stroke-width="1">'
                          f'<title>{html.escape(label)}</title></circle>')

    def path(self, points, colour):
        self.parts.append('<polyline points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
                          + f'" fill="none" stroke="{colour}" stroke-width="2"/>')

    def legend(self, names, x, y):
        for name in names:
            self.dot(x, y - 4, colour_of(name), name)
            self.text(x + 10, y, shown(name))
            x += 32 + 6.3 * len(shown(name))

    def save(self, path):
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" '
            f'role="img" aria-label="{html.escape(self.title)}"><style>{STYLE}</style>'
            f'<rect class="page" width="{self.width}" height="{self.height}" rx="6"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def shown(name):
    return "haproxy without TLS" if name == "haproxy-plain" else name


def colour_of(name):
    return COLOURS.get(name, "#495057")


def nice(x):
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    if x <= 0:
        return 1
    power = 10 ** math.floor(math.log10(x))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= x * 0.999)


def label(x):
    return f"{x:,.0f}" if x >= 10 or x == int(x) else f"{x:.2g}"


class Axis:
    """Numbers to pixels; linear from 0, or logarithmic."""

    def __init__(self, low, high, start, end, log=False):
        self.log, self.start, self.end = log, start, end
        if log:
            self.low, self.high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high * 1.001))
            decades = round(math.log10(self.high / self.low))
            self.ticks = [self.low * 10 ** i for i in range(decades + 1)]
        else:
            step = nice(high / 5)
            self.low, self.high = 0, step * math.ceil(high / step)
            self.ticks = [step * i for i in range(round(self.high / step) + 1)]

    def __call__(self, v):
        part = math.log(v / self.low) / math.log(self.high / self.low) if self.log else (v - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def points_chart(path, title, subtitle, groups, x_title, y_title, log=False):
    """GROUPS: [(name on the x axis, {series: [values]})]; every value is a point, moved a little sideways."""
    series = list(dict.fromkeys(s for _, row in groups for s in row))
    values = [v for _, row in groups for vs in row.values() for v in vs]
    if not values:
        return
    d = Drawing(760, 480, title, subtitle)
    left, right, top, bottom = 70, 740, 84, 420
    y = Axis(min(values), max(values) * 1.04, bottom, top, log)
    d.legend(series, left, 70)
    for tick in y.ticks:
        d.line(left, y(tick), right, y(tick), "grid")
        d.text(left - 8, y(tick) + 4, label(tick), "end")
    d.line(left, bottom, right, bottom)
    d.text(18, (top + bottom) / 2, y_title, "middle", turn=-90)
    d.text((left + right) / 2, 464, x_title, "middle")
    chance = random.Random(7)
    width = (right - left) / len(groups)
    for i, (name, row) in enumerate(groups):
        middle = left + width * (i + 0.5)
        d.text(middle, bottom + 20, name, "middle")
        for k, s in enumerate(series):
            at = middle + (k - (len(series) - 1) / 2) * width * 0.84 / len(series)
            for v in row.get(s, []):
                d.dot(at + chance.uniform(-0.3, 0.3) * width * 0.8 / len(series), y(v), colour_of(s), f"{shown(s)}, {name}: {v:.3g}")
    d.save(path)


def bars_chart(path, title, subtitle, panels, columns=3):
    """PANELS: [(title, unit, {series: spread})]; a panel has its own scale, bars show the median, whiskers smallest and largest."""
    panels = [p for p in panels if p[2]]
    if not panels:
        return
    most = max(len(row) for _, _, row in panels)
    width, height = 900, 54 + most * 22 + 26
    d = Drawing(width, 84 + height * math.ceil(len(panels) / columns), title, subtitle)
    d.legend(list(dict.fromkeys(s for _, _, row in panels for s in row)), 26, 72)
    cell = (width - 24) / columns
    for i, (name, unit, row) in enumerate(panels):
        left, top = 20 + cell * (i % columns), 100 + height * (i // columns)
        end = left + cell - 58
        x = Axis(0, max(s["max"] for s in row.values()), left, end)
        d.text(left, top, name, css="head")
        d.text(left, top + 15, unit, css="sub")
        for tick in (x.ticks[0], x.ticks[-1]):
            d.line(x(tick), top + 24, x(tick), top + 26 + len(row) * 22, "grid")
            d.text(x(tick), top + 40 + len(row) * 22, label(tick), "middle", css="sub")
        for k, (s, spread) in enumerate(row.items()):
            y = top + 28 + 22 * k
            d.bar(left, y, x(spread["median"]) - left, 15, colour_of(s))
            if spread["n"] > 1:
                d.line(x(spread["min"]), y + 7.5, x(spread["max"]), y + 7.5, "whisker")
                for v in (spread["min"], spread["max"]):
                    d.line(x(v), y + 4, x(v), y + 11, "whisker")
            d.text(max(x(spread["max"]), x(spread["median"])) + 6, y + 12, f"{spread['median']:.3g}" if spread["median"] < 1000
                   else f"{spread['median']:,.0f}")
    d.save(path)


def lines_chart(path, title, subtitle, series, x_title, y_title):
    """SERIES: {name: [(x, spread)]}, x logarithmic."""
    points = [(x, s) for row in series.values() for x, s in row]
    if not points:
        return
    d = Drawing(760, 440, title, subtitle)
    left, right, top, bottom = 70, 730, 84, 380
    y = Axis(0, max(s["max"] for _, s in points) * 1.04, bottom, top)
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    x_of = lambda v: left + 20 + (right - left - 40) * (math.log(v / low) / math.log(high / low) if high > low else 0.5)
    d.legend(list(series), left, 70)
    for tick in y.ticks:
        d.line(left, y(tick), right, y(tick), "grid")
        d.text(left - 8, y(tick) + 4, label(tick), "end")
    d.line(left, bottom, right, bottom)
    for x in sorted({x for x, _ in points}):
        d.text(x_of(x), bottom + 20, f"{x:,}", "middle")
    d.text(18, (top + bottom) / 2, y_title, "middle", turn=-90)
    d.text((left + right) / 2, 424, x_title, "middle")
    for name, row in series.items():
        row = sorted(row, key=lambda p: p[0])
        d.path([(x_of(x), y(s["median"])) for x, s in row], colour_of(name))
        for x, s in row:
            d.line(x_of(x), y(s["min"]), x_of(x), y(s["max"]), "whisker", style=f"stroke:{colour_of(name)}")
            d.dot(x_of(x), y(s["median"]), colour_of(name), f"{shown(name)}, {x}: {s['median']:.3g}", 4)
    d.save(path)
