"""A process that has imported what runs need and forks a process for each: the imports are paid once.

It imports and forks, nothing else. After one tensor operation with several threads, a forked process would wait for
threads that it does not have.
"""

import importlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from auxo.jobs import worker

_PROGRAM = "from auxo.jobs.fork_server import main; main()"
# What a run imports at its first optimiser and its first images.
_IMPORTED = ("torch._dynamo", "torch.utils.flop_counter", "torch.utils.tensorboard", "numpy.random", "PIL.Image")
_LONGEST = 64  # bytes of a message


def can_fork() -> bool:
    """Return whether this system forks processes and tells of their end without their number."""
    return sys.platform == "linux" and hasattr(os, "pidfd_open")


class ForkedProcess:
    """A process that a server forked, with as much of ``subprocess.Popen`` as is needed.

    Args:
        answers: what the server says of it: a handle on the process, then its exit code.
        stdin: the process's standard input.
        end_of_server: waits for the end of the server and returns its exit code.
    """

    def __init__(self, answers: socket.socket, stdin: int, end_of_server: Callable[[], int]) -> None:
        self.stdin = os.fdopen(stdin, "wb", buffering=0)
        self._answers, self._end_of_server = answers, end_of_server
        self._handle: int | None = None
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, the negative of a signal's number where one ended it; ``None`` while it works."""
        while self._code is None and select.select([self._answers], [], [], 0)[0]:
            self._read_answer()
        return self._code

    def wait(self) -> int:
        """Return the exit code when it has left."""
        while self._code is None:
            self._read_answer()
        return self._code

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, once the process is there and unless it has left."""
        while self._handle is None and self._code is None:
            self._read_answer()
        if self.poll() is None and self._handle is not None:
            with suppress(ProcessLookupError):  # it has left; the answer is on its way
                signal.pidfd_send_signal(self._handle, number)

    def _read_answer(self) -> None:
        """Take the next answer; where the server is gone, the process has to go, too."""
        said, handles, _, _ = socket.recv_fds(self._answers, _LONGEST, 1)
        if handles:
            self._handle = handles[0]
        elif said:
            self._leave(int(said))
        elif self._handle is None:
            self._leave(self._end_of_server() or 1)
        else:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            self._leave(-signal.SIGKILL)

    def _leave(self, code: int) -> None:
        """Keep the exit code and close what is open."""
        self._code = code
        self._answers.close()
        if self._handle is not None:
            os.close(self._handle)


class ForkServer:
    """Starts processes of :mod:`auxo.jobs.worker` that begin with everything imported.

    The server is started with the first of them, and anew where it is gone. Those that it forked end with it.

    Args:
        environment: variables of the processes.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    @property
    def number(self) -> int | None:
        """Process number of the server; ``None`` where there is none."""
        return None if self._process is None else self._process.pid

    def start_process(self, log: Path) -> ForkedProcess:
        """Start a process.

        Args:
            log: file that its output is appended to; that of the server, too, if it has to be started.

        Raises:
            OSError: the log cannot be written, or no process can be started.
        """
        with log.open("ab") as file:
            try:
                return self._fork_process(file)
            except BrokenPipeError:  # the server has died
                self.close()
                return self._fork_process(file)

    def _fork_process(self, log: BinaryIO) -> ForkedProcess:
        """Let the server fork a process."""
        server, requests = self._find_server(log)
        answers, their_answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        their_stdin, stdin = os.pipe()
        try:
            socket.send_fds(requests, [b"fork"], [their_answers.fileno(), their_stdin, log.fileno()])
        except OSError:
            answers.close()
            os.close(stdin)
            raise
        finally:
            their_answers.close()
            os.close(their_stdin)
        return ForkedProcess(answers, stdin, server.wait)

    def _find_server(self, log: BinaryIO) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Return the server, started if there is none, and the socket of its requests."""
        if self._process is None or self._requests is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                )
            self._requests = ours
        return self._process, self._requests

    def close(self) -> None:
        """Let the server leave and wait for it; a process that is still there is not waited for."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._process is not None:
            self._process.wait()
            self._process = None


def main() -> None:
    """Serve the socket whose number is the first argument; in a forked process, make the run."""
    for name in _IMPORTED:
        importlib.import_module(name)
    Image.init()
    if _Server(socket.socket(fileno=int(sys.argv[1]))).serve():
        worker.main()


class _Server:
    """The other side: forks a process for each request and tells of its end.

    Args:
        requests: each comes with a socket for the answers, a standard input and an output.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._children: dict[int, tuple[int, socket.socket]] = {}

    def serve(self) -> bool:
        """Work until the socket is closed; return whether this is a forked process, which has come out of it."""
        while True:
            requests = self._requests.fileno()
            ready, _, _ = select.select([requests, *self._children], [], [])
            for handle in self._children.keys() & ready:
                self._tell_end(handle)
            if requests in ready:
                said, descriptors, _, _ = socket.recv_fds(self._requests, _LONGEST, 3)
                if not said:
                    return False
                if self._fork(*descriptors):
                    return True

    def _fork(self, answers: int, stdin: int, output: int) -> bool:
        """Fork a process; return whether this is it."""
        told = socket.socket(fileno=answers)
        number = os.fork()
        if number == 0:
            os.setpgid(0, 0)  # Ctrl-C reaches only the process that decides what is to be done
            for place, descriptor in enumerate((stdin, output, output)):
                os.dup2(descriptor, place)
            # Sockets that are still open here would hide the end of the server.
            for other in (self._requests, told, *(answers for _, answers in self._children.values())):
                other.close()
            for descriptor in (stdin, output, *self._children):
                os.close(descriptor)
            return True
        handle = os.pidfd_open(number)
        self._children[handle] = number, told
        with suppress(BrokenPipeError):  # the one that asked is gone
            socket.send_fds(told, [b"started"], [handle])
        os.close(stdin)
        os.close(output)
        return False

    def _tell_end(self, handle: int) -> None:
        """Tell the exit code of a process that has left."""
        number, answers = self._children.pop(handle)
        code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
        with answers, suppress(BrokenPipeError):
            answers.send(str(code).encode())
        os.close(handle)
