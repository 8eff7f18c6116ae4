"""Which pages of a mapping can hold anything but zeros, as far as the system tells.

A private anonymous mapping reads as zero wherever the kernel holds no page for it, and Linux says where it
holds one: the ``PAGEMAP_SCAN`` ioctl (since 6.7), or ``/proc/self/pagemap``. Any other mapping, for example
the copy-on-write image of the initial data that engines map into a memory, has contents on pages that no
process has touched yet: those parts count as touched throughout. So the answer may name too much, never
too little.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Range = tuple[int, int]
    Reader = Callable[[int, int, int], list[Range]]

_PAGE = os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096

# linux/fs.h: _IOWR('f', 16, struct pm_scan_arg), and the categories of a page.
_PAGEMAP_SCAN = 0xC0606610
_PM_SCAN_ARG = struct.Struct("12Q")
_PRESENT, _SWAPPED, _PFNZERO = 1 << 3, 1 << 4, 1 << 5
_REGIONS_A_CALL = 4096

# linux/fs.h: _IOWR('f', 17, struct procmap_query), since 6.11: one mapping; `/proc/self/maps` tells all.
_PROCMAP_QUERY = 0xC0686611
_QUERY = struct.Struct("9Q4I2Q")
_THIS_OR_NEXT, _SHARED = 1 << 4, 1 << 3
_NAME = 256  # bytes; a longer one is an error

_PAGEMAP_ENTRIES_A_READ = 1 << 17
_IN_USE = bytes(byte & 0xC0 != 0 for byte in range(256))  # the entry's bits 63 (present) and 62 (swapped)
_MAPPING = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) ...(.) \S+ (\S+) (\d+) *(.*)$", re.MULTILINE)


def touched_ranges(address: int, size: int) -> list[Range] | None:
    """Find the parts of ``size`` bytes at ``address`` that may be non-zero.

    Returns:
        Byte ranges relative to ``address``, ascending and apart from each other; everything outside them
        is zero. None if the system does not tell.
    """
    if sys.platform != "linux" or not size:
        return None
    first, last = address - address % _PAGE, address + size
    last += -last % _PAGE
    try:
        pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        reader = _trusted_reader(pagemap)
        found = None if reader is None else list(_touched_pages(reader, pagemap, first, last))
    except OSError:
        return None
    finally:
        os.close(pagemap)
    return None if found is None else _relative(found, address, size)


def _touched_pages(reader: Reader, pagemap: int, first: int, last: int) -> Iterator[Range]:
    """Yield the touched page ranges between two page boundaries, ascending."""
    at = first
    for start, end, is_zero_fill in _mappings(first, last):
        if start > at:
            yield at, start
        if is_zero_fill:
            yield from reader(pagemap, start, end)
        else:
            yield start, end
        at = end
    if at < last:
        yield at, last


def _mappings(first: int, last: int) -> list[tuple[int, int, bool]]:
    """Return the process's mappings in a range, cut to it, and whether each is private and anonymous."""
    with open("/proc/self/maps", "rb", buffering=0) as maps:  # noqa: PTH123  (not worth importing pathlib for)
        try:
            return list(_queried(maps.fileno(), first, last))
        except OSError:  # the kernel is older, or knows no such request for another reason
            text = maps.readall()
    found = []
    for match in _MAPPING.finditer(text):
        low, high, shared, device, inode, name = match.groups()
        start, end = max(int(low, 16), first), min(int(high, 16), last)
        if start < end:
            anonymous = shared == b"p" and inode == b"0" and device == b"00:00" and _is_unnamed(name)
            found.append((start, end, anonymous))
    return found


def _is_unnamed(name: bytes) -> bool:
    return not name or name.startswith(b"[anon")


def _queried(maps: int, first: int, last: int) -> Iterator[tuple[int, int, bool]]:
    """Yield what `_mappings` returns, with a question for each mapping."""
    import fcntl

    name = array("B", bytes(_NAME))
    address = name.buffer_info()[0]
    at = first
    while at < last:
        query = bytearray(_QUERY.pack(_QUERY.size, _THIS_OR_NEXT, at, *[0] * 6, 0, 0, _NAME, 0, address, 0))
        try:
            fcntl.ioctl(maps, _PROCMAP_QUERY, query)
        except FileNotFoundError:  # there is none from here on
            return
        _, _, _, start, end, flags, _, _, inode, *device, length, _, _, _ = _QUERY.unpack(query)
        if start >= last:
            return
        unnamed = not length or _is_unnamed(name[:length].tobytes())
        yield max(start, at), min(end, last), not (flags & _SHARED or inode or any(device)) and unnamed
        at = end


def _trusted_reader(pagemap: int) -> Reader | None:
    """Return the best reader that finds a page which is known to be in use, or None.

    Emulated systems have been known to offer the file without its meaning.
    """
    canary = array("Q", [1] * (2 * _PAGE // 8))  # however it is aligned, a page starts within
    address, _ = canary.buffer_info()
    page = address - address % _PAGE + _PAGE
    for reader in (_scan_by_ioctl, _scan_by_entries):
        try:
            if reader(pagemap, page, page + _PAGE) == [(page, page + _PAGE)]:
                return reader
        except OSError:
            continue
    return None


def _scan_by_ioctl(pagemap: int, start: int, end: int) -> list[Range]:
    """Read the ranges in use with ``PAGEMAP_SCAN``: the time goes with the pages in use, not with all."""
    import fcntl

    regions = array("Q", bytes(24 * _REGIONS_A_CALL))
    vector = regions.buffer_info()[0]
    found: list[Range] = []
    while start < end:
        request = bytearray(
            _PM_SCAN_ARG.pack(
                *(_PM_SCAN_ARG.size, 0, start, end, 0, vector, _REGIONS_A_CALL, 0),
                *(_PFNZERO, _PFNZERO, _PRESENT | _SWAPPED, _PRESENT | _SWAPPED),
            )
        )
        count = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, request)
        found.extend(zip(regions[: 3 * count : 3], regions[1 : 3 * count : 3], strict=True))
        walked_to = _PM_SCAN_ARG.unpack(request)[4]
        if walked_to <= start:
            raise OSError("PAGEMAP_SCAN makes no progress")
        start = walked_to
    return found


def _scan_by_entries(pagemap: int, start: int, end: int) -> list[Range]:
    """Read the ranges in use from the file's entries: 8 bytes for each page, in use or not."""
    top_byte = 7 if sys.byteorder == "little" else 0
    found: list[Range] = []
    while start < end:
        pages = min((end - start) // _PAGE, _PAGEMAP_ENTRIES_A_READ)
        entries = os.pread(pagemap, 8 * pages, start // _PAGE * 8)
        if len(entries) != 8 * pages:
            raise OSError("/proc/self/pagemap ends early")
        in_use = entries[top_byte::8].translate(_IN_USE)
        found.extend((start + a * _PAGE, start + b * _PAGE) for a, b in _spans(re.finditer(b"\1+", in_use)))
        start += pages * _PAGE
    return found


def _spans(matches: Iterable[re.Match[bytes]]) -> Iterator[Range]:
    return (match.span() for match in matches)


def _relative(found: list[Range], address: int, size: int) -> list[Range]:
    """Join what touches and express it relative to ``address``, cut to ``size``.

    ``PAGEMAP_SCAN`` may repeat the last regions of one call in the next.
    """
    joined: list[Range] = []
    for start, end in sorted(found):
        low, high = max(start - address, 0), min(end - address, size)
        if joined and low <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], high)
        elif low < high:
            joined.append((low, high))
    return joined
