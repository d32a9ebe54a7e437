"""Running a command with a message on its standard input: in a worker, with its owner's rights.

    answer = await pool.ask(identity, ask_command("cat >x", env=..., cwd=..., copy=..., ...), [queue_fd])
    ended = ended_of(answer)                                            deliver/exits.py judges it

A command without characters that mean something to a shell, and whose first word is no shell built-in, is executed
directly. A command that does not read its input is not at fault for that. Its whole process group is killed when it
takes longer than `time_limit_s`. Of its output (standard output and error) `output_limit` octets are kept.
"""

import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mailsuite.deliver.exits import Ended
from mailsuite.deliver.mailbox import handle as handle_file
from mailsuite.store.delivery import DeliveryFailed, quote_from, read_blocks

_PLAIN = frozenset("1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]")
_BUILT_IN = frozenset((
    ".", ":", "alias", "bg", "break", "case", "cd", "chdir", "command", "continue", "echo", "eval", "exec", "exit",
    "export", "false", "fg", "fi", "for", "getopts", "hash", "if", "jobs", "kill", "local", "printf", "pwd", "read",
    "readonly", "return", "set", "shift", "test", "times", "trap", "true", "type", "ulimit", "umask", "unalias",
    "unset", "until", "wait", "while",
))


def ask_command(command: str | list[str], *, env: Mapping[str, str], cwd: str, head: bytes, offset: int, size: int,
                time_limit_s: int, output_limit: int, eol: str = "\n", quote: bool = False, dots: bool = False,
                blank: bool = False, shell: str = "", program: str = "local", file_limit: int = 0) -> dict[str, Any]:
    """Run command; the queue file is the descriptor.

    command: an argument list, or a text for the shell rules above. head: what goes in front of the message. quote: ">"
    before "From ". dots: double a dot that begins a line. blank: an empty line at the end.
    shell: local_command_shell, put in front of the command. program: who says that a command is not there.
    file_limit: octets of the largest file that the command may write, 0: no limit.
    """
    return {"op": "command", "command": command, "env": dict(env), "cwd": cwd,
            "head": head.decode("utf-8", "surrogateescape"), "offset": offset, "size": size, "limit": time_limit_s,
            "output": output_limit, "eol": eol, "quote": quote, "dots": dots, "blank": blank, "shell": shell,
            "program": program, "file_limit": file_limit}


def ended_of(answer: Mapping[str, Any]) -> Ended:
    """What the worker said of the command's end."""
    return Ended(answer["exit"], answer["signal"], answer["timeout"], answer["output"], answer.get("fatal", ""))


def handle(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any]:
    """The worker's function for commands, and for files."""
    if message["op"] != "command":
        return handle_file(message, fds)
    try:
        ended = _run(message, fds[0])
    except DeliveryFailed as failure:
        return {"ok": False, "status": failure.status, "reason": failure.public, "errno": failure.error}
    return {"ok": True, "exit": ended.exit, "signal": ended.signal, "timeout": ended.timeout, "output": ended.output,
            "fatal": ended.fatal}


def arguments(command: str, shell: str = "") -> list[str]:
    """The argument list for a command line: direct where possible, else /bin/sh -c."""
    if shell:
        return [*shell.split(), command]
    words = command.split()
    if words and set(command) <= _PLAIN and words[0] not in _BUILT_IN and "=" not in words[0]:
        return words
    return ["sh", "-c", command]


def _run(message: Mapping[str, Any], fd: int) -> Ended:
    command = message["command"]
    argv = arguments(command, message["shell"]) if isinstance(command, str) else list(command)
    path = message["env"].get("PATH", "/usr/bin:/bin")
    if isinstance(command, str) and argv[0] != "sh" and "/" not in argv[0] and not shutil.which(argv[0], path=path):
        argv = ["sh", "-c", command]        # perhaps it knows the word
    try:
        with _file_limit(message["file_limit"]):
            process = subprocess.Popen(
                argv, executable="/bin/sh" if argv[0] == "sh" else None, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=message["env"], cwd=message["cwd"] or "/",
                start_new_session=True, bufsize=0, restore_signals=False)
    except OSError as error:
        return _not_started(message, argv[0], error)
    except ValueError as error:             # a NUL in an argument
        raise DeliveryFailed("bad command", status="5.3.5") from error
    try:
        return _feed(process, _content(message, fd), message["limit"], message["output"])
    finally:
        # What the command left running keeps neither our pipe nor this worker; it is not killed when all went well.
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        if process.returncode is None:
            _kill(process)
            process.wait()


def _not_started(message: Mapping[str, Any], program: str, error: OSError) -> Ended:
    """The end of a command that could not be run: temporary, since the administrator can mend it."""
    why = os.strerror(error.errno or 0)
    if error.filename == message["cwd"] and error.filename != program:
        return Ended(exit=75, fatal=f"cannot change directory to \"{message['cwd']}\" for uid={os.geteuid()} "
                                    f"gid={os.getegid()}: {why}")
    direct = isinstance(message["command"], str) and not message["shell"]
    fatal = f"{'' if direct else 'pipe_command: '}execvp {program}: {why}"
    return Ended(exit=75, output=f"{message['program']}: fatal: {fatal}\n", fatal=fatal)


@contextmanager
def _file_limit(octets: int) -> Iterator[None]:
    """What is started meanwhile can write no file that is larger; our own log may be."""
    if not octets:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _content(message: Mapping[str, Any], fd: int) -> Iterator[bytes]:
    """The whole input, ready made, in blocks."""
    eol = message["eol"].encode()
    blocks: Iterable[bytes] = read_blocks(fd, message["offset"], message["size"])
    if message["quote"]:
        blocks = quote_from(blocks)
    if message["dots"]:
        blocks = _double_dots(blocks)
    last = b""
    head = message["head"].encode("utf-8", "surrogateescape")
    for block in (head, *()) if head else ():
        yield block.replace(b"\n", eol) if eol != b"\n" else block
        last = b"\n"
    for block in blocks:
        if block:
            last = block[-1:]
            yield block.replace(b"\n", eol) if eol != b"\n" else block
    if last != b"\n":
        yield eol
    if message["blank"]:
        yield eol


def _double_dots(blocks: Iterable[bytes]) -> Iterator[bytes]:
    start = True
    for block in blocks:
        if not block:
            continue
        out = block.replace(b"\n.", b"\n..")
        yield b"." + out if start and out[:1] == b"." else out
        start = block.endswith(b"\n")


def _feed(process: "subprocess.Popen[bytes]", content: Iterator[bytes], limit_s: float, output_limit: int) -> Ended:
    """Write and read until the command closed its output and ended."""
    assert process.stdin is not None and process.stdout is not None
    end = time.monotonic() + limit_s
    output = bytearray()
    pending = b""
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.get_map():
            left = end - time.monotonic()
            if left <= 0:
                return _timed_out(process, output)
            for key, _ in selector.select(min(left, 0.5)):
                if key.fileobj is process.stdout:
                    block = os.read(process.stdout.fileno(), 65536)
                    output += block[:max(0, output_limit - len(output))]
                    if not block:
                        selector.unregister(process.stdout)
                else:
                    pending = pending or next(content, b"")
                    try:
                        pending = pending[os.write(process.stdin.fileno(), pending):] if pending else b""
                        finished = not pending and not (pending := next(content, b""))
                    except BlockingIOError:
                        finished = False
                    except BrokenPipeError:
                        finished = True         # it does not want more; its exit status says what that means
                    if finished:
                        selector.unregister(process.stdin)
                        process.stdin.close()
            if process.poll() is not None and process.stdout in {k.fileobj for k in selector.get_map().values()}:
                # The command ended but something it started holds its output open: take what is there.
                _drain(process, output, output_limit)
                break
    try:
        status = process.wait(max(0.01, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return _timed_out(process, output)
    return Ended(exit=max(0, status), signal=max(0, -status), output=_text(output))


def _text(output: bytes | bytearray) -> str:
    """Output as a log line and a bounce may show it: up to a NUL, "_" for what is neither text nor a line end."""
    text = bytes(output).partition(b"\0")[0].decode("utf-8", "replace")
    return _UNPRINTABLE.sub("_", text)


def _drain(process: "subprocess.Popen[bytes]", output: bytearray, limit: int) -> None:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    try:
        while block := os.read(process.stdout.fileno(), 65536):
            output += block[:max(0, limit - len(output))]
    except BlockingIOError:
        pass


def _timed_out(process: "subprocess.Popen[bytes]", output: bytearray) -> Ended:
    _kill(process)
    process.wait()
    return Ended(timeout=True, output=_text(output))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
