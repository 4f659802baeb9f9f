"""Files that Pillow reads and cannot write: color of 16 bits a channel."""

import struct
import zlib

import numpy as np

COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Number of channels -> color type of PNG."""


def png(pixels: np.ndarray) -> bytes:
    """Return uint16 (H, W, C) as a PNG file."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def tiff(pixels: np.ndarray, order: str = "<", deflate: bool = False, orientation: int = 1) -> bytes:
    """Return uint16 (H, W, C) as a TIFF file of one strip."""
    height, width, channels = pixels.shape
    data = pixels.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflate else data
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    short, long = 3, 4
    tags = [
        (256, long, 1, width),
        (257, long, 1, height),
        (258, short, channels, 8 + len(data)),  # bits of each channel, stored behind the pixels
        (259, short, 1, 8 if deflate else 1),
        (262, short, 1, 2),
        (273, long, 1, 8),
        (274, short, 1, orientation),
        (277, short, 1, channels),
        (278, long, 1, height),
        (279, long, 1, len(data)),
        *([(338, short, 1, 2)] * (channels == 4)),  # alpha, not premultiplied
    ]
    entries = b"".join(
        struct.pack(f"{order}HHI{'I' if kind == long or count > 1 else 'HH'}", tag, kind, count, value, *pad)
        for tag, kind, count, value in tags
        for pad in [() if kind == long or count > 1 else (0,)]
    )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data) + len(bits))
    return start + data + bits + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
