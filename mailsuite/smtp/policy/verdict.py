"""What a restriction can say: nothing (None, "dunno"), PERMIT, or a Refusal with the reply."""

from dataclasses import dataclass

from mailsuite.smtp.questions import Refusal


@dataclass(frozen=True, slots=True)
class Permit:
    """The rest of the list is not asked."""


PERMIT = Permit()
Verdict = Permit | Refusal | None
