"""Kills by plan, under load.

    done = Campaign(world, seed).run(kills=40)

Each kind of process has its turn, with each way to end it: SIGKILL, SIGTERM, SIGSTOP for a while; now and then all at
once, or a reload. A master that died is started again as an administrator would, with `mailsuite start`.
"""

import random
import signal
import subprocess
import time
from dataclasses import dataclass, field

from tests.faults import processes
from tests.faults.world import World
from tests.support.suite import BIN

ROUND = ("KILL", "TERM", "STOP")
RESTART_S = 120.0


@dataclass
class Campaign:
    """instants: (when, what was done) of all that was done."""

    world: World
    seed: int = 1
    pause_s: tuple[float, float] = (0.02, 0.4)
    kinds: tuple[str, ...] = ()
    instants: list[tuple[float, str]] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def run(self, kills: int) -> None:
        """That many blows; kinds that are not there at their turn are passed over."""
        count = 0
        while count < kills:
            for kind, how in self._turns():
                if count >= kills:
                    return
                time.sleep(self._chance.uniform(*self.pause_s))
                count += self._strike(kind, how)

    def _turns(self) -> list[tuple[str, str]]:
        kinds = list(self.kinds or processes.by_kind(self.world.suite)) or ["master"]
        turns = [(kind, how) for kind in kinds for how in ROUND]
        turns += [("everything", "KILL"), ("everything", "KILL"), ("reload", "reload"), ("reload", "reload")]
        self._chance.shuffle(turns)
        return turns

    def _strike(self, kind: str, how: str) -> int:
        suite = self.world.suite
        if kind == "reload":
            suite.command("reload")
        elif kind == "everything":
            processes.kill_everything(suite)
        else:
            pids = processes.by_kind(suite).get(kind, [])
            if not pids:
                return 0
            victim = [self._chance.choice(pids)]
            processes.send(victim, getattr(signal, f"SIG{how}"))
            if how == "STOP":
                time.sleep(self._chance.uniform(0.1, 1.0))
                processes.send(victim, signal.SIGCONT)
        self.instants.append((time.time(), f"{how} {kind}"))
        self.done[f"{how} {kind}"] = self.done.get(f"{how} {kind}", 0) + 1
        if kind in ("master", "everything") and how != "STOP":
            self.start_again()
        return 1

    def start_again(self) -> None:
        """`mailsuite start`, at once; what the dead master's children still hold may make it wait."""
        end = time.monotonic() + RESTART_S
        while True:
            if processes.master_of(self.world.suite) and self._is_running():
                time.sleep(0.05)            # told to stop, not stopped yet
            else:
                done = subprocess.run([str(BIN / "mailsuite"), "-c", str(self.world.top), "start"], check=False,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      timeout=60)
                if done.returncode == 0:
                    return
                time.sleep(0.1)
            if time.monotonic() > end:
                raise TimeoutError(f"it does not start again:\n{self.world.suite.log()[-2000:]}")

    def _is_running(self) -> bool:
        return bool(processes.everything(self.world.suite)) and processes.master_of(self.world.suite) in \
            processes.everything(self.world.suite)

    def explains(self, accepted_at: float, times: list[float]) -> bool:
        """Whether something was done between acceptance and the last of these deliveries."""
        last = max(times) or time.time()
        return any(accepted_at - 1 <= when <= last + 1 for when, _ in self.instants)
