"""The whole table: every case of the published list, in its order, and what the list says about its size."""

from __future__ import annotations

from typing import Final

from . import closing, compression, fragmentation, framing, limits, pings, reserved, utf8

__all__ = ["CASES", "COUNTS", "GROUPS"]

GROUPS: Final = {
    "1": "Framing",
    "2": "Pings and pongs",
    "3": "Reserved bits",
    "4": "Opcodes",
    "5": "Fragmentation",
    "6": "UTF-8",
    "7": "Closing",
    "9": "Limits and performance",
    "10": "Fragments of our own",
    "12": "Compression: data",
    "13": "Compression: parameters",
}
COUNTS: Final = {
    **{"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20},
    **{"6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5},
    **{"6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8},
    **{"6.22": 34, "6.23": 7, "7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2},
    **{"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6, "10.1": 1},
    **{f"12.{section}": 18 for section in range(1, 6)},
    **{f"13.{section}": 18 for section in range(1, 8)},
}
"""Cases in each section of the published list."""

CASES: Final = [
    *framing.CASES,
    *pings.CASES,
    *reserved.CASES,
    *fragmentation.CASES,
    *utf8.CASES,
    *closing.CASES,
    *limits.CASES,
    *compression.CASES,
]
