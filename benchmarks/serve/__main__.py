"""Measure the server's CPU time per request against peers, and print ratios: `python -m benchmarks.serve`."""

import argparse
import contextlib
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import requests

from benchmarks.measure import processor
from tests.kit.key_server import KeyServer

from . import instructions, services
from .load import CONNECTIONS, Client, Load, children, cpu_seconds
from .services import Running, Service
from .tokens import SUBJECTS, TOKENS, sign

_WARM_UP_SECONDS = 1
# Of the tokens of a run: each is sent once before anything is counted, and under callgrind a request takes 50 ms.
_COUNTED_TOKENS = 100
_PROGRAMS = {"wrk": "wrk", "taskset": "util-linux", "node": "nodejs", "npm": "npm"}
_PROGRAMS_TO_COUNT = {"valgrind": "valgrind", "callgrind_control": "valgrind", "taskset": "util-linux"}


@dataclass(frozen=True, slots=True)
class Aim:
    """The ratio of two services' costs that is to be reached: at most, or with `is_faster` at least."""

    service: Service
    against: Service
    ratio: float
    is_faster: bool = False

    def reached(self, costs: dict[Service, list[float]]) -> tuple[float, bool]:
        """Return the ratio, and whether it is reached."""
        mine, theirs = costs[self.service], costs[self.against]
        ratio = _ratio(theirs, mine) if self.is_faster else _ratio(mine, theirs)
        return ratio, ratio >= self.ratio if self.is_faster else ratio <= self.ratio


def _ratio(mine: list[float], theirs: list[float]) -> float:
    """Return the median of the ratios of neighbouring rounds."""
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


_AIMS = (
    Aim(services.DECORATED, services.PLAIN, 1.12),
    Aim(services.ME, services.PLAIN, 1.35),
    Aim(services.DEVICES, services.PLAIN, 1.8),
    Aim(services.DECORATED, services.PYJWT, 1.6, is_faster=True),
    Aim(services.DECORATED, services.AUTHLIB, 1.6, is_faster=True),
    Aim(services.DECORATED_FAST, services.EXPRESS, 1.5, is_faster=True),
    Aim(services.ME_FAST, services.EXPRESS, 1.15, is_faster=True),
)
_AIM_OF_TWO_WORKERS = 1.8


def main() -> None:
    """Measure and print everything, or with --only what is named."""
    parser = argparse.ArgumentParser(prog="make bench-serve", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often each service is measured (7)")
    parser.add_argument("--seconds", type=int, default=2, help="how long each time (2)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only services whose name contains it")
    parser.add_argument(
        "--instructions",
        action="store_true",
        help="count instructions of our services on gunicorn instead, with valgrind",
    )
    options = parser.parse_args()
    chosen = [service for service in services.ALL if options.only in service.name]
    needed = _PROGRAMS_TO_COUNT if options.instructions else _PROGRAMS
    if missing := [package for program, package in needed.items() if not shutil.which(program)]:
        sys.exit(f"make bench-serve needs {', '.join(missing)} (names of Debian's packages).")
    try:
        services.cores()
    except RuntimeError as exc:
        sys.exit(f"make bench-serve: {exc}.")
    if options.instructions:
        with bench_of_this_run() as bench:
            _print_instructions(bench, [service for service in chosen if service in services.COUNTED])
        return
    services.install_node_packages()
    print(machine())
    print(
        f"The server on core {services.cores()[0]}, wrk on core {services.cores()[1]}; {CONNECTIONS} connections, kept "
        f"alive; {TOKENS:,} tokens, seen before.\n"
    )
    with bench_of_this_run() as bench:
        costs = bench.costs(chosen, rounds=options.rounds, seconds=options.seconds)
        _print_costs(costs)
        if services.TWO_WORKERS.name.startswith(options.only) or options.only in services.TWO_WORKERS.name:
            _print_two_workers(bench, rounds=options.rounds, seconds=options.seconds)


def machine() -> str:
    """Return the processor and the versions, in a line."""
    names = ("flask", "gunicorn", "granian", "pyjwt", "authlib", "cryptography")
    others = ", ".join(f"{name} {number}" for name, number in services.versions().items())
    packages = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{processor()}, CPython {platform.python_version()}, {packages}, {others}"


@dataclass(frozen=True, slots=True)
class Bench:
    """The issuer and the tokens of a run."""

    key_server: KeyServer
    tokens: Path
    directory: Path

    def costs(self, chosen: list[Service], *, rounds: int, seconds: int) -> dict[Service, list[float]]:
        """Return what each service uses per request, in microseconds, in each round.

        All are started once and idle while another is measured: whatever slows the machine down slows neighbours in a
        round.
        """
        server, client, _ = services.cores()
        costs: dict[Service, list[float]] = {service: [] for service in chosen}
        with contextlib.ExitStack() as stack:
            started: dict[tuple[tuple[str, ...], int], Running] = {}
            clients = {}
            for service in chosen:
                if service.process not in started:
                    started[service.process] = stack.enter_context(self.running(service, server))
                clients[service] = self.warm_client(service, started[service.process], client)
            for number in range(rounds):
                if sys.stderr.isatty():
                    print(f"round {number + 1} of {rounds}", end="\r", file=sys.stderr)
                for service, sender in clients.items():
                    sender.send(_WARM_UP_SECONDS)
                    costs[service].append(sender.send(seconds).microseconds_per_request)
        return costs

    def warm_client(self, service: Service, running: Running, cores: str) -> Client:
        """Return a client that has sent each token, to each worker as far as the kernel distributes connections."""
        url = running.url + service.path
        for token in self.tokens.read_text(encoding="ascii").splitlines()[:SUBJECTS]:
            # One at a time: a subject's first request creates its sample devices.
            requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30).raise_for_status()
        client = Client(url, self.tokens, cores, running.process)
        while client.sent < TOKENS * service.workers**2:
            client.send(2)
        return client

    def instructions(self, service: Service) -> float:
        """Return how many instructions a service's worker takes per request."""
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        server, _, _ = services.cores()
        tokens = self.tokens.read_text(encoding="ascii").splitlines()[:_COUNTED_TOKENS]
        with self.running(service, server, under=instructions.under_callgrind(directory)) as running:
            return instructions.count(running, service.path, tokens, directory)

    @contextlib.contextmanager
    def running(self, service: Service, cores: str, *, under: tuple[str, ...] = ()) -> Iterator[Running]:
        """Start a service for the tokens of this run; see `services.running`."""
        folder = Path(tempfile.mkdtemp(dir=self.directory)) / "service"
        with services.running(
            service,
            issuer=self.key_server.issuer,
            jwks_url=self.key_server.jwks_url,
            cores=cores,
            directory=folder,
            under=under,
        ) as running:
            yield running


@contextlib.contextmanager
def bench_of_this_run() -> Iterator[Bench]:
    """Yield an issuer and its tokens; they are deleted afterwards."""
    with tempfile.TemporaryDirectory() as directory, KeyServer() as key_server:
        tokens = Path(directory) / "tokens"
        key_server.publish(sign(tokens, TOKENS, issuer=key_server.issuer))
        yield Bench(key_server, tokens, Path(directory))


def _print_costs(costs: dict[Service, list[float]]) -> None:
    plain = costs.get(services.PLAIN)
    for service, several in costs.items():
        figures = f"{statistics.median(several):>6.0f} µs   {min(several):.0f} to {max(several):.0f}"
        ratio = f"   {_ratio(several, plain):.2f} times {services.PLAIN.name}" if plain else ""
        print(f"  {service.name:<36} {figures}{ratio}")
    print()
    _print_aims(costs)


def _print_instructions(bench: Bench, chosen: list[Service]) -> None:
    counts: dict[Service, list[float]] = {}
    for service in chosen:
        counts[service] = [bench.instructions(service)]
        plain = counts.get(services.PLAIN)
        ratio = f"   {_ratio(counts[service], plain):.2f} times {services.PLAIN.name}" if plain else ""
        print(f"  {service.name:<36} {counts[service][0]:>10,.0f} instructions{ratio}", flush=True)
    print()
    _print_aims(counts)


def _print_aims(costs: dict[Service, list[float]]) -> None:
    for aim in _AIMS:
        if aim.service not in costs or aim.against not in costs:
            continue
        ratio, is_reached = aim.reached(costs)
        wanted = f"aim ≥ {aim.ratio:g} times as fast" if aim.is_faster else f"aim ≤ {aim.ratio:g} times"
        shown = f"{ratio:.2f} times as fast as" if aim.is_faster else f"{ratio:.2f} times the cost of"
        verdict = "reached" if is_reached else "MISSED"
        print(f"  {aim.service.name:<36} {shown} {aim.against.name:<34} {wanted:<22} {verdict}")


def _print_two_workers(bench: Bench, *, rounds: int, seconds: int) -> None:
    """Compare the throughput of two workers on two cores with that of one on one core, in turns.

    With two cores only, wrk takes a share of what two workers could use, and nothing from one worker. That share is
    printed, and so is what each worker did.
    """
    server, client, both = services.cores()
    cores = {services.ME: (server, client), services.TWO_WORKERS: (both, both)}
    loads: dict[Service, list[Load]] = {service: [] for service in cores}
    shares = []
    with contextlib.ExitStack() as stack:
        senders = {}
        for service, (own, wrk) in cores.items():
            running = stack.enter_context(bench.running(service, own))
            senders[service] = bench.warm_client(service, running, wrk)
        workers = children(senders[services.TWO_WORKERS].process)
        for _ in range(rounds):
            before = {worker: cpu_seconds(worker) for worker in workers}
            for service, sender in senders.items():
                sender.send(_WARM_UP_SECONDS)
                loads[service].append(sender.send(seconds))
            used = [cpu_seconds(worker) - start for worker, start in before.items()]
            shares.append(max(used) / sum(used))
    one, two = (loads[service] for service in cores)
    ratio = _ratio([load.requests_per_second for load in two], [load.requests_per_second for load in one])
    wrk_share = statistics.median(load.client_cpu_seconds / load.seconds for load in two)
    verdict = "reached" if ratio >= _AIM_OF_TWO_WORKERS else "MISSED"
    throughputs = f"{_throughput(two):.0f} requests a second against {_throughput(one):.0f} with one"
    print(f"\n  two workers: {throughputs}: {ratio:.2f} times (aim ≥ {_AIM_OF_TWO_WORKERS} times: {verdict})")
    busier = f"the busier worker did {statistics.median(shares):.0%} of the work"
    print(f"    CPU time per request {_cost(two):.0f} against {_cost(one):.0f} µs; {busier}")
    print(f"    wrk took {wrk_share:.0%} of a core from them, so at most {2 - wrk_share:.2f} times was possible here")


def _throughput(loads: list[Load]) -> float:
    return statistics.median(load.requests_per_second for load in loads)


def _cost(loads: list[Load]) -> float:
    return statistics.median(load.microseconds_per_request for load in loads)


if __name__ == "__main__":
    main()
