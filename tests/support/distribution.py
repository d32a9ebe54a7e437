"""How a parallel run shares the tests out among its workers (`-n N --dist loadgroup`, as `make test` does).

What belongs together goes to one worker: the tests of an xdist_group, else those of a file, so that a fixture of a
module is made once. The files in APART start a whole suite for each test: those go wherever there is room. The longest
come first, so that no worker has much left when the others are done.
"""

from collections.abc import Mapping

import pytest
from xdist.scheduler.loadgroup import LoadGroupScheduling

APART = frozenset({"tests/system/test_spawn.py", "tests/system/test_dead_hosts.py", "tests/cli/test_setup.py",
                   "tests/store/test_swap.py"})
# About how many seconds a group or file takes on a quiet machine (a test, where they go apart). The order counts.
LONG: Mapping[str, float] = {
    "sites-mailsuite": 60, "kills": 60, "tests/smtp/milter/test_recorded.py": 60, "sites-postfix": 45,
    "maps-pgsql": 40, "maps-mysql": 40, "maps-ldap": 40, "tests/deliver/test_far_ends.py": 40, "faults": 40,
    "hostile": 35, "tests/cli/test_doveadm_real.py": 35, "maps-sqlite": 30, "memcache": 25, "interop": 25,
    "accounts": 25, "sasl-pgsql": 25, "sasl-mysql": 25, "remote": 20, "sites": 20, "relays": 20, "imapscript": 20,
    "descriptors": 20, "tests/access/test_who.py": 20, "tests/store/test_against_dovecot.py": 20,
    "tests/sync/test_dovecot.py": 20, "user-databases": 20, "limits": 15, "verify": 15, "filters": 15, "logins": 15,
    "peers": 15, "quotas": 15, "proxy_filter": 15, "tests/maps/test_cdb.py": 15, "tests/cli/test_migrate.py": 15,
    "tests/check/test_check.py": 15, "thunderbird": 15, "tests/address/test_round_trips.py": 12, "authentication": 12,
    "tests/smtp/milter/test_trouble.py": 12, "tests/config/test_postconf_rules.py": 12, "tests/queue/test_qmgr.py": 12,
    "database-site": 12, "imap-running": 12, "control": 12, "milters": 12, "brute_force": 12, "oracle": 50,
    "tests/test_layers.py": 8, "tests/config/test_manual.py": 8, "tests/auth_results/test_dkim.py": 8,
    "tests/queue/test_qmgr_requests.py": 8, "tests/queue/test_qmgr_load.py": 8, "tests/queue/test_notices.py": 8,
    "tests/fuzz/test_targets.py": 8, "tests/store/test_mailbox.py": 8, "tests/store/test_mbox.py": 8,
    "tests/accounts/test_commands.py": 8, "tests/sasl/test_schemes.py": 8, "tests/auth_results/test_spf.py": 6,
    "tests/auth_results/test_canonical.py": 6, "mbsync": 6, "tests/system/test_dead_hosts.py": 6,
    "tests/system/test_spawn.py": 6, "curl-sasl": 6, "tests/lmtp/test_suite.py": 6, "tests/store/test_swap.py": 6}


def scope(nodeid: str) -> str:
    """What goes to one worker with this test. nodeid: as xdist has it, with @GROUP behind the name of the test."""
    if nodeid.rfind("@") > nodeid.rfind("]"):
        return nodeid.rpartition("@")[2]
    path = nodeid.partition("::")[0]
    return nodeid if path in APART else path


def expected_s(item: pytest.Item) -> float:
    """Seconds that the test's group or file takes; 0 for the many short ones."""
    group = item.get_closest_marker("xdist_group")
    name = group.args[0] if group else item.nodeid.partition("::")[0]
    return LONG.get("oracle" if name.startswith("oracle-") else name, 0)


class Scheduling(LoadGroupScheduling):
    """xdist's, by scope()."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scheduling(config: pytest.Config, log: object) -> Scheduling:
    """The scheduler of a run: groups in the order in which the workers have collected them."""
    config.option.loadscopereorder = False      # by number of tests
    return Scheduling(config, log)
