"""Results for people: the methods of an Authentication-Results header, the log line, Received-SPF.

    methods_of(spf, dkim, arc, dmarc) -> list[Method]       RFC 8601 section 2.7
    received_spf(result, ...) -> "pass (mx.test: ...) client-ip=192.0.2.1; ..."        RFC 7208 section 9.1
"""

from collections.abc import Sequence

from mailsuite.address.syntax import quote_local
from mailsuite.auth_results.arc import ArcResult
from mailsuite.auth_results.dkim import DkimResult
from mailsuite.auth_results.dmarc import DmarcResult
from mailsuite.auth_results.header import Method
from mailsuite.auth_results.spf import SpfResult
from mailsuite.base.log import logger

log = logger("cleanup")


def methods_of(spf: SpfResult | None, dkim: Sequence[DkimResult] | None, arc: ArcResult | None,
               dmarc: DmarcResult | None, *, sender: str = "", helo: str = "",
               overridden: bool = False) -> list[Method]:
    """What was asked, in the order of the header."""
    methods = [] if spf is None else [_spf(spf, sender, helo)]
    if dkim is not None:
        methods += [_dkim(one) for one in dkim] or [Method("dkim", "none")]
    if dmarc is not None:
        methods.append(_dmarc(dmarc, overridden=overridden))
    if arc is not None:
        sealer = arc.sealers[-1] if arc.sealers else ""
        oldest = [("header.oldest-pass", str(arc.oldest_pass))] if arc.result == "pass" else []
        methods.append(Method("arc", arc.result, arc.reason, f"i={arc.sets}" if arc.sets else "",
                              [("header.d", sealer), *oldest]))
    return methods


def _spf(spf: SpfResult, sender: str, helo: str) -> Method:
    about = ("smtp.mailfrom", quote_local(sender)) if sender else ("smtp.helo", helo or spf.domain)
    return Method("spf", spf.result, spf.problem, properties=[about])


def _dkim(one: DkimResult) -> Method:
    bits = f"{one.key_bits}-bit key" if one.key_bits else ""
    return Method("dkim", one.result, one.reason, bits,
                  [("header.d", one.domain), ("header.i", one.identity), ("header.s", one.selector),
                   ("header.a", one.algorithm), ("header.b", one.start)])


def _dmarc(dmarc: DmarcResult, *, overridden: bool) -> Method:
    record = dmarc.record
    comment = ""
    if dmarc.policy:
        done = "none" if overridden or dmarc.result != "fail" else dmarc.disposition
        comment = f"p={record.policy if record else dmarc.policy} dis={done}"
    reason = "vouched for by a trusted ARC chain" if overridden else dmarc.reason
    return Method("dmarc", dmarc.result, reason, comment, [("header.from", dmarc.domain)])


def log_results(queue_id: str, spf: SpfResult | None, dkim: Sequence[DkimResult] | None, arc: ArcResult | None,
                dmarc: DmarcResult | None) -> None:
    """One line: who vouches for the message. The reporting addresses are shown for mail that fails DMARC."""
    words = []
    if spf is not None:
        words.append(f"spf={spf.result} domain={spf.domain}" + (f" ({spf.problem})" if spf.problem else ""))
    for one in dkim or ():
        words.append(f"dkim={one.result} d={one.domain} s={one.selector}" + (f" ({one.reason})" if one.reason else ""))
    if arc is not None and arc.result != "none":
        words.append(f"arc={arc.result}" + (f" ({arc.reason})" if arc.reason else ""))
    if dmarc is not None:
        text = f"dmarc={dmarc.result} from={dmarc.domain}"
        if dmarc.record is not None:
            text += f" policy={dmarc.policy} disposition={dmarc.disposition}"
            if dmarc.result == "fail":
                text += f" rua={','.join(dmarc.record.aggregate) or '-'} ruf={','.join(dmarc.record.failures) or '-'}"
        words.append(text + (f" ({dmarc.reason})" if dmarc.reason else ""))
    log.info("%s: authentication: %s", queue_id, "; ".join(words) or "nothing was asked")


_SAID = {
    "pass": "domain of {0} designates {1} as permitted sender",
    "fail": "domain of {0} does not designate {1} as permitted sender",
    "softfail": "transitioning domain of {0} does not designate {1} as permitted sender",
    "neutral": "{1} is neither permitted nor denied by domain of {0}",
    "none": "domain of {0} does not provide an SPF record",
    "temperror": "error in processing during lookup of {0}",
    "permerror": "domain of {0} uses a record that is not correctly interpreted",
}


def received_spf(result: SpfResult, receiver: str, address: str, sender: str, helo: str) -> str:
    """The value of a Received-SPF header."""
    who = quote_local(sender) or helo
    comment = "".join(char if char.isprintable() and char not in "()\\" else "?"
                      for char in _SAID[result.result].format(who, address))
    pairs = {"client-ip": address, "envelope-from": sender and quote_local(sender), "helo": helo,
             "receiver": receiver, "identity": result.identity, "mechanism": result.mechanism,
             "problem": result.problem}
    said = [f"{name}={_pair(value)}" for name, value in pairs.items() if value]
    return f"{result.result} ({receiver}: {comment})\n\t" + ";\n\t".join(said)


def _pair(text: str) -> str:
    if text and all(char.isascii() and (char.isalnum() or char in "-._:") for char in text):
        return text
    clean = "".join(char if char.isprintable() else "?" for char in text[:320])
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
