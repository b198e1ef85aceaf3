"""A flame graph of stacks: a box as wide as its share of the samples, callers below what they call (Brendan Gregg,
"The Flame Graph", CACM 59(6), 2016). One SVG file with nothing loaded from elsewhere; a box's title says its numbers."""
import re
import zlib
from xml.sax.saxutils import escape

WIDTH, ROW, MARGIN, LETTER = 1200, 17, 40, 6.6


class Frame:
    def __init__(self, name):
        self.name, self.n, self.below = name, 0, {}

    def child(self, name):
        return self.below.setdefault(name, Frame(name))


def stacks_of(script):
    """[(thread, [frame, ...]), ...] of what `perf script -F comm,ip,sym` prints: a head, then frames from the leaf on."""
    stacks = []
    for block in re.split(r'\n\s*\n', script):
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith('#')]
        if not lines:
            continue
        frames = [re.sub(r'\+0x[0-9a-f]+$', '', line.split(maxsplit=1)[1].strip()) if len(line.split(maxsplit=1)) > 1
                  else '[unknown]' for line in lines[1:]]
        stacks.append((lines[0].strip(), list(reversed(frames))))
    return stacks


def tree_of(stacks):
    root = Frame('all')
    for thread, frames in stacks:
        frame = root
        frame.n += 1
        for name in [thread] + frames:
            frame = frame.child(name)
            frame.n += 1
    return root


def depth_of(frame):
    return 1 + max((depth_of(child) for child in frame.below.values()), default=0)


def color_of(name):
    """Warm, and the same for a name in each picture."""
    hash_ = zlib.crc32(name.encode())
    return f'rgb({205 + hash_ % 50},{80 + hash_ // 50 % 120},{hash_ // 6000 % 55})'


def boxes(frame, x, level, height, n_all):
    width = frame.n / n_all * (WIDTH - 20)
    if width < .3:
        return
    y = height - MARGIN - (level + 1) * ROW
    room = int((width - 4) / LETTER)
    text = frame.name if len(frame.name) <= room else frame.name[:max(room - 2, 0)] + '..' if room > 3 else ''
    yield (f'<g><title>{escape(frame.name)}: {frame.n} samples, {frame.n / n_all:.2%}</title>'
           f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" rx="2" fill="{color_of(frame.name)}"/>'
           f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(text)}</text></g>')
    for name in sorted(frame.below):
        yield from boxes(frame.below[name], x, level + 1, height, n_all)
        x += frame.below[name].n / n_all * (WIDTH - 20)


def svg(stacks, title):
    root = tree_of(stacks)
    height = depth_of(root) * ROW + 2 * MARGIN
    return '\n'.join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fffdf5"/>',
        f'<text x="{WIDTH / 2}" y="24" text-anchor="middle" font-size="15">{escape(title)}</text>',
        *boxes(root, 10, 0, height, root.n), '</svg>\n'])
