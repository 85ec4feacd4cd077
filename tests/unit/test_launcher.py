"""The stores of a launch listen on the address given and on no other."""

import json
import socket
from datetime import timedelta

import pytest
import torch.distributed
from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend

from fairseq_bas.resilience import addresses, launcher
from tests.processes import run_cli


def test_store_listens_on_one_address(monkeypatch):
    monkeypatch.setattr(torch.distributed, "TCPStore", torch.distributed.TCPStore)
    monkeypatch.setattr(c10d_rendezvous_backend, "TCPStore", torch.distributed.TCPStore)
    launcher._bind_stores("127.0.0.2")
    limit = {"timeout": timedelta(seconds=10)}
    store = torch.distributed.TCPStore("127.0.0.2", 0, is_master=True, multi_tenant=True, **limit)
    other = torch.distributed.TCPStore("127.0.0.2", store.port, is_master=False, **limit)
    store.set("key", "value")
    assert other.get("key") == b"value"
    socket.create_connection(("127.0.0.2", store.port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):  # torch's own store answers here too
        socket.create_connection(("127.0.0.1", store.port), timeout=5)


def test_addresses_of_this_machine():
    assert addresses.interface_of(addresses.own_address("127.0.0.1")) in ("lo", "lo0")
    with pytest.raises(ValueError, match="--interface"):
        addresses.interface_of("192.0.2.1")  # of documentation, so of no machine
    with addresses.listen_on("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        addresses.listen_on("127.0.0.1", first.getsockname()[1])


@pytest.mark.parametrize("text", ["host", "host:", ":1", "host:0", "host:65536", "host:x"])
def test_bad_places_to_meet(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        addresses.parse_meeting(text)


@pytest.mark.parametrize(("marked", "starts"), [(True, 1), (False, 3)])
def test_what_was_refused_is_not_started_again(tmp_path, marked, starts):
    """A worker that refused its input, or stopped as it diverged, has put that into a file."""
    content = {"message": "", "timestamp": 1, launcher.REFUSED: True}
    (tmp_path / "mark").write_text(json.dumps(content), encoding="utf-8")
    mark = f'cp {tmp_path}/mark "$TORCHELASTIC_ERROR_FILE";' if marked else ""
    program = f"echo started >>{tmp_path}/starts; {mark} exit 1"
    options = ("--workers", 1, "--restarts", 2, "--", "/bin/sh", "-c", program)
    ended = run_cli("fairseq_bas.resilience.launcher", *options, check=False, forked=True)
    assert ended.returncode == 1
    assert (tmp_path / "starts").read_text().count("started") == starts
    assert "launch.sh: worker 0 failed with exit code 1" in ended.stderr
