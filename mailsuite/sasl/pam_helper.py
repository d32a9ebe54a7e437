"""Asks PAM, one question a line, in a process of its own: modules leak, block and are not made for threads.

Reads {"service", "user", "password", "rhost", "session", "setcred"}, answers {"code", "text", "shown"}; code is ok,
unknown, wrong, expired, disabled or failed. Ends with its input.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

# Linux-PAM's _pam_types.h
_CODES = {0: "ok", 7: "wrong", 10: "unknown", 6: "disabled", 12: "expired", 13: "expired", 27: "expired",
          11: "wrong", 8: "wrong", 16: "wrong"}


def ask(question: Mapping[str, Any]) -> dict[str, object]:
    """One authentication and account check."""
    from pam import PamAuthenticator

    authenticator = PamAuthenticator()
    good = authenticator.authenticate(
        question["user"], question["password"], service=question["service"],
        resetcreds=bool(question["setcred"]), call_end=not question["session"],
        env={"PAM_RHOST": question["rhost"]} if question["rhost"] else None)
    code, text = authenticator.code, str(authenticator.reason)
    if good and question["session"]:
        authenticator.open_session()
        authenticator.close_session()
        authenticator.end()
    answer = _CODES.get(code, "failed") if not good else "ok"
    return {"code": answer, "text": f"pam_authenticate() failed: {text}", "shown": text}


def main() -> None:
    for line in sys.stdin:
        try:
            answer = ask(json.loads(line))
        except Exception as error:
            answer = {"code": "failed", "text": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
