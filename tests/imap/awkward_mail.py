"""Messages that are hard to search: charsets, encodings, structures, damage; the same ones each time."""

import base64
import quopri
from random import Random

PHRASES = (
    "needle in hay", "NEEDLE", "Ärger mit Straße", "İstanbul ılık", "ﬁne ligature", "ＡＢＣ１２３ full width",
    "café crème",
    "cafe\u0301 de\u0301compose\u0301", "日本語テキスト 検索", "Привет мир", "x\u00a0y\u2028z", "½ ℡ ㎏", "a",
    "Σίσυφος ΣΣΣ", "two  blanks", "tab\tbed", "line\r\nbreak", "=?utf-8?q?raw?=", "Content-Transfer-Encoding: base64",
    "--=_b1", "\u200bzero", "http://example.test/?q=1&r=2#x", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 \U0001f600", "ſtraße", "Å Å", "ǆ ǅ Ǆ",
    "one,two;three", "%s %d \\ \"quoted\"",
    "charset=utf-16", 'boundary="=_b1"')
CHARSETS = ("utf-8", "utf-8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16", "utf-7", "shift_jis", "iso-2022-jp",
            "cp037", "koi8-r", "gb2312", "hz", "no-such", "")
CODECS = {"no-such": "utf-8", "": "utf-8"}


def text_of(random: Random) -> str:
    lines = [" ".join(random.choices(PHRASES, k=random.randint(1, 4))) for _ in range(random.randint(1, 6))]
    return "\r\n".join(lines) + random.choice(("", "\r\n", "\r\n\r\n"))


def header_value(random: Random) -> bytes:
    text = random.choice(PHRASES).replace("\r\n", " ")
    match random.randint(0, 4):
        case 0:
            return text.encode("utf-8")
        case 1:
            return b"=?utf-8?B?" + base64.b64encode(text.encode()) + b"?="
        case 2:
            charset = random.choice(CHARSETS[:11])
            octets = text.encode(charset, "replace")
            return b"=?" + charset.encode() + b"?q?" + b"".join(b"=%02X" % octet for octet in octets) + b"?="
        case 3:
            cut = len(text) // 2
            return b"\r\n ".join(b"=?utf-8?b?" + base64.b64encode(half.encode()) + b"?="
                                 for half in (text[:cut], text[cut:]))
    return b"folded\r\n\t" + text.encode("utf-8") + b"\r\n  again"


def leaf(random: Random) -> bytes:
    """A part with its header."""
    charset = random.choice(CHARSETS)
    kind = random.choice(("text/plain", "text/plain", "text/html", "application/octet-stream", "text/x-odd", ""))
    text = text_of(random)
    if kind == "text/html":
        text = f"<html><p>{text}</p>&auml;</html>"
    octets = text.encode(CODECS.get(charset, charset), "replace")
    name, encoded = random.choice((
        (b"base64", base64.encodebytes(octets).replace(b"\n", b"\r\n")),
        (b"BASE64", base64.b64encode(octets)),
        (b"base64", b" " + base64.b64encode(octets)[:-3] + b"*!\r\nx"),
        (b"base64 ", base64.encodebytes(octets).replace(b"\n", b"\r\n\r\n")),
        (b"quoted-printable", quopri.encodestring(octets).replace(b"\n", b"\r\n")),
        (b"Quoted-Printable", b"".join(b"=%02X" % octet for octet in octets) + b"=\r\n"),
        (b"8bit", octets), (b"", octets), (b"x-unknown", octets), (b"binary", octets)))
    lines = [b"Subject: " + header_value(random)]
    if kind:
        label = random.choice((b"; charset=%b", b'; charset="%b"', b';\r\n charset="%b"', b"; charset*0=%b"))
        label %= charset.encode()
        lines.append(b"Content-Type: " + kind.encode() + (label if charset else b""))
    if name:
        lines.append(random.choice((b"Content-Transfer-Encoding: ", b"content-transfer-encoding:\r\n ",
                                    b"Content-Transfer-Encoding:")) + name)
    return b"\r\n".join(lines) + b"\r\n\r\n" + encoded


def part(random: Random, depth: int = 0) -> bytes:
    choice = random.random()
    if depth > 2 or choice < 0.5:
        return leaf(random)
    if choice < 0.6:
        return b"Content-Type: message/rfc822\r\n\r\n" + part(random, depth + 1)
    boundary = random.choice((b"=_b1", b"=_b2", b"bound ary", b"=_b1x"))
    inner = b"".join(b"\r\n--" + boundary + b"\r\n" + part(random, depth + 1) for _ in range(random.randint(1, 3)))
    end = random.choice((b"\r\n--" + boundary + b"--\r\n", b"\r\n--" + boundary + b"--\r\nepilogue needle", b""))
    return (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"" + boundary + b"\"\r\n\r\npreamble needle"
            + inner + end)


def message(seed: int) -> bytes:
    random = Random(seed)
    octets = (b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.test>\r\nX-Test: " + header_value(random) + b"\r\n"
              + part(random))
    match random.randint(0, 11):
        case 0:
            return octets[:random.randrange(len(octets))]
        case 1:
            return octets.replace(b"\r\n", b"\n")
        case 2:
            at = random.randrange(len(octets))
            return octets[:at] + random.randbytes(20) + octets[at:]
        case 3:
            return octets.replace(b"\r\n\r\n", b"\r\n", 1)
    return octets
