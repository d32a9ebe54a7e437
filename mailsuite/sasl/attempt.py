"""One authentication: the exchange of a mechanism, and the databases behind it.

    reply = await attempt.start(initial)                Continue(octets) | Granted(request) | Denied(...)
    reply = await attempt.go_on(answer)
    attempt.close()                                     nobody waits for it any more
"""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from mailsuite.base.log import access_logger
from mailsuite.base.secret import Secret
from mailsuite.sasl.chain import Verdict
from mailsuite.sasl.mech import Check, Claim, End, Facts, Fetch, Mech, MechError, Name, Proof, Proved, Refused, Say
from mailsuite.sasl.penalty import Outcome, Place, TooManyGuesses
from mailsuite.sasl.proxying import finish_proxying
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.schemes import SchemeError

if TYPE_CHECKING:
    from mailsuite.sasl.mech import Exchange
    from mailsuite.sasl.service import AuthService

log = access_logger("auth")

WORTH_A_LINE = 4        # different wrong passwords of one lane; fewer are a user's slips


class Continue(Struct, frozen=True):
    octets: bytes


class Granted(Struct, frozen=True):
    """request: what is needed when a master asks who that was."""

    request: AuthRequest


class Denied(Struct, frozen=True):
    """user None: none was named. code and reason as in the protocol."""

    request: AuthRequest
    named: bool
    code: str = ""
    reason: str = ""


Reply = Continue | Granted | Denied


class Attempt(Struct, eq=False):
    """One authentication: an exchange of a mechanism, with the databases behind it."""

    service: "AuthService"
    mech: Mech
    request: AuthRequest
    bindings: Mapping[str, bytes] = {}
    apop_prefix: bytes = b""
    named: bool = False
    _certified: str = ""
    _verdict: Verdict = Verdict.UNKNOWN
    _exchange: "Exchange | None" = None
    _password: Secret | None = None
    _refused: bool = False                  # by the policy server
    _place: Place | None = None             # among those who guess; see penalty.py

    async def start(self, initial: bytes | None) -> Reply:
        """Begin. initial: the initial response; b"" is an empty one, None none."""
        facts, service = self.request.facts, self.service
        verified = "valid-client-cert" in facts
        self._certified = facts.get("cert_username", "") if service.certificate_names and verified else ""
        if service.certificate_required and not (self._certified or (verified and not service.certificate_names)):
            return self._without_certificate(verified)
        if initial is not None and self.mech.whole is not None:
            try:
                claim = self.mech.whole(initial)
            except MechError as error:
                return self._broken(error)
            return await self._end(claim)
        plus = self.mech.name.removesuffix("-PLUS") + "-PLUS"
        self._exchange = self.mech.start(Facts(
            host_name=service.host_name, anonymous_user=service.anonymous_user, certificate_user=self._certified,
            realm=service.realm, bindings=self.bindings, apop_prefix=self.apop_prefix,
            binding_offered=bool(self.bindings) and plus in service.mechanisms))
        try:
            move = next(self._exchange)
            taken = initial or (initial is not None and self.mech.name != "LOGIN")     # LOGIN asks all the same
            if isinstance(move, Say) and move.initial and taken:
                return await self.go_on(initial or b"")
        except StopIteration as stop:
            return await self._end(stop.value)
        except MechError as error:
            return self._broken(error)
        assert isinstance(move, Say)
        if self.mech.name == "APOP":        # the greeting was the challenge
            return await self.go_on(b"")
        return Continue(move.octets)

    def _without_certificate(self, verified: bool) -> Denied:
        reason = ("SSL certificate didn't contain username" if verified else
                  "Client didn't present valid SSL certificate")
        if self.service.verbose:
            log.info("%s(%s): %s", self.mech.name.lower(), self.request.who, reason)
        return Denied(self.request, self.named, reason=reason)

    async def go_on(self, answer: bytes) -> Reply:
        """Take the peer's answer to the last Continue."""
        content: bytes | None = answer
        assert self._exchange is not None
        try:
            while True:
                move = self._exchange.send(content)
                match move:
                    case Say(octets):
                        return Continue(octets)
                    case Name(user):
                        content = None
                        self._names(user)
                    case Fetch():
                        content = await self._fetch(move)
                    case Proof():
                        content = None
                        await self._wait_turn(self._secret_of(move))
                    case Check(claim):
                        self._verdict = await self._check(claim)
                        if self._verdict is Verdict.INTERNAL:
                            return self._judge(self._verdict)
                        content = None if self._verdict is Verdict.OK else json.dumps(self.request.oauth_hints).encode()
        except StopIteration as stop:
            return await self._end(stop.value)
        except (MechError, SchemeError) as error:
            return self._broken(error)
        except TooManyGuesses:
            return self._unchecked()

    def _names(self, user: str, authzid: str = "") -> None:
        """The peer has said who it is. Raises BadName."""
        self.named = True
        rules = self.service.names_for(self.request.service)
        rules.apply(self.request, user, authzid if authzid != user else "", self._certified)

    async def _fetch(self, move: Fetch) -> bytes | None:
        self._names(move.user, move.authzid)
        if not await self._policy_allows(None):
            return None
        self._verdict, secret = await self.service.passdbs.fetch(self.request, move.scheme)
        if self._verdict is not Verdict.OK:
            await self._wait_turn(None)         # who names users that there are not guesses as well
            return None
        return secret

    async def _check(self, claim: Claim) -> Verdict:
        user = "" if self.mech.name == "EXTERNAL" else claim.user       # as it came; the certificate says who it is
        self._names(user, claim.authzid)
        if (wait_s := self._turn(claim.password.reveal())) > 0:
            await asyncio.sleep(wait_s)
        policy = self.service.policy
        if policy is not None and not await self._policy_allows(claim.password):
            return Verdict.MISMATCH
        verdict = await self.service.passdbs.run(self.request, claim.password)
        if policy is not None and verdict is Verdict.OK and not await self._policy_allows(claim.password, after=True):
            return Verdict.MISMATCH
        if verdict is Verdict.OK and self.request.fields:
            await finish_proxying(self.request, claim.password if user else None)
        return verdict

    async def _policy_allows(self, password: Secret | None, *, after: bool = False) -> bool:
        """Ask the policy server, if there is one. after: the password was right."""
        policy, self._password = self.service.policy, password
        if policy is None or not (policy.policy.after if after else policy.policy.before):
            return True
        refusal = await policy.ask(self.request, password, after=after)
        if refusal is None:
            return True
        self._refused, self._verdict = True, Verdict.MISMATCH
        if refusal:
            self.request.fields["reason"] = refusal
        return False

    def _report(self, verdict: Verdict) -> None:
        """Tell the policy server what came of it."""
        if self.service.policy is not None:
            self.service.policy.report(self.request, self._password, success=verdict is Verdict.OK,
                                       refused=self._refused)

    def _secret_of(self, proof: Proof) -> bytes | None:
        """What stands for the password that was proved, or for a former one; None for one that nobody knows."""
        penalties, user, scheme = self.service.penalties, self.request.user, self.mech.name
        if proof.good:
            if scheme != "APOP":                # its secret is the password itself
                penalties.keep_secret(user, scheme, proof.secret)
            return proof.secret
        return next((each for each in penalties.former_secrets(user, scheme) if proof.fits(each)), None)

    async def _end(self, end: End) -> Reply:
        try:
            match end:
                case Claim():
                    return self._judge(await self._check(end))
                case Proved(anonymous=True):
                    log.info("anonymous(%s): login", end.trace)
                    self.request.user = self.request.original_user = end.user
                    self.request.fields["anonymous"] = ""
                    return Granted(self.request)
                case Proved():
                    checked = self.mech.name in ("OAUTHBEARER", "XOAUTH2")          # as a claim
                    good = checked or await self._policy_allows(None, after=True)
                    return self._judge(Verdict.OK if good else Verdict.MISMATCH)
                case Refused():
                    self.service.cache.doubt(self.request)      # the stored password may have changed
                    if self._verdict is Verdict.OK and self.service.verbose:
                        log.info("%s(%s): Password mismatch", self.mech.name.lower(), self.request.who)
                    return self._judge(Verdict.MISMATCH if self._verdict is Verdict.OK else self._verdict)
        except MechError as error:
            return self._broken(error)
        except TooManyGuesses:
            return self._unchecked()

    def _unchecked(self) -> Denied:
        """Too many wait in front of it."""
        return Denied(self.request, self.named, Verdict.INTERNAL.value, self.request.fields.get("reason", ""))

    async def _wait_turn(self, secret: bytes | None) -> None:
        """Who guesses passwords waits before the next is looked at. Raises TooManyGuesses."""
        if (wait_s := self._turn(secret)) > 0:
            await asyncio.sleep(wait_s)

    def _turn(self, secret: bytes | None) -> float:
        """Seconds until it may be looked at. Raises TooManyGuesses."""
        request, facts = self.request, self.request.facts
        if "no-penalty" in facts or self._place is not None:
            return 0.0
        try:
            self._place = self.service.penalties.admit(facts.get("rip", ""), request.user, secret)
        except TooManyGuesses:
            log.info("penalty(%s): invalid credentials too often: refused unchecked", request.who)
            request.fields["reason"] = "Too many failed logins, try again later"
            raise
        return self._place.wait_s

    def close(self) -> None:
        """Nobody waits for the end of it any more."""
        if self._place is not None:
            self._place.drop()
            self._place = None

    def _settle(self, verdict: Verdict) -> None:
        place, self._place = self._place, None
        if place is None:
            return
        if verdict in (Verdict.INTERNAL, Verdict.EXPIRED):      # says nothing of the password, or that it was right
            place.drop()
            return
        wrong = place.settle(Outcome.PASSED if verdict is Verdict.OK else Outcome.FAILED)
        if wrong >= WORTH_A_LINE:
            # In the grammar of fail2ban's filter for Dovecot: word(user,address): invalid credentials
            log.info("penalty(%s): invalid credentials, %d different ones lately from %s: attempts wait up to %.0f s",
                     self.request.who, wrong, place.network, self.service.penalties.rules.max_delay_s)

    def _judge(self, verdict: Verdict) -> Reply:
        self._settle(verdict)
        if self.service.policy is not None:
            self._report(verdict)
        if verdict is Verdict.OK:
            return Granted(self.request)
        code = ""
        if verdict in (Verdict.INTERNAL, Verdict.DISABLED, Verdict.EXPIRED):
            code = verdict.value
        elif self.request.master_user:
            code = "authz_fail"
        return Denied(self.request, self.named, code, self.request.fields.get("reason", ""))

    def _broken(self, error: MechError | SchemeError) -> Denied:
        self._settle(Verdict.MISMATCH)
        self._report(Verdict.MISMATCH)
        if self.service.verbose:
            log.info("%s(%s): %s", self.mech.name.lower(), self.request.who, error.detail)
        return Denied(self.request, self.named)
