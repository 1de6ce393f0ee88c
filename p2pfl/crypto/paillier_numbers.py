"""gmpy2's integers, typed as `int`: what the rest of Paillier calls. Knows the library; no scheme.

mpz and int mix freely, and everything with an mpz in it stays mpz, so one `big` at the start of a loop is enough.
"""

from collections.abc import Callable

from p2pfl.errors import ConfigError

try:
    import gmpy2
except ModuleNotFoundError as missing:
    raise ConfigError("vertical learning needs gmpy2: pip install 'p2pfl-node[vertical]'") from missing

big: Callable[[int], int] = gmpy2.mpz
big_from_bytes: Callable[[bytes, str], int] = gmpy2.mpz.from_bytes
"""The second argument is "big" or "little"."""
gcd: Callable[[int, int], int] = gmpy2.gcd
invert: Callable[[int, int], int] = gmpy2.invert
"""The inverse of the first modulo the second; ZeroDivisionError if there is none."""
is_power: Callable[[int], bool] = gmpy2.is_power
is_prime: Callable[[int, int], bool] = gmpy2.is_prime
"""The second argument is the number of rounds of Miller and Rabin's test."""
powmod: Callable[[int, int, int], int] = gmpy2.powmod
powmod_bases: Callable[[list[int], int, int], list[int]] = gmpy2.powmod_base_list
"""Every base to one power; releases the GIL."""
primorial: Callable[[int], int] = gmpy2.primorial
