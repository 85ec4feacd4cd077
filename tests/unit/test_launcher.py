"""The stores of a launch listen on the address given and on no other."""

import socket
from datetime import timedelta

import pytest
import torch.distributed
from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend

from fairseq_bas.resilience import addresses, launcher


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
