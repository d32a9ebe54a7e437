"""A milter that does as it is told: a double for tests, and the far end when real Postfix is recorded.

    with Milter({"replies": [{"at": "rcpt", "match": "bad@", "say": [["replycode", "550 5.7.1 no"]]}]}) as milter:
        ... milter.where ("inet:127.0.0.1:4321") ... milter.take()

What it is told, all optional:
    version actions steps     what it answers to the negotiation: the version, actions it will take, steps to leave out
    symbols                   {"connect": "j {client_addr}", ...}: the macros it asks for
    negotiate                 what it says instead, as in `say`
    replies                   the first that fits a command decides: {at, match, times, say}. at: a command's name;
                              match: a regular expression for its text; times: how often it holds
    say                       a list of replies, each a word or [word, arguments...]: continue accept reject tempfail
                              discard skip progress shutdown connfail, replycode TEXT, addheader NAME VALUE, insheader
                              INDEX NAME VALUE, chgheader INDEX NAME VALUE, chgfrom ADDRESS [PARAMETERS], addrcpt
                              ADDRESS, addrcpt_par ADDRESS PARAMETERS, delrcpt ADDRESS, replbody TEXT, quarantine
                              REASON; and faults: hang, close, raw HEX (octets as they are), sleep SECONDS
A command that the client said it wants no reply to gets none.
Only the standard library, and nothing of the milter client that it tests.
"""

import contextlib
import re
import socket
import struct
import threading
from typing import Any

COMMANDS = {"O": "negotiate", "D": "macros", "C": "connect", "H": "helo", "M": "mail", "R": "rcpt", "T": "data",
            "U": "unknown", "L": "header", "N": "eoh", "B": "body", "E": "eom", "A": "abort", "Q": "quit",
            "K": "quit_nc"}
WORDS = {"continue": "c", "accept": "a", "reject": "r", "tempfail": "t", "discard": "d", "skip": "s", "progress": "p",
         "shutdown": "4", "connfail": "f", "replycode": "y", "addheader": "h", "insheader": "i", "chgheader": "m",
         "chgfrom": "e", "addrcpt": "+", "addrcpt_par": "2", "delrcpt": "-", "replbody": "b", "quarantine": "q"}
NO_REPLY = {"connect": 0x1000, "helo": 0x2000, "mail": 0x4000, "rcpt": 0x8000, "data": 0x10000, "unknown": 0x20000,
            "header": 0x80, "eoh": 0x40000, "body": 0x80000}
STAGES = {"connect": 0, "helo": 1, "mail": 2, "rcpt": 3, "data": 4, "eom": 5, "eoh": 6}
WITHOUT_ANSWER = ("macros", "abort", "quit", "quit_nc")


class Milter:
    """Listens at once; a thread for each connection."""

    def __init__(self, told: dict[str, Any] | None = None, path: str = "") -> None:
        self.told = told or {}
        self._packets: list[tuple[int, str]] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._used: dict[int, int] = {}
        self._silent: dict[socket.socket, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.open: set[socket.socket] = set()
        if path:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(path)
            self.where = f"unix:{path}"
        else:
            self._socket = socket.socket()
            self._socket.bind(("127.0.0.1", 0))
            self.where = f"inet:127.0.0.1:{self._socket.getsockname()[1]}"
        self._socket.listen(20)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Milter":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            for peer in [self._socket, *self.open]:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def forget(self) -> None:
        """Rules count from anew."""
        self._used.clear()

    def take(self) -> list[str]:
        """The packets since the last call, a line each, one connection after the other."""
        with self._lock:
            taken, self._packets = self._packets, []
        return [line for _, line in sorted(taken, key=lambda one: one[0])]

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self.open.add(peer)
            threading.Thread(target=self._serve, args=(peer, self.connections), daemon=True).start()

    def _serve(self, peer: socket.socket, number: int) -> None:
        try:
            with peer, peer.makefile("rb") as octets:
                while len(head := octets.read(4)) == 4:
                    packet = octets.read(struct.unpack(">I", head)[0])
                    name = COMMANDS.get(chr(packet[0]), f"?{packet[0]}")
                    text = shown(name, packet[1:])
                    with self._lock:
                        self._packets.append((number, f"{name}: {text}" if text else name))
                        if name == "body":
                            self.bodies.append(packet[1:])
                    if not self._answer(peer, name, text, packet[1:]):
                        return
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self.open.discard(peer)

    def _answer(self, peer: socket.socket, name: str, text: str, body: bytes) -> bool:
        """False: the connection ends."""
        if name == "negotiate":
            return self._say(peer, self.told.get("negotiate") or [["raw", self._options(peer, body).hex()]])
        if name in WITHOUT_ANSWER:
            return name != "quit"
        if self._silent.get(peer, 0) & NO_REPLY.get(name, 0):
            return True
        for number, rule in enumerate(self.told.get("replies", ())):
            if rule["at"] == name and re.search(rule.get("match", ""), text):
                with self._lock:
                    self._used[number] = self._used.get(number, 0) + 1
                    if self._used[number] > rule.get("times", 1 << 30):
                        continue
                return self._say(peer, rule["say"])
        return self._say(peer, ["continue"])

    def _options(self, peer: socket.socket, theirs: bytes) -> bytes:
        version, actions, steps = struct.unpack(">III", theirs[:12])
        version = self.told.get("version", version)
        steps &= self.told.get("steps", 0)
        self._silent[peer] = steps
        body = b"O" + struct.pack(">III", version, self.told.get("actions", actions), steps)
        for stage, names in self.told.get("symbols", {}).items():
            body += struct.pack(">I", STAGES[stage]) + names.encode() + b"\0"
        return struct.pack(">I", len(body)) + body

    def _say(self, peer: socket.socket, replies: list[Any]) -> bool:
        for reply in replies:
            word, *arguments = [reply] if isinstance(reply, str) else reply
            if word == "hang":
                while peer.recv(4096):       # until the client gives up
                    pass
                return False
            if word == "close":
                return False
            if word == "sleep":
                self._stopped.wait(arguments[0])
            elif word == "raw":
                peer.sendall(bytes.fromhex(arguments[0]))
            else:
                body = WORDS[word].encode() + self._arguments(word, arguments)
                peer.sendall(struct.pack(">I", len(body)) + body)
        return True

    @staticmethod
    def _arguments(word: str, arguments: list[Any]) -> bytes:
        if word == "replbody":
            return str(arguments[0]).encode("utf-8", "surrogateescape")
        octets = b""
        for argument in arguments:
            octets += struct.pack(">I", argument) if isinstance(argument, int) else (
                argument.encode("utf-8", "surrogateescape") + b"\0")
        return octets


def shown(name: str, body: bytes) -> str:
    """A packet as a line of text."""
    if name == "negotiate":
        return "version={} actions={:#x} steps={:#x}".format(*struct.unpack(">III", body[:12]))
    if name == "macros":
        words = body[1:].decode("utf-8", "backslashreplace").split("\0")[:-1]
        pairs = " ".join(f"{key}={value}" for key, value in zip(words[::2], words[1::2], strict=True))
        return f"{COMMANDS.get(chr(body[0]), '?')} {pairs}".rstrip()
    if name == "connect":
        host, _, rest = body.partition(b"\0")
        text = f"{host.decode()} {chr(rest[0])}"
        return text + (f" {struct.unpack('>H', rest[1:3])[0]} {rest[3:-1].decode()}" if len(rest) > 1 else "")
    if name == "body":
        return f"{len(body)} octets" if len(body) > 200 else repr(body.decode("utf-8", "backslashreplace"))[1:-1]
    words = body.split(b"\0")
    if words[-1] == b"":
        words.pop()
    return " | ".join(repr(word.decode("utf-8", "backslashreplace"))[1:-1] for word in words)
