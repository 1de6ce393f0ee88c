"""Paillier on lists and packed, against `phe` with gmpy2: operations a second at 2048 and 3072 bits, in one run.

    encrypt       one value to a ciphertext: with the public key, and by the key's holder
    per value     packed in slots of 64 bits, without masks
    short         exponents of 256 bits by explicit choice; the bars are for the default, half of n's bits

Compatible: ciphertexts of each decrypt under the other. Needs `phe` and gmpy2 (the extras [vertical] and [dev]).
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from harness import bar, parse_args, race, table, write_json

from p2pfl.crypto import paillier
from p2pfl.crypto.packing import Slots
from p2pfl.crypto.paillier_keys import PrivateKey, generate

try:
    import phe
except ModuleNotFoundError:
    raise SystemExit("bench/paillier.py needs phe: pip install phe") from None

Row = dict[str, str | float]


def main() -> None:
    args = parse_args(__doc__)
    repeats = 3 if args.quick else 7
    rows: list[Row] = []
    for bits in (2048, 3072):
        key = generate(bits, os.urandom)
        rates = measure(key, repeats)
        rows += [{"key": f"{bits}", "what": what, "a second": rate, "of phe": ratio} for what, rate, ratio in rates]
        compatible(bits, key)
        bars(bits, {what: ratio for what, _, ratio in rates})
    print()
    table(rows)
    write_json(args, rows)


def measure(key: PrivateKey, repeats: int) -> list[tuple[str, float, float]]:
    """What, operations a second, and of phe's the same operation (per value where packed)."""
    theirs, private = oracle(key)
    public = paillier.PublicEncryptor(key.public, os.urandom)
    holder = paillier.HolderEncryptor(key, os.urandom)
    short = paillier.PublicEncryptor(key.public, os.urandom, 256)
    short_holder = paillier.HolderEncryptor(key, os.urandom, 256)
    slots = Slots(64, key.public.bits)
    few, many = list(range(4)), list(range(32))
    values = np.arange(slots.count * 4)
    single = paillier.encrypt(public, few)
    packed = paillier.encrypt(public, slots.pack(values))
    given = [int(c) for c in single]
    factors = [40961] * len(single)
    sides = {
        "phe encrypt": (len(few), lambda: [theirs.raw_encrypt(v) for v in few]),
        "encrypt": (len(many), lambda: paillier.encrypt(public, many)),
        "encrypt, holder": (len(many), lambda: paillier.encrypt(holder, many)),
        "encrypt, short": (len(many), lambda: paillier.encrypt(short, many)),
        "encrypt, holder, short": (len(many), lambda: paillier.encrypt(short_holder, many)),
        "phe decrypt": (len(few), lambda: [private.raw_decrypt(c) for c in given]),
        "decrypt": (len(few), lambda: paillier.decrypt(key, single)),
        "per value: encrypt": (len(values), lambda: paillier.encrypt(public, slots.pack(values))),
        "per value: encrypt, holder": (len(values), lambda: paillier.encrypt(holder, slots.pack(values))),
        "per value: decrypt": (len(values), lambda: slots.unpack(paillier.decrypt(key, packed), len(values))),
        "phe multiply": (len(few), lambda: [theirs_multiply(theirs, c) for c in given]),
        "multiply, 16 bits": (len(few), lambda: paillier.multiply_known(key.public, single, factors)),
    }
    seconds = race({name: call for name, (_, call) in sides.items()}, repeats)
    rate = {name: size / seconds[name] for name, (size, _) in sides.items()}
    peers = {name: "phe " + verb for name in rate for verb in ("encrypt", "decrypt", "multiply") if verb in name}
    found = [(name, rate[name], rate[name] / rate[peers[name]]) for name in rate]
    return [*found, threads(key, packed, repeats)]


def threads(key: PrivateKey, ciphertexts: list[int], repeats: int) -> tuple[str, float, float]:
    """Decryption with two threads; the ratio is to one thread."""
    many = ciphertexts * 16
    with ThreadPoolExecutor(2) as pool:
        sides = {"one": lambda: paillier.decrypt(key, many), "two": lambda: paillier.decrypt(key, many, pool)}
        seconds = race(sides, max(repeats // 2, 1))
    return "decrypt, 2 threads (of 1)", len(many) / seconds["two"], seconds["one"] / seconds["two"]


def oracle(key: PrivateKey) -> tuple["phe.PaillierPublicKey", "phe.PaillierPrivateKey"]:
    theirs = phe.PaillierPublicKey(int(key.public.n))
    return theirs, phe.PaillierPrivateKey(theirs, int(key.p), int(key.q))


def theirs_multiply(theirs: "phe.PaillierPublicKey", ciphertext: int) -> object:
    return phe.EncryptedNumber(theirs, ciphertext) * 40961


def compatible(bits: int, key: PrivateKey) -> None:
    """One bar: the share of ciphertexts that the other library reads as what they are."""
    theirs, private = oracle(key)
    values = [0, 1, -1, 3**400, -(3**400), 12345678901234567890]
    encryptors = (paillier.PublicEncryptor(key.public, os.urandom), paillier.HolderEncryptor(key, os.urandom))
    good = [private.raw_decrypt(int(c)) == v % key.public.n for e in encryptors for c, v in pairs(e, values)]
    ours = paillier.decrypt(key, [theirs.raw_encrypt(int(v % key.public.n)) for v in values])
    good += [a == b for a, b in zip(ours, values, strict=True)]
    bar(f"{bits} bits, share that phe reads of ours and we of phe's", sum(good) / len(good), 1.0)


def pairs(encryptor: paillier.Encryptor, values: list[int]) -> list[tuple[int, int]]:
    return list(zip(paillier.encrypt(encryptor, values), values, strict=True))


def bars(bits: int, ratio: dict[str, float]) -> None:
    wanted = {"encrypt": 10.0, "encrypt, holder": 15.0, "per value: encrypt": 300.0, "per value: decrypt": 20.0}
    for what, least in wanted.items():
        bar(f"{bits} bits, {what}, of phe", ratio[what], least)


if __name__ == "__main__":
    main()
