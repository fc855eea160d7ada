"""The images, built without a container engine: what is in them, and that their programs run as a cluster runs them.

Their root file system is read-only, /tmp cannot be used, no user may become another. The base is Debian's Python
instead of the Dockerfile's. Not shown: what an engine does with the labels, limits and health checks.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.image.container import Image
from tests.kit.processes import ROOT, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("buildah"),
    pytest.mark.needs("debootstrap"),
    pytest.mark.needs("root"),
    # The first test builds the images, the others may wait for it.
    pytest.mark.timeout(600),
]

OWN_USER = "10001:10001"
# As OpenShift runs it: any number, in group 0.
ANY_USER = "123456:0"
AUDIENCE = "https://device-api.example"
MEBIBYTE = 2**20
# What the project and its packages add to the base image: 83 MiB when this was written.
MAX_ADDED_BYTES = 110 * MEBIBYTE


def files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory) / name
            yield path, path.lstat()


def volume_for(tmp_path: Path) -> Path:
    """Make a folder with the owner and mode of the image's /var/lib/device-api, as an engine does for a volume."""
    folder = tmp_path / "volume"
    folder.mkdir()
    os.chown(folder, 10001, 0)
    folder.chmod(0o770)
    return folder


def test_the_database_folder_is_for_the_own_user_and_group_0(api: Image) -> None:
    folder = (api.root / "var/lib/device-api").stat()
    assert (folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode)) == (10001, 0, 0o770)
    assert api.configuration["User"] == "10001"


@pytest.mark.parametrize("user", [OWN_USER, ANY_USER])
def test_it_runs_without_a_writable_root(api: Image, mock_issuer_image: Image, tmp_path: Path, user: str) -> None:
    issuer_port, port = free_port(), free_port()
    issuer, url = f"http://127.0.0.1:{issuer_port}/", f"http://127.0.0.1:{port}"
    volume = volume_for(tmp_path)
    settings = {"API_ISSUERS": issuer, "API_AUDIENCE": AUDIENCE, "PORT": str(port), "WEB_CONCURRENCY": "2"}
    issuer_command = mock_issuer_image.command("--port", str(issuer_port), "--issuer", issuer, "--allow-control")
    with mock_issuer_image.running(issuer_command, f"{issuer}readyz", user=user):
        status, output = api.run(["python", "-m", "api", "check"], user=user, volume=volume, **settings)
        assert (status, "schema: is out of date" in output) == (1, True), output
        status, output = api.run(["python", "-m", "api", "db", "upgrade"], user=user, volume=volume, **settings)
        assert status == 0, output
        status, output = api.run(["python", "-m", "api", "check"], user=user, volume=volume, **settings)
        assert (status, output.count(": ok")) == (0, 4), output
        with api.running(api.command(), f"{url}/readyz", user=user, volume=volume, **settings):
            assert requests.get(f"{url}/livez", timeout=5).status_code == 200
            assert requests.get(f"{url}/v1/me", timeout=5).status_code == 401
            assert requests.get(f"{url}/metrics", timeout=5).status_code == 200
            health_check = api.configuration["Healthcheck"]["Test"]
            assert health_check[0] == "CMD"
            assert api.run(health_check[1:], user=user, PORT=str(port)) == (0, "")
            headers = {"Authorization": f"Bearer {token_of_a_device(issuer)}"}
            created = requests.post(
                f"{url}/v1/devices", json={"name": "Lamp", "kind": "sensor", "model": "H1"}, headers=headers, timeout=5
            )
            assert created.status_code == 201, created.text
            listed = requests.get(f"{url}/v1/devices", headers=headers, timeout=5)
            assert [device["name"] for device in listed.json()["items"]] == ["Lamp"]


def token_of_a_device(issuer: str) -> str:
    """Return the access token of a device flow that a user approved."""
    client = {"client_id": "device-app"}
    started = requests.post(
        f"{issuer}oauth/device/code",
        data={**client, "scope": "read:devices write:devices", "audience": AUDIENCE},
        timeout=5,
    ).json()
    approved = requests.post(f"{issuer}_mock/approve", json={"user_code": started["user_code"]}, timeout=5)
    assert approved.status_code == 200, approved.text
    granted = requests.post(
        f"{issuer}oauth/token",
        data={
            **client,
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": started["device_code"],
        },
        timeout=5,
    )
    return str(granted.json()["access_token"])


def test_the_test_itself_cannot_write_or_become_root(api: Image, tmp_path: Path) -> None:
    """What the other tests rely on: the root is read-only, /tmp is closed, the volume is not."""
    program = (
        "import os\n"
        "for path in ('/srv/api/x', '/tmp/x', '/var/tmp/x', '/var/lib/device-api/x', '/dev/shm/x'):\n"
        "    try: open(path, 'w').close(); print(path)\n"
        "    except OSError: pass\n"
        "print(os.getuid(), os.getgid(), os.getgroups(), os.getpid())\n"
    )
    status, output = api.run(["python", "-c", program], user=ANY_USER, volume=volume_for(tmp_path))
    assert status == 0, output
    assert output.splitlines() == ["/var/lib/device-api/x", "/dev/shm/x", "123456 0 [] 1"]


def test_a_wrong_number_of_processes_is_told_in_a_sentence(api: Image, tmp_path: Path) -> None:
    """By the image's own command; gunicorn alone ends with a traceback."""
    settings = {"API_ISSUERS": "https://issuer.example/", "API_AUDIENCE": AUDIENCE, "WEB_CONCURRENCY": "abc"}
    assert api.run(api.command(), user=ANY_USER, volume=volume_for(tmp_path), **settings) == (
        2,
        "One setting is invalid (see docs/settings.md):\n  WEB_CONCURRENCY: must be a whole number from 0 to 999.\n",
    )


def pinned(requirements: str) -> set[str]:
    text = (ROOT / "requirements" / requirements).read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("image", "requirements", "program"),
    [("device-api", "run.txt", "api"), ("mock-issuer", "mock-issuer.txt", "mock_issuer")],
)
def test_it_holds_one_program_and_what_that_needs(
    images: dict[str, Image], image: str, requirements: str, program: str
) -> None:
    root = images[image].root
    (packages,) = (root / "opt" / image.removeprefix("device-")).glob("lib/python3*/site-packages")
    installed = {re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower() for path in packages.glob("*.dist-info")}
    assert installed <= pinned(requirements)
    assert len(installed) > 10
    assert "pip" not in installed
    names = {path.name for folder in ("srv", "opt") for path in (root / folder).rglob("*")}
    assert program in names
    assert names & ({"api", "mock_issuer", "device_app", "adapters", "benchmarks"} - {program}) == set()
    work = root / "srv" / image.removeprefix("device-")
    expected = {"api", "gunicorn.conf.py", "openapi.yaml"} if image == "device-api" else {"mock_issuer"}
    assert {path.name for path in work.iterdir()} == expected
    # Compiled in the image, since nothing can be written later.
    modules = list((work / program).rglob("*.py"))
    assert len(modules) > 10
    assert len(list((work / program).rglob("*.pyc"))) == len(modules)


@pytest.mark.parametrize("image", ["device-api", "mock-issuer"])
def test_it_holds_no_key_no_cache_and_no_setuid_program(images: dict[str, Image], image: str) -> None:
    root = images[image].root
    setuid, keys = [], []
    for path, status in files(root):
        if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            setuid.append(path)
        if path.suffix in {".pem", ".key", ".jwk", ".env", ".txt", ".toml", ".json"} and stat.S_ISREG(status.st_mode):
            keys += [path] if b"PRIVATE KEY-----" in path.read_bytes() else []
    assert setuid == []
    assert keys == []
    assert not (root / "root/.cache").exists()
    assert not any((root / "tmp").iterdir())


def test_the_api_image_is_small(api: Image, capsys: pytest.CaptureFixture[str]) -> None:
    whole = sum(status.st_size for _, status in files(api.root))
    added = sum(status.st_size for folder in ("opt", "srv") for _, status in files(api.root / folder))
    sizes = f"{added / MEBIBYTE:.0f} MiB beside the base of {(whole - added) / MEBIBYTE:.0f} MiB"
    with capsys.disabled():
        print(f"\nThe image of the API: {sizes}")  # noqa: T201  # to be seen in CI
    assert MAX_ADDED_BYTES / 4 < added < MAX_ADDED_BYTES
