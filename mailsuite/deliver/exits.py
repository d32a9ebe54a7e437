"""What a command's end means for the mail: sysexits.h, and an enhanced status code at the start of its output.

    judge(Ended(exit=67, output="no such user"), "/usr/bin/filter")
        Verdict("bounced", "5.1.1", "user unknown. Command output: no such user", "x-unix; no such user")
"""

import re
from dataclasses import dataclass, replace

from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT

_DETAIL = {64: ("5.3.0", "command line usage error"), 65: ("5.6.0", "data format error"),
           66: ("5.3.0", "cannot open input"), 67: ("5.1.1", "user unknown"), 68: ("5.1.2", "host name unknown"),
           69: ("5.3.0", "service unavailable"), 70: ("5.3.0", "internal software error"),
           71: ("4.3.0", "system resource problem"), 72: ("5.3.0", "critical OS file missing"),
           73: ("5.2.0", "can't create user output file"), 74: ("5.3.0", "input/output error"),
           75: ("4.3.0", "temporary failure"), 76: ("5.5.0", "remote error in protocol"),
           77: ("5.7.0", "permission denied"), 78: ("5.3.5", "local configuration error")}
NO_CODE = "5.0.0"
_CODED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?!\S)\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. exit: its status; signal: what killed it; timeout: we did. fatal: why it did not start."""

    exit: int = 0
    signal: int = 0
    timeout: bool = False
    output: str = ""
    fatal: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """status: sent, deferred, bounced. reason: with the output as it came; diagnostic: for the report.

    ignored: a code that the command gave and that does not fit its failure.
    """

    status: str
    dsn: str
    reason: str
    diagnostic: str = ""
    ignored: str = ""


def judge(ended: Ended, command: str) -> Verdict:
    """What the end of `command` means. Verdict.reason is the bare output when all went well."""
    output = ended.output
    told = f". Command output: {output}" if output else ""
    if ended.timeout:
        return _verdict("5.3.0", f'Command time limit exceeded: "{command}"{told}', output or "internal software error")
    if ended.signal:
        return _verdict("4.3.0", f'Command died with signal {ended.signal}: "{command}"{told}', output)
    if ended.exit == 0:
        return Verdict(SENT, "2.0.0", output)
    coded = _CODED.match(output)
    if coded is not None:
        if coded[1][0] == "2":          # a success code does not make a success of a failure
            return replace(_verdict(NO_CODE, coded[2], coded[2]), ignored=coded[1])
        return _verdict(coded[1], coded[2], coded[2])
    if ended.exit in _DETAIL:
        dsn, text = _DETAIL[ended.exit]
        return _verdict(dsn, text + told, output or text)
    return _verdict("5.3.0", f'Command died with status {ended.exit}: "{command}"{told}',
                    output or f"unknown mail system error {ended.exit}")


def _verdict(dsn: str, reason: str, diagnostic: str) -> Verdict:
    told = one_line(diagnostic)
    return Verdict(DEFERRED if dsn[0] == "4" else BOUNCED, dsn, reason, f"x-unix; {told}" if told else "")


def one_line(text: str) -> str:
    """Output as one line of a notice: line ends and tabs become blanks, and none stand around it."""
    return re.sub(r"\s", " ", text).strip()
