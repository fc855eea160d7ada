"""SQLite on a full disk: /readyz says so, requests that write get 503, and others go on."""

import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.kit.databases import create_tables
from tests.kit.key_server import KeyServer
from tests.kit.processes import BIN, ROOT, environment, free_port, wait_until_ready
from tests.kit.signing import AUDIENCE, claims, jwks, rsa_key

pytestmark = pytest.mark.slow

KEY = rsa_key(0, "key-1")
# The probe's outcome is remembered for 5 s.
REMEMBERED_SECONDS = 5


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with KeyServer() as server:
        server.publish(jwks(KEY))
        yield server


def test_the_disk_of_sqlite_becomes_full(key_server: KeyServer, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: SQLite is told the same by the system."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    database = tmp_path / "devices.db"
    create_tables(f"sqlite:///{database}")
    variables = {
        "PORT": str(port),
        "API_ISSUERS": key_server.issuer,
        "API_AUDIENCE": AUDIENCE,
        "API_DATABASE_URL": f"sqlite:///{database}",
        "WEB_CONCURRENCY": "1",
    }
    token = KEY.sign(claims(iss=key_server.issuer, scope="read:devices write:devices"))
    headers = {"Authorization": f"Bearer {token}"}
    new = {"name": "Lamp", "kind": "sensor", "model": "M"}
    with subprocess.Popen(
        [str(BIN / "gunicorn"), "-c", "gunicorn.conf.py", "api:create_app()"],
        cwd=ROOT,
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            wait_until_ready(server, f"{url}/livez")
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
            (worker,) = map(int, children.read_text(encoding="ascii").split())
            assert requests.post(f"{url}/v1/devices", json=new, headers=headers, timeout=10).status_code == 201
            # Python ignores SIGXFSZ, so that writing fails with an error.
            resource.prlimit(worker, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            answer = requests.get(f"{url}/readyz", timeout=10)
            assert answer.status_code == 503
            assert answer.json()["checks"]["database"] == "not_writable"
            assert answer.json()["detail"] == "Not ready: the database cannot be written."
            answer = requests.post(f"{url}/v1/devices", json=new, headers=headers, timeout=10)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            answer = requests.get(f"{url}/v1/devices", headers=headers, timeout=10)
            assert (answer.status_code, len(answer.json()["items"])) == (200, 1)
            assert requests.get(f"{url}/livez", timeout=10).status_code == 200
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
            wait_until_ready(server, f"{url}/readyz")
            assert requests.post(f"{url}/v1/devices", json=new, headers=headers, timeout=10).status_code == 201
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(40)


def test_no_directory_for_temporary_files(key_server: KeyServer, tmp_path: Path) -> None:
    """SQLite sorts more rows than its cache holds, with nowhere to put temporary files."""
    database_url = f"sqlite:///{tmp_path}/devices.db"
    program = (
        "import sys\n"
        "from api.database.engine import open_database, write_transaction\n"
        "from api.database.schema import upgrade\n"
        "upgrade(sys.argv[1])\n"
        "with open_database(sys.argv[1]).connect() as connection:\n"
        "    connection.exec_driver_sql('PRAGMA cache_size = 5')\n"
        "    rows = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) '\n"
        "    query = rows + 'SELECT max(t) FROM (SELECT i, hex(randomblob(50)) AS t FROM n ORDER BY t)'\n"
        "    assert connection.exec_driver_sql(query).scalar_one()\n"
        "    assert connection.exec_driver_sql('PRAGMA temp_store').scalar_one() == 2\n"
    )
    nowhere = environment({"TMPDIR": "/nowhere", "SQLITE_TMPDIR": "/nowhere", "PYTHONPATH": str(ROOT)})
    subprocess.run([str(BIN / "python"), "-c", program, database_url], env=nowhere, cwd=tmp_path, check=True)
