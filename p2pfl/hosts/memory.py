"""Keeps the C library from giving large blocks back to the system. Knows glibc; knows no buffer of ours.

glibc returns every block above 32 MiB to the kernel when it is freed, so each new 40 MiB buffer costs ten thousand page
faults. Two of its own switches keep such blocks in the process: training, codecs and bodies all reuse warm memory, and
the process's resident size stays at its peak.
"""

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_memory() -> bool:
    """Called once at process start by the command line, never on import. False where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
