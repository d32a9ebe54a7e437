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


# --- whole trees of parts --------------------------------------------------------------------------------------------

_CHARSETS = [b"utf-8", b"iso-8859-1", b"us-ascii", b"\"UTF-8\"", b"x-unknown"]
_ENCODINGS = [b"7bit", b"8bit", b"base64", b"quoted-printable", b"BINARY", b"x-uuencode"]
_LEAVES = [b"plain text\n", b"", b"\n", b"one\n\ntwo", b"Z3LDvMOfZQ==\n", b"=C3=BC=\nx\n", b"--\n", b"--a\n",
           b"From x\n", b"Content-Type: text/html\n\nlooks like a header\n", b"tab\there\r\nand CR\n", b"nul\0in\n",
           b"\xe4\xf6\n", b"line\n" * 40]


def tree(random: Random, depth: int = 4) -> bytes:
    """A message of nested parts as mail programs make them, some of it left out or doubled."""
    lines = [b"From: " + address_list(random), b"Subject: " + random.choice(_TEXTS), b"MIME-Version: 1.0",
             b"Date: Tue, 14 Nov 2023 22:13:20 +0000"]
    random.shuffle(lines)
    return b"\n".join(lines[random.randint(0, 2):]) + b"\n" + _part(random, depth)


def _part(random: Random, depth: int) -> bytes:
    kind = random.random()
    if depth == 0 or kind < 0.35:
        return _leaf(random)
    if kind < 0.5:
        return b"Content-Type: message/rfc822" + random.choice([b"", b"; x=y", b"\nContent-Transfer-Encoding: 7bit"]) \
            + b"\n\n" + tree(random, depth - 1)
    boundary = random.choice([b"a", b"=_b", b"b c", b"x" * 70, b"--", b"b%d" % random.randint(0, 9)])
    named = b'"%b"' % boundary if random.random() < 0.8 or b" " in boundary else boundary
    subtype = random.choice([b"mixed", b"alternative", b"digest", b"related", b"signed; micalg=pgp-sha1", b"X-Own"])
    parts = [b"Content-Type: multipart/%b; boundary=%b%b\n\n" % (
        subtype, named, random.choice([b"", b"; charset=utf-8", b";\n\ttype=\"text/html\""]))]
    if random.random() < 0.3:
        parts.append(random.choice([b"preamble\n", b"This is MIME.\n\n", b"--" + boundary[:-1] + b"\n"]))
    for _ in range(random.choice([0, 1, 1, 2, 2, 3])):
        parts += [b"--", boundary, random.choice([b"\n", b"\n", b"\n", b" \n", b"\r\n", b"x\n"])]
        parts += [_part(random, depth - 1), random.choice([b"\n", b"\n", b""])]
    if random.random() < 0.85:
        parts += [b"--", boundary, b"--", random.choice([b"\n", b"", b" \n", b"-\n"])]
    if random.random() < 0.3:
        parts.append(random.choice([b"epilogue\n", b"\n", b"--" + boundary + b"\n\nafter the end\n"]))
    return b"".join(parts)


def _leaf(random: Random) -> bytes:
    lines = [b"Content-Type: " + random.choice(_TYPES)] if random.random() < 0.6 else []
    if random.random() < 0.4:
        lines = [b"Content-Type: text/plain; charset=" + random.choice(_CHARSETS)]
    lines += [random.choice(_FIELDS) for _ in range(random.randint(0, 2))]
    if random.random() < 0.4:
        lines.append(b"Content-Transfer-Encoding: " + random.choice(_ENCODINGS))
    random.shuffle(lines)
    end = random.choice([b"\n", b"\n", b"\n", b""])
    return b"".join([line + b"\n" for line in lines]) + end + random.choice(_LEAVES)


# --- damage ----------------------------------------------------------------------------------------------------------

_RUBBISH = [
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b":", b";", b'"', b"\\", b"(", b")", b"<", b">", b",", b"--", b"=",
    b"\xff", b"\xc3\xa4", b"=?utf-8?q?=C3=A4?=", b"\n\n", b"\n ", b"\nContent-Type: ", b"boundary=", b"; ", b"@",
    b"*0*="]


def mutated(random: Random) -> bytes:
    """One of the others with some octets or lines lost, doubled, moved or put in."""
    octets = random.choice([message, tree])(random)
    for _ in range(random.randint(1, 6)):
        at, to = sorted(random.randint(0, len(octets)) for _ in range(2))
        what = random.random()
        if what < 0.45:
            octets = octets[:at] + random.choice(_RUBBISH) + octets[at:]
        elif what < 0.6:
            octets = octets[:at] + octets[min(to, at + 20):]
        elif what < 0.7:
            octets = octets[:at]
        elif what < 0.8:
            octets = octets[:to] + octets[at:to] + octets[to:]
        else:
            lines = octets.split(b"\n")
            one, other = random.randrange(len(lines)), random.randrange(len(lines))
            lines[one], lines[other] = lines[other], lines[one]
            octets = b"\n".join(lines)
    return octets[:20_000]


KINDS = {"pieces": message, "trees": tree, "damaged": mutated}
