from collections.abc import Iterator

import pytest

from tests.image.container import Image, built_images


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[dict[str, Image]]:
    """Yield the images by name. The workers of pytest share them."""
    base = tmp_path_factory.getbasetemp()
    with built_images(base if worker_id == "master" else base.parent) as images:
        yield images


@pytest.fixture
def api(images: dict[str, Image]) -> Image:
    return images["device-api"]


@pytest.fixture
def mock_issuer_image(images: dict[str, Image]) -> Image:
    return images["mock-issuer"]
