"""Why a TLS handshake failed. libpq tells it only in prose; asking once more with `ssl` gives a code."""

from __future__ import annotations

import socket
import ssl
from enum import Enum

_SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))
_WAIT_S = 10.0
# X509_V_ERR_* of OpenSSL
_NOT_YET, _EXPIRED, _NAME, _ADDRESS = 9, 10, 62, 64
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21, 24, 27})


class TlsFault(Enum):
    """What is wrong with the server's TLS, and what to do about it."""

    NO_TLS = (
        "the server does not offer TLS",
        'switch it on (ssl = on in postgresql.conf), or accept an open line with tls = "insecure" in [source]',
    )
    UNKNOWN_ISSUER = (
        "the server's certificate is signed by an authority that this machine does not know, as a cloud's own is",
        'put the authority\'s certificate into a file and name it: ca_file = "authority.pem" in [source]',
    )
    WRONG_NAME = (
        "the server's certificate is for another name",
        'connect by the name in the certificate, or, with the authority in ca_file, set tls = "verify-ca" in [source]',
    )
    EXPIRED = (
        "the server's certificate has expired",
        "renew it on the server; if it is new, look at this machine's clock",
    )
    NOT_YET_VALID = ("the server's certificate is not valid yet", "look at this machine's clock")
    HANDSHAKE = (
        "the TLS handshake failed",
        "look at the server's log; its TLS version or certificate is not accepted here",
    )

    def __init__(self, case: str, fix: str) -> None:
        self.case = case
        self.fix = fix


def diagnose(host: str, port: int, ca_file: str | None, *, check_name: bool) -> TlsFault | None:
    """Repeat the start of the handshake; None when it succeeds or the server cannot be reached."""
    try:
        with socket.create_connection((host, port), _WAIT_S) as plain:
            plain.sendall(_SSL_REQUEST)
            answer = plain.recv(1)
            if answer == b"N":
                return TlsFault.NO_TLS
            return _handshake(plain, host, ca_file, check_name=check_name) if answer == b"S" else None
    except OSError:
        return None


def _handshake(plain: socket.socket, host: str, ca_file: str | None, *, check_name: bool) -> TlsFault | None:
    try:
        context = ssl.create_default_context(cafile=None if ca_file == "system" else ca_file)
        context.check_hostname = check_name
        with context.wrap_socket(plain, server_hostname=host):
            return None
    except ssl.SSLCertVerificationError as error:
        return _by_code(error.verify_code)
    except ssl.SSLError:
        return TlsFault.HANDSHAKE


def _by_code(code: int) -> TlsFault:
    if code in _UNKNOWN_ISSUER:
        return TlsFault.UNKNOWN_ISSUER
    cases = {
        _NAME: TlsFault.WRONG_NAME,
        _ADDRESS: TlsFault.WRONG_NAME,
        _EXPIRED: TlsFault.EXPIRED,
        _NOT_YET: TlsFault.NOT_YET_VALID,
    }
    return cases.get(code, TlsFault.HANDSHAKE)
