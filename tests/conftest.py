import os
import sys
from importlib.metadata import distributions

import pytest
from hypothesis import HealthCheck, settings

# gRPC would start its threads again in each process that a test forks, and break it. Read when grpc is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

settings.register_profile(
    "slow machine",
    # On a busy machine, the first example is slow; each test has a timeout anyway.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # The same examples in each run of CI, so that only a change can make it fail. Elsewhere, new ones.
    derandomize=os.environ.get("REQUIRE_SERVICES") == "1",
    database=None,
)
settings.load_profile("slow machine")

pytest_plugins = [
    "tests.kit.collection",
    "tests.kit.databases",
    "tests.kit.needs",
    "tests.kit.processes",
    "tests.kit.running_api",
]

# Tests wait half of the time, for browsers and processes: more workers than cores use that time.
WORKERS_PER_CORE = 2
MAX_WORKERS = 8


# Programs and the fixture mock_issuer come from these.
DISTRIBUTIONS = {"device-api": ".", "mock-issuer": "mock_issuer", "device-app": "device_app"}


def pytest_configure() -> None:
    missing = {name: folder for name, folder in DISTRIBUTIONS.items() if not list(distributions(name=name))}
    if missing:
        command = f"{sys.executable} -m pip install --no-deps {' '.join(f'-e {folder}' for folder in missing.values())}"
        raise pytest.UsageError(f"{', '.join(missing)}: not installed in this environment. Run: {command}")


def pytest_xdist_auto_num_workers() -> int:
    return min(WORKERS_PER_CORE * (os.cpu_count() or 1), MAX_WORKERS)
