"""Variables as they may stand in a statement, a filter or a name: each value is quoted when it is asked for."""

from collections.abc import Callable, Iterator, Mapping


class Quoted(Mapping[str, str]):
    """values for expand_variables. quote: octets to octets, as the place wants them; it may raise."""

    def __init__(self, values: Mapping[str, str], quote: Callable[[bytes], bytes]) -> None:
        self._values, self._quote = values, quote

    def __getitem__(self, name: str) -> str:
        octets = self._values[name].encode("utf-8", "surrogateescape")
        return self._quote(octets).decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
