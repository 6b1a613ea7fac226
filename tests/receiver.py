"""A webhook of our own: it listens on a free loopback port and keeps what it is sent."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.real_prefect import until

SECRET = "planted-in-the-webhook"


@dataclass
class Receiver:
    """What arrived, in order."""

    port: int
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.host}/{SECRET}"

    def texts(self, holding: str = "") -> list[str]:
        """Every message as one text, of those that hold these words."""
        texts = ["\n".join(str(part) for part in message.values()) for message in self.messages]
        return [text for text in texts if holding in text]

    def told(self, words: str, within_s: float = 90.0) -> str:
        """The one message with these words; waits for it."""
        until(lambda: self.texts(words), within_s)
        (text,) = self.texts(words)
        return text


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that answers 200 to everything."""
    kept: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(kept.append))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Receiver(server.server_address[1], kept)
    finally:
        server.shutdown()
        server.server_close()


def _handler(keep: Callable[[dict[str, Any]], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keep(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    return Handler
