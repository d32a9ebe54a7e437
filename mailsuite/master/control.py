"""What `mailsuite start|stop|reload|status|run` does; each returns an exit status and says what happened.

start returns when every listener accepts and every eager service is ready, or when something is wrong: then all
errors are printed, nothing runs, and the status is 1.
"""

import os
import signal
import sys
import time
from collections.abc import Callable

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.master.prepare import PidFile

STOP_LIMIT_S = 30.0
_OK, _FAILED = b"\0", b"\1"

Say = Callable[[str], None]


def _complain(text: str) -> None:
    for line in text.split("\n"):
        print(f"mailsuite: fatal: {line}", file=sys.stderr)


def start(directory: str) -> int:
    """Run the mail system in the background."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        _daemon(directory, write_end)
    os.close(write_end)
    with open(read_end, "rb") as report:
        said = report.read(1)
        if said == _OK:
            return 0
        text = report.read().decode() or "the mail system did not start (see its log)"
    _complain(text)
    os.waitpid(pid, 0)
    return 1


def _daemon(directory: str, report: int) -> None:
    """Become the master; never returns."""
    status = 1

    def ready() -> None:
        os.write(report, _OK)
        os.close(report)

    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        _run_master(directory, ready, report=report)
        status = 0
    except ConfigError as error:
        os.write(report, _FAILED + error.public.encode())
    except BaseException:
        import traceback
        try:
            os.write(report, _FAILED + traceback.format_exc().encode())
        except OSError:
            traceback.print_exc()
    finally:
        os._exit(status)


def _run_master(directory: str, ready: Callable[[], None], *, report: int = -1) -> None:
    """Load, prepare, bind, serve; in the background when there is a pipe to report to. Raises ConfigError."""
    from mailsuite.master.configuration import load_configuration
    from mailsuite.master.logging import LogFiles, setup_logging
    from mailsuite.master.prepare import prepare_access, prepare_queue, tidy_queue
    from mailsuite.master.supervise import Master, close_terminal

    configuration = load_configuration(directory)
    prepare_queue(configuration.settings, configuration.accounts)
    if configuration.dovecot is not None:
        prepare_access(configuration.dovecot, configuration.accounts)
    pid_file = PidFile(configuration.settings.text("queue_directory"))
    pid_file.take()
    files = LogFiles()
    files.syslog_name = configuration.settings.text("syslog_name")
    files.open_ring(configuration.dovecot)
    setup_logging(configuration.settings, configuration.dovecot, files)
    _tell_faults(directory)
    logger("postfix-script").info("starting the %s mail system", configuration.settings.text("mail_name"))
    tidy_queue(configuration.settings, configuration.accounts)
    master = Master(configuration, files, pid_file, report=report)
    master.bind()

    def detached() -> None:
        # The terminal stays open for errors until here.
        if report >= 0:
            close_terminal()
        ready()

    os.chdir("/")
    master.run(detached)


def _tell_faults(directory: str) -> None:
    """What `check` finds without long work is said to who starts, and what Postfix's own start logs is logged.

    Mail is served all the same.
    """
    from mailsuite.check.checks import check_site
    from mailsuite.check.finding import Severity
    from mailsuite.check.site import Site

    for finding in check_site(Site.of(directory), cheap=True):
        if finding.severity is Severity.NOTE:
            continue
        print("mailsuite: " + "\n".join(finding.lines()), file=sys.stderr, flush=True)
        if finding.postfix:
            logger("postfix-script").warning("%s", finding.postfix)


def run(directory: str, ready: Callable[[], None] = lambda: None) -> int:
    """Run in the foreground until Ctrl-C or SIGTERM."""
    try:
        _run_master(directory, ready)
    except ConfigError as error:
        _complain(error.public)
        return 1
    return 0


def _master_pid(directory: str) -> int:
    settings = Settings.load(directory, strict=False)
    return PidFile(settings.text("queue_directory")).running()


def stop(directory: str) -> int:
    """Stop and wait until all of it has ended."""
    try:
        pid = _master_pid(directory)
    except ConfigError as error:
        _complain(error.public)
        return 1
    if not pid:
        _complain("the mail system is not running")
        return 1
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        _complain(f"only the user who started it may stop the mail system (process {pid})")
        return 1
    deadline = time.monotonic() + STOP_LIMIT_S
    while _master_pid(directory):
        if time.monotonic() > deadline:
            _complain(f"the mail system did not stop within {STOP_LIMIT_S:.0f} seconds (process {pid})")
            return 1
        time.sleep(0.02)
    return 0


def reload(directory: str) -> int:
    """Check the configuration, and have the running master read it. Nothing changes when it has errors."""
    from mailsuite.master.certificates import certificate_problems
    from mailsuite.master.configuration import load_configuration

    try:
        problems = certificate_problems(load_configuration(directory).dovecot)
        if problems:
            raise ConfigErrors([ConfigError(problem) for problem in problems])
        pid = _master_pid(directory)
    except ConfigError as error:
        _complain(error.public)
        return 1
    if not pid:
        _complain("the mail system is not running")
        return 1
    try:
        os.kill(pid, signal.SIGHUP)
    except PermissionError:
        _complain(f"only the user who started it may reload the mail system (process {pid})")
        return 1
    return 0


def status(directory: str, say: Say = print) -> int:
    """0 and the pid when it runs, 1 when not."""
    try:
        pid = _master_pid(directory)
    except ConfigError as error:
        _complain(error.public)
        return 1
    say(f"the mail system is running: PID: {pid}" if pid else "the mail system is not running")
    return 0 if pid else 1
