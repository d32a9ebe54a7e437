"""Texts of bounces from bounce_template_file (bounce(5)); what it leaves out, or gets wrong, stays as built in.

    load_templates(settings) -> {"failure": Template, "delay": ..., "success": ..., "verify": ...}

A file holds assignments NAME_template = <<EOF ... EOF: header lines (Charset, From, Subject, Postmaster-Subject), an
empty line, the text. $parameter and ${parameter} are replaced; NAME_seconds, _minutes, _hours, _days, _weeks give a
time parameter in that unit.
"""

import dataclasses
import re
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.base.log import logger
from mailsuite.config.registry import seconds
from mailsuite.queue import bounce_text, params
from mailsuite.queue.bounce_text import Template

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

log = logger("bounce")
_BUILT_IN = {"failure": bounce_text.FAILURE, "delay": bounce_text.DELAY, "success": bounce_text.SUCCESS,
             "verify": bounce_text.VERIFY}
_ASSIGNMENT = re.compile(r"^(\w+)_template\s*=\s*<<\s*(\w+)[ \t]*\n(.*?)^\2[ \t]*$", re.M | re.S)
_NAME = re.compile(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+)|(\$))")
_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
_DEFAULT_UNIT = {"maximal_queue_lifetime": "d", "bounce_queue_lifetime": "d", "delay_warning_time": "h"}


def load_templates(settings: "Settings", *, filled: bool = True) -> dict[str, Template]:
    """Never raises: a bounce with the standard text is better than none. filled=False leaves $name as written."""
    templates = dict(_BUILT_IN)
    path = settings[params.BOUNCE_TEMPLATE_FILE]
    if path:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("open bounce_template_file %s: %s", path, error)
            text = ""
        for name, _, body in _ASSIGNMENT.findall(text):
            if name in templates:
                templates[name] = _parse(body, templates[name])
            else:
                log.warning("%s: unknown template: %s_template", path, name)
    if not filled:
        return templates
    return {name: dataclasses.replace(template, text=fill_in(template.text, settings))
            for name, template in templates.items()}


def _parse(body: str, built_in: Template) -> Template:
    head, _, text = body.partition("\n\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in
              (line.partition(":") for line in head.splitlines())}
    charset = fields.get("charset", built_in.charset)
    if charset.lower() == "us-ascii":
        charset = built_in.charset          # addresses in the text may be more than that
    return dataclasses.replace(
        built_in, text=text, charset=charset,
        sender=fields.get("from", built_in.sender), subject=fields.get("subject", built_in.subject),
        postmaster_subject=fields.get("postmaster-subject", built_in.postmaster_subject))


def fill_in(text: str, settings: "Settings") -> str:
    """Replace $name."""

    def value(match: re.Match[str]) -> str:
        if match[4]:
            return "$"
        name = match[1] or match[2] or match[3]
        stem, _, unit = name.rpartition("_")
        try:
            if unit in _UNITS and stem in _DEFAULT_UNIT:
                return str(seconds(unit=_DEFAULT_UNIT[stem])(settings.text(stem)) // _UNITS[unit])
            return settings.text(name)
        except ConfigError:
            return ""

    return _NAME.sub(value, text)
