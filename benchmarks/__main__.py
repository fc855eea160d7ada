"""Run all benchmarks and print them as ratios: `python -m benchmarks`, or with `--quick` without the million tokens."""

import contextlib
import functools
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from api.auth import AuthError

from . import listing, memory, pages, proofs, request, verification
from .measure import compare, processor
from .tokens import Sample, make_sample

_PEERS = ("PyJWT quickstart", "Authlib's validator", "joserfc")


def main() -> None:
    """Run and print all benchmarks."""
    print(_machine())
    sample = make_sample()
    _print_verification(sample)
    _print_proofs(sample)
    _print_requests(sample)
    _print_listing(sample)
    _print_pages(quick="--quick" in sys.argv[1:])
    _print_hostile_input(sample)
    _print_memory(quick="--quick" in sys.argv[1:])


def _machine() -> str:
    names = ("cryptography", "pyjwt", "joserfc", "authlib", "flask")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{platform.python_implementation()} {platform.python_version()}, {processor()}, {versions}\n"


def _line(name: str, microseconds: float, ratio: str) -> None:
    print(f"  {name:<46} {microseconds:>8.1f} µs   {ratio}")


def _print_verification(sample: Sample) -> None:
    print(f"An RS256 token of {len(sample.token)} characters, 2048-bit key")
    timings = compare(verification.contenders(sample))
    for name, timing in timings.items():
        ratio = f"{timing.against(verification.FLOOR):.2f} times the bare RSA verification"
        if name in _PEERS:
            ratio += f"; ours is {timing.against('ours, token not in the cache'):.1f} times as fast"
        _line(name, timing.microseconds, ratio)


def _print_proofs(sample: Sample) -> None:
    print("\nThe header of a request, with DPoP and without")
    for name, timing in compare(proofs.contenders(sample)).items():
        ratio = f"{timing.against(proofs.FLOOR):.2f} times the bare P-256 verification"
        if name == proofs.PLAIN_WITH_DPOP:
            ratio += f", {timing.against(proofs.PLAIN):.2f} times that without DPoP"
        _line(name, timing.microseconds, ratio)


def _print_requests(sample: Sample) -> None:
    print("\nA request in process")
    for name, timing in compare(request.contenders(sample)).items():
        _line(name, timing.microseconds, f"{timing.against(request.UNPROTECTED):.2f} times the unprotected route")


def _print_listing(sample: Sample) -> None:
    print("\nThe list route in process, with SQLite")
    with tempfile.TemporaryDirectory() as directory, listing.contenders(sample, Path(directory)) as contenders:
        for name, timing in compare(contenders).items():
            _line(name, timing.microseconds, f"{timing.against(listing.PARTS):.2f} times its parts")


def _print_pages(*, quick: bool) -> None:
    large = pages.SMALL * 10 if quick else pages.LARGE
    print(f"\n100 readings of {pages.SMALL:,} and of {large:,}")
    for kind, make in pages.databases():
        with contextlib.ExitStack() as stack:
            databases = {
                count: stack.enter_context(pages.filled(stack.enter_context(make()), count))
                for count in (pages.SMALL, large)
            }
            contenders = {
                f"{kind}, {name} of {count:,}": read
                for count, database in databases.items()
                for name, read in pages.pages(database, count).items()
            }
            for name, timing in compare(contenders).items():
                small = name.replace(f"{large:,}", f"{pages.SMALL:,}")
                _line(name, timing.microseconds, f"{timing.against(small):.2f} times that of {pages.SMALL:,}")
            for step in pages.plan(databases[large], large):
                print(f"    {step}")


def _print_hostile_input(sample: Sample) -> None:
    """Show that the time to refuse a token is at most linear in its length."""
    print("\nRefusing 8,000 and 65,536 hostile characters (the limit is 8,000)")
    verifier = sample.verifier(token_cache_size=100)
    header = sample.token.partition(".")[0]
    texts = {
        "dots, 8,000": "." * 8_000,
        "brackets in the payload, 8,000": f"{header}.{'W1tb' * 1_900}.AAAA",
        "letters, 8,000": "A" * 8_000,
        "letters, 65,536": "A" * 65_536,
        "dots, 65,536": "." * 65_536,
    }

    def refuse(text: str) -> None:
        try:
            verifier.verify(text)
        except AuthError:
            return
        raise RuntimeError("accepted")

    timings = compare({name: functools.partial(refuse, text) for name, text in texts.items()})
    for name, timing in timings.items():
        _line(name, timing.microseconds, "")


def _print_memory(*, quick: bool) -> None:
    print("\nMemory")
    size, length = memory.bytes_per_token()
    print(f"  each cached token of {length} characters: {size / 1024:.2f} KiB")
    count = 50_000 if quick else 1_000_000
    full, end, seconds = memory.growth_over(count)
    print(
        f"  {count:,} distinct tokens through a cache of {memory.CACHE_SIZE:,}: resident {full / 2**20:.1f} MiB when "
        f"full, {end / 2**20:.1f} MiB at the end ({seconds:.0f} s)"
    )


if __name__ == "__main__":
    main()
