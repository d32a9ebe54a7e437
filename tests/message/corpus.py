"""Messages as awkward as they come, made from a seed: for the comparisons with Dovecot and with Python's email."""

from collections.abc import Sequence
from random import Random

ADDRESSES: Sequence[bytes] = [
    b"a@b.test", b"<a@b.test>", b"Foo Bar <a@b.test>", b'"Foo" <a@b.test>', b'"Fo\\"o" <a@b.test>',
    b"a@b.test (comment)",
    b"(pre) Foo <a@b.test> (post)", b"group:;", b"group: a@b.test, c@d.test;", b"g:a@b.test;, x@y.test", b"Foo Bar",
    b"Foo", b"<@r1.test,@r2.test:a@b.test>", b"<a@>", b"@b", b"a@", b"a b@c", b"a.b@c.d", b'"a b"@c', b"a@[192.0.2.1]",
    b"<a@b", b"Foo <a@b> x", b",,a@b,,c@d,", b"a@b;c@d", b"Foo \"quoted part\" Bar <a@b>", b"=?utf-8?q?x?= <a@b>",
    b"J\xfcrgen <a@b>", b"<a@b@c>", b"Foo.Bar <a@b>", b"", b"()", b"<>", b"Foo <>", b"undisclosed-recipients: ;",
    b"a@b,\n\tc@d", b"a@b, group: c@d;, e@f", b"\"\" <a@b>", b"g: Foo <a@b>, (c) d@e (f);", b"mailto:a@b", b"<a . b@c>",
    b"a .b@c", b"a. b@c", b'"a" "b"@c', b"a (x)", b"Foo\"x\"<a@b>", b"a@b.", b"Foo <a@b>, ", b"\\", b"<", b"@",
    b":", b";"]
_TYPES = [
    b"text/plain", b"TEXT/HTML; charset=utf-8", b"text/plain; charset=US-ASCII", b"multipart/mixed; boundary=a",
    b"multipart/mixed; boundary=\"ab\"", b"multipart/digest; boundary=c", b"Multipart/Alternative; boundary=ac; x=y",
    b"message/rfc822", b"MESSAGE/RFC822; x=y", b"message/global", b"image/png; name=\"a b\"", b"bogus", b"text",
    b"text/", b"", b"application/x; a*=utf-8''x%41; b*0=c; b*1=d", b"text/plain; charset=\"\"",
    b"image/PNG; NAME=a; b; c=d e; f=g",
    b"multipart/related;\n boundary=a;\n type=\"text/html\""]
_FIELDS = [
    b"Content-Disposition: attachment; filename=x", b"Content-Disposition: INLINE",
    b"Content-Transfer-Encoding: base64",
    b"Content-Transfer-Encoding: Quoted-Printable (c)", b"Content-ID: <x@y>", b"Content-Language: de, en",
    b"Content-Location: foo", b"Content-MD5: abc", b"Content-Description: some text", b"MIME-Version: 1.0",
    b"X: y\n z", b"noheader"]
_TEXTS = [b"plain", b'with "q"', b"back\\slash", b"8\xe4bit", b"x" * 100, b"  two lead", b"", b" ", b"a\n b",
          b"trail  ",
          b"a\rb", b"tab\there", b'""""""""', b"nul\0in", b"a\n \n b", b"\n b"]
_BOUNDARIES = [b"a", b"ab", b"c", b"ac", b"a--", b"ab--", b"c--", b"ac--", b"abc"]


def address_list(random: Random) -> bytes:
    return b", ".join(random.choice(ADDRESSES) for _ in range(random.randint(1, 3)))


def message(random: Random) -> bytes:
    """A header with addresses and texts, and parts that may be anything."""
    lines = [name + b": " + address_list(random) for name in (b"From", b"To", b"Cc") if random.random() < 0.6]
    lines += [name + b": " + random.choice(_TEXTS) for name in (b"Subject", b"Date", b"Message-ID", b"In-Reply-To")
              if random.random() < 0.5]
    lines.append(b"Content-Type: " + random.choice(_TYPES))
    lines += [random.choice(_FIELDS) for _ in range(random.randint(0, 3))]
    lines.append(b"")
    for _ in range(random.randint(0, 14)):
        kind = random.randint(0, 9)
        if kind < 3:
            lines.append(b"Content-Type: " + random.choice(_TYPES))
        elif kind < 5:
            lines.append(random.choice(_FIELDS))
        elif kind < 6:
            lines.append(b"")
        elif kind < 9:
            lines.append(b"--" + random.choice(_BOUNDARIES))
        else:
            lines.append(random.choice([b"body", b"two\nlines", b"--", b" x"]))
        if random.random() < 0.2:
            lines.append(b"")
    return b"\n".join(lines) + (b"\n" if random.random() < 0.7 else b"")
