"""The hub on the loopback, with short timeouts."""

import threading
from types import SimpleNamespace

import huggingface_hub
import pytest
from loopback_hub import Hub


@pytest.fixture
def hub(monkeypatch):
    from huggingface_hub import file_download
    from huggingface_hub.utils import _http

    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 512)  # 10 MB, of which it keeps whole ones only
    for module in (file_download, _http):  # it tries again after seconds
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None, time=lambda: 0.0))
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()
