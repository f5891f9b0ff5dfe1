"""Headers for more than 4 GiB of samples, in place of one that cannot tell so many."""

import struct

from audiomamba.errors import AudioError

__all__ = ["caf_header", "rf64_header"]

UNKNOWN = b"\xff\xff\xff\xff"
PCM, FLOAT, A_LAW, U_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE  # format tags of wav
IS_FLOAT, IS_LITTLE = 1, 2  # flags of caf

# The codings of aiff that caf has, by their names: its name and its flags there.
OF_AIFF = {
    b"NONE": (b"lpcm", 0),
    b"twos": (b"lpcm", 0),
    b"sowt": (b"lpcm", IS_LITTLE),
    b"FL32": (b"lpcm", IS_FLOAT),
    b"fl32": (b"lpcm", IS_FLOAT),
    b"FL64": (b"lpcm", IS_FLOAT),
    b"fl64": (b"lpcm", IS_FLOAT),
    b"ULAW": (b"ulaw", 0),
    b"ulaw": (b"ulaw", 0),
    b"ALAW": (b"alaw", 0),
    b"alaw": (b"alaw", 0),
}
OF_WAV = {PCM: (b"lpcm", 0), FLOAT: (b"lpcm", IS_FLOAT), A_LAW: (b"alaw", 0), U_LAW: (b"ulaw", 0)}


def rf64_header(about: bytes, n_bytes: int) -> bytes:
    """Make the header of a wav file of any length.

    Args:
        about: what its chunk fmt holds.
        n_bytes: of samples.

    Returns:
        All up to the first sample.

    Examples:
        >>> rf64_header(bytes(16), 5 << 30)[:4]
        b'RF64'
    """
    sizes = b"".join(size.to_bytes(8, "little") for size in (n_bytes + 72, n_bytes, 0))
    ds64 = b"ds64" + (28).to_bytes(4, "little") + sizes + bytes(4)
    form = b"fmt " + len(about).to_bytes(4, "little") + about
    return b"RF64" + UNKNOWN + b"WAVE" + ds64 + form + b"data" + UNKNOWN


def caf_header(mark: bytes, about: bytes, n_bytes: int) -> bytes:
    """Make the header of a caf file for samples of aiff, or of wav with the highest byte first.

    Args:
        mark: the first bytes of the file that they are from, FORM or RIFX.
        about: what its chunk COMM or fmt holds.
        n_bytes: of samples.

    Returns:
        All up to the first sample.

    Raises:
        AudioError: caf has no such coding, or the description is cut short.

    Examples:
        >>> caf_header(b"RIFX", struct.pack(">HHIIHH", 1, 2, 16_000, 64_000, 4, 16), 5 << 30)[:4]
        b'caff'
    """
    try:
        rate, n_channels, n_bits, coding = (_of_aiff if mark == b"FORM" else _of_wav)(about)
    except struct.error as error:
        raise AudioError("its header is damaged") from error
    one_byte = mark == b"RIFX" and coding == (b"lpcm", 0) and n_bits <= 8  # without a sign there
    if coding is None or one_byte or not n_channels:
        raise AudioError(
            "more than 4 GiB of samples in a coding whose header cannot tell so; "
            "convert it to flac or w64"
        )
    name, flags = coding
    n_sample = (n_bits + 7) // 8
    described = struct.pack(
        ">d4sIIIII", rate, name, flags, n_sample * n_channels, 1, n_channels, 8 * n_sample
    )
    desc = b"desc" + len(described).to_bytes(8, "big") + described
    return b"caff\0\1\0\0" + desc + b"data" + (n_bytes + 4).to_bytes(8, "big") + bytes(4)


_Described = tuple[float, int, int, tuple[bytes, int] | None]  # rate, channels, bits, coding


def _of_aiff(about: bytes) -> _Described:
    """What a chunk COMM says; its rate is a number of 80 bits."""
    n_channels, _, n_bits, exponent, digits = struct.unpack_from(">hIhHQ", about)
    if n_channels < 1 or n_bits < 1:
        raise AudioError("its header is damaged")
    name = about[18:22] or b"NONE"
    wide = {b"FL32": 32, b"FL64": 64}.get(name.upper(), 8 if name.lower()[1:] == b"law" else n_bits)
    rate = digits * 2.0 ** max(-1000, min(0, (exponent & 0x7FFF) - 16_446))
    return rate, n_channels, wide, OF_AIFF.get(name)


def _of_wav(about: bytes) -> _Described:
    """What a chunk fmt says, whose numbers have the highest byte first."""
    tag, n_channels, rate, _, _, n_bits = struct.unpack_from(">HHIIHH", about)
    if tag == EXTENSIBLE and len(about) >= 26:
        tag = int.from_bytes(about[24:26], "big")
    return rate, n_channels, n_bits, OF_WAV.get(tag)
