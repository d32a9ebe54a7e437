"""The master's loop: one thread, no event loop, nothing read from a network.

    Master(configuration, files).run(ready)       returns after stop; ready is called when `start` may return

It starts eager services at once and the others at their first request (it watches their sockets until then, as
Postfix's master does), reaps what ends, starts again with growing pauses what fails, and acts on signals: SIGTERM
and SIGINT stop, SIGHUP reloads.
"""

import contextlib
import gc
import json
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.master.certificates import certificate_problems
from mailsuite.master.child import preload, preload_drivers, run_child
from mailsuite.master.configuration import Configuration, load_configuration
from mailsuite.master.logging import LogFiles, setup_logging
from mailsuite.master.plan import ServicePlan
from mailsuite.master.prepare import PidFile
from mailsuite.master.services import Reload
from mailsuite.master.sockets import Sockets
from mailsuite.net.service import Listener

log = logging.getLogger("mailsuite.master")
script_log = logging.getLogger("mailsuite.postfix-script")     # what Postfix's shell script logs

READY_LIMIT_S = 20.0         # eager services that are not ready by then do not hold `start` up any longer
STOP_LIMIT_S = 12.0          # then SIGKILL
FIRST_PAUSE_S = 1.0          # before a service that failed twice running is started again; doubles
LONGEST_PAUSE_S = 60.0       # service_throttle_time
PROVEN_S = 10.0              # a process that lived this long was no failed start


@dataclass
class Process:
    """One living child."""

    pid: int
    worker: int
    control: socket.socket
    started: float
    ready: bool = False
    draining: bool = False


@dataclass
class Service:
    """A plan and its processes."""

    plan: ServicePlan
    processes: dict[int, Process] = field(default_factory=dict)
    failures: int = 0
    not_before: float = 0.0
    wanted: bool = False        # eager, or asked for once

    def current(self) -> list[Process]:
        return [process for process in self.processes.values() if not process.draining]


def close_terminal() -> None:
    """Point standard output and error at nothing: whoever reads the other end of a pipe waits for its end."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)


class Master:
    """Owns every process and every listening socket."""

    def __init__(self, configuration: Configuration, files: LogFiles, pid_file: PidFile, *, report: int = -1) -> None:
        """report: the pipe to `mailsuite start`, which no child may keep open; -1: in the foreground."""
        self.configuration, self.files, self.pid_file, self._report = configuration, files, pid_file, report
        self.sockets = Sockets()
        self.services: dict[str, Service] = {}
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []
        self._stopping = False
        self._started = 0.0
        self._wake_read, self._wake_write = socket.socketpair()

    # --- life ---------------------------------------------------------------------------------------------------

    def bind(self) -> None:
        """Bind all sockets. Raises ConfigErrors."""
        self.sockets.adopt(self.configuration.plans)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM. Raises nothing that a service or a reload does wrong."""
        self._handle_signals()
        preload([(*plan.kind.preload, plan.kind.entry.partition(":")[0]) for plan in self.configuration.plans])
        preload_drivers(value for plan in self.configuration.plans for value in plan.settings.written.values())
        gc.collect()
        gc.disable()
        gc.freeze()
        log.info("daemon started -- version %s, configuration %s", self.configuration.settings.text("mail_version"),
                 self.configuration.directory)
        self._warn()
        self._started = time.monotonic()
        self._adopt_plans()
        told = False
        while not self._stopping:
            if not told and self._all_ready():
                told = True
                ready()
                self._report = -1
            self._wait(self._pause(told))
            self._start_due()
        self._stop()

    def _warn(self) -> None:
        for text in (*self.configuration.settings.warnings, *self.configuration.warnings):
            if ": undefined parameter: " not in text:       # for check and postconf; Postfix's master is silent, too
                log.warning("%s", text)

    def _all_ready(self) -> bool:
        if time.monotonic() - self._started > READY_LIMIT_S:
            return True
        return all(process.ready for service in self.services.values() if service.plan.kind.eager
                   for process in service.processes.values()) and all(
            service.processes or service.failures for service in self.services.values() if service.plan.kind.eager)

    def _pause(self, told: bool) -> float | None:
        """How long nothing needs doing; None: until something happens."""
        due = [service.not_before for service in self.services.values() if service.wanted and self._missing(service)]
        pause = max(0.01, min(due) - time.monotonic()) if due else None
        if not told:
            pause = min(pause or 0.5, 0.5)
        return pause

    def _handle_signals(self) -> None:
        for sock in (self._wake_read, self._wake_write):
            sock.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda which, _frame: self._signals.append(which))
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    def _wait(self, pause: float | None) -> None:
        for key, _ in self._selector.select(pause):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(4096)
            else:
                key.data()
        signals, self._signals = self._signals, []
        for number in dict.fromkeys(signals):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stopping = True
            elif number == signal.SIGHUP:
                try:
                    self.reload()
                except Exception:       # e.g. modules of another version, since the package was updated meanwhile
                    log.exception("reload: unforeseen; what was not reached keeps the old configuration")
        self._reap()

    # --- starting -----------------------------------------------------------------------------------------------

    def _adopt_plans(self) -> None:
        for plan in self.configuration.plans:
            service = self.services.setdefault(plan.key, Service(plan))
            service.plan = plan
            if plan.kind.eager:
                service.wanted = True
            elif not service.processes:
                self._watch(service)
        self._start_due()

    def _watch(self, service: Service) -> None:
        """Start the service at the first request."""
        for spec in service.plan.sockets:
            sock = self.sockets.of(spec)
            with contextlib.suppress(KeyError):
                self._selector.unregister(sock)
            self._selector.register(sock, selectors.EVENT_READ, lambda: self._asked_for(service))

    def _asked_for(self, service: Service) -> None:
        service.wanted = True
        for spec in service.plan.sockets:
            with contextlib.suppress(KeyError):
                self._selector.unregister(self.sockets.of(spec))

    def _missing(self, service: Service) -> list[int]:
        running = {process.worker for process in service.current()}
        return [worker for worker in range(service.plan.processes) if worker not in running]

    def _start_due(self) -> None:
        now = time.monotonic()
        for service in list(self.services.values()):
            if service.wanted and now >= service.not_before and not self._stopping:
                for worker in self._missing(service):
                    self._fork(service, worker)

    def _fork(self, service: Service, worker: int) -> None:
        plan = service.plan
        pair: tuple[socket.socket, ...] = ()
        try:
            ours, theirs = pair = socket.socketpair()
            pid = os.fork()
        except OSError as error:
            log.error("cannot start service %s: %s", plan.name, error)
            for sock in pair:
                sock.close()
            service.not_before = time.monotonic() + FIRST_PAUSE_S
            return
        if pid == 0:
            self._become(service, worker, ours, theirs)
        theirs.close()
        ours.setblocking(False)
        process = Process(pid, worker, ours, time.monotonic())
        service.processes[pid] = process
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._heard(service, process))

    def _become(self, service: Service, worker: int, ours: socket.socket, theirs: socket.socket) -> None:
        """In the child: let go of all that is the master's or another service's; never returns."""
        plan = service.plan
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for sock in (ours, self._wake_read, self._wake_write):
            sock.close()
        for other in self.services.values():
            for process in other.processes.values():
                process.control.close()
        listeners = [Listener(spec.name, self.sockets.of(spec), spec.kind if spec.kind in ("inet", "pass") else "unix",
                              spec.tls, spec.haproxy) for spec in plan.sockets]
        own = {listener.sock for listener in listeners}
        for sock in self.sockets.all():
            if sock not in own:
                sock.close()
        self.pid_file.close_in_child()
        if self._report >= 0:
            close_terminal()
            os.close(self._report)
        run_child(plan, worker, listeners, theirs, self.configuration.dovecot, self.files)

    def _heard(self, service: Service, process: Process) -> None:
        try:
            octets = process.control.recv(4096)
        except OSError:
            octets = b""
        if b'"ready"' in octets:
            process.ready = True
            service.failures = 0
        if not octets:
            self._selector.unregister(process.control)
            process.control.close()

    # --- ending -------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for service in self.services.values():
                if pid in service.processes:
                    self._ended(service, service.processes.pop(pid), status)
                    break

    def _ended(self, service: Service, process: Process, status: int) -> None:
        with contextlib.suppress(OSError):      # its last words may wait: one that was ready did not fail to start
            process.ready = process.ready or b'"ready"' in process.control.recv(4096)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(process.control)
        process.control.close()
        if self._stopping or process.draining:
            return
        code = os.waitstatus_to_exitcode(status)
        how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        program = service.plan.program
        log.warning("process %s pid %d %s", program, process.pid, how)
        now = time.monotonic()
        if code != 0 and not process.ready:         # it never served anybody: its configuration is wrong
            service.failures += 1
            service.not_before = now + LONGEST_PAUSE_S
            log.warning("%s: bad command startup -- throttling", program)
            return
        if process.ready and now - process.started > PROVEN_S:
            service.failures, service.not_before = 0, now
            return
        service.failures += 1
        pause = 0.0 if service.failures == 1 else min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (service.failures - 2))
        service.not_before = now + pause
        if pause >= 4:
            log.warning("%s: bad command startup -- throttling", program)

    def _tell(self, process: Process, message: dict[str, object]) -> None:
        """Give a child a message; one that does not listen gets SIGTERM."""
        try:
            # Closed already when the child has died and is not reaped yet: the master must not die of that.
            process.control.settimeout(2.0)
            process.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
        finally:
            with contextlib.suppress(OSError):
                process.control.setblocking(False)

    def _stop(self) -> None:
        script_log.info("stopping the %s mail system", self.configuration.settings.text("mail_name"))
        log.info("terminating on signal %d", signal.SIGTERM)
        everyone = [process for service in self.services.values() for process in service.processes.values()]
        for process in everyone:
            self._tell(process, {"op": "stop"})
        deadline = time.monotonic() + STOP_LIMIT_S
        while any(service.processes for service in self.services.values()):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._wait(min(left, 0.5))
        for service in self.services.values():
            for process in service.processes.values():
                log.warning("process %s pid %d did not stop: killed", service.plan.command, process.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, 0)
        self.sockets.close()
        self.pid_file.release()

    # --- reload -------------------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Take the new configuration as a whole, or log all that is wrong with it and keep the old one."""
        try:
            fresh = load_configuration(self.configuration.directory)
            if problems := certificate_problems(fresh.dovecot):
                raise ConfigErrors([ConfigError(problem) for problem in problems])
            self.files.reopen()
            self.sockets.adopt(fresh.plans)
        except (ConfigErrors, ConfigError) as error:
            for line in error.public.split("\n"):
                log.error("reload: %s", line)
            log.error("reload: the old configuration stays in force")
            return
        self.files.syslog_name = fresh.settings.text("syslog_name")
        setup_logging(fresh.settings, fresh.dovecot, self.files)
        script_log.info("refreshing the %s mail system", fresh.settings.text("mail_name"))
        log.info("reload -- version %s, configuration %s", fresh.settings.text("mail_version"), fresh.directory)
        preload([(*plan.kind.preload, plan.kind.entry.partition(":")[0]) for plan in fresh.plans])
        preload_drivers(value for plan in fresh.plans for value in plan.settings.written.values())
        self.configuration = fresh
        self._warn()
        self._retire({plan.key for plan in fresh.plans})
        for plan in fresh.plans:
            if (service := self.services.get(plan.key)) is not None:
                self._renew(service, plan)
        self._adopt_plans()
        self.sockets.drop_unwanted(fresh.plans)
        gc.collect()                # it never runs by itself here; what is frozen is not looked at

    def _retire(self, keys: set[str]) -> None:
        """Services that the new configuration does not have."""
        for key in [key for key in self.services if key not in keys]:
            service = self.services[key]
            service.wanted = False
            for spec in service.plan.sockets:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(self.sockets.of(spec))
            for process in service.current():
                process.draining = True
                self._tell(process, {"op": "drain"})
            if not service.processes:
                del self.services[key]

    def _renew(self, service: Service, plan: ServicePlan) -> None:
        """Same sockets and a process that can be told: tell it. Else old processes drain and new ones accept."""
        same = [spec.key for spec in plan.sockets] == [spec.key for spec in service.plan.sockets]
        tell = plan.kind.reload is Reload.TELL and same
        dovecot = self.configuration.dovecot
        for process in service.current():
            if tell:
                self._tell(process, {"op": "reload", "settings": plan.settings.to_json(),
                                     "dovecot": dovecot.to_json() if dovecot is not None else None})
            else:
                process.draining = True
                self._tell(process, {"op": "drain"})
