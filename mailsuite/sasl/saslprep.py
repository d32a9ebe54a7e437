"""SASLprep (RFC 4013, a profile of stringprep, RFC 3454): one form for names and passwords that look the same.

    saslprep("I\\u00adX") -> "IX"        raises ValueError for what the profile forbids

stored: whether the text is one that is kept (then characters that Unicode 3.2 does not have are refused).
"""

import stringprep
import unicodedata

_FORBIDDEN = (stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
              stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
              stringprep.in_table_c9)


def saslprep(text: str, *, stored: bool = False) -> str:
    """The prepared text."""
    if text.isascii():
        if any(char < " " or char == "\x7f" for char in text):
            raise ValueError("a control character")
        return text
    mapped = "".join(" " if stringprep.in_table_c12(char) else char for char in text
                     if not stringprep.in_table_b1(char))
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for char in prepared:
        if any(forbidden(char) for forbidden in _FORBIDDEN):
            raise ValueError(f"U+{ord(char):04X} is not allowed")
        if stored and stringprep.in_table_a1(char):
            raise ValueError(f"U+{ord(char):04X} is not assigned")
    # RFC 3454 section 6: text of both directions must not be mixed.
    if any(map(stringprep.in_table_d1, prepared)):
        if any(map(stringprep.in_table_d2, prepared)):
            raise ValueError("characters of both directions")
        if not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])):
            raise ValueError("right-to-left text with another character at its ends")
    return prepared
