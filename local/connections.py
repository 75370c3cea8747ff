"""A served connection's end: closed by its client, or to be reset instead of closed."""

import select
import socket
import struct
from typing import Final

# SO_LINGER on with no time: close() sends a reset instead of a FIN.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def reset_on_close(connection: socket.socket) -> None:
    """Makes the end of the connection a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def is_to_be_reset(connection: socket.socket) -> bool:
    """Whether `reset_on_close` was called for it."""
    linger = connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET_ON_CLOSE))
    return linger == _RESET_ON_CLOSE


def is_closed(connection: socket.socket) -> bool:
    """Whether the client has gone, also without a word of TLS."""
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and not socket.socket.recv(connection, 1, socket.MSG_PEEK)
    except OSError:
        return True
