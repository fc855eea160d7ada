"""What `make bench` measures runs, and does what its name says. How long it takes is for `make bench` alone."""

from pathlib import Path

import pytest

from benchmarks import listing, pages, proofs, request, verification
from benchmarks.__main__ import _print_pages
from benchmarks.tokens import Sample, make_sample
from tests.kit.databases import postgresql_schema


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample()


def test_verification_and_requests(sample: Sample) -> None:
    # Each is called, and its answer checked, before it is given.
    assert len(verification.contenders(sample)) == 7
    assert len(request.contenders(sample)) == 3
    assert len(proofs.contenders(sample)) == 5


def test_the_list_route_and_its_parts(sample: Sample, tmp_path: Path) -> None:
    with listing.contenders(sample, tmp_path) as contenders:
        answers = {name: call() for name, call in contenders.items()}
    assert len(answers[listing.SELECT]) == 20  # type: ignore[arg-type]  # rows
    assert len(answers) == 5


def read_pages(url: str) -> list[str]:
    with pages.filled(url, 1_000) as database:
        for read in pages.pages(database, 1_000).values():
            read()
        return pages.plan(database, 1_000)


def test_pages_of_sqlite(tmp_path: Path) -> None:
    (step,) = read_pages(f"sqlite:///{tmp_path}/pages.db")
    assert step.startswith("SEARCH readings USING INDEX ")


@pytest.mark.needs("postgresql")
def test_pages_of_postgresql() -> None:
    with postgresql_schema() as url:
        steps = read_pages(url)
    assert any("readings" in step and "Scan" in step for step in steps)


@pytest.mark.slow
@pytest.mark.needs("postgresql")
def test_the_pages_of_each_database_are_compared_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    _print_pages(quick=True)
    printed = capsys.readouterr().out
    for kind in ("SQLite", "PostgreSQL"):
        for name in ("the first page", "a page in the middle"):
            for count in ("10,000", "100,000"):
                assert f"  {kind}, {name} of {count} " in printed
