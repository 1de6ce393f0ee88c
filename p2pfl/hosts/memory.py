"""Keeps the C library from giving large blocks back to the system. Knows glibc; knows no buffer of ours.

glibc returns every block above 32 MiB to the kernel when it is freed, so each new 40 MiB buffer costs ten thousand page
faults. Two of its own switches keep such blocks in the process: training, codecs and bodies all reuse warm memory, and
the process's resident size stays at its peak. They do not reach the arenas that it makes for other threads than the
first, which are heaps of 64 MiB and go back when empty; a third switch has all threads share the one arena.
"""

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8


def keep_memory() -> bool:
    """Called once at process start by the command line, never on import. False where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    switches = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1))
    done = [mallopt(switch, value) for switch, value in switches]  # all of them, whatever one says
    return all(done)
