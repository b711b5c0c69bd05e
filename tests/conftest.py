"""What many tests share: the real data, where there is some."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real MR data; the test is skipped with a sentence where there is none."""
    folder = Path(os.environ.get("BETZ_REALDATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "SOURCES.md").exists():
        pytest.skip(f"no real MR data in {folder}; BETZ_REALDATA names another folder")
    return folder


@pytest.fixture(scope="session")
def promised_report() -> ModuleType:
    """The module `promised_report` beside this file, which checks a report.json; loaded by its path."""
    spec = importlib.util.spec_from_file_location("promised_report", Path(__file__).with_name("promised_report.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
