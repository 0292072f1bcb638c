"""Real servers on loopback, and a proxy in front of them that behaves as badly as it is told."""

import http.client
import os
import pwd
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

# What a server answers with a body, for a status.
CODES = {403: "InvalidAccessKeyId", 409: "ConditionalRequestConflict", 429: "TooManyRequests", 503: "SlowDown"}


@contextmanager
def moto(log: Path) -> Iterator[str]:
    """Run moto's S3 server on a free port, and return its URL."""
    with open(log, "wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
        )
    try:
        while not (found := re.search(r"Running on (http://[\d.:]+)", log.read_text())):
            try:
                server.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"moto did not start: {log.read_text()}")
        yield found[1]
    finally:
        server.kill()
        server.wait()


@contextmanager
def sshd(folder: Path, free_port: int) -> Iterator[Path]:
    """Run OpenSSH's server on a port of loopback; return a folder with an `ssh` that may log in as its host `far`."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert server is not None
    for key in ("host", "client"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{free_port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/client.pub\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
        "MaxStartups 100\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    (folder / "ssh_config").write_text(
        f"Host far\n  HostName 127.0.0.1\n  Port {free_port}\n  User {pwd.getpwuid(os.getuid()).pw_name}\n"
        f"  IdentityFile {folder}/client\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking accept-new\n"
    )
    program = folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    program.chmod(0o755)
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([server, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        while "Server listening" not in (folder / "log").read_text():
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError((folder / "log").read_text())
        yield program.parent
    finally:
        process.kill()
        process.wait()


def make_bucket(endpoint: str, name: str) -> None:
    """Make a bucket."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"))
    connection.request("PUT", f"/{name}", headers={"Content-Length": "0"})
    assert connection.getresponse().status == 200
    connection.close()


class Request(NamedTuple):
    """What came to the proxy: its number from 1 on, and what it is."""

    number: int
    method: str
    path: str
    header: dict[str, str]
    size: int

    @property
    def is_body(self) -> bool:
        """Whether packs travel in it, up or down."""
        return "/packs/" in self.path and (self.method == "PUT" or (self.method == "GET" and "range" in self.header))


# What is done with a request: None passes it on; "lose" drops it, "deaf" passes it on and drops the answer,
# "stall" never answers, "corrupt" flips a bit of the answer, "cut" breaks off in the middle of it, "short" sends half
# of it as if it were all, "spoil" flips a bit of what is sent; "careless" leaves out conditions, "vouch" adds
# credentials; a number is a status.
Plan = Callable[[Request], str | int | None]


class Proxy:
    """A proxy in front of a server, on a free port; `plan` says what it does to each request, `seen` what came."""

    def __init__(self, server: str, plan: Plan = lambda request: None) -> None:
        self.plan = plan
        self.seen: list[Request] = []
        self.up = 0
        self.down = 0
        self.stalled = threading.Event()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._upstream = server.removeprefix("http://")
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def _serve(self) -> None:
                proxy._serve(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing of clients that hang up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop, and let go of whoever is stalled."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, client: BaseHTTPRequestHandler) -> None:
        body = client.rfile.read(int(client.headers.get("Content-Length", 0)))
        with self._lock:
            header = {name.lower(): value for name, value in client.headers.items()}
            request = Request(len(self.seen) + 1, client.command, client.path, header, len(body))
            self.seen.append(request)
            act = self.plan(request)
            self.up += len(body)
        if isinstance(act, int):
            code = CODES.get(act, "InternalError")
            self._answer(client, act, {}, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
            return
        if act == "stall":
            self.stalled.set()
            self._over.wait()
        if act in ("lose", "stall"):
            self._hang_up(client)
            return
        if act == "spoil" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        status, answer_header, answer = self._pass_on(request, body, act)
        if act == "deaf":
            self._hang_up(client)
            return
        if act == "corrupt" and answer:
            answer = answer[:-1] + bytes([answer[-1] ^ 1])
        if act == "short":
            answer = answer[: len(answer) // 2]
        with self._lock:
            self.down += len(answer)
        self._answer(client, status, answer_header, answer, cut=act == "cut")

    def _pass_on(self, request: Request, body: bytes, act: str | int | None) -> tuple[int, dict[str, str], bytes]:
        header = dict(request.header)
        if act == "careless":
            header.pop("if-none-match", None)
        if act == "vouch":
            header["authorization"] = "AWS4-HMAC-SHA256 Credential=somebody/20260101/us-east-1/s3/aws4_request"
        connection = http.client.HTTPConnection(self._upstream)
        try:
            connection.request(request.method, request.path, body, header)
            answer = connection.getresponse()
            data = answer.read()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "server", "date")
            }
            if request.method == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length") or "0"
            return answer.status, kept, data
        finally:
            connection.close()

    def _answer(
        self, client: BaseHTTPRequestHandler, status: int, header: dict[str, str], data: bytes, *, cut: bool = False
    ) -> None:
        client.send_response(status)
        for name, value in header.items():
            client.send_header(name, value)
        if "Content-Length" not in header:
            client.send_header("Content-Length", str(len(data)))
        client.end_headers()
        if client.command == "HEAD":
            return
        client.wfile.write(data[: len(data) // 2] if cut else data)
        client.wfile.flush()
        if cut:
            self._hang_up(client)

    def _hang_up(self, client: BaseHTTPRequestHandler) -> None:
        client.close_connection = True
        client.connection.close()
