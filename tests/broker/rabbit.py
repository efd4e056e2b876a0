"""A broker of the tests' own: RabbitMQ in a private folder, on ports of its own, ended with all that it started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # where Debian's package puts it
STARTS_WITHIN = 60.0  # seconds


def is_installed() -> bool:
    return Path(PROGRAM).exists()


class Rabbit:
    """From `with` on until its end. `heartbeat` is what the broker offers, in seconds.

    Listens in the open, at `port`, and over TLS; `authority` is the file of who vouches for it.
    """

    def __init__(self, folder: Path, *, heartbeat: int = 10) -> None:
        self._folder = folder
        self.port, self._tls_port, self._distribution, self._mapper = _free_ports(4)
        self._node = f"mcimport{self.port}@localhost"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbit.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nheartbeat = {heartbeat}\nloopback_users = none\n"
            f"listeners.ssl.1 = 127.0.0.1:{self._tls_port}\n{self._certified()}"
            "log.console = false\nvm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
        )

    @property
    def address(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @property
    def tls_address(self) -> str:
        return f"amqps://guest:guest@localhost:{self._tls_port}//"

    @property
    def authority(self) -> Path:
        return self._folder / "ca.pem"

    @property
    def pid(self) -> int:
        """Of the broker's own process: what was started is a script before it."""
        return int((self._folder / "pid").read_text())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._end_mapper()

    def start(self) -> None:
        with (self._folder / "out.txt").open("ab") as out:
            self._process = subprocess.Popen(
                [PROGRAM], env=self._environment(), stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + STARTS_WITHIN
        while not _answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("RabbitMQ did not start:\n" + (self._folder / "out.txt").read_text())
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.1)

    def stop(self) -> None:
        """As a machine that is shut down does it: what is durable stays."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()
            self._process = None

    def _certified(self) -> str:
        authority = trustme.CA()
        ours = authority.issue_cert("localhost")
        authority.cert_pem.write_to_path(str(self.authority))
        ours.private_key_and_cert_chain_pem.write_to_path(str(self._folder / "broker.pem"))
        return (
            f"ssl_options.cacertfile = {self.authority}\nssl_options.certfile = {self._folder / 'broker.pem'}\n"
            f"ssl_options.keyfile = {self._folder / 'broker.pem'}\nssl_options.verify = verify_none\n"
        )

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbit"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def _end_mapper(self) -> None:
        """Erlang's port mapper was started by the node, and stays behind: ours is the one on our port."""
        epmd = shutil.which("epmd")
        if epmd is not None:
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [epmd, "-port", str(self._mapper), "-kill"], capture_output=True, timeout=10, check=False
                )


def _free_ports(many: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(many)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(port: int) -> bool:
    """Greets as AMQP does: a port that is open is no broker yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as line:
            line.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(line.recv(1))
    except OSError:
        return False
