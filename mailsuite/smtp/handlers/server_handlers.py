"""The hooks of aiosmtpd plug-ins, at the stages of our connection.

    handlers = Handlers(settings)               one per process; raises ConfigError
    observer = handlers.observer(facts)         one per connection

A hook's reply of 2xx lets the command go on (its text is what the client is told), 4xx and 5xx refuse it; handle_DATA
is in server_content.py. What a hook raises goes to the plug-in's handle_exception, whose 4xx or 5xx is told; else it is
451, with a traceback in the log. Hooks run in the event loop, as aiosmtpd runs them: one that waits must await.
Limits: smtpd_handlers_timeout for each hook.
"""

import asyncio
import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import MISSING

from mailsuite.address.syntax import quote_local
from mailsuite.base.log import logger
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.handlers import params
from mailsuite.smtp.handlers.dialogue import AuthDialogue
from mailsuite.smtp.handlers.facade import View
from mailsuite.smtp.handlers.loading import Plugin, load_handlers
from mailsuite.smtp.handlers.server_content import ContentHandler
from mailsuite.smtp.observers import Answer, Observer
from mailsuite.smtp.questions import Fine, Refusal
from mailsuite.smtp.syntax import Word

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.cleanup import Intake
    from mailsuite.queue.inspection import Inspector

log = logger("smtpd")
_REPLY = re.compile(r"[2345]\d\d(?:[ -].*)?", re.S)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
FAILED = "451 4.3.0 Error: internal error"


class Handlers:
    """What all connections of a process share: aiosmtpd too has one handler object for all."""

    def __init__(self, settings: "Settings") -> None:
        self.plugins = load_handlers(settings[params.SMTPD_HANDLERS], settings[params.DIRECTORY])
        self.hostname = settings.text("myhostname")
        self.deliver = settings[params.DELIVER]
        self.size_limit = settings[params.SIZE_LIMIT]
        self.timeout_s = float(settings[params.TIMEOUT])
        self.places = asyncio.Semaphore(settings[params.CONCURRENCY])
        self.mechanisms = {name: (number, hook) for number, plugin in enumerate(self.plugins)
                           for name, hook in _mechanisms(plugin)}

    def observer(self, facts: Facts) -> "HandlerObserver | None":
        return HandlerObserver(self, facts) if self.plugins else None


def _mechanisms(plugin: Plugin) -> list[tuple[str, Any]]:
    """auth_PLAIN -> PLAIN, auth_CRAM__MD5 -> CRAM-MD5, or what @auth_mechanism says."""
    found = []
    for name in dir(plugin.handler):
        hook = getattr(plugin.handler, name) if name.startswith("auth_") else None
        if callable(hook):
            said = getattr(hook, "__auth_mechanism_name__", name.removeprefix("auth_").replace("__", "-"))
            found.append((said.upper(), hook))
    return found


class HandlerObserver(Observer):
    """One connection."""

    def __init__(self, handlers: Handlers, facts: Facts) -> None:
        self._handlers = handlers
        self._views = [(plugin, View(handlers.hostname)) for plugin in handlers.plugins]
        self._learn(facts)

    def _learn(self, facts: Facts) -> None:
        for _, view in self._views:
            view.learn(facts)

    # --- stages -------------------------------------------------------------------------------------------------

    async def helo(self, facts: Facts, words: Sequence[Word]) -> Answer:
        self._learn(facts)
        name = " ".join(word.text for word in words[1:])
        fine: Answer = None
        for plugin, view in self._views:
            view.new_envelope()
            view.session.extended_smtp = words[0].text.upper() == "EHLO"
            if not view.session.extended_smtp:
                answer = await self._call(plugin, view, "handle_HELO", name)
                if isinstance(answer, Refusal):
                    return answer
                fine = answer or fine
            view.session.host_name = view.session.host_name or name
        return fine

    async def ehlo_lines(self, facts: Facts, lines: list[str]) -> list[str] | Refusal:
        for plugin, view in self._views:
            hook = plugin.hook("handle_EHLO")
            if hook is None:
                continue
            said: Any
            if len(inspect.signature(hook).parameters) >= 5:
                shown = [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]
                said = await self._run(plugin, view, hook, facts.helo or "", shown)
            else:
                said = await self._run(plugin, view, hook, facts.helo or "")
                said = [*(f"250-{line}" for line in lines), *view.server.take_pushed(),
                        *([said] if isinstance(said, str) else [])] if not isinstance(said, Refusal) else said
            if isinstance(said, Refusal):
                return said
            lines = [str(line)[4:] for line in said if str(line).startswith("250")]
            if refused := [str(line) for line in said if not str(line).startswith("250")]:
                return Refusal(refused[-1])
        return lines

    async def mail(self, facts: Facts, words: Sequence[Word]) -> Answer:
        self._learn(facts)
        address, options = _external(facts.sender or ""), [word.text.upper() for word in words[3:]]
        fine: Answer = None
        for plugin, view in self._views:
            view.new_envelope()
            view.envelope.smtp_utf8 = facts.smtputf8
            answer = await self._call(plugin, view, "handle_MAIL", address, list(options))
            if isinstance(answer, Refusal):
                return answer
            if answer is None or view.envelope.mail_from is None:
                view.envelope.mail_from = address
                view.envelope.mail_options.extend(options if answer is None else [])
            fine = answer or fine
        return fine

    async def rcpt(self, facts: Facts, words: Sequence[Word], refusal: Refusal | None) -> Answer:
        if refusal is not None:
            return None                         # aiosmtpd's plug-ins hear of what is taken
        address, options = _external(facts.recipient or ""), [word.text.upper() for word in words[3:]]
        fine: Answer = None
        for plugin, view in self._views:
            before = len(view.envelope.rcpt_tos)
            answer = await self._call(plugin, view, "handle_RCPT", address, list(options))
            if isinstance(answer, Refusal):
                del view.envelope.rcpt_tos[before:]
                return answer
            if answer is None or len(view.envelope.rcpt_tos) == before:
                view.envelope.rcpt_tos.append(address)
                view.envelope.rcpt_options.extend(options if answer is None else [])
            fine = answer or fine
        return fine

    async def other(self, facts: Facts, verb: str, words: Sequence[Word]) -> Answer:
        if verb == "STARTTLS":
            self.forget(facts)
        if verb not in ("NOOP", "QUIT", "RSET", "VRFY"):
            return None
        self._learn(facts)
        arguments = [] if verb in ("QUIT", "RSET") else [" ".join(word.text for word in words[1:])]
        fine: Answer = None
        for plugin, view in self._views:
            answer = await self._call(plugin, view, f"handle_{verb}", *arguments)
            if isinstance(answer, Refusal):
                return answer
            fine = answer or fine
        return fine

    async def auth(self, facts: Facts, mechanism: str, initial: bytes | None) -> "AuthDialogue | Answer":
        self._learn(facts)
        args = [mechanism, *([initial.decode("ascii", "replace")] if initial is not None else [])]
        for plugin, view in self._views:
            if (answer := await self._call(plugin, view, "handle_AUTH", args)) is not None:
                return answer
        if mechanism not in self._handlers.mechanisms:
            return None
        number, hook = self._handlers.mechanisms[mechanism]
        return AuthDialogue(hook, self._views[number][1], mechanism, wait_s=self._handlers.timeout_s)

    def inspectors(self, facts: Facts, intake: "Intake") -> "list[Inspector]":
        return [ContentHandler(self._handlers, plugin, view, self._run, facts)
                for plugin, view in self._views
                if plugin.hook("handle_DATA") is not None or plugin.hook("process_message") is not None]

    def reset(self, facts: Facts) -> None:
        for _, view in self._views:
            view.new_envelope()

    def forget(self, facts: Facts) -> None:
        for _, view in self._views:
            view.new_session()

    # --- calling hooks ------------------------------------------------------------------------------------------

    async def _call(self, plugin: Plugin, view: View, name: str, *arguments: Any) -> Answer:
        """None: the plug-in has no such hook, or leaves it to us."""
        hook = plugin.hook(name)
        if hook is None:
            return None
        said = await self._run(plugin, view, hook, *arguments)
        view.server.take_pushed()
        if isinstance(said, Refusal):
            return said
        return None if said is MISSING or said is None else as_answer(plugin, name, said)

    async def _run(self, plugin: Plugin, view: View, hook: Any, *arguments: Any) -> Any:
        """What a hook returns; a Refusal for what it raises."""
        try:
            async with asyncio.timeout(self._handlers.timeout_s):
                return await hook(view.server, view.session, view.envelope, *arguments)
        except Exception as error:
            return await self._failed(plugin, error)

    async def _failed(self, plugin: Plugin, error: Exception) -> Refusal:
        hook = plugin.hook("handle_exception")
        if hook is not None:
            try:
                async with asyncio.timeout(self._handlers.timeout_s):
                    said = await hook(error)
                if isinstance(said, str) and said[:1] in ("4", "5") and _REPLY.fullmatch(said):
                    return Refusal(clean(said), "software")
            except Exception:
                log.exception("handle_exception of %s failed", plugin.name)
        log.error("%s: unforeseen in a plug-in", plugin.name, exc_info=error)
        return Refusal(FAILED, "software")


def as_answer(plugin: Plugin, hook: str, said: Any) -> Fine | Refusal:
    """A hook's reply line."""
    text = said.decode("utf-8", "surrogateescape") if isinstance(said, bytes) else said
    if not isinstance(text, str) or not _REPLY.fullmatch(text):
        log.warning("%s: %s returned no reply: %.100r", plugin.name, hook, said)
        return Refusal(FAILED, "software")
    text = clean(text)
    return Fine(text) if text[0] in "23" else Refusal(text)


def clean(text: str) -> str:
    """Lines of one reply: other control characters would end it."""
    lines = [_CONTROL.sub("?", line) for line in text.replace("\r\n", "\n").strip("\n").split("\n")]
    return "\n".join(line if re.match(r"\d{3}[ -]", line) else f"{lines[0][:3]} {line}" for line in lines) \
        if len(lines) > 1 else lines[0]


def _external(address: str) -> str:
    return quote_local(address) if address else ""
