"""What many tests share: the real data, where there is some."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real MR data; the test is skipped with a sentence where there is none."""
    folder = Path(os.environ.get("BETZ_REALDATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "SOURCES.md").exists():
        pytest.skip(f"no real MR data in {folder}; BETZ_REALDATA names another folder")
    return folder
