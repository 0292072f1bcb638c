"""Servers that run as long as the tests, and buckets of their own for each."""

import importlib.util
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mvs
from tests.remotes.servers import Plan, Proxy, make_bucket, moto, sshd

# Seconds after which a client gives up a server that is silent; the tests of it wait for so long.
PATIENCE = 1


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an S3 server."""
    if importlib.util.find_spec("moto") is None:
        pytest.skip("moto is not installed")
    with moto(tmp_path_factory.mktemp("moto") / "log") as url:
        yield url


@pytest.fixture(scope="session")
def _sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server is not installed (apt-get install openssh-server)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with sshd(tmp_path_factory.mktemp("sshd"), port) as programs:
        yield programs


@pytest.fixture
def far(_sshd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a folder that is reached through ssh."""
    monkeypatch.setenv("PATH", f"{_sshd}:{os.environ['PATH']}")
    return f"ssh://far{tmp_path}/far"


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    # Nobody is asked for the credentials of the machine that runs the tests.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture
def bucket_url(s3: str) -> str:
    """The URL of a bucket that is empty."""
    name = f"bucket-{os.urandom(6).hex()}"
    make_bucket(s3, name)
    return f"s3://{name}/models"


@pytest.fixture
def proxy(s3: str) -> Iterator[Callable[[Plan], Proxy]]:
    """Start proxies in front of the server."""
    made: list[Proxy] = []

    def start(plan: Plan = lambda request: None) -> Proxy:
        made.append(Proxy(s3, plan))
        return made[-1]

    yield start
    for one in made:
        one.close()


Join = Callable[..., mvs.Repository]


@pytest.fixture
def join(tmp_path: Path, bucket_url: str, s3: str) -> Join:
    """Make a repository with the bucket as its remote, at an endpoint."""

    def joined(name: str, endpoint: str = s3, url: str = bucket_url, **options: object) -> mvs.Repository:
        repo = mvs.init(tmp_path / name)
        given = {"endpoint": endpoint, "region": "us-east-1", "timeout": PATIENCE, **options}
        repo.add_remote("origin", url, **given)  # type: ignore[arg-type]
        return repo

    return joined
