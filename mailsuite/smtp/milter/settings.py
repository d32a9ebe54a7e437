"""What the configuration says of milters.

    options = MilterOptions.of(settings)          what all milters share: macros, limits, defaults
    read_milters("inet:localhost:8891, { unix:/run/m, default_action=accept }", options) -> [MilterSpec, ...]

Raises ConfigError: an endpoint or an option that cannot be understood.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mailsuite.base.errors import ConfigError
from mailsuite.config.registry import split_items
from mailsuite.smtp.milter import params
from mailsuite.smtp.params import MESSAGE_SIZE_LIMIT

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


@dataclass(frozen=True, slots=True)
class MilterSpec:
    """One milter. name: as in the log, "inet:localhost:8891". host "" for a Unix socket."""

    name: str
    host: str = ""
    port: int = 0
    path: str = ""
    default_action: str = "tempfail"
    connect_timeout_s: int = 30
    command_timeout_s: int = 30
    content_timeout_s: int = 300
    version: int = 6
    silent_headers: bool = False


@dataclass(frozen=True, slots=True)
class MilterOptions:
    """defaults: what a milter has that says nothing of its own. macros: names by event. macro_values: those that do not
    depend on client or message. folder: where relative paths of sockets begin."""

    defaults: MilterSpec
    macros: Mapping[str, tuple[str, ...]]
    macro_values: Mapping[str, str]
    macro_defaults: Mapping[str, str]
    edit_limit: int = 1000
    packet_limit: int = 1 << 20
    body_limit: int = 10240000
    folder: str = ""

    @classmethod
    def of(cls, settings: "Settings") -> "MilterOptions":
        """Raises ConfigError."""
        defaults = _with_protocol(MilterSpec(
            "", default_action=settings[params.DEFAULT_ACTION],
            connect_timeout_s=settings[params.CONNECT_TIMEOUT], command_timeout_s=settings[params.COMMAND_TIMEOUT],
            content_timeout_s=settings[params.CONTENT_TIMEOUT]), settings[params.PROTOCOL])
        known: dict[str, str] = {}
        for item in split_items(settings[params.MACRO_DEFAULTS]):
            name, separator, value = _unbraced_pair(item).partition("=")
            if not separator:
                raise ConfigError(f"milter_macro_defaults: missing '=' in: {item}")
            known[name.strip()] = value.strip()
        return cls(defaults, {stage: settings[param] for stage, param in params.MACROS.items()},
                   {"j": settings.text("myhostname"), "{daemon_name}": settings[params.MACRO_DAEMON_NAME],
                    "v": settings[params.MACRO_V]}, known,
                   settings[params.EDIT_LIMIT], settings[params.PACKET_LIMIT], settings[MESSAGE_SIZE_LIMIT],
                   settings.text("queue_directory"))


def _unbraced_pair(item: str) -> str:
    """"{ name = value }" -> "name = value"; but "{if_name}=eth0" is a name in braces."""
    return item[1:-1].strip() if item.startswith("{") and item.endswith("}") and "=" in item else item


def read_milters(text: str, options: MilterOptions) -> list[MilterSpec]:
    """Raises ConfigError."""
    return [_milter(item, options) for item in split_items(text)]


def _milter(item: str, options: MilterOptions) -> MilterSpec:
    if not item.startswith("{"):
        return _endpoint(item, options)
    words = split_items(item[1:-1])
    if not words:
        raise ConfigError(f"empty milter definition: {item}")
    spec = _endpoint(words[0], options)
    for word in words[1:]:
        name, separator, value = _unbraced_pair(word).partition("=")
        option = _OPTIONS.get(name.strip())
        if option is None or not separator:
            raise ConfigError(f"milter {spec.name}: bad option {word}, use: {', '.join(_OPTIONS)}")
        spec = option(spec, value.strip())
    return spec


def _endpoint(text: str, options: MilterOptions) -> MilterSpec:
    kind, _, rest = text.partition(":")
    defaults = options.defaults
    if kind in ("unix", "local") and rest:
        return replace(defaults, name=text, path=os.path.join(options.folder, rest))
    if kind == "inet":
        host, _, port = rest.rpartition(":")
        if port.isdigit() and 0 < int(port) < 65536:
            return replace(defaults, name=text, host=host.strip("[]") or "localhost", port=int(port))
    raise ConfigError(f"bad milter {text}, use inet:host:port or unix:path")


def _with_protocol(spec: MilterSpec, words: tuple[str, ...]) -> MilterSpec:
    versions = [int(word) for word in words if word.isdigit()]
    if len(versions) != 1:
        raise ConfigError(f"milter_protocol: one version is needed: {', '.join(params.PROTOCOLS)}")
    return replace(spec, version=versions[0], silent_headers="no_header_reply" in words)


def _option(name: str, param: Any) -> Callable[[MilterSpec, str], MilterSpec]:
    def change(spec: MilterSpec, value: str) -> MilterSpec:
        return replace(spec, **{name: param.parse(value)})
    return change


_OPTIONS: Mapping[str, Callable[[MilterSpec, str], MilterSpec]] = {
    "connect_timeout": _option("connect_timeout_s", params.CONNECT_TIMEOUT),
    "command_timeout": _option("command_timeout_s", params.COMMAND_TIMEOUT),
    "content_timeout": _option("content_timeout_s", params.CONTENT_TIMEOUT),
    "default_action": _option("default_action", params.DEFAULT_ACTION),
    "protocol": lambda spec, value: _with_protocol(spec, params.PROTOCOL.parse(value)),
}
