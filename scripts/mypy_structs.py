"""A mypy plugin: dataclasses.replace() of a msgspec Struct is an error, as it is when it runs.

To mypy a Struct is a dataclass (PEP 681), so it lets the call pass; msgspec.structs.replace() is meant.
Named in pyproject.toml, so `make check` finds such calls.
"""

from collections.abc import Callable

from mypy.plugin import FunctionContext, Plugin
from mypy.types import Instance, Type, UnionType, get_proper_type

STRUCT = "msgspec.Struct"


class StructPlugin(Plugin):
    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return _check_replace if fullname == "dataclasses.replace" else None


def _check_replace(context: FunctionContext) -> Type:
    given = get_proper_type(context.arg_types[0][0]) if context.arg_types and context.arg_types[0] else None
    for each in given.items if isinstance(given, UnionType) else [given]:
        value = get_proper_type(each) if each is not None else None
        if isinstance(value, Instance) and value.type.has_base(STRUCT):
            context.api.fail(f'dataclasses.replace() of the Struct "{value.type.name}": use msgspec.structs.replace()',
                             context.context)
    return context.default_return_type


def plugin(version: str) -> type[Plugin]:
    """What mypy asks for."""
    return StructPlugin
