"""doveadm's -o SETTING=VALUE: settings of the root laid over a configuration, filters included.

    overridden(settings, {"imapc_port": "993", "plugin/quota": "x"}) -> DovecotSettings

Names that nobody knows are passed over, as Dovecot does. Raises: ConfigError for a value of the wrong kind.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_defaults as defaults
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.dovecot_syntax import Node, Value


def parse_overrides(words: Iterable[str]) -> dict[str, str]:
    """From the values of -o. Raises ConfigError."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ConfigError(f"Invalid -o parameter {word}: missing value")
        if "/" not in name and defaults.default_of(name, "") is not None:
            try:
                defaults.check(name, "", value)
            except ConfigError as error:
                raise ConfigError(f"Invalid -o parameter {word}: {error.public}") from error
        found[name] = value
    return found


def overridden(settings: DovecotSettings, values: Mapping[str, str]) -> DovecotSettings:
    """The same settings, for the same protocol, with these in place of what the file says."""
    if not values:
        return settings
    state = settings.node
    own = {name: Value(text, text) for name, text in values.items() if defaults.default_of(name, "") is not None}
    plugin = {name.removeprefix("plugin/"): Value(text, text) for name, text in values.items()
              if name.startswith("plugin/")}
    nodes = state.nodes
    if plugin:
        old = state.child("plugin", "") or Node("plugin")
        nodes = [*[node for node in nodes if node is not old],
                 replace(old, values={**old.values, **plugin})]
    root = replace(state, values={**state.values, **own}, nodes=nodes, filters=[])
    fresh = DovecotSettings(root, settings.path, settings.warnings)
    return fresh.for_protocol(settings.protocol) if settings.protocol else fresh
