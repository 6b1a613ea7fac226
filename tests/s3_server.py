"""A local S3 server for tests, with one bucket, and the environment that leads S3 clients to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import pytest

BUCKET = "market"


@dataclass(frozen=True)
class LocalS3:
    """One empty bucket."""

    client: Any

    def put(self, key: str, content: str | bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)


@contextmanager
def local_s3() -> Iterator[LocalS3]:
    """A server of this process on a free port; gone when the context is left."""
    boto3 = pytest.importorskip("boto3", reason="S3 is tested with moto and s3fs, of the extra dev")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        host, port = server.get_host_and_port()
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        reset = Request(f"http://{host}:{port}/moto-api/reset", method="POST")  # buckets outlive their server
        urlopen(reset).close()
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield LocalS3(client)
    s3fs.S3FileSystem.clear_instance_cache()  # it knows the server that is gone
    server.stop()
