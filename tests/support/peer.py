"""What the other end of a connection on this machine has not read yet, asked of the kernel: sock_diag(7)."""

from __future__ import annotations

import socket
import struct
import time

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
HEADER = struct.Struct("=IHHII")
#: Family, protocol, extensions, padding, states; ports and addresses in network order; interface, cookie.
REQUEST = struct.Struct("=BBBxI")
ANY_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
#: Where the length of the receive queue stands in a reply, behind its netlink header.
RQUEUE_AT = HEADER.size + 4 + 48 + 4
SHORTEST_S, LONGEST_S = 0.0005, 0.02


def unread(sock: socket.socket) -> int:
    """Return how many bytes the other end of a loopback connection has not read; 0 if it is closed."""
    try:
        (our_address, our_port), (address, port) = sock.getsockname(), sock.getpeername()
    except OSError:
        return 0
    ends = struct.pack("!HH", port, our_port)
    ends += socket.inet_aton(address) + bytes(12) + socket.inet_aton(our_address) + bytes(12)
    body = REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ends + ANY_COOKIE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.send(HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + body)
        reply = kernel.recv(4096)
    if HEADER.unpack_from(reply)[1] != SOCK_DIAG_BY_FAMILY:
        return 0
    (size,) = struct.unpack_from("=I", reply, RQUEUE_AT)
    return int(size)


def wait_until_read(sock: socket.socket, patience_s: float) -> None:
    """Wait until the other end of a loopback connection has read all that was sent to it."""
    until, pause_s = time.monotonic() + patience_s, SHORTEST_S
    while unread(sock) and time.monotonic() < until:
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_S)
