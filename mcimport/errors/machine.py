"""Errors of Python and the operating system as mcimport's own, and what a machine lacks, or limits for a process.

What is the machine's fault never becomes a member's dead letter; no message holds anything of a member.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TypeVar

from mcimport.errors import ConfigError, MachineError, McimportError, UnforeseenError

T = TypeVar("T")

FILES_A_CLIENT = 52  # descriptors that one client holds at most: 10 and 36 connections, the state file, locks
FILES_OF_OURS = 32  # of the process itself
ENOUGH_FILES = 65_536  # more is never needed
_NO_MORE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT})
_HERE = Path(__file__).parents[1]  # where the package is


def as_ours(error: Exception) -> McimportError:
    """Returns the error if it is mcimport's own, else one that names its type and place, but never its words."""
    if isinstance(error, McimportError):
        return error
    if isinstance(error, MemoryError):
        return MachineError("this machine has run out of memory")
    if isinstance(error, ImportError):
        return MachineError(
            f"a module of mcimport, or of one of its libraries, can no longer be loaded ({error.name or 'unknown'})",
            hint="Was mcimport upgraded while it was running? The next run resumes.",
        )
    if isinstance(error, OSError):
        return MachineError(f"the operating system reported an error: {os.strerror(error.errno or 0)}")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return MachineError("this machine lets mcimport start no more threads", hint="`ulimit -u` shows the limit.")
    return UnforeseenError(f"unexpected error in mcimport: {type(error).__name__}, {_place(error)}")


def check_files_left() -> None:
    """Raises MachineError where this process can open no more files: then no service is the cause of a failure."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        if error.errno in _NO_MORE:
            raise MachineError(
                "this machine lets mcimport open no more files",
                hint="`ulimit -n` shows the limit; each client that runs at the same time (`--jobs`) needs 52.",
            ) from None
        raise


def require_extra(feature: str, extra: str, *modules: str) -> None:
    """Raises ConfigError, with what to install in its hint, where a module of the extra is missing."""
    if any(find_spec(module) is None for module in modules):
        raise ConfigError(
            f"{feature} needs the {extra} extra, which is not installed",
            hint=f"In mcimport's source folder: {pip()} install --constraint constraints.txt '.[{extra}]'",
        )


def pip() -> str:
    """Returns the command that installs packages where this program runs: another pip would install them elsewhere."""
    program = Path(sys.prefix, "bin", "pip")
    return shlex.quote(str(program)) if program.exists() else f"{shlex.quote(sys.executable)} -m pip"


def raise_file_limit() -> None:
    """Raises the soft limit of open files to the hard one: as many as the machine allows without asking."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - there is none on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def affordable(jobs: int) -> int:
    """Returns how many clients may run at a time, by the open files allowed: at least one, at most `jobs`."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - as above

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            return max(1, min(jobs, (soft - FILES_OF_OURS) // FILES_A_CLIENT))
    return jobs


@contextmanager
def beside(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Does the work in a thread of its own beside the block; what is yielded waits for its result.

    Where the block ends with an error, nothing waits for the work. Where this machine gives no more threads, it is done
    here and now.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="beside")
    try:
        yield submit(pool, work).result
    finally:
        pool.shutdown(wait=False)


def submit(pool: ThreadPoolExecutor, work: Callable[[], T]) -> Future[T]:
    """Does the work in a thread of the pool or, where this machine gives no more threads, here and now.

    A pool that gets no thread keeps the work all the same, and may come to it after all: it is done once. Where the
    pool is shut down with what it has not begun, the future is cancelled.
    """
    future, taken = Future[T](), Lock()

    def once() -> None:
        if not taken.acquire(blocking=False) or not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    def end(in_pool: Future[None]) -> None:
        if in_pool.cancelled() and future.cancel():
            future.set_running_or_notify_cancel()  # wakes who waits for it

    try:
        pool.submit(once).add_done_callback(end)
    except RuntimeError:
        once()
    return future


def _place(error: Exception) -> str:
    """Names the place in our own code where it happened."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(_HERE)]
    return f"{Path(ours[-1].filename).relative_to(_HERE)} line {ours[-1].lineno}" if ours else "outside its code"
