import pytest


@pytest.fixture(autouse=True)
def no_other_folder(monkeypatch, tmp_path):
    """No test reads data that happens to lie on this machine, or a network, unless it says so."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "unset"))
