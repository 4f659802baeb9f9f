"""Whether an audio file is cut: what its container says against what is there.

Writers that cannot seek back (pipes, live recordings) leave a placeholder for the length; such files are whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

PAGE = 65307
"""Largest size of a page of an Ogg file, in bytes."""
ZEROS = 512
"""So many zero bytes at the end of a compressed file are a tail that was never written."""
CHUNKS = (b"LIST", b"fact", b"PEAK", b"bext", b"cue ", b"smpl", b"JUNK", b"id3 ", b"ID3 ", b"iXML")
"""Chunks that may follow the audio of a WAV file."""
MPEG_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of layer III in kbit/s, of MPEG 1 and of MPEG 2 and 2.5."""
MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Sample rates in Hz by the bits of the MPEG version."""


def what_is_missing(file: BinaryIO, size: int) -> str | None:
    """Return what a file's container promises and does not hold, as a clause, or None when nothing is missing.

    Known are WAV (also RF64, BW64 and W64), AIFF, AU, CAF, Ogg and MP3. FLAC tells by decoding alone.

    Args:
        file: the file, which is read at its start and its end.
        size: its number of bytes.
    """
    file.seek(0)
    head = file.read(12)
    try:
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
            return _wave(file, size, ">" if head[:4] == b"RIFX" else "<")
        if head[:4] == b"riff":
            return _wave64(file, size)
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _aiff(file, size)
        if head[:4] == b".snd":
            start, length = struct.unpack(">II", head[4:12])
            return None if length == 0xFFFFFFFF else _short(length, size - start)
        if head[:4] == b"caff":
            return _core_audio(file, size)
    except struct.error:
        return "its header ends early"
    is_mpeg = head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    if (is_mpeg or head[:4] in (b"OggS", b"fLaC")) and size > ZEROS and not any(_read_at(file, size - ZEROS, ZEROS)):
        return f"its last {ZEROS} bytes are zeros"
    if head[:4] == b"OggS":
        return _ogg(file, size)
    return _mpeg(file, size) if is_mpeg else None


def unknown_length_at(file: BinaryIO, size: int) -> int | None:
    """Return where a WAV file has a length of zero for audio that follows, which a pipe was written to, or None."""
    if _read_at(file, 0, 4) != b"RIFF":
        return None
    try:
        for name, start, length in _chunks(file, size, 12, "<4sI"):
            if name == b"data":
                return start - 4 if not length and start < size and _read_at(file, start, 4) not in CHUNKS else None
    except struct.error:
        pass
    return None


def _short(stated: int, present: int, bytes_of_frame: int = 0) -> str | None:
    """Return the clause for audio of some bytes, of which some are there; in frames where they have one size."""
    if present >= stated:
        return None
    unit, per = ("frames", bytes_of_frame) if bytes_of_frame > 0 else ("bytes of audio", 1)
    if bytes_of_frame > 0 and stated // per == present // per:
        return None
    return f"its header says {stated // per:,} {unit}, and {max(present, 0) // per:,} are there"


def _chunks(file: BinaryIO, size: int, start: int, header: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, first byte and length of the chunks of a file, by the format of their headers."""
    while start + struct.calcsize(header) <= size:
        file.seek(start)
        name, length = struct.unpack(header, file.read(struct.calcsize(header)))
        start += struct.calcsize(header)
        yield name, start, length
        start += length + length % 2


def _is_placeholder(length: int) -> bool:
    """Whether a 32-bit length is what writers leave that do not know it: zero, or about the largest number."""
    return length == 0 or 0x7FFFF000 <= length <= 0x80001000 or length >= 0xFFFFF000


def _wave(file: BinaryIO, size: int, order: str) -> str | None:
    frame, long_length = 0, None
    for name, start, length in _chunks(file, size, 12, f"{order}4sI"):
        if name == b"ds64":
            file.seek(start + 8)
            (long_length,) = struct.unpack("<Q", file.read(8))
        elif name == b"fmt ":
            file.seek(start)
            _, channels, _, _, align, bits = struct.unpack(f"{order}HHIIHH", file.read(16))
            frame = align if channels and align == channels * ((bits + 7) // 8) else 0
        elif name == b"data":
            if length == 0xFFFFFFFF and long_length:
                return _short(long_length, size - start, frame)
            return None if _is_placeholder(length) else _short(length, size - start, frame)
    return "it has no chunk of audio"


def _wave64(file: BinaryIO, size: int) -> str | None:
    start = 40
    while start + 24 <= size:
        file.seek(start)
        name, length = struct.unpack("<16sQ", file.read(24))
        if name[:4] == b"data":
            return _short(length - 24, size - start - 24)
        start += max((length + 7) // 8 * 8, 24)
    return "it has no chunk of audio"


def _aiff(file: BinaryIO, size: int) -> str | None:
    frame = 0
    for name, start, length in _chunks(file, size, 12, ">4sI"):
        if name == b"COMM":
            file.seek(start)
            channels, _, bits = struct.unpack(">hIh", file.read(8))
            frame = channels * ((bits + 7) // 8)
        elif name == b"SSND":
            return None if _is_placeholder(length) else _short(length - 8, size - start - 8, frame)
    return "it has no chunk of audio"


def _core_audio(file: BinaryIO, size: int) -> str | None:
    start = 8
    while start + 12 <= size:
        file.seek(start)
        name, length = struct.unpack(">4sq", file.read(12))
        if name == b"data":
            return None if length < 0 else _short(length - 4, size - start - 16)
        start += 12 + max(length, 0)
    return "it has no chunk of audio"


def _ogg(file: BinaryIO, size: int) -> str | None:
    file.seek(max(size - PAGE, 0))
    tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0 or len(tail) < start + 27:
        return "its last page is missing"
    segments = tail[start + 26]
    end = start + 27 + segments + sum(tail[start + 27 : start + 27 + segments])
    is_last = bool(tail[start + 5] & 4)
    return None if is_last and end <= len(tail) else "its last page is missing"


def _mpeg(file: BinaryIO, size: int) -> str | None:
    start = _after_id3(file)
    file.seek(start)
    head = file.read(256)
    end = size - 128 if size > start + 128 and _read_at(file, size - 128, 3) == b"TAG" else size
    for tag in (b"Xing", b"Info"):
        at = head.find(tag)
        if at >= 0 and head[at + 7] & 2:
            (stated,) = struct.unpack(">I", head[at + 8 + 4 * (head[at + 7] & 1) :][:4])
            return _short(stated, size - start)
    return _last_frame(file, max(start, end - 2**14), end)


def _after_id3(file: BinaryIO) -> int:
    """Return where the audio of an MP3 starts, behind its ID3 tag."""
    head = _read_at(file, 0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    length = 0
    for byte in head[6:10]:
        length = length << 7 | byte & 0x7F
    return 10 + length


def _last_frame(file: BinaryIO, start: int, end: int) -> str | None:
    """Return the clause for an MP3 whose last frame is cut, found by the chain of frames at its end."""
    tail = _read_at(file, start, end - start)
    for first in range(len(tail) - 4):
        second = first + _frame_bytes(tail, first)
        if second == first or not _frame_bytes(tail, second):
            continue
        while (length := _frame_bytes(tail, second)) and second + length <= len(tail):
            second += length
        return "its last frame is cut" if length else None
    return None


def _frame_bytes(data: bytes, at: int) -> int:
    """Return the length of the layer III frame at a byte, 0 when there is none."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE6 != 0xE2:
        return 0
    version, bitrate, rate = data[at + 1] >> 3 & 3, data[at + 2] >> 4, data[at + 2] >> 2 & 3
    if version == 1 or rate == 3 or bitrate in (0, 15):
        return 0
    kilobits = MPEG_BITRATES[1 if version == 3 else 2][bitrate]
    return (144 if version == 3 else 72) * 1000 * kilobits // MPEG_RATES[version][rate] + (data[at + 2] >> 1 & 1)


def _read_at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)
