"""What may stand on the way to KrosAI: TLS servers with made certificates, an HTTP proxy, a SOCKS5 proxy."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from krosai_doubles import Behaviour, TcpServer, keep_alive_answers

HOST = "kros.test"
DAY = dt.timedelta(days=1)


class Authority:
    """A certificate authority of its own; `file` is what SSL_CERT_FILE would name."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test {name}")])
        self._own = self._signed(self._name, self._key, 1, is_authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._own.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str = HOST, *, days_left: int = 1) -> ssl.SSLContext:
        """A server's side of TLS, with a certificate for a name; a negative time left has run out."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, days_left, name=name)
        path = self._folder / f"{name}{days_left}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        days_left: int,
        *,
        name: str = "",
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        ends = now + days_left * DAY
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(now, ends) - 9 * DAY if days_left < 9 else now + DAY)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(own, critical=False)
            .add_extension(issuer, critical=False)
        )
        if is_authority:
            usage = x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            builder = builder.add_extension(usage, critical=True)
        if name:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@asynccontextmanager
async def tls_server(context: ssl.SSLContext, behave: Behaviour = keep_alive_answers) -> AsyncIterator[TcpServer]:
    """KrosAI behind TLS; `received` has the requests that came through."""
    server = TcpServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behave(server, reader, writer)

    async with _listening(serve, context) as server.port:
        yield server


@asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    """Serve connections on a port of loopback, and leave none behind."""
    standing: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        standing[task] = writer
        with suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()
        del standing[task]

    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]
        for task, writer in standing.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*standing, return_exceptions=True)


@dataclass
class ProxyServer:
    """A proxy that leads every tunnel to one port of this machine, whatever address is asked for.

    Args:
        to: The port.
        refuses: What it answers instead of opening a tunnel, if anything.
        login: What a client has to bring, as `user:password`.
    """

    to: int
    refuses: bytes = b""
    login: bytes = b""
    port: int = 0
    asked_for: list[bytes] = field(default_factory=list)
    """Where tunnels were asked to lead, as host:port."""


async def connect_tunnels(proxy: ProxyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak as an HTTP proxy does."""
    head = await reader.readuntil(b"\r\n\r\n")
    proxy.asked_for.append(head.split()[1])
    if proxy.refuses:
        writer.write(b"HTTP/1.1 " + proxy.refuses + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await _pass_on(proxy.to, reader, writer)


async def socks_tunnels(proxy: ProxyServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak SOCKS5 (RFC 1928, and 1929 for the login); `refuses` is the reply's code."""
    _, count = await reader.readexactly(2)
    offered = await reader.readexactly(count)
    method = 2 if proxy.login else 0
    if method not in offered:
        writer.write(b"\x05\xff")
        return
    writer.write(bytes((5, method)))
    if proxy.login:
        user = await reader.readexactly((await reader.readexactly(2))[1])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        if user + b":" + password != proxy.login:
            writer.write(b"\x01\x01")
            return
        writer.write(b"\x01\x00")
    _, _, _, kind = await reader.readexactly(4)
    host = await reader.readexactly((await reader.readexactly(1))[0] if kind == 3 else 4)
    port = int.from_bytes(await reader.readexactly(2), "big")
    proxy.asked_for.append(b"%b:%d" % (host, port))
    if proxy.refuses == b"nonsense":
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return
    writer.write(b"\x05" + (proxy.refuses or b"\x00") + b"\x00\x01\x7f\x00\x00\x01\x00\x00")
    if not proxy.refuses:
        await _pass_on(proxy.to, reader, writer)


Tunnels = Callable[[ProxyServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def open_proxy(
    to: int, tunnels: Tunnels = connect_tunnels, *, tls: ssl.SSLContext | None = None, **behaves: bytes
) -> AsyncIterator[ProxyServer]:
    """Open a proxy on loopback."""
    proxy = ProxyServer(to, **behaves)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tunnels(proxy, reader, writer)

    async with _listening(serve, tls) as proxy.port:
        yield proxy


async def _pass_on(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    try:
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
    finally:
        inner_writer.transport.abort()
