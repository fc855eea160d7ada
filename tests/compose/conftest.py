import fcntl
from collections.abc import Iterator

import pytest

from tests.compose.project import Project, running_project
from tests.image.container import built_images


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Project]:
    """Yield the services of compose.yaml, running. Its ports are fixed, so one worker of pytest at a time has them."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    with (
        built_images(shared),
        (shared / "compose.lock").open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        with running_project(shared / "images", tmp_path_factory.mktemp("compose")) as project:
            yield project
