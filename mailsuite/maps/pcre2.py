"""The system's PCRE2 library, for patterns that RE2 does not know.

    regex = Pcre2("^(a+)\\1$", {"i", "s"})         raises ValueError with PCRE's words; Missing without the library
    regex.groups(b"aa") -> [b"aa", b"a"] | None

It is what Postfix uses, and nearly every Linux has it (libselinux needs it). Its match limit bounds the time of one
match: a pattern that a hostile key drives into endless backtracking counts as not found.
"""

import ctypes
from functools import lru_cache

MATCH_LIMIT = 1_000_000         # steps of one match, some tens of milliseconds
_OPTIONS = {"i": 0x8, "E": 0x10, "s": 0x20, "x": 0x80, "m": 0x400, "U": 0x40000, "A": 0x80000000}
_CAPTURE_COUNT = 4              # PCRE2_INFO_CAPTURECOUNT
_UNSET = ctypes.c_size_t(-1).value
_size, _void = ctypes.c_size_t, ctypes.c_void_p


class Missing(Exception):
    """There is no PCRE2 library on this system."""


class LimitReached(Exception):
    """A match was given up; the text is for the log."""


# Results of pcre2_match that say so: PCRE2_ERROR_MATCHLIMIT, _DEPTHLIMIT, _HEAPLIMIT, _JIT_STACKLIMIT, _RECURSELOOP.
_GIVEN_UP = {-47: "backtracking limit exceeded", -53: "backtracking limit exceeded", -63: "backtracking limit exceeded",
             -46: "backtracking limit exceeded", -52: "nested recursion at the same subject position"}


@lru_cache(maxsize=1)
def _library() -> "ctypes.CDLL | None":
    for name in ("libpcre2-8.so.0", "libpcre2-8.so", "libpcre2-8.dylib"):
        try:
            library = ctypes.CDLL(name)
            library.pcre2_compile_8.restype = _void
            library.pcre2_compile_8.argtypes = [ctypes.c_char_p, _size, ctypes.c_uint32,
                                                ctypes.POINTER(ctypes.c_int), ctypes.POINTER(_size), _void]
            library.pcre2_match_data_create_from_pattern_8.restype = _void
            library.pcre2_match_data_create_from_pattern_8.argtypes = [_void, _void]
            library.pcre2_match_8.argtypes = [_void, ctypes.c_char_p, _size, _size, ctypes.c_uint32, _void, _void]
            library.pcre2_get_ovector_pointer_8.restype = ctypes.POINTER(_size)
            library.pcre2_get_ovector_pointer_8.argtypes = [_void]
            library.pcre2_pattern_info_8.argtypes = [_void, ctypes.c_uint32, _void]
            library.pcre2_get_error_message_8.argtypes = [ctypes.c_int, ctypes.c_char_p, _size]
            library.pcre2_match_context_create_8.restype = _void
            library.pcre2_match_context_create_8.argtypes = [_void]
            library.pcre2_set_match_limit_8.argtypes = [_void, ctypes.c_uint32]
            for free in (library.pcre2_code_free_8, library.pcre2_match_data_free_8,
                         library.pcre2_match_context_free_8):
                free.argtypes, free.restype = [_void], None
        except (OSError, AttributeError):
            continue
        return library
    return None


class Pcre2:
    """One compiled pattern. flags: the letters of pcre_table(5) that are in force."""

    _code = _data = _context = None

    def __init__(self, text: str, flags: set[str]) -> None:
        library = _library()
        if library is None:
            raise Missing
        self._library = library
        octets = text.encode("utf-8", "surrogateescape")
        options = sum(_OPTIONS.get(flag, 0) for flag in flags)
        error, offset = ctypes.c_int(), _size()
        self._code = library.pcre2_compile_8(octets, len(octets), options, ctypes.byref(error), ctypes.byref(offset),
                                             None)
        if not self._code:
            words = ctypes.create_string_buffer(256)
            library.pcre2_get_error_message_8(error.value, words, 256)
            raise ValueError(f"error in regex at offset {offset.value}: {words.value.decode('ascii', 'replace')}")
        self._data = library.pcre2_match_data_create_from_pattern_8(self._code, None)
        self._context = library.pcre2_match_context_create_8(None)
        if not self._data or not self._context:
            raise MemoryError
        library.pcre2_set_match_limit_8(self._context, MATCH_LIMIT)
        count = ctypes.c_uint32()
        library.pcre2_pattern_info_8(self._code, _CAPTURE_COUNT, ctypes.byref(count))
        self.group_count = count.value

    def groups(self, subject: bytes) -> list[bytes | None] | None:
        """The whole match and its groups; None without a match. Raises LimitReached."""
        found = self._library.pcre2_match_8(self._code, subject, len(subject), 0, 0, self._data, self._context)
        if found <= 0:
            if found in _GIVEN_UP:
                raise LimitReached(_GIVEN_UP[found])
            return None
        ends = self._library.pcre2_get_ovector_pointer_8(self._data)
        return [subject[ends[2 * number]:ends[2 * number + 1]]
                if number < found and ends[2 * number] != _UNSET else None for number in range(self.group_count + 1)]

    def __del__(self) -> None:
        if self._code:
            self._library.pcre2_code_free_8(self._code)
        if self._data:
            self._library.pcre2_match_data_free_8(self._data)
        if self._context:
            self._library.pcre2_match_context_free_8(self._context)
