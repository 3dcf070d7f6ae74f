"""An object store of the tests' own: moto's S3, in a process on loopback, ended by its id."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A store asks it many hundred times a load: connections are kept, nothing is logged, and S3 alone is served.
_SERVER = """
import sys
from moto.server import create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple
class Kept(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_request(self, *_): pass
run_simple("127.0.0.1", int(sys.argv[1]), create_backend_app("s3"), threaded=True, request_handler=Kept)
"""


class Bucket:
    """A running server with one bucket, and the environment in which stores under `url` find it."""

    def __init__(self, port: int) -> None:
        self._host, self.url = f"http://127.0.0.1:{port}", "s3://logs"
        self.environment = {
            "AWS_ENDPOINT_URL": self._host, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing",
        }  # fmt: skip

    def put(self, path: str, content: bytes = b"") -> None:
        """Write one object; without a path, make the bucket."""
        kind = {"Content-Type": "application/octet-stream"}
        place = f"{self._host}/logs/{path}".rstrip("/")
        asked = urllib.request.Request(place, data=content, method="PUT", headers=kind)
        urllib.request.urlopen(asked, timeout=10).close()

    def upload(self, folder: Path, name: str) -> str:
        """Write a folder's files under a name; return its URL."""
        for path in (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"):
            self.put(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"{self.url}/{name}"


@contextmanager
def serving(folder: Path) -> Iterator[Bucket]:
    """Start a server; what it says is in a file of the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "bucket.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-c", _SERVER, str(port)], stdout=log, stderr=log, env=os.environ)
    try:
        yield _started(Bucket(port), server)
    finally:
        server.kill()
        server.wait()


def _started(bucket: Bucket, server: subprocess.Popen[bytes]) -> Bucket:
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        try:
            bucket.put("")
            return bucket
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the object store did not start")
