"""Files that mean harm."""

import struct
import zlib


def bomb() -> bytes:
    """A PNG whose header promises 2**15 x 2**12 pixels."""
    header = struct.pack(">IIBBBBB", 2**15, 2**12, 8, 2, 0, 0, 0)
    chunks = b""
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        body = name + content
        chunks += struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunks
