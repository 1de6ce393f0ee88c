"""Entropy coding: bytes to one zstd frame and back. Knows zstandard, and that frames from a peer may be bombs.

Level 1: higher levels are slower and, on quantised deltas, no smaller. A frame always states its content size, so a
receiver knows what it will allocate before it decompresses; an empty content is an empty body, without a frame.
"""

import zstandard

from p2pfl.core.limits import MIB
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject

LEVEL = 1

WINDOW_BYTES_MAX = 8 * MIB
"""A frame may ask its decoder for this much history, whatever its content size. Level 1 asks for 512 KiB."""


FRAME_SECTIONS_MAX = 4


def frame_bound(size: int) -> int:
    """The most bytes that `squeeze` gives for `size` bytes (zstd's own bound, and a block header a section)."""
    return size + (size >> 8) + 64 + 4 * FRAME_SECTIONS_MAX if size else 0


def squeeze(*sections: Buffer) -> bytes:
    """The sections, joined, as one zstd frame; nothing for nothing.

    Each section starts a block of its own: zstd's statistics are per block, and unlike things do not share them well.
    """
    sections = tuple(s for s in sections if len(s))
    if not sections:
        return b""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True)
    if len(sections) == 1:
        return compressor.compress(sections[0])
    stream = compressor.compressobj(size=sum(len(s) for s in sections))
    pieces = []
    for section in sections:
        pieces += [stream.compress(section), stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)]
    return b"".join([*pieces, stream.flush()])


def expand(body: Buffer, size_min: int, size_max: int) -> bytes:
    """The content of `body`, `size_min` to `size_max` bytes; Reject for anything else, before allocating it."""
    if not len(body):
        if size_min:
            raise Reject("codec", f"expected {size_min} bytes or more, got an empty body")
        return b""
    try:
        frame = zstandard.get_frame_parameters(body)
        size = frame.content_size  # 2^64 - 1 if the frame does not say
        if not max(size_min, 1) <= size <= size_max:
            raise Reject("codec", f"expected a frame of {size_min} to {size_max} bytes, got {size}")
        if frame.dict_id or frame.window_size > max(size, WINDOW_BYTES_MAX):
            raise Reject("codec", "the frame wants a dictionary or too large a window")
        decompressor = zstandard.ZstdDecompressor(max_window_size=max(size, WINDOW_BYTES_MAX))
        raw = decompressor.decompress(body, max_output_size=size, allow_extra_data=False)
    except (zstandard.ZstdError, ValueError) as error:
        raise Reject("codec", f"not one zstd frame ({type(error).__name__})") from None
    if len(raw) != size:
        raise Reject("codec", f"the frame said {size} bytes and holds {len(raw)}")
    return raw
