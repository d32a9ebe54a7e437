"""What the letters of postmap's and postalias' command line mean.

    options = Options.of(letters, settings)
"""

from typing import NamedTuple

DUPLICATES = {"r": "replace", "w": "ignore"}
NULS = {"N": True, "n": False}


class Options(NamedTuple):
    """nul: whether keys and values end in NUL, None for the usual (written with it, looked up with and without).
    duplicates: "warn", "ignore" or "replace"."""

    fold: bool = True               # not -f
    duplicates: str = "warn"        # -w, -r: the last one counts
    nul: bool | None = None         # -N, -n: the last one counts
    incremental: bool = False       # -i
    inherit_mode: bool = True       # not -p
    keep_root: bool = False         # -o
    utf8: bool = True               # not -u
    from_files: bool = False        # -F: values are names of files

    @classmethod
    def of(cls, letters: str, *, smtputf8: bool) -> "Options":
        """letters: as given, in order. smtputf8: smtputf8_enable."""
        last_duplicates = next((DUPLICATES[letter] for letter in reversed(letters) if letter in DUPLICATES), "warn")
        last_nul = next((NULS[letter] for letter in reversed(letters) if letter in NULS), None)
        # Text of messages is not UTF-8 unless -U says so.
        utf8 = smtputf8 and "u" not in letters and ("U" in letters or not set("hb") & set(letters))
        return cls(fold="f" not in letters, duplicates=last_duplicates, nul=last_nul, incremental="i" in letters,
                   inherit_mode="p" not in letters, keep_root="o" in letters, utf8=utf8, from_files="F" in letters)


def split_spec(spec: str) -> tuple[str, str]:
    """Type and name."""
    type, colon, name = spec.partition(":")
    return (type, name) if colon else ("hash", spec)
