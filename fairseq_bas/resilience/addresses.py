"""Which address and interface of this machine other machines reach, and sockets bound to it."""

import fcntl
import socket
import struct

_GET_ADDRESS = 0x8915  # SIOCGIFADDR of linux/sockios.h


def parse_meeting(text: str) -> tuple[str, int]:
    """Read where machines meet.

    Args:
        text: ``HOST:PORT`` of the first machine.

    Returns:
        Host and port.

    Raises:
        ValueError: if it is not of that form.

    Example:
        >>> parse_meeting("10.0.0.1:29400")
        ('10.0.0.1', 29400)
    """
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(
            f"{text!r} is no place to meet; pass HOST:PORT of the first machine, with a port from "
            "1 to 65535 that is free there"
        )
    return host.strip("[]"), int(port)


def own_address(other: str) -> str:
    """Return the address of this machine from which it reaches another; sends nothing.

    Args:
        other: host name or address of the other machine, or of this one.

    Returns:
        An IPv4 address.

    Raises:
        OSError: if there is no way to the other machine, or its name is not known.

    Example:
        >>> own_address("127.0.0.1")
        '127.0.0.1'
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((other, 9))
        return str(probe.getsockname()[0])


def interface_of(address: str) -> str:
    """Return the name of the network interface that has an address.

    Args:
        address: IPv4 address of this machine; any of 127.0.0.0/8 is the loopback interface's.

    Returns:
        A name such as ``eth0``.

    Raises:
        ValueError: if no interface has it as its first address.
    """
    wanted = "127.0.0.1" if address.startswith("127.") else address
    names = [name for _, name in socket.if_nameindex()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for name in names:
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _GET_ADDRESS, request)
            except OSError:  # an interface without an address
                continue
            if socket.inet_ntoa(answer[20:24]) == wanted:
                return name
    raise ValueError(
        f"no network interface of this machine has {address} as its first address; pass "
        f"--interface with one of {', '.join(names)}"
    )


def listen_on(address: str, port: int) -> socket.socket:
    """Return a socket that listens on one address of this machine and no other.

    Args:
        address: of this machine.
        port: 0 for any that is free.

    Returns:
        The listening socket; the caller closes it or hands its descriptor over.

    Raises:
        OSError: if the port is taken, or the address is not of this machine.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener
